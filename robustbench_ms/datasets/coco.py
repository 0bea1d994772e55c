"""Pictures annotated in COCO's format: the official sets, and anybody's folder (cocodataset.org, "Data format").

Boxes stay as they are annotated, as in pycocotools: what lies outside of its picture or has no width counts as an
object, and a note says how many. Classes are the places of the categories in the order of their ids.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.coco_masks import painted, painting_order
from robustbench_ms.datasets.listed import folders_of
from robustbench_ms.datasets.located import FOLDERS
from robustbench_ms.datasets.pictures import Named, check_wants, index_pictures, truths_of
from robustbench_ms.datasets.protocol import IGNORED, Index
from robustbench_ms.datasets.published import COCO
from robustbench_ms.errors import BadFile, UserError, suggest
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["chosen_ids", "count_chosen", "index_coco", "index_coco_folder"]

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Annotations:
    """An annotation file, held to its format."""

    images: Rows
    """id, file_name, height, width; in the order of the file."""
    category_ids: tuple[int, ...]
    names: tuple[str, ...]
    of: Mapping[int, Rows]
    """The annotations of an image id, in the order of the file; "place" is where in the file each stands."""


def index_coco(source: Source, places: Places, condition: Condition) -> Index:
    """A split of COCO as it is unpacked: annotations/instances_<split>.json and <split>/ in one folder.

    The folder is one of the suite's `folders` ("coco" unless it says others) in the data folder, or that itself.
    `ids` names a list of image ids beside the suite: these alone are shown, and these files alone are needed.
    """
    del condition
    name = f"instances_{source.split}.json"
    roots = [*folders_of(source, places, FOLDERS["coco"]), places.data]
    found = [root for root in roots if (root / "annotations" / name).is_file()]
    if not found:
        raise BadFile(
            f"{source.dataset}: annotations/{name} is neither in {' nor in '.join(map(str, roots))}; rbms fetch coco, "
            f"or unpack annotations_trainval2017.zip and {source.split}.zip of https://cocodataset.org there"
        )
    return _index(source, places, found[0] / "annotations" / name, [found[0] / source.split])


def index_coco_folder(source: Source, places: Places, condition: Condition) -> Index:
    """Anybody's annotation file, `annotations`, in the suite's folder or else in the data folder.

    Its pictures lie in `pictures` beside it, or where they mostly do: beside the file, or for
    annotations/instances_X.json in X, images/X or images beside that folder.
    """
    del condition
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    name = source.options.get("annotations")
    if not isinstance(name, str):
        raise UserError(
            f"{source.dataset}: the key 'annotations' is missing: the annotation file in COCO's format"
        )
    file = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if file is None:
        raise BadFile(f"{source.dataset}: {name} is neither in {' nor in '.join(map(str, folders))}")
    white = source.options.get("white")
    if white is not None:
        from robustbench_ms.corruptions.pictures import checked_white

        white = checked_white(white)
    told = source.options.get("pictures")
    pictures = _pictures_of(file, folders) if told is None else [file.parent / str(told)]
    return _index(source, places, file, pictures, white)


def _pictures_of(file: Path, folders: Sequence[Path]) -> list[Path]:
    """The folders in which an annotation file's pictures may lie, the likeliest first."""
    split = file.stem.removeprefix("instances_")
    above = file.parent.parent if file.parent.name == "annotations" else file.parent
    likely = [
        found
        for root in (above, *folders)
        for found in (root / split, root / "images" / split, root / "images", root)
    ]
    return list(dict.fromkeys([*likely, file.parent]))


