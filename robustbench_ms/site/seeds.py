"""What records that are seeds of one card have in a cell."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_ms.records.record import Record

__all__ = ["means"]


def means(mine: Sequence[Record], name: str) -> dict[str, float]:
    """{cell: the mean over the seeds} of a measure, of the cells in which each of them has it."""
    found: dict[str, list[float]] = {}
    for record in mine:
        for m in record.measurements:
            if m.error is None and name in m.values:
                found.setdefault(m.key, []).append(m.values[name]["mean"])
    return {key: sum(each) / len(each) for key, each in found.items() if len(each) == len(mine)}
