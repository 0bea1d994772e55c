"""A folder of annotated pictures, as a suite made on the spot."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.registry import PERTURBATIONS, index_of, rows_of
from robustbench_ms.errors import UserError, choose, suggest
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["annotation_files", "folder_suite"]

_TASK, _DATASET, _WANTS = "detection", "coco-folder", ("boxes",)
_PROFILE = "any-size"


def folder_suite(
    folder: Path, places: Places, *, annotations: str | None = None, corruptions: str | None = None
) -> Suite:
    """The suite of a folder in COCO's format: clean, and under `corruptions` ("common", "all" or names with commas).

    Its name is the folder's and six digits of a digest over data (their classes too), canvas and matrix, so that other
    pictures in a folder of that name have other records: they are digested for it. UserError says what is missing.
    """
    file = _chosen(folder, annotations)
    matrix = {} if corruptions is None else _matrix(corruptions)
    suite = Suite(
        name=re.sub(r"[^\w.+-]+", "-", folder.resolve().name).strip("-") or "folder",
        task=_TASK,
        dataset=_DATASET,
        about=f"the pictures of {file.name}",
        profile=_PROFILE if matrix else None,
        matrix=matrix,
        summary=_columns(matrix),
        options={"annotations": str(file.resolve())},
        folder=folder.resolve(),
    )
    data = index_of(suite.source(_WANTS), places, ()).open(suite.canvas)
    told = [data.facts.digest, suite.canvas, list(matrix.items())]
    return replace(suite, name=f"{suite.name}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:6]}")


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
            f"{folder} is no folder in COCO's format: it has neither annotations/instances_*.json nor "
            "_annotations.coco.json; name its file with --annotations"
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


def _columns(matrix: Mapping[str, tuple[Any, ...]]) -> tuple[str, ...]:
    """The summaries whose cells a matrix has, and first those over corrupted ones.

    Of a group that it has a part of, those that may be over a part.
    """
    shown, has = set[str](), set[str]()
    for axis in PERTURBATIONS["corruptions"].axes:
        values = set(matrix.get(axis.name, ()))
        shown |= {name for name, group in axis.groups.items() if values & set(group)}
        has |= {name for name, group in axis.groups.items() if values >= set(group)}
    fitting = [
        row
        for row in rows_of(_TASK).summaries.values()
        if all(over == "clean" or (over in has if row.whole else over in shown - has) for over in row.over)
    ]
    return tuple(row.name for row in sorted(fitting, key=lambda row: row.over == ("clean",)))
