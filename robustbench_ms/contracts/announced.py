"""What installed packages announce, and what of it cannot be used; imports what they announce, and no torch itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robustbench_ms.catalog.find import refused_files
from robustbench_ms.catalog.packages import OURS, announced, folders
from robustbench_ms.catalog.registry import PERTURBATIONS, PerturbationInfo, Registry, load
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


@dataclass(frozen=True)
class Row:
    """One announced row of a table."""

    group: str
    name: str
    distribution: str
    row: object | None
    fault: str = ""
    """Why it cannot be used."""


def rows() -> Iterator[Row]:
    """All announced rows; each is imported."""
    axes = {frozenset(axis.name for axis in info.axes): OURS for info in PERTURBATIONS.ours.values()}
    for group, where in TABLES.items():
        table: Registry[Any] | None = load(where) if announced(group) else None
        for one, row in () if table is None else table.strangers():
            name, package = one.point.name, one.distribution
            if isinstance(row, UserError):
                yield Row(group, name, package, None, str(row))
                continue
            fault = ""
            if isinstance(row, PerturbationInfo):
                names = frozenset(axis.name for axis in row.axes)
                if (other := axes.setdefault(names, package)) != package:
                    told = " and ".join(sorted(names))
                    fault = f"the perturbation {name!r} of {package} is refused: {other} has one with the axes {told}"
            yield Row(group, name, package, row, fault)


def refusals() -> dict[str, list[str]]:
    """{distribution: why something of it cannot be used, a sentence each}."""
    found = refused_files()
    for folder in folders():
        if folder.fault:
            found.setdefault(folder.distribution, []).append(folder.fault)
    for row in rows():
        if row.fault:
            found.setdefault(row.distribution, []).append(row.fault)
    return found


def entries(distribution: str) -> list[str]:
    """What a package announces, none of it imported yet, as "datasets: stripes (rbms_stripes.announced:STRIPES)"."""
    return [
        f"{group}: {name} ({one.point.value})"
        for group in ["folders", *TABLES]
        for name, found in announced(group).items()
        for one in found
        if one.distribution == distribution
    ]


def packages() -> list[str]:
    """The distributions that announce something."""
    groups = ["folders", *TABLES]
    return sorted(
        {one.distribution for group in groups for found in announced(group).values() for one in found}
    )
