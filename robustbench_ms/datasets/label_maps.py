"""Pictures with a class for every pixel: the folders of VOC 2012, Cityscapes and ADE20K, and anybody's.

A mask is a file of one channel that holds class numbers, of its picture's size. One with a palette (VOC's, many
editors') is read by its index: the colours say nothing. Its numbers go through the data set's own rule (Cityscapes' ids
to its 19 classes, ADE20K's 0 to "ignored"), and what is then neither a class nor 255, which is ignored, is refused when
the mask is shown, since only decoding it tells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.located import looked_in
from robustbench_ms.datasets.pictures import Named, check_wants, files_found, index_pictures
from robustbench_ms.datasets.protocol import IGNORED, Index
from robustbench_ms.datasets.published import ADE20K, CITYSCAPES, VOC
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["CITYSCAPES_NAMES", "VOC_NAMES", "index_ade20k", "index_cityscapes", "index_folder", "index_voc",
           "read_mask"]  # fmt: skip

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_MASKS = (".png", ".bmp", ".tif", ".tiff")

VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CITYSCAPES_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The ids of the 19 classes that are evaluated, in their order (cityscapesScripts, labels.py)."""

Rule = NDArray[np.uint8]
"""(256,): what a number in a mask file means, a class or 255."""


@dataclass(frozen=True)
class _Pair:
    name: str
    """What the id is made of."""
    picture: Path
    mask: Path


def index_voc(source: Source, places: Places, condition: Condition) -> Index:
    """VOC 2012's pictures with SegmentationClass, those that ImageSets/Segmentation/<split>.txt names; 21 classes."""
    del condition
    root = _root(source, places, "SegmentationClass")
    listed = root / "ImageSets" / "Segmentation" / f"{source.split}.txt"
    try:
        names = listed.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{listed} cannot be read ({error})") from error
    pairs = [
        _Pair(n, root / "JPEGImages" / f"{n}.jpg", root / "SegmentationClass" / f"{n}.png") for n in names
    ]
    return _index(source, places, listed, pairs, VOC_NAMES, _rule(len(VOC_NAMES)), VOC.get(source.split))


def index_cityscapes(source: Source, places: Places, condition: Condition) -> Index:
    """leftImg8bit/<split>/<city>/ with gtFine: *_gtFine_labelIds.png as it is unpacked, or *_labelTrainIds.png."""
    del condition
    root = _root(source, places, f"gtFine/{source.split}")
    kinds = {
        "labelIds": _rule(34, {i: place for place, i in enumerate(_CITYSCAPES_IDS)}),
        "labelTrainIds": _rule(len(CITYSCAPES_NAMES)),
    }
    ground = root / "gtFine" / source.split
    kind = next((kind for kind in kinds if any(ground.glob(f"*/*_gtFine_{kind}.png"))), None)
    if kind is None:
        raise BadFile(f"{ground} has no <city>/*_gtFine_labelIds.png")
    pairs = []
    for mask in sorted(ground.glob(f"*/*_gtFine_{kind}.png")):
        name = mask.name.removesuffix(f"_gtFine_{kind}.png")
        shown = root / "leftImg8bit" / source.split / mask.parent.name / f"{name}_leftImg8bit.png"
        pairs.append(_Pair(name, shown, mask))
    return _index(source, places, ground, pairs, CITYSCAPES_NAMES, kinds[kind], CITYSCAPES.get(source.split))


def index_ade20k(source: Source, places: Places, condition: Condition) -> Index:
    """ADEChallengeData2016's images and annotations: 0 is ignored and 1 to 150 are the classes (reduce_zero_label)."""
    del condition
    root = _root(source, places, f"annotations/{source.split}")
    pairs = _paired(root / "images" / source.split, root / "annotations" / source.split)
    rule = _rule(151, {i: i - 1 for i in range(1, 151)})
    return _index(source, places, root, pairs, (), rule, ADE20K.get(source.split), classes=150)


