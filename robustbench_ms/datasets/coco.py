"""Pictures with annotations in COCO's format (cocodataset.org/#format-data): boxes, and masks where they are wanted.

All pictures of the annotation file count, also those without an object. Annotation ids are numbered anew, from 1 in the
file's order: pycocotools takes id 0 for "unmatched", and mixes up what has one id. Picture and category ids stay.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.pictures import decoded, files_digest
from robustbench_ms.datasets.protocol import Batch, DataFacts, Index, RaggedImages, rows_of_one_shape
from robustbench_ms.errors import BadFile, UserError, suggest
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

if TYPE_CHECKING:
    import torch

__all__ = ["Annotated", "CocoPictures", "index_coco", "read_annotations"]

FOLDERS = ("coco", "coco-mini")
"""Where in the data folder COCO may lie: whole, or a few of its pictures."""


@dataclass(frozen=True)
class Annotated:
    """A picture and what is true of it."""

    id: int
    file: str
    height: int
    width: int
    annotations: tuple[Mapping[str, Any], ...]
    """As the file has them: bbox, category_id, iscrowd, area, segmentation."""
    first: int
    """The new id of its first annotation."""


@dataclass(frozen=True)
class Annotations:
    """A whole file."""

    pictures: tuple[Annotated, ...]
    """By id."""
    categories: tuple[tuple[int, str], ...]
    """(id, name), by id."""
    asked: str
    """Digest of what is asked: ids, boxes, categories and shapes."""
    notes: tuple[str, ...]
    """What was mended."""


def read_annotations(path: Path) -> Annotations:
    """An annotation file, every fault named; BadFile where it is none. Nothing is decoded."""
    stat = path.stat() if path.is_file() else None
    if stat is None:
        raise BadFile(f"{path} is missing")
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)  # each condition asks for it
def _read(path: Path, changed: int, size: int) -> Annotations:
    del changed, size
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not valid JSON ({error})".splitlines()[0]) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(told, dict) or not isinstance(told.get(key), list):
            raise BadFile(f"{path}: no annotations in COCO's format: it has no list of {key}")
    categories = sorted((_whole(c, "id", f"{path}: category"), str(c.get("name"))) for c in told["categories"])
    _once([number for number, _ in categories], f"{path}: category")
    known = {number for number, _ in categories}
    images = {}
    for one in told["images"]:
        number = _whole(one, "id", f"{path}: image")
        if number in images:
            raise BadFile(f"{path}: image {number} stands in it twice")
        images[number] = one
    if not images or len(categories) < 1:
        raise BadFile(f"{path}: there is no {'category' if images else 'image'} in it")
    of: dict[int, list[Mapping[str, Any]]] = {number: [] for number in images}
    given = [one.get("id") if isinstance(one, dict) else None for one in told["annotations"]]
    for one, number in zip(told["annotations"], given, strict=True):
        where = f"{path}: annotation {number}"
        image, category = _whole(one, "image_id", where), _whole(one, "category_id", where)
        if image not in of:
            raise BadFile(f"{where} is of image {image}, which the file does not have")
        if category not in known:
            raise BadFile(f"{where} is of category {category}, which the file does not have")
        _check_box(one, where)
        of[image].append(one)
    pictures, first = [], 1
    for number, one in images.items():
        where = f"{path}: image {number}"
        height, width = _whole(one, "height", where), _whole(one, "width", where)
        if height < 1 or width < 1 or not isinstance(one.get("file_name"), str):
            raise BadFile(f"{where} has no size or no file_name")
        pictures.append(Annotated(number, one["file_name"], height, width, tuple(of[number]), first))
        first += len(of[number])
    doubled = len(given) - len({*map(str, given)})
    notes = []
    if doubled or 0 in given:
        what = f"{doubled} annotation ids stand twice" if doubled else "an annotation has the id 0"
        notes.append(f"{path.name}: {what}, which pycocotools takes for unmatched; they are numbered anew from 1")
    asked = hashlib.sha256()
    for one in sorted(pictures, key=lambda p: p.id):
        told_of = [[a["bbox"], a["category_id"], bool(a.get("iscrowd", 0)), a.get("area"), a.get("segmentation")]
                   for a in one.annotations]  # fmt: skip
        asked.update(json.dumps([one.id, one.height, one.width, told_of], sort_keys=True).encode())
    return Annotations(
        tuple(sorted(pictures, key=lambda p: p.id)), tuple(categories), asked.hexdigest(), tuple(notes)
    )


def _whole(told: Any, key: str, where: str) -> int:
    value = told.get(key) if isinstance(told, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise BadFile(f"{where}: {key} must be a whole number, not {value!r}")
    return value


def _once(numbers: Sequence[int], what: str) -> None:
    for number in numbers:
        if numbers.count(number) > 1:
            raise BadFile(f"{what} {number} stands in it twice")


def _check_box(told: Mapping[str, Any], where: str) -> None:
    """A box of four numbers, no side below 0: one of no size, or beyond the picture, counts as pycocotools has it."""
    box = told.get("bbox")
    good = isinstance(box, list) and len(box) == 4
    if not good or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in box or ()):
        raise BadFile(f"{where}: bbox must be four numbers x, y, width, height, not {box!r}")
    assert box is not None
    if box[2] < 0 or box[3] < 0:
        raise BadFile(f"{where}: its box has a side below 0 ({box[2]:g} x {box[3]:g})")
    area = told.get("area", 0)
    if not isinstance(area, (int, float)) or not math.isfinite(area) or area < 0:
        raise BadFile(f"{where}: area must be 0 or more, not {area!r}")


class CocoPictures:
    """Some pictures of an annotation file, decoded as they are asked for."""

    def __init__(
        self, chosen: Sequence[Annotated], whole: Annotations, folder: Path, places: Places, wants: tuple[str, ...]
    ) -> None:
        self._chosen, self._folder, self._wants = tuple(chosen), folder, wants
        self._place = {number: i for i, (number, _) in enumerate(whole.categories)}
        ids = np.array([one.id for one in chosen], dtype=np.int64)
        sizes = np.array([(one.height, one.width) for one in chosen], dtype=np.int64)
        paths = [folder / one.file for one in chosen]
        if missing := [path for path in paths if not path.is_file()]:
            more = f", and {len(missing) - 1} more are" if len(missing) > 1 else " is"
            raise BadFile(f"{missing[0]}{more} missing, and the annotations have it")
        digest = hashlib.sha256(f"{files_digest(paths, places.cache)} {_asked(chosen, whole)}".encode())
        names = tuple(name for _, name in whole.categories)
        self.facts = DataFacts(
            len(ids), digest.hexdigest(), ids, None, len(names), corrupted=False,
            layout=RaggedImages(3, sizes), names=names,
        )  # fmt: skip

    def batches(self, size: int) -> Iterator[NDArray[np.int64]]:
        """Rows of one size of pictures after the other."""
        return rows_of_one_shape(self.facts, size)

    def load(self, rows: NDArray[np.int64], device: torch.device) -> Batch:
        """Pictures uint8 (k, 3, H, W) on the device, and a dict of arrays each."""
        import torch

        chosen = [self._chosen[row] for row in rows]
        stack = [decoded(self._folder / one.file, one.height, one.width) for one in chosen]
        samples = torch.from_numpy(np.stack(stack)).permute(0, 3, 1, 2).contiguous().to(device)
        return Batch(samples, [self._target(one) for one in chosen], self.facts.ids[rows], np.asarray(rows))

    def _target(self, one: Annotated) -> dict[str, Any]:
        told, k = one.annotations, len(one.annotations)
        boxes = np.array([a["bbox"] for a in told], dtype=np.float64).reshape(k, 4)
        found = {
            "boxes": np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).astype(np.float32),
            "labels": np.array([self._place[a["category_id"]] for a in told], dtype=np.int64),
            "crowd": np.array([bool(a.get("iscrowd", 0)) for a in told], dtype=bool),
            "ignore": np.zeros(k, dtype=bool),
            "area": np.array([a.get("area", a["bbox"][2] * a["bbox"][3]) for a in told], dtype=np.float64),
            "ids": np.arange(one.first, one.first + k),
        }
        if "masks" in self._wants:
            found["rles"] = [_counts(a.get("segmentation"), one) for a in told]
        return found


def _counts(shape: Any, one: Annotated) -> bytes:
    """COCO's run lengths of a shape: polygons, or run lengths as numbers or as text."""
    from pycocotools import mask as rle

    try:
        if isinstance(shape, list):
            made = rle.merge(rle.frPyObjects(shape, one.height, one.width))
        elif isinstance(shape["counts"], list):
            made = rle.frPyObjects(shape, one.height, one.width)
        else:
            made = shape
        counts = made["counts"]
    except Exception as error:  # pycocotools raises whatever its C code stumbles over
        raise BadFile(f"image {one.id}: an annotation's segmentation is none ({error})".splitlines()[0]) from error
    return counts if isinstance(counts, bytes) else str(counts).encode("ascii")