def _index(
    source: Source, places: Places, file: Path, folders: Sequence[Path], white: float | None = None
) -> Index:
    check_wants(source, "boxes", "masks", "shapes", "map")
    stat = file.stat()
    read = _read(file, stat.st_size, stat.st_mtime_ns)
    if source.classes is not None and source.classes != len(read.names):
        raise UserError(
            f"{file} has {len(read.names)} categories, which do not fit the suite's {source.classes} classes"
        )
    images = _chosen(read.images, chosen_ids(source), file)
    if not images:
        raise BadFile(f"{file} names no image: an empty data set cannot be measured")
    first = images[0]["file_name"]
    folder = next((folder for folder in folders if (folder / first).is_file()), None)
    if folder is None:
        raise BadFile(f"{file}: {first} is missing; it is neither in {' nor in '.join(map(str, folders))}")
    mapped = "map" in source.wants
    masks, number = mapped or bool({"masks", "shapes"} & {*source.wants}), 1
    orders = []
    pictures, every = [], []
    classes = {category: place for place, category in enumerate(read.category_ids)}
    for image in images:
        rows = read.of.get(image["id"], [])
        truths = truths_of([_truth(row, image, classes, masks=masks) for row in rows], number, masks=masks)
        number += len(rows)
        every += [(row, image) for row in rows]
        said = [
            image["id"], image["height"], image["width"],
            [[classes[r["category_id"]], r["bbox"], r["area"], r["iscrowd"], r.get("segmentation")] for r in rows],
        ]  # fmt: skip
        if mapped:
            orders.append(painting_order(rows))
            truths["classes"] = len(read.names) + 1
            said.append(orders[-1])
        pictures.append(
            Named(
                image["id"],
                folder / image["file_name"],
                image["height"],
                image["width"],
                truths,
                hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
            )
        )
    notes = [f"{file}: {note}" for note in _notes(every)]
    size = COCO.get(source.split, len(images)) if "ids" not in source.options else len(images)
    if size != len(images):
        notes.append(f"{file} names {len(images):,} images, and {source.split} as published has {size:,}")
    if not mapped:
        return index_pictures(pictures, read.names, read.category_ids, file, places, tuple(notes), white)

    def drawn(row: int) -> NDArray[np.uint8]:
        return painted(pictures[row].truths, orders[row], pictures[row].height, pictures[row].width)

    if len(read.names) >= IGNORED:
        raise UserError(
            f"{file} has {len(read.names)} categories, and label maps have room for {IGNORED - 1}"
        )
    names = ("background", *read.names)
    return index_pictures(
        pictures, names, read.category_ids, file, places, tuple(notes), white, maps=drawn, classes=len(names)
    )


def chosen_ids(source: Source) -> tuple[int, ...] | None:
    """The ids in the list that the option `ids` names, one a line; None where it names none."""
    name = source.options.get("ids")
    if name is None:
        return None
    folder = source.folder or Path()
    path = folder / str(name)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: the list of ids cannot be read ({error})") from error
    ids: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if not word:
            continue
        if not word.isascii() or not word.isdigit():
            raise BadFile(f"{path}: line {number} must be an image id, not {word!r}")
        if int(word) in ids:
            raise BadFile(f"{path}: line {number} has the id {word} of line {ids[int(word)]} again")
        ids[int(word)] = number
    if not ids:
        raise BadFile(f"{path} has no image id")
    return tuple(ids)


def count_chosen(source: Source) -> int | None:
    """How many images a list of ids names; None where there is none."""
    ids = chosen_ids(source)
    return None if ids is None else len(ids)


def _chosen(images: Rows, ids: tuple[int, ...] | None, file: Path) -> Rows:
    """The images of the ids, in the order of the file."""
    if ids is None:
        return images
    wanted = set(ids)
    found = [image for image in images if image["id"] in wanted]
    if lacking := wanted - {image["id"] for image in found}:
        raise BadFile(f"{file} has no image {min(lacking)}, one of {len(lacking)} that the suite lists")
    return found


