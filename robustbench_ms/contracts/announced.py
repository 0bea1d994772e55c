"""What installed packages announce, and what of it cannot be used; imports what they announce, and no torch itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robustbench_ms.catalog.find import refused_files
from robustbench_ms.catalog.packages import OURS, announced, folders
from robustbench_ms.catalog.registry import DATASETS, PERTURBATIONS, TASKS, PerturbationInfo, Registry
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.executors import EXECUTORS
from robustbench_ms.reports.formats import FORMATS
from robustbench_ms.subjects import LOADERS

__all__ = ["TABLES", "Row", "packages", "refusals", "rows"]

TABLES: dict[str, Registry[Any]] = {
    "tasks": TASKS, "datasets": DATASETS, "perturbations": PERTURBATIONS, "formats": FORMATS,
    "executors": EXECUTORS, "adapters": LOADERS,
}  # fmt: skip
"""Every table that a package may add to, by its group of entry points."""


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
    for group, table in TABLES.items():
        for one, row in table.strangers():
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


def packages() -> list[str]:
    """The distributions that announce something."""
    groups = ["folders", *TABLES]
    return sorted(
        {one.distribution for group in groups for found in announced(group).values() for one in found}
    )
