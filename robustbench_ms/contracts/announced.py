"""What installed packages announce, and what of it cannot be used; imports what they announce, and no torch itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robustbench_ms.catalog.find import refused_files
from robustbench_ms.catalog.packages import OURS, Announced, announced, folders
from robustbench_ms.catalog.registry import PERTURBATIONS, PerturbationInfo, Registry
from robustbench_ms.catalog.targets import load
from robustbench_ms.errors import UserError

__all__ = ["TABLES", "Row", "entries", "packages", "refusals", "rows"]

TABLES = {
    "tasks": "robustbench_ms.catalog.registry:TASKS",
    "datasets": "robustbench_ms.catalog.registry:DATASETS",
    "perturbations": "robustbench_ms.catalog.registry:PERTURBATIONS",
    "formats": "robustbench_ms.reports.formats:FORMATS",
    "executors": "robustbench_ms.evaluation.executors:EXECUTORS",
    "adapters": "robustbench_ms.subjects:LOADERS",
}
"""Every table that a package may add to, by its group of entry points; one is imported where a package does."""
_COMPARED = {"perturbations"}
"""Where a suite names no row but its axes: of those with the same axes the first is used."""


@dataclass(frozen=True)
class Row:
    """One announced row of a table."""

    group: str
    name: str
    distribution: str
    row: object | None
    fault: str = ""
    """Why it cannot be used."""


def rows(distribution: str | None = None) -> list[Row]:
    """All announced rows, or one package's; what is imported for it is what `entries` says."""
    axes = {frozenset(axis.name for axis in info.axes): OURS for info in PERTURBATIONS.ours.values()}
    found = []
    for group, where in TABLES.items():
        if not any(distribution in {None, one.distribution} for one in _points(group)):
            continue
        table: Registry[Any] = load(where)
        for one, row in table.strangers(None if group in _COMPARED else distribution):
            name, package = one.point.name, one.distribution
            fault = str(row) if isinstance(row, UserError) else ""
            if isinstance(row, PerturbationInfo):
                names = frozenset(axis.name for axis in row.axes)
                if (other := axes.setdefault(names, package)) != package:
                    told = " and ".join(sorted(names))
                    fault = f"the perturbation {name!r} of {package} is refused: {other} has one with the axes {told}"
            if distribution in {None, package}:
                found.append(Row(group, name, package, None if isinstance(row, UserError) else row, fault))
    return found


def refusals(announced_rows: Iterable[Row]) -> dict[str, list[str]]:
    """{distribution: why something of it cannot be used, a sentence each}, of files and folders and those rows."""
    found = refused_files()
    for folder in folders():
        if folder.fault:
            found.setdefault(folder.distribution, []).append(folder.fault)
    for row in announced_rows:
        if row.fault:
            found.setdefault(row.distribution, []).append(row.fault)
    return found


def entries(distribution: str) -> list[str]:
    """What a package announces, none of it imported yet, as "datasets: stripes (rbms_stripes.announced:STRIPES)".

    Others' rows of a group of which one is used for what several announce come with it, as they are compared with its
    own.
    """
    found = []
    for group in ["folders", *TABLES]:
        points = _points(group)
        if any(one.distribution == distribution for one in points):
            found += [
                f"{group}: {one.point.name} ({one.point.value})"
                + ("" if one.distribution == distribution else f", of {one.distribution}, to compare with")
                for one in points
                if group in _COMPARED or one.distribution == distribution
            ]
    return found


def _points(group: str) -> list[Announced]:
    return [one for found in announced(group).values() for one in found]


def packages() -> list[str]:
    """The distributions that announce something."""
    return sorted({one.distribution for group in ["folders", *TABLES] for one in _points(group)})
