"""Scenes made here: handwritten digits on photographs, for detection, labelling and heat maps; no download.

A scene is 128 x 128 RGB: a crop of a ground in its own pixels, and on it one to five digits of scikit-learn's set
(the 1,200 / 597 of `digits`), upright, each of one colour. A digit is enlarged to a square of 14 to 56 pixels and
covers what is at least half ink; the later ones lie on top, and of each at least 60 % is seen. A colour's grey level is
60 or more away from the mean one of the ground under what is seen of the digit. A box is the tight one of what is seen.

`quick-scenes-one` is drawn alike under a key of its own, with one digit a scene, which is its label too.

The grounds are pictures that scikit-image's wheel holds: five to train on, three others to test on. What is drawn
comes from raw words of numpy's PCG64, whose streams never change, keyed by the scene's id alone; all else is whole
numbers, so a scene has the same bytes on every machine, in whatever order scenes are made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.digits import digit_pictures, digit_rows
from robustbench_ms.datasets.images import array_digest, check_digest
from robustbench_ms.datasets.protocol import MAP, Batch, DataFacts, Index, rows_of_one_shape
from robustbench_ms.datasets.shapes import Images, Layout, RaggedImages
from robustbench_ms.datasets.swaps import CODES, KEPT
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

if TYPE_CHECKING:
    import torch

__all__ = [
    "GROUND",
    "GROUNDS",
    "MANY",
    "NAMES",
    "ONE",
    "Kind",
    "Scene",
    "drawn",
    "index_scenes",
    "scene",
    "swapped",
]

SIDE = 128
NAMES = tuple(map(str, range(10)))
GROUND = len(NAMES)
"""What the class map says where no digit is seen."""

_SMALLEST, _LARGEST = 14, 56
_SEEN = 60  # per cent
_AWAY = 60  # grey levels
_SWAPPED = 17
"""Begins the keys of grounds that take the place of others; 15 and 16 are those of scenes."""
_TRIED = 64

GROUNDS: dict[str, tuple[str, ...]] = {
    "train": ("astronaut.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "ihc.png"),
    "test": ("chelsea.png", "motorcycle_left.png", "retina.jpg"),
}
_PIXELS = {
    "astronaut.png": "a8c429c18afa7b0fd5673e598d73a21225d94c864a71bbb3885126fdecb41071",
    "chelsea.png": "416b729128bfb2c3d1eb69bf9b1734a796293abc17939267b2dc94f8a5784031",
    "coffee.png": "0ce2b51640b9c95f19617f03eabf40c3f0368589cc1ee1190b70966165ac184f",
    "hubble_deep_field.jpg": "9a3ea9548188f81e63435188456e74de45a981ebeb791e265abe79a26d3b528b",
    "ihc.png": "c5b3ef509a92f16d4c29be8cf0300fe75d53e13a3ce650159db932caea8dcc1b",
    "motorcycle_left.png": "ca829467c1d4f427da9c4862ba43829da6ac90afe1f75735e95dba9e3fd9620b",
    "retina.jpg": "3670e389d0dae9f755cc1bb7e4da4c3d2cdf10eba2dc3060836d8d4b8024d860",
    "rocket.jpg": "3d4435cc745752b7f9724df88c6e18817de3ce7e3d2d71c55f85f7831e68f197",
}


@dataclass(frozen=True)
class Kind:
    """A data set of scenes."""

    name: str
    key: int
    """Of the words of all its scenes."""
    digits: int
    """At most so many a scene, and at least one."""
    ids: Mapping[str, tuple[int, int]]
    """First and last of each split's ids. "further" is of the training's grounds and digits, for choosing by; no suite
    can name it, so that it is never reported."""
    gives: tuple[str, ...]


MANY = Kind(
    "quick-scenes",
    15,
    5,
    {"train": (0, 1000), "test": (1000, 1300), "further": (2000, 2200)},
    ("boxes", "masks", "shapes", "map"),
)
ONE = Kind(
    "quick-scenes-one",
    16,
    1,
    {"train": (0, 3000), "test": (3000, 3300), "further": (4000, 4400)},
    ("label", "boxes", "masks", "shapes", "map"),
)
_KINDS = {kind.name: kind for kind in (MANY, ONE)}


@dataclass(frozen=True)
class Scene:
    """One scene and what is true of it."""

    image: NDArray[np.uint8]
    """(128, 128, 3), RGB."""
    owner: NDArray[np.uint8]
    """(128, 128): which digit is seen where, from 1 in the order of painting; 0 for the ground."""
    labels: NDArray[np.int64]
    """(k,), 1 to 5 digits: which."""
    ground: str
    """The file of its ground."""


class _Words:
    """Whole numbers from the raw words of a key."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(list(key))

    def below(self, n: int) -> int:
        """0..n-1."""
        return int(self._bits.random_raw()) * n >> 64


