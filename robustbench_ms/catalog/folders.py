"""Pictures at a path, with boxes or with classes, as a suite made on the spot."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_ms.catalog.columns import columns_of
from robustbench_ms.catalog.registry import DATASETS, PERTURBATIONS, index_of, task_of
from robustbench_ms.errors import UserError, choose, suggest
from robustbench_ms.specs.conditions import conditions
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Tell

__all__ = ["annotation_files", "folder_suite", "is_pictures", "without_broken"]

_PROFILE = "any-size"
_FILES = {".csv", ".tar", ".parquet"}
"""What a file of pictures, or of their names, may end in."""


def is_pictures(path: Path) -> bool:
    """Whether a path may be pictures: a folder, or a file that holds or names some."""
    return path.is_dir() or (path.suffix.lower() in _FILES and path.is_file())


def folder_suite(
    folder: Path,
    places: Places,
    *,
    annotations: str | None = None,
    corruptions: str | None = None,
    labels: str | None = None,
    white: float | None = None,
    skip_broken: bool = False,
    tell: Tell | None = None,
) -> Suite:
    """The suite of pictures at a path: clean, and under `corruptions` ("common", "all" or names with commas).

    A folder in COCO's format asks for boxes, one of images and masks for labelled pixels, anything else for classes,
    each picture as each model wants to be shown it. Its name is the folder's and six digits of a digest over data
    (their labels and classes too), canvas and matrix, so that other pictures in a folder of that name have other
    records: they are digested for it, and how far that is goes to `tell`. UserError says what is missing.
    """
    matrix = {} if corruptions is None else _matrix(corruptions)
    if folder.is_dir() and (annotations or annotation_files(folder) or not any(folder.iterdir())):
        if labels is not None:
            raise UserError(f"--labels is for pictures with one label each, and {folder} is in COCO's format")
        suite = _of_boxes(folder, annotations)
    elif annotations is None and labels is None and _is_labelled(folder):
        suite = _of_maps(folder)
    elif annotations is not None:
        raise UserError(f"--annotations is for a folder in COCO's format, and {folder} is a file")
    else:
        suite = _of_classes(folder, labels)
    suite = replace(
        suite,
        name=re.sub(r"[^\w.+-]+", "-", folder.resolve().name).strip("-") or "folder",
        profile=_PROFILE if matrix else None,
        matrix=matrix,
        summary=columns_of(suite.task, suite.dataset, matrix),
    )
    suite = with_white(suite, white)
    if skip_broken:
        suite = without_broken(suite, places, tell)
    index = index_of(suite.source(task_of(suite).wants), places, ())
    told: list[Any] = [index.open("stored", tell=tell).facts.digest, suite.canvas, list(matrix.items())]
    if suite.task != _BOXES:
        told.append(index.classes)
    if white is not None:
        told.append(white)
    return replace(suite, name=f"{suite.name}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:6]}")


_BOXES = "detection"


def _of_boxes(folder: Path, annotations: str | None) -> Suite:
    file = _chosen(folder, annotations)
    return Suite(
        name="",
        task=_BOXES,
        dataset="coco-folder",
        about=f"the pictures of {file.name}",
        options={"annotations": str(file.resolve())},
        folder=folder.resolve(),
    )


def _is_labelled(folder: Path) -> bool:
    """Whether a folder has pictures in images/ and, of pixels, their classes in masks/."""
    return all((folder / name).is_dir() for name in ("images", "masks"))


def _of_maps(folder: Path) -> Suite:
    return Suite(
        name="",
        task="segmentation",
        dataset="labelled-folder",
        about=f"the pictures and masks of {folder.name}",
        options={"path": str(folder.resolve())},
        folder=folder.resolve().parent,
    )


def _of_classes(path: Path, labels: str | None) -> Suite:
    options = {"path": str(path.resolve())}
    if labels is not None:
        options["labels"] = str(Path(labels).resolve())
    return Suite(
        name="",
        task="classification",
        dataset="picture-folder",
        about=f"the pictures of {path.name}",
        canvas="model",
        options=options,
        folder=path.resolve().parent,
    )


def with_white(suite: Suite, white: float | None) -> Suite:
    """The suite whose pictures of 16 bits or of floats are white at that value; None leaves it as it is."""
    if white is None:
        return suite
    if "white" not in DATASETS[suite.dataset].options:
        raise UserError(f"--white is for pictures in files, and not for {suite.dataset}")
    return replace(suite, options={**suite.options, "white": white})


def without_broken(suite: Suite, places: Places, tell: Tell | None = None) -> Suite:
    """The suite without the samples that cannot be read under some condition: pictures, windows without numbers.

    Reads every sample. UserError where the data set is of another kind.
    """
    from robustbench_ms.datasets.photographs import broken

    info = DATASETS[suite.dataset]
    if not (info.photographs or info.skips):
        raise UserError(
            f"--skip-broken is for windows, and pictures that are listed file by file, and not for {suite.dataset}"
        )
    skip = {*suite.skip}
    for condition in conditions(suite) if info.corrupted else [()]:
        index = index_of(suite.source(task_of(suite).wants), places, condition)
        skip |= {number for number, _, _ in broken(index, tell)}
    return replace(suite, skip=tuple(sorted(skip)))


def annotation_files(folder: Path) -> list[Path]:
    """The annotation files where COCO's and Roboflow's layouts have them: in annotations/, or beside the pictures."""
    return sorted(
        [
            *(folder / "annotations").glob("instances_*.json"),
            *folder.glob("_annotations.coco.json"),
            *folder.glob("*/_annotations.coco.json"),
        ]
    )


def _chosen(folder: Path, named: str | None) -> Path:
    """The annotation file that is meant."""
    found = annotation_files(folder)
    names = [str(file.relative_to(folder)) for file in found]
    if named is not None:
        at = next((path for path in (folder / named, Path(named)) if path.is_file()), None)
        if at is None:
            raise UserError(f"{folder} has no annotation file {named!r}{suggest(named, names)}")
        return at
    if not found:
        raise UserError(
            f"{folder} has no picture, and is no folder in COCO's format: it has neither annotations/instances_*.json "
            "nor _annotations.coco.json; name its file with --annotations"
        )
    if len(found) > 1:
        raise UserError(
            f"{folder} has several annotation files, {', '.join(names)}; choose one with --annotations"
        )
    return found[0]


def _matrix(corruptions: str) -> dict[str, tuple[Any, ...]]:
    """The matrix of a group of corruptions, or of some by name, at all severities."""
    first, *rest = PERTURBATIONS["corruptions"].axes
    named = tuple(
        choose(name.strip(), (*first.groups, *first.values), first.name, "--corruptions")
        for name in corruptions.split(",")
    )
    chosen = tuple(dict.fromkeys(value for name in named for value in first.groups.get(name, (name,))))
    return {first.name: chosen, **{axis.name: axis.values for axis in rest}}