def index_folder(source: Source, places: Places, condition: Condition) -> Index:
    """Anybody's folder: `pictures` ("images") and `masks` ("masks") in it, a mask of its name for each picture.

    `path` is the folder, from the suite's or else the data folder; `names` are the classes from 0 on, or its
    classes.txt says them, one a line. `reduce_zero_label = true` ignores 0 and counts classes from 1.
    """
    del condition
    options = source.options
    told = options.get("path", ".")
    folders = [folder / str(told) for folder in (source.folder, places.data) if folder is not None]
    shown, masks = str(options.get("pictures", "images")), str(options.get("masks", "masks"))
    root = next((folder for folder in folders if (folder / shown).is_dir()), None)
    if root is None:
        raise BadFile(
            f"{source.dataset}: the folder {shown} is neither in {' nor in '.join(map(str, folders))}"
        )
    names = _names(source, root)
    reduced = options.get("reduce_zero_label", False)
    if not isinstance(reduced, bool):
        raise UserError(f"{source.dataset}: reduce_zero_label must be true or false, not {reduced!r}")
    shift = int(reduced)
    rule = _rule(len(names) + shift, {i + shift: i for i in range(len(names))})
    return _index(source, places, root, _paired(root / shown, root / masks), names, rule, None)


def read_mask(path: Path, rule: Rule, classes: int) -> NDArray[np.uint8]:
    """The classes (H, W) in a mask file, 255 where nobody is asked; BadFile names what it holds otherwise."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            mode, values = opened.mode, np.asarray(opened)
    except Exception as error:  # Pillow's decoders raise half a dozen kinds
        raise BadFile(f"{path} is cut off or damaged ({error})".splitlines()[0]) from error
    if values.ndim != 2:
        raise BadFile(
            f"{path} has colours (mode {mode}); a mask holds class numbers, in one channel or by a palette"
        )
    if values.dtype.kind == "f":
        raise BadFile(f"{path} has fractions (mode {mode}); a mask holds class numbers, which are whole")
    values = values.astype(np.int64)
    beyond = (values < 0) | (values > IGNORED)
    known = rule[np.where(beyond, IGNORED, values)]
    # What the rule does not know is `_UNKNOWN`, which no class can be.
    beyond |= known == _UNKNOWN
    if beyond.any():
        last = int(np.flatnonzero((rule != IGNORED) & (rule != _UNKNOWN))[-1])
        first = int(np.flatnonzero(rule != _UNKNOWN)[0])
        raise BadFile(
            f"{path} holds the class number {int(values[beyond][0])}, and {classes} classes have the numbers {first} "
            f"to {last}; 255 is ignored"
        )
    return known


_UNKNOWN = 254


def _rule(numbers: int, means: dict[int, int] | None = None) -> Rule:
    """The rule of class numbers 0..numbers-1: each itself, or what `means` says and else ignored; 255 is ignored."""
    rule = np.full(256, _UNKNOWN, np.uint8)
    rule[IGNORED] = IGNORED
    for i in range(numbers):
        rule[i] = i if means is None else means.get(i, IGNORED)
    return rule


def _names(source: Source, root: Path) -> tuple[str, ...]:
    given, file = source.options.get("names"), root / "classes.txt"
    if given is None:
        try:
            given = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except FileNotFoundError:
            raise UserError(
                f"{source.dataset}: nobody says what the classes are: write {file}, a name a line from class 0 on, or "
                "names = [...] in the suite"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise BadFile(f"{file} cannot be read ({error})") from error
    if not isinstance(given, list) or not all(isinstance(name, str) and name for name in given):
        raise UserError(f"{source.dataset}: names must be a list of strings, not {given!r}")
    if twice := [name for name in given if given.count(name) > 1]:
        raise UserError(f"{source.dataset}: the class {twice[0]!r} stands twice")
    if not 2 <= len(given) < _UNKNOWN:
        raise UserError(f"{source.dataset}: classes must be 2 to {_UNKNOWN - 1}, not {len(given)}")
    return tuple(given)


def _root(source: Source, places: Places, needs: str) -> Path:
    roots = looked_in(source.dataset, places)
    found = next((root for root in roots if (root / needs).is_dir()), None)
    if found is None:
        raise BadFile(
            f"{source.dataset}: {needs} is neither in {' nor in '.join(map(str, roots))}; rbms fetch {source.dataset} "
            "says where its archives are got, and unpacks them"
        )
    return found


def _paired(shown: Path, masks: Path) -> list[_Pair]:
    """Pictures and masks of one folder each by their names; BadFile for what stands alone."""
    for folder in (shown, masks):
        if not folder.is_dir():
            raise BadFile(f"the folder {folder} is missing")
    pictures, truths = _by_stem(shown, _PICTURES), _by_stem(masks, _MASKS)
    if alone := sorted(pictures.keys() - truths.keys()):
        raise BadFile(f"{masks} has no mask {alone[0]}.png, which {pictures[alone[0]]} needs")
    if alone := sorted(truths.keys() - pictures.keys()):
        raise BadFile(f"{shown} has no picture {alone[0]}.jpg, of which {truths[alone[0]]} is the mask")
    return [_Pair(stem, pictures[stem], truths[stem]) for stem in sorted(pictures)]


def _by_stem(folder: Path, kinds: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in kinds or path.name.startswith("."):
            continue
        if path.stem in found:
            raise BadFile(
                f"{folder} has {found[path.stem].name} and {path.name}: which one is meant is a guess"
            )
        found[path.stem] = path
    return found


def _index(
    source: Source,
    places: Places,
    where: Path,
    pairs: Sequence[_Pair],
    names: tuple[str, ...],
    rule: Rule,
    published: int | None,
    *,
    classes: int | None = None,
) -> Index:
    """The index of pictures with masks, whose sizes are those of the pictures' files, whatever EXIF says of them."""
    check_wants(source, "map")
    if not pairs:
        raise BadFile(f"{where} names no picture: an empty data set cannot be measured")
    count = classes or len(names)
    if source.classes is not None and source.classes != count:
        raise UserError(f"{where} has {count} classes, which do not fit the suite's {source.classes}")
    shown = files_found([pair.picture for pair in pairs], where, places.cache)
    masks = files_found([pair.mask for pair in pairs], where / "masks", places.cache)
    pictures = []
    for pair, picture, mask in zip(pairs, shown, masks, strict=True):
        if (picture.height, picture.width) != (mask.height, mask.width):
            raise BadFile(
                f"{pair.mask} has {mask.width} x {mask.height} pixels, and its picture {pair.picture.name} "
                f"{picture.width} x {picture.height}"
            )
        key = (
            int.from_bytes(hashlib.sha256(pair.name.encode()).digest()[:8]) >> 11
        )  # whole in JSON's doubles too
        said = f"{key} {picture.height} {picture.width} {mask.sha256} {rule.tobytes().hex()}"
        truths = {"classes": count}
        pictures.append(
            Named(
                key,
                pair.picture,
                picture.height,
                picture.width,
                truths,
                hashlib.sha256(said.encode()).hexdigest(),
            )
        )
    notes = []
    if _has_palette(pairs[0].mask):
        notes.append(f"{where}: masks have a palette, and are read by its index, not by colour")
    if published not in {None, len(pairs)}:
        notes.append(
            f"{where} names {len(pairs):,} pictures, and {source.split} as published has {published:,}"
        )

    def drawn(row: int) -> NDArray[np.uint8]:
        return read_mask(pairs[row].mask, rule, count)

    return index_pictures(pictures, names, (), where, places, tuple(notes), maps=drawn, classes=count)


def _has_palette(path: Path) -> bool:
    from PIL import Image

    with Image.open(path) as opened:
        return bool(opened.mode == "P")