def _asked(chosen: Sequence[Annotated], whole: Annotations) -> str:
    return hashlib.sha256(f"{whole.asked} {[one.id for one in chosen]}".encode()).hexdigest()


def index_coco(source: Source, places: Places, condition: Condition) -> Index:
    """COCO's val2017 or train2017, or any folder in its format, under options of the source.

    `annotations` and `pictures` name the file and the folder, relative to the source's folder; `ids` a list of picture
    ids beside it, one a line, of which the split is.
    """
    del condition  # the same pictures under every condition
    if lacking := [want for want in source.wants if want not in {"boxes", "masks"}]:
        raise UserError(f"{source.dataset} has boxes and masks, and no {lacking[0]} of a sample")
    annotations, folder = _found(source, places)
    whole = read_annotations(annotations)
    chosen: Sequence[Annotated] = whole.pictures
    if "ids" in source.options:
        chosen = _listed(whole, source, annotations)
    if source.classes is not None and source.classes != len(whole.categories):
        raise BadFile(
            f"{annotations} has {len(whole.categories)} categories, and the suite says {source.classes} classes"
        )
    ids = np.array([one.id for one in chosen], dtype=np.int64)
    sizes = np.array([(one.height, one.width) for one in chosen], dtype=np.int64)

    def opened(canvas: str) -> CocoPictures:
        del canvas  # "stored", the only one
        return CocoPictures(chosen, whole, folder, places, source.wants)

    return Index(
        ids, RaggedImages(3, sizes), len(whole.categories), _asked(chosen, whole), opened,
        names=tuple(name for _, name in whole.categories),
        category_ids=tuple(number for number, _ in whole.categories), notes=whole.notes,
    )  # fmt: skip


