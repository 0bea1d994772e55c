"""Volumes in NIfTI files: a folder as nnU-Net has it, or a table of paths and labels.

nnU-Net's has dataset.json, imagesTs (CASE_0000.nii.gz, a file a channel) and labelsTs (CASE.nii.gz). A table is a CSV
file with a first line of "path,label": of labels that are whole numbers, or paths of maps, relative to the table.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.nifti import ENDINGS, LARGEST, Scan, open_scan, read_map, read_scan
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.shapes import RaggedVolumes, Volumes
from robustbench_ms.datasets.volumes import index_of_stack, layout_of_volumes
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.conditions import Condition
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

__all__ = ["index_scans"]

_FOLDERS = {"test": "Ts", "train": "Tr"}


@dataclass(frozen=True)
class _Case:
    name: str
    channels: tuple[Path, ...]
    label: int = 0
    map: Path | None = None


def index_scans(source: Source, places: Places, condition: Condition) -> Index:
    """`path` in the suite's folder or else the data folder: a folder, or a table; BadFile names what is wrong in it.

    Volumes are read at once. They are of one spacing, and may be of several shapes.
    """
    del condition
    where = _found(source, places)
    maps = "map" in source.wants
    if where.is_dir():
        cases, names = _of_folder(where, source, maps=maps)
        count = len(names)
        if source.classes is not None and source.classes != count:
            raise UserError(f"{where} has {count} classes, which do not fit the suite's {source.classes}")
    else:
        if source.classes is None:
            raise UserError(f"{source.dataset}: of a table the suite must say how many classes there are")
        cases, names, count = _of_table(where, source.classes, maps=maps), (), source.classes
    scans = [[open_scan(path) for path in case.channels] for case in cases]
    _refuse_unlike(scans)
    each = [np.stack([read_scan(scan) for scan in channels]) for channels in scans]
    found = None
    if maps:
        pairs = zip(cases, scans, strict=True)
        found = [read_map(open_scan(case.map), first, count) for case, (first, *_) in pairs if case.map]
    shapes, spacing = [scan.shape for scan, *_ in scans], scans[0][0].spacing
    layout: Volumes | RaggedVolumes
    volumes: Sequence[NDArray[Any]] | NDArray[Any] = each
    masks: Sequence[NDArray[np.uint8]] | NDArray[np.uint8] | None = found
    if len({*shapes}) == 1:
        volumes, masks = np.stack(each), None if found is None else np.stack(found)
        layout = layout_of_volumes(volumes, spacing)
    else:
        layout = RaggedVolumes(len(scans[0]), np.array(shapes, dtype=np.int64), spacing)
    return index_of_stack(
        source, volumes, np.array([case.label for case in cases]), count,
        layout, masks=masks,
        ids=np.array([_id(case.name) for case in cases]), names=names, what=str(where),
    )  # fmt: skip


def _found(source: Source, places: Places) -> Path:
    told = source.options.get("path")
    if not isinstance(told, str) or not told:
        raise UserError(
            f'the data set {source.dataset} needs path = "FOLDER" with dataset.json, or "TABLE.csv", not {told!r}'
        )
    folders = [folder for folder in (source.folder, places.data) if folder is not None]
    found = next((folder / told for folder in folders if (folder / told).exists()), None)
    if found is None:
        raise BadFile(f"{source.dataset}: {told} is neither in {' nor in '.join(map(str, folders))}")
    return found


def _of_folder(root: Path, source: Source, *, maps: bool) -> tuple[list[_Case], tuple[str, ...]]:
    """The cases in the order of their names, and the names of the classes."""
    if not maps:
        raise UserError(f"{root} has a map for each volume, and no label: it is for segmentation")
    try:
        told = json.loads((root / "dataset.json").read_text(encoding="utf-8"))
        labels, ending = told["labels"], told.get("file_ending", ".nii.gz")
        channels = len(told.get("channel_names", told.get("modality")))
    except FileNotFoundError as error:
        raise BadFile(f"{root} has no dataset.json, which says what its labels are called") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFile(
            f"{root / 'dataset.json'} is no JSON with labels and channel_names ({error})"
        ) from error
    names = _names(labels, root / "dataset.json")
    if ending not in ENDINGS:
        raise BadFile(f"{root / 'dataset.json'}: file_ending must be {' or '.join(ENDINGS)}, not {ending!r}")
    images, truths = (root / f"{what}{_FOLDERS[source.split]}" for what in ("images", "labels"))
    first = f"_{0:04d}{ending}"
    cases = []
    for path in sorted(images.glob(f"*{first}")):
        name = path.name.removesuffix(first)
        files = tuple(images / f"{name}_{k:04d}{ending}" for k in range(channels))
        cases.append(_Case(name, files, map=truths / f"{name}{ending}"))
    if not cases:
        if any(images.rglob("*.dcm")):
            raise BadFile(f"{images} holds DICOM files: convert each series to NIfTI first, as dcm2niix does")
        raise BadFile(f"{images} has no volume CASE{first}")
    _refuse_missing([path for case in cases for path in (*case.channels, case.map) if path])
    return cases, names


def _names(labels: Any, place: Path) -> tuple[str, ...]:
    """The classes from 0 on, of {"name": number}, or as older files have it {"number": name}."""
    if not isinstance(labels, dict) or not labels:
        raise BadFile(f"{place}: labels must be names with their numbers")
    pairs = {str(number): name for name, number in labels.items()}
    if all(isinstance(name, str) for name in labels.values()):
        pairs = labels
    wanted = [str(k) for k in range(len(labels))]
    if "ignore" in labels or {*pairs} != {*wanted}:
        raise BadFile(
            f"{place}: labels must be numbered 0 to {len(labels) - 1}; regions and ignored ones are not read"
        )
    return tuple(str(pairs[k]) for k in wanted)


def _of_table(path: Path, classes: int, *, maps: bool) -> list[_Case]:
    """The cases in the table's order."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"{path} is no table of paths and labels ({error})") from error
    if not rows or [word.strip() for word in rows[0]] != ["path", "label"]:
        raise BadFile(
            f'{path}: the first line must be "path,label", not {",".join(rows[0]) if rows else ""!r}'
        )
    cases = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2:
            raise BadFile(f"{path}, line {number}: a path and a label are wanted, not {len(row)} words")
        name, label = row[0].strip(), row[1].strip()
        if maps:
            cases.append(_Case(name, (path.parent / name,), map=path.parent / label))
            continue
        if not label.isdecimal() or int(label) >= classes:
            raise BadFile(f"{path}, line {number}: label {label!r} is no whole number of 0 to {classes - 1}")
        cases.append(_Case(name, (path.parent / name,), int(label)))
    if not cases:
        raise BadFile(f"{path} names no volume: an empty data set cannot be measured")
    if len({case.name for case in cases}) < len(cases):
        raise BadFile(f"{path} names a volume twice")
    _refuse_missing([one for case in cases for one in (*case.channels, case.map) if one])
    return cases


