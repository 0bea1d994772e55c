"""The columns of a suite that names none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robustbench_ms.catalog.registry import axes_of, rows_of
from robustbench_ms.specs.metrics import Summary

__all__ = ["columns_of"]


def columns_of(
    task: str, dataset: str, matrix: Mapping[str, Sequence[Any]], *, clean: bool = True
) -> tuple[str, ...]:
    """The summaries whose cells a suite has, and first those over corrupted ones; the task's first where none fits.

    Of a group that the matrix has a part of, those that may be over a part; of a whole one those that must be over the
    whole, where there are some. `clean` says whether there is a clean cell.
    """
    axes = (axes_of(matrix) or ()) if matrix else ()
    shown, has = set[str](), set[str]()
    for axis in axes:
        others = all({*matrix[other.name]} >= {*other.values} for other in axes if other != axis)
        for name, group in axis.groups.items():
            if values := {*matrix[axis.name]} & {*group}:
                shown.add(name)
                if others and values >= {*group}:
                    has.add(name)
    rows = rows_of(task)
    whole = {over for row in rows.summaries.values() if row.whole for over in row.over}

    def fits(row: Summary, over: str) -> bool:
        if over == "clean":
            return clean
        return over in has if row.whole else over in shown and not (over in has and over in whole)

    fitting = [
        row
        for row in rows.summaries.values()
        if all(fits(row, over) for over in row.over)
        and row.how != "complement"
        and rows.without_normaliser(row.name, dataset) is None
    ]
    found = tuple(row.name for row in sorted(fitting, key=lambda row: row.over == ("clean",)))
    return found or tuple(rows.summaries)[:1]