@lru_cache(maxsize=2)  # a run indexes its data more than once
def _read(file: Path, size: int, time: int) -> Annotations:
    """The file, each fault one sentence with its place; size and time say that it is the same still."""
    del size, time
    try:
        whole = json.loads(file.read_bytes(), parse_constant=_no_number)
    except OSError as error:
        raise BadFile(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{file}: not valid JSON: {error}") from error
    if not isinstance(whole, dict):
        raise BadFile(f"{file} must hold an object with images, annotations and categories")
    images = [_image(row, f"{file}: images[{i}]") for i, row in enumerate(_list(whole, "images", file))]
    _once(images, "image", file)
    categories = [
        _category(row, f"{file}: categories[{i}]") for i, row in enumerate(_list(whole, "categories", file))
    ]
    _once(categories, "category", file)
    if not categories:
        raise BadFile(f"{file} has no categories")
    categories.sort(key=lambda row: int(row["id"]))
    known, kinds = {row["id"] for row in images}, {row["id"] for row in categories}
    of: dict[int, Rows] = {}
    for i, row in enumerate(_list(whole, "annotations", file)):
        told = _annotation(row, f"{file}: annotations[{i}]", known, kinds)
        of.setdefault(told["image_id"], []).append(told)
    return Annotations(
        images, tuple(row["id"] for row in categories), tuple(row["name"] for row in categories), of
    )


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _list(whole: Mapping[str, Any], key: str, file: Path) -> list[Any]:
    if key not in whole:
        raise BadFile(f"{file} has no {key!r}{suggest(key, whole)}")
    if not isinstance(whole[key], list):
        raise BadFile(f"{file}: {key} must be a list")
    found: list[Any] = whole[key]
    return found


def _once(rows: Rows, what: str, file: Path) -> None:
    """BadFile where an id stands twice: which one an annotation means would be a guess."""
    seen: set[int] = set()
    for row in rows:
        if row["id"] in seen:
            raise BadFile(f"{file} has the {what} id {row['id']} twice")
        seen.add(row["id"])


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(row: Mapping[str, Any], key: str, place: str) -> int:
    value = row.get(key)
    if type(value) is not int:
        raise BadFile(
            f"{place}: {key} must be a whole number, not {value!r}"
            if key in row
            else f"{place} has no {key!r}{suggest(key, row)}"
        )
    return value


def _word(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise BadFile(f"{place}: {key} must be a string with something in it, not {value!r}")
    return value


def _object(row: object, place: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise BadFile(f"{place} must be an object, not {row!r}"[:200])
    return row


def _image(row: object, place: str) -> dict[str, Any]:
    told = _object(row, place)
    name, height, width = (
        _word(told, "file_name", place),
        _whole(told, "height", place),
        _whole(told, "width", place),
    )
    if height < 1 or width < 1:
        raise BadFile(f"{place}: {name} would have {width} x {height} pixels")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise BadFile(f"{place}: file_name must be a path inside the pictures' folder, not {name!r}")
    number = _whole(told, "id", place)
    if not 0 <= number < 2**63:
        raise BadFile(f"{place}: id must be 0 or more, in 64 bits, not {number}")
    return {"id": number, "file_name": name, "height": height, "width": width}


def _category(row: object, place: str) -> dict[str, Any]:
    told = _object(row, place)
    return {"id": _whole(told, "id", place), "name": _word(told, "name", place)}


def _annotation(row: object, place: str, images: set[int], categories: set[int]) -> dict[str, Any]:
    """What is kept of an annotation; an area that is not annotated is the box's, and "told" says so."""
    given = _object(row, place)
    image, category = _whole(given, "image_id", place), _whole(given, "category_id", place)
    if image not in images:
        raise BadFile(f"{place}: no image has the id {image}")
    if category not in categories:
        raise BadFile(f"{place}: no category has the id {category}")
    box = given.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(v) and abs(v) < 2**31 for v in box):
        raise BadFile(f"{place}: bbox must be x, y, width and height, four numbers, not {box!r}"[:300])
    if box[2] < 0 or box[3] < 0:
        raise BadFile(f"{place}: bbox has a width or height below 0: {box}")
    area, crowd = given.get("area"), given.get("iscrowd", 0)
    if area is not None and not (_is_number(area) and area >= 0):
        raise BadFile(f"{place}: area must be a number of 0 or more, not {area!r}")
    if crowd not in (0, 1):  # a tuple: what no set can hold may stand there
        raise BadFile(f"{place}: iscrowd must be 0 or 1, not {crowd!r}")
    return {
        "place": place,
        "id": given.get("id"),
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "area": box[2] * box[3] if area is None else area,
        "told": area is not None,
        "iscrowd": int(crowd),
        "segmentation": given.get("segmentation"),
    }


def _truth(
    row: Mapping[str, Any], image: Mapping[str, Any], classes: Mapping[int, int], *, masks: bool
) -> dict[str, Any]:
    x, y, width, height = row["bbox"]
    found = {
        "box": (x, y, x + width, y + height),
        "label": classes[row["category_id"]],
        "crowd": row["iscrowd"],
        "ignore": False,
        "area": row["area"],
    }
    if masks:
        from robustbench_ms.datasets.coco_masks import counts_of

        found["rle"] = counts_of(row["segmentation"], image["height"], image["width"], row["place"])
    return found


def _notes(rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """What was mended, and what stayed though it is odd."""
    ids = [row["id"] for row, _ in rows]
    flat = sum(not (row["bbox"][2] and row["bbox"][3]) for row, _ in rows)
    outside = sum(
        min(row["bbox"][:2]) < -1
        or row["bbox"][0] + row["bbox"][2] > image["width"] + 1
        or row["bbox"][1] + row["bbox"][3] > image["height"] + 1
        for row, image in rows
    )
    without = sum(not row["told"] for row, _ in rows)
    notes = []
    if not all(type(i) is int and i > 0 for i in ids) or len(set(ids)) < len(ids):
        notes.append("annotation ids are missing, doubled or below 1; they were numbered again from 1")
    if without:
        notes.append(f"{without} annotations have no area; width x height of the box stands for it")
    if flat:
        notes.append(f"{flat} boxes have no width or no height: objects that no detection can match")
    if outside:
        notes.append(
            f"{outside} boxes reach out of their pictures by more than a pixel, and stay as they are"
        )
    return notes
