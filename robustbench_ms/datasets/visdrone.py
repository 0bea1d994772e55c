"""VisDrone-DET in its own annotation format (Zhu et al., TPAMI 2021; VisDrone2018-DET-toolkit).

A text file a picture, a row an object: left, top, width, height, score, category, truncation, occlusion; some files end
their rows with a comma. Category 0 is an ignored region, 1 to 10 are the classes, 11 is "others". In the ground truth
a score of 0 says that an object is to be ignored.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from robustbench_ms.datasets.located import FOLDERS
from robustbench_ms.datasets.pictures import Named, check_wants, files_found, index_pictures, truths_of
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.published import VISDRONE
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["NAMES", "REGION", "index_visdrone"]

NAMES = (
    "pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor",
)  # fmt: skip
REGION = len(NAMES)
"""The label of an ignored region, which no class has."""

_FIELDS = ("left", "top", "width", "height", "score", "category", "truncation", "occlusion")
_OTHERS = 11
_PICTURES = {".jpg", ".jpeg", ".png"}


def index_visdrone(source: Source, places: Places, condition: Condition) -> Index:
    """A split as it is unpacked, VisDrone2019-DET-<split>/{images,annotations}, in the data folder or its visdrone/.

    Ignored regions are truths of the label `REGION` with `ignore`; objects of score 0 have `ignore` and their class;
    "others" are left out, as the official toolkit never asks about them. Pictures are in the order of their names, and
    their ids are 53 bits of the SHA-256 of these. A picture's size is its file's, whatever EXIF says of it.
    """
    del condition
    check_wants(source, "boxes")
    name = f"VisDrone2019-DET-{source.split}"
    roots = [places.data / folder / name for folder in FOLDERS["visdrone"]]
    root = next((root for root in roots if (root / "annotations").is_dir()), None)
    if root is None:
        raise BadFile(
            f"{source.dataset}: {name}/annotations is neither in {places.data} nor in its visdrone/; "
            f"rbms fetch visdrone, or unpack {name}.zip of https://github.com/VisDrone/VisDrone-Dataset there"
        )
    files = {path.stem: path for path in sorted((root / "annotations").glob("*.txt"))}
    shown = (
        {path.stem: path for path in sorted((root / "images").iterdir()) if path.suffix.lower() in _PICTURES}
        if (root / "images").is_dir()
        else {}
    )
    _paired(files, shown, root)
    pictures, number, flat = [], 1, 0
    found = files_found([shown[stem] for stem in files], root, places.cache)
    for (stem, file), seen in zip(files.items(), found, strict=True):
        rows = _rows(file)
        kept = [_truth(row) for row in rows if row["category"] != _OTHERS]
        flat += sum(row["category"] != _OTHERS and not row["width"] * row["height"] for row in rows)
        key = int.from_bytes(hashlib.sha256(stem.encode()).digest()[:8]) >> 11  # whole in JSON's doubles too
        said = [key, seen.height, seen.width, [list(row.values()) for row in rows]]
        pictures.append(
            Named(key, shown[stem], seen.height, seen.width, truths_of(kept, number), _digest(said))
        )
        number += len(kept)
    notes = []
    if flat:
        notes.append(f"{root}: {flat} boxes have no width or no height: objects that no detection can match")
    size = VISDRONE[source.split]
    if size != len(pictures):
        notes.append(f"{root} has {len(pictures):,} pictures, and {source.split} as published has {size:,}")
    ids = tuple(range(1, REGION + 1))
    return index_pictures(pictures, NAMES, ids, root, places, tuple(notes))


def _digest(said: list[Any]) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def _paired(files: dict[str, Path], shown: dict[str, Path], root: Path) -> None:
    """BadFile where a picture has no annotations, or the other way round."""
    if alone := sorted(files.keys() - shown.keys()):
        raise BadFile(f"{root}/images has no picture {alone[0]}.jpg, which {files[alone[0]]} annotates")
    if alone := sorted(shown.keys() - files.keys()):
        raise BadFile(f"{root}/annotations has no {alone[0]}.txt for {shown[alone[0]]}")


def _rows(file: Path) -> list[dict[str, int]]:
    """The rows of an annotation file, as whole numbers by their fields; BadFile names the line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{file} cannot be read ({error})") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        words = [word.strip() for word in line.strip().removesuffix(",").split(",")]
        if len(words) != len(_FIELDS):
            raise BadFile(f"{file}: line {number} has {len(words)} numbers, not {len(_FIELDS)}")
        row = {}
        for field, word in zip(_FIELDS, words, strict=True):
            try:
                row[field] = int(word)
            except ValueError:
                raise BadFile(
                    f"{file}: line {number}: {field} must be a whole number, not {word!r}"
                ) from None
        for field, most in (("score", 1), ("category", _OTHERS)):
            if not 0 <= row[field] <= most:
                raise BadFile(f"{file}: line {number}: {field} must be in 0..{most}, not {row[field]}")
        if row["width"] < 0 or row["height"] < 0:
            raise BadFile(f"{file}: line {number}: the box has a width or height below 0")
        found.append(row)
    return found


def _truth(row: dict[str, int]) -> dict[str, Any]:
    region = row["category"] == 0
    x, y, width, height = (row[field] for field in _FIELDS[:4])
    return {
        "box": (x, y, x + width, y + height),
        "label": REGION if region else row["category"] - 1,
        "crowd": False,
        "ignore": region or row["score"] == 0,
        "area": width * height,
    }