def _refuse_missing(paths: Sequence[Path]) -> None:
    lacking = [path for path in paths if not path.is_file()]
    if lacking:
        more = f", nor are {len(lacking) - 1} others" if len(lacking) > 1 else ""
        raise BadFile(f"{lacking[0]} is not there{more}")


def _refuse_unlike(scans: Sequence[Sequence[Scan]]) -> None:
    """BadFile unless channels are of one shape, all volumes of one spacing, and all fit into memory together."""
    first = scans[0][0]
    for channels in scans:
        for one in channels:
            if not np.allclose(one.spacing, first.spacing, rtol=1e-3, atol=0):
                raise BadFile(
                    f"{_told(first)}, and {_told(one)}: volumes of one suite are of one spacing; resample them first"
                )
            if one.shape != channels[0].shape:
                raise BadFile(
                    f"{_told(channels[0])}, and {_told(one)}: channels of one volume are of one shape; resample them "
                    "first"
                )
    if (size := sum(4 * int(np.prod(one.shape)) for channels in scans for one in channels)) > 4 * LARGEST:
        raise BadFile(
            f"{first.path.parent} holds {size / 2**30:.0f} GiB of volumes, and all are kept in memory"
        )


def _told(scan: Scan) -> str:
    shape, spacing = " x ".join(map(str, scan.shape)), " x ".join(f"{step:.4g}" for step in scan.spacing)
    return f"{scan.path} has {shape} voxels of {spacing} mm"


def _id(name: str) -> int:
    """A number that keys what is drawn of a case: whole in JSON's doubles too."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) >> 11
