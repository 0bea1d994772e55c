"""Picture files with the boxes in them: what data sets of pictures of many sizes open to."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.protocol import MAP, Batch, DataFacts, Index, rows_of_one_shape
from robustbench_ms.datasets.shapes import RaggedImages
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing, sweep
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

if TYPE_CHECKING:
    import torch
    from PIL import Image

__all__ = [
    "Found", "Maps", "Named", "as_rgb", "check_wants", "decoded", "files_found", "header", "header_of",
    "index_pictures", "truths_of",
]  # fmt: skip

Truths = dict[str, Any]
"""Of one picture: boxes float32 (k, 4) xyxy in its pixels, labels int64 (k,), crowd and ignore bool (k,), area float64
(k,), ids int64 (k,), and rles, COCO's compressed counts as bytes, where masks are wanted."""

Maps = Callable[[int], NDArray[np.uint8]]
"""The label map (H, W) of a row."""

_KEPT = 2**28
"""Bytes of decoded pictures that a process keeps: a cell shows what the cell before it showed."""
_ORIENTATION = 0x0112  # of EXIF 2.3, 4.6.4
LYING = (5, 6, 7, 8)
"""Orientations that exchange height and width."""


@dataclass(frozen=True)
class Named:
    """A picture as its annotations name it."""

    id: int
    path: Path
    height: int
    width: int
    truths: Truths
    said: str
    """Digest of all that is annotated of it: a part of the data's."""


@dataclass(frozen=True)
class Found:
    """What a picture's file says of itself before its pixels are decoded."""

    sha256: str
    height: int
    width: int
    orientation: int
    """EXIF's, 1 to 8; 1 is upright, and what has none."""


def check_wants(source: Source, *gives: str) -> None:
    """UserError where something else is wanted of a picture than the data set gives."""
    if lacking := [want for want in source.wants if want not in gives]:
        raise UserError(f"{source.dataset} has {', '.join(gives)}, and no {lacking[0]} of a picture")


def index_pictures(
    pictures: Sequence[Named],
    names: tuple[str, ...],
    category_ids: tuple[int, ...],
    where: Path,
    places: Places,
    notes: tuple[str, ...] = (),
    white: float | None = None,
    *,
    maps: Maps | None = None,
    classes: int | None = None,
) -> Index:
    """The index of pictures, at least one, whose sizes are known; `where` is what named them, for messages.

    `maps` makes the label map of each, of `classes` classes, where it is wanted.

    Opening them reads each file once (what it found is remembered by path, size and time) and holds it to its annotated
    size; BadFile names a picture that is missing, none, or of another size.
    """
    if not pictures:
        raise BadFile(f"{where} names no picture: an empty data set cannot be measured")
    ids = np.array([one.id for one in pictures], dtype=np.int64)
    layout = RaggedImages(3, np.array([(one.height, one.width) for one in pictures], dtype=np.int64))
    said = hashlib.sha256(json.dumps(names).encode())
    for one in pictures:
        said.update(one.said.encode())
    asked, count = said.hexdigest(), len(names) if classes is None else classes

    def opened(canvas: str) -> Pictures:
        del canvas  # "stored", the only one
        found = files_found([one.path for one in pictures], where, places.cache)
        turned, both = [], 0
        for one, file in zip(pictures, found, strict=True):
            turn, either = _turned(one, file, where)
            turned.append(turn)
            both += either
        # With masks more is true of the data, and what is true of them is kept once a digest.
        masks = "rles" in pictures[0].truths
        digest = hashlib.sha256(f"{asked} {white} {masks if maps is None else 'map'}".encode())
        for one, file in zip(pictures, found, strict=True):
            digest.update(f"{one.id} {file.sha256}".encode())
        told = notes
        if both:
            note = f"EXIF would turn {both} of the pictures, whose annotated size fits both ways; they are not turned"
            told = (*notes, f"{where}: {note}")
        facts = DataFacts(
            len(ids), digest.hexdigest(), ids, None, count, corrupted=False, layout=layout, names=names, notes=told,
            maps=() if maps is None else (MAP,),
        )  # fmt: skip
        return Pictures(facts, tuple(pictures), tuple(turned), white, maps)

    return Index(ids, layout, count, asked, opened, names=names, category_ids=category_ids)