def scene(split: str, i: int, of: Kind = MANY) -> Scene:
    """The scene of an id of a split: "train", "test" or "further"."""
    words, kind = _Words(of.key, i), "test" if split == "test" else "train"
    name = GROUNDS[kind][words.below(len(GROUNDS[kind]))]
    ground = _ground(name)
    top, left = (words.below(length - SIDE + 1) for length in ground.shape[:2])
    image = ground[top : top + SIDE, left : left + SIDE].copy()
    owner, labels = _laid(words, kind, 1 + words.below(of.digits))
    grey = _grey(image.astype(np.int64))
    for number in range(1, len(labels) + 1):
        seen = owner == number
        image[seen] = _colour(words, int(grey[seen].sum()), int(seen.sum()))
    return Scene(image, owner, labels, name)


def swapped(of: Scene, split: str, i: int, background: str, level: int, seed: int = 0) -> NDArray[np.uint8]:
    """A scene of one digit on another ground, uint8 (128, 128, 3): `background` of BACKGROUNDS, `level` 1..5.

    The digit's pixels stay, and so does the ground within KEPT of them. A crop is the first of 64 drawn whose mean
    grey level under the digit is 60 or more away from the digit's, as in a scene, or else the farthest of them; "plain"
    is one colour that is so far away. What is drawn has no level: a higher one shows more of the same.
    """
    words, seen = _Words(_SWAPPED, CODES[background], seed, i), of.owner > 0
    digit, pixels = int(_grey(of.image[seen].astype(np.int64)).sum()), int(seen.sum())
    own, kind = of.ground, "test" if split == "test" else "train"
    pool = {
        "same": (own,),
        "other": tuple(name for name in GROUNDS[kind] if name != own),
        "seen": GROUNDS["train"],
    }
    if background == "plain":
        shown = np.empty_like(of.image)
        shown[:] = _colour(words, digit, pixels)
    else:
        shown, farthest = of.image, -1
        for _ in range(_TRIED):
            ground = _ground(pool[background][words.below(len(pool[background]))])
            top, left = (words.below(length - SIDE + 1) for length in ground.shape[:2])
            tried = ground[top : top + SIDE, left : left + SIDE]
            away = abs(int(_grey(tried[seen].astype(np.int64)).sum()) - digit)
            if away > farthest:
                shown, farthest = tried, away
            if away >= 1000 * _AWAY * pixels:
                break
    return np.where(_near(seen, KEPT[level - 1])[:, :, None], of.image, shown)


def _near(where: NDArray[np.bool_], within: int) -> NDArray[np.bool_]:
    """Of a map (H, W) what lies within so many pixels of what is true, along a row, a column or both."""
    from scipy.ndimage import binary_dilation

    side = 2 * within + 1
    return np.asarray(binary_dilation(where, np.ones((side, side), dtype=bool)))