def _listed(whole: Annotations, source: Source, annotations: Path) -> list[Annotated]:
    """The pictures of a list of ids."""
    path = (source.folder or Path()) / str(source.options["ids"])
    try:
        wanted = [int(line) for line in path.read_text(encoding="utf-8").split()]
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} must list picture ids, one a line ({error})") from error
    known = {one.id: one for one in whole.pictures}
    if missing := [number for number in wanted if number not in known]:
        raise BadFile(
            f"{annotations} lacks {len(missing)} of the {len(wanted)} pictures in {path.name}, as {missing[0]}"
        )
    return [known[number] for number in sorted({*wanted})]


def _found(source: Source, places: Places) -> tuple[Path, Path]:
    """The annotation file and the folder of its pictures."""
    if "annotations" in source.options:
        folder = source.folder or Path()
        annotations = folder / str(source.options["annotations"])
        return annotations, folder / str(source.options.get("pictures", "."))
    split = {"test": "val2017", "train": "train2017"}.get(source.split, source.split)
    tried = [places.data / name for name in FOLDERS]
    for folder in tried:
        annotations = folder / "annotations" / f"instances_{split}.json"
        if annotations.is_file():
            return annotations, folder / split
    near = sorted(p.name for folder in tried if folder.is_dir() for p in folder.glob("**/*.json"))
    raise BadFile(
        f"{source.dataset}: annotations/instances_{split}.json is neither in {' nor in '.join(map(str, tried))}"
        f"{suggest(f'instances_{split}.json', near)}; cocodataset.org has it"
    )