@dataclass(frozen=True)
class Pictures:
    """Files under one condition, decoded when they are shown."""

    facts: DataFacts
    pictures: tuple[Named, ...]
    turned: tuple[bool, ...]
    """Whether EXIF's orientation is applied."""
    white: float | None = None
    maps: Maps | None = None
    _shelf: _Shelf = field(default_factory=lambda: _Shelf(_KEPT), repr=False, compare=False)

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows of one shape, in helpings of `size` numbers."""
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: NDArray[np.int64], device: torch.device) -> Batch:
        """Samples uint8 (k, 3, H, W) on the device, what is true of each, and the map "class" where it is wanted."""
        import torch

        samples = torch.from_numpy(np.stack([self._pixels(int(row)) for row in rows]))
        if device.type != "cpu":
            samples = samples.pin_memory().to(device, non_blocking=True)
        truths = [self.pictures[row].truths for row in rows]
        maps = {}
        if self.maps is not None:
            maps[MAP] = torch.from_numpy(np.stack([self._map(int(row)) for row in rows])).to(device)
        return Batch(samples, truths, self.facts.ids[rows], np.asarray(rows), maps)

    def _map(self, row: int) -> NDArray[np.uint8]:
        """uint8 (H, W)."""
        assert self.maps is not None
        found = self._shelf.held.get(-1 - row)
        if found is None:
            found = self.maps(row)
            self._shelf.put(-1 - row, found)
        return found

    def _pixels(self, row: int) -> NDArray[np.uint8]:
        """uint8 (3, H, W)."""
        pixels = self._shelf.held.get(row)
        if pixels is None:
            shown = decoded(self.pictures[row].path, turn=self.turned[row], white=self.white)
            pixels = np.ascontiguousarray(shown.transpose(2, 0, 1))
            self._shelf.put(row, pixels)
        return pixels


class _Shelf:
    """Decoded pictures up to so many bytes; the first ones stay, since every cell shows all in the same order."""

    def __init__(self, room: int) -> None:
        self.held: dict[int, NDArray[np.uint8]] = {}
        self._room = room

    def put(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """Keep them where there is room."""
        if pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self.held[row] = pixels


def decoded(path: Path, *, turn: bool = False, white: float | None = None) -> NDArray[np.uint8]:
    """A picture as RGB bytes (H, W, 3), upright by its EXIF where `turn`; BadFile names one that is cut off or none."""
    return np.asarray(as_rgb(path, str(path), turn=turn, white=white))


def as_rgb(
    file: Path | BinaryIO, name: str, *, turn: bool = False, white: float | None = None
) -> Image.Image:
    """A picture in mode RGB, of a path or an open file; `name` is what BadFile calls it."""
    from PIL import Image, ImageOps

    from robustbench_ms.corruptions.pictures import as_bytes

    try:
        with Image.open(file) as picture:
            shown = ImageOps.exif_transpose(picture) if turn else picture
            return as_bytes(shown, white, option="--white ").convert("RGB")
    except UserError as error:
        raise BadFile(f"{name}: {error}") from error
    except FileNotFoundError:
        raise BadFile(f"{name} is missing") from None
    except Exception as error:  # Pillow's decoders raise half a dozen kinds
        raise BadFile(f"{name} is cut off or damaged ({error})".splitlines()[0]) from error


def header(path: Path) -> Found:
    """What a picture's file says of itself, its bytes' SHA-256 included; BadFile names one that is missing or none."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadFile(f"{path} is missing") from None
    except OSError as error:
        raise BadFile(f"{path} cannot be read ({error.strerror})") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF: it says nothing then
        return header_of(data, str(path))


def header_of(data: bytes, name: str) -> Found:
    """The same of a file's bytes; `name` is what BadFile calls it. Warns of damaged EXIF."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            try:
                turn = picture.getexif().get(_ORIENTATION, 1)
            except Exception:  # noqa: BLE001 - as many kinds as there are ways to be damaged
                turn = 1
    except Exception as error:
        raise BadFile(f"{name} is no picture that Pillow can read ({error})".splitlines()[0]) from error
    orientation = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    return Found(hashlib.sha256(data).hexdigest(), height, width, orientation)


def truths_of(rows: Sequence[Mapping[str, Any]], first: int, *, masks: bool = False) -> Truths:
    """What is true of one picture, of rows with box (xyxy), label, crowd, ignore, area[, rle]; ids from `first` on."""
    count = len(rows)
    found: Truths = {
        "boxes": np.array([row["box"] for row in rows], dtype=np.float32).reshape(count, 4),
        "labels": np.array([row["label"] for row in rows], dtype=np.int64),
        "crowd": np.array([row["crowd"] for row in rows], dtype=bool),
        "ignore": np.array([row["ignore"] for row in rows], dtype=bool),
        "area": np.array([row["area"] for row in rows], dtype=np.float64),
        "ids": np.arange(first, first + count, dtype=np.int64),
    }
    if masks:
        found["rles"] = [row["rle"] for row in rows]
    return found


def _turned(one: Named, file: Found, where: Path) -> tuple[bool, bool]:
    """Whether EXIF's orientation is applied, and whether the annotated size leaves that open."""
    said, stored = (one.height, one.width), (file.height, file.width)
    upright = stored[::-1] if file.orientation in LYING else stored
    if said == stored:
        return False, file.orientation != 1 and said == upright
    if said == upright:
        return True, False
    raise BadFile(
        f"{one.path} has {file.width} x {file.height} pixels, and {where} says {one.width} x {one.height}"
    )


def files_found(paths: Sequence[Path], where: Path, cache: Path) -> list[Found]:
    """What each picture's file says of itself; remembered by path, size and time. `where` is what named them."""
    if missing := [path for path in paths if not path.is_file()]:
        raise BadFile(
            f"{missing[0]} is missing, and {len(missing) - 1} more of the {len(paths)} pictures that {where} names"
            if len(missing) > 1
            else f"{missing[0]} is missing, which {where} names"
        )
    note = (
        cache / "digests" / f"pictures-{hashlib.sha256(str(where.resolve()).encode()).hexdigest()[:32]}.json"
    )
    known: dict[str, Any] = {}
    # A note that is damaged, or a cache that cannot be written, is only slower.
    with contextlib.suppress(OSError, ValueError):
        read = json.loads(note.read_text())
        known = read if isinstance(read, dict) else {}
    found, told = [], dict(known)
    for path in paths:
        at, stat = str(path.resolve()), path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        try:
            size, time, *rest = known[at]
            file = Found(*rest) if [size, time] == stamp else header(path)
        except (KeyError, TypeError, ValueError):
            file = header(path)
        told[at] = [*stamp, file.sha256, file.height, file.width, file.orientation]
        found.append(file)
    if told != known:
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            sweep(note.parent)
            with replacing(note) as part:
                part.write_text(json.dumps(told))
    return found