def _laid(words: _Words, kind: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Where digits are seen, and which they are; one that hides too much of another is drawn anew."""
    owner, inks, labels = np.zeros((SIDE, SIDE), np.uint8), list[int](), list[int]()
    pictures, names = digit_pictures()
    rows = digit_rows(kind)
    while len(labels) < count:
        row, side = int(rows[words.below(len(rows))]), _SMALLEST + words.below(_LARGEST - _SMALLEST + 1)
        ink = _ink(pictures[row], side)
        top, left = words.below(SIDE - side + 1), words.below(SIDE - side + 1)
        tried = owner.copy()
        tried[top : top + side, left : left + side][ink] = len(labels) + 1
        seen = np.bincount(tried.ravel(), minlength=len(labels) + 2)[1:]
        wanted = [*inks, int(ink.sum())]
        if all(100 * int(s) >= _SEEN * w for s, w in zip(seen, wanted, strict=True)):
            owner, inks = tried, wanted
            labels.append(int(names[row]))
    return owner, np.array(labels, dtype=np.int64)


def _colour(words: _Words, grey: int, pixels: int) -> tuple[int, int, int]:
    """A colour far enough from a ground whose grey levels, in thousandths, add up to `grey` over that many pixels."""
    while True:
        red, green, blue = words.below(256), words.below(256), words.below(256)
        if abs(pixels * int(_grey(np.array([red, green, blue]))) - grey) >= 1000 * _AWAY * pixels:
            return red, green, blue


def _grey(colours: NDArray[np.int64]) -> NDArray[np.int64]:
    """ITU-R 601's luma of (..., 3), in thousandths of a level."""
    return np.asarray(colours @ np.array([299, 587, 114]))


def _ink(picture: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """Where a digit (8, 8) in 0..16, enlarged to a square, is half ink or more: bilinear, half-pixel centres."""
    weights = _weights(side)
    return np.asarray(weights @ picture @ weights.T >= 8 * (2 * side) ** 2)


@cache
def _weights(side: int) -> NDArray[np.int64]:
    """(side, 8): the shares that the eight rows have in each of `side`, times 2 side."""
    found = np.zeros((side, 8), dtype=np.int64)
    for row in range(side):
        low, part = divmod(8 * (2 * row + 1) - side, 2 * side)  # the place (row + 1/2) 8 / side - 1/2
        found[row, max(low, 0)] += 2 * side - part
        found[row, min(low + 1, 7)] += part
    return found


@cache
def _ground(name: str) -> NDArray[np.uint8]:
    """A picture of scikit-image's wheel, uint8 (H, W, 3); BadFile where its pixels are not those that are meant."""
    from PIL import Image

    path = files("skimage").joinpath("data", name)
    try:
        with path.open("rb") as file, Image.open(file) as opened:
            pixels = np.asarray(opened.convert("RGB"))
    except OSError as error:
        raise BadFile(
            f"quick-scenes: scikit-image's {name} cannot be read ({error}); install scikit-image again"
        ) from error
    what = f"quick-scenes: the pixels of scikit-image's {name}"
    check_digest(array_digest(pixels), _PIXELS[name], what, "the scenes need them")
    return pixels


def drawn(split: str, i: int, of: Kind) -> Scene:
    """As `scene`, of the split that is kept: to be asked for in every condition."""
    return _scenes(of.name, split)[1][i - of.ids[split][0]]


@lru_cache(maxsize=2)
def _scenes(kind: str, split: str) -> _Stacked:
    of = _KINDS[kind]
    return _stacked([scene(split, i, of) for i in range(*of.ids[split])])


_Stacked = tuple[NDArray[np.uint8], tuple[Scene, ...]]
"""The images of scenes, (n, 3, 128, 128), and the scenes, whose own images are views of them."""


def _stacked(made: Sequence[Scene]) -> _Stacked:
    images = np.array([one.image.transpose(2, 0, 1) for one in made], order="C")
    views = images.transpose(0, 2, 3, 1)
    return images, tuple(replace(one, image=view) for one, view in zip(made, views, strict=True))


class Scenes:
    """A split of the scenes, with what is wanted of each."""

    def __init__(self, of: Kind, split: str, wants: tuple[str, ...]) -> None:
        (self._images, self._scenes), self._wants = _scenes(of.name, split), wants
        ids, n = np.arange(*of.ids[split]), len(self._scenes)
        self.grounds = np.array([one.ground.partition(".")[0] for one in self._scenes])
        counts = [len(one.labels) for one in self._scenes]
        self._first = np.cumsum([1, *counts])  # of each scene's annotation ids
        parts = [array_digest(part) for one in self._scenes for part in (one.owner, one.labels)]
        self.asked = hashlib.sha256(" ".join(parts).encode()).hexdigest()
        self.images = array_digest(self._images.transpose(0, 2, 3, 1))
        self._targets: dict[int, dict[str, Any]] = {}
        told, names = f"{self.images} {self.asked}", NAMES
        if "map" in wants:  # what is true of them is kept once a digest, and the ground is a class
            told, names = f"{told} map", (*NAMES, "ground")
        digest = hashlib.sha256(told.encode()).hexdigest()
        layout: Layout = RaggedImages(3, np.full((n, 2), SIDE))
        if "label" in wants:
            layout = Images(3, SIDE, SIDE)
        maps = (MAP,) if "map" in wants else ()
        self.facts = DataFacts(
            n, digest, ids, None, len(names), corrupted=False, layout=layout, names=names, maps=maps
        )

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows in their order, as many as hold `size` numbers."""
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: NDArray[np.int64], device: torch.device) -> Batch:
        """Samples uint8 (k, 3, 128, 128) on the device, targets, and the class map where it is wanted.

        Targets are the scenes' labels, int64 (k,), where these are wanted, else a table of arrays a scene, always the
        same. The map is uint8 (k, 128, 128): the class of the digit that is seen, GROUND elsewhere.
        """
        import torch

        chosen = [self._scenes[row] for row in rows]
        samples = torch.from_numpy(self._images[rows]).to(device)
        targets: Any = torch.tensor([int(one.labels[0]) for one in chosen], device=device)
        if "label" not in self._wants:
            targets = [self._target(int(row)) for row in rows]
        maps = {}
        if "map" in self._wants:
            found = np.stack([np.array([GROUND, *one.labels], np.uint8)[one.owner] for one in chosen])
            maps[MAP] = torch.from_numpy(found).to(device)
        return Batch(samples, targets, self.facts.ids[rows], np.asarray(rows), maps)

    def _target(self, row: int) -> dict[str, Any]:
        if (known := self._targets.get(row)) is not None:
            return known
        one, first = self._scenes[row], int(self._first[row])
        k = len(one.labels)
        masks = one.owner == np.arange(1, k + 1)[:, None, None]
        found = {
            "boxes": np.array([_box(mask) for mask in masks], dtype=np.float32),
            "labels": one.labels.copy(),
            "crowd": np.zeros(k, dtype=bool),
            "ignore": np.zeros(k, dtype=bool),
            "area": masks.sum(axis=(1, 2)).astype(np.float64),
            "ids": np.arange(first, first + k),
        }
        if "map" in self._wants:
            found["classes"] = self.facts.classes
        if "shapes" in self._wants:
            found["shapes"] = masks
        if "masks" in self._wants:
            from pycocotools import mask as rle

            coded = rle.encode(np.asfortranarray(masks.transpose(1, 2, 0), dtype=np.uint8))
            found["rles"] = [code["counts"] for code in coded]
        self._targets[row] = found
        return found


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The tight box of a mask (H, W): x and y of its first pixel's and of its last pixel's far corner."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def index_scenes(source: Source, places: Places, condition: Condition) -> Index:
    """A split of the scenes; UserError where something is wanted that scenes do not have."""
    del places, condition
    of = _KINDS[source.dataset]
    if lacking := [want for want in source.wants if want not in of.gives]:
        raise UserError(f"{of.name} has {', '.join(of.gives)} and no {lacking[0]} of a sample")
    data = Scenes(of, source.split, source.wants)
    check_digest(data.images, source.sha256.get("images"), f"{of.name}: images")
    check_digest(data.asked, source.sha256.get("labels"), f"{of.name}: labels")
    facts = data.facts
    return Index(
        facts.ids, facts.layout, facts.classes, data.asked, lambda _: data, names=facts.names,
        parts={"ground": data.grounds},
    )  # fmt: skip
