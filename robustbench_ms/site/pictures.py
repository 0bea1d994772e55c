"""What the pictures of a table are drawn from: its models' cells by condition, their costs, their calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robustbench_ms.records.record import Record
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.costs import Speed, parameters_of
from robustbench_ms.reports.tables import Row, Table
from robustbench_ms.site.seeds import means
from robustbench_ms.site.text import capital
from robustbench_ms.tasks.calibration import BINS, SUMS

__all__ = ["front", "pictures_of"]

_DIGITS = 5


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of (cost, goodness) that no other beats: none costs as little and is better, by cost."""
    found: list[int] = []
    best = -math.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            found.append(i)
            best = points[i][1]
    return found


def pictures_of(
    table: Table, records: Mapping[Path, Record], shift: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Plain data: metrics, axes, keys, and of each model its cells' means over seeds (None where missing), costs.

    `shift` is that of `shift_of`.
    """
    rows = [row for row in table.rows if row.records]
    if not rows:
        return {}
    first = records[rows[0].records[0]]
    terms = Terms.of(first)
    keys = ["clean"] if first.cell("clean") else []
    keys += [key for key in terms.every if first.cell(key)] or [
        m.key for m in first.measurements if m.key not in keys
    ]
    models = [_model(row, [records[path] for path in row.records], keys, terms) for row in rows]
    return {
        "keys": keys,
        "axes": [{"name": name, "values": [str(v) for v in values]} for name, values in terms.matrix.items()],
        "metrics": [
            _metric(terms.rows[name]) | {"calibration": terms.scorers[name].kept == "sums"}
            for name in terms.rows.measured
        ],
        "column": _metric(table.metrics[0]),
        "models": models,
        "costs": _costs(table, rows, records),
        "shift": shift,
    }


def _metric(metric: Any) -> dict[str, Any]:
    return {
        "name": metric.name,
        "label": capital(metric.label),
        "unit": metric.unit,
        "scale": metric.scale,
        "digits": metric.digits,
        "sign": metric.sign,
    }


def _model(row: Row, mine: Sequence[Record], keys: Sequence[str], terms: Terms) -> dict[str, Any]:
    values = {}
    for name in terms.rows.measured:
        if found := means(mine, name):
            values[name] = [round(found[key], _DIGITS) if key in found else None for key in keys]
    return {"name": row.card, "values": values, "bins": _bins(mine[0], keys, terms)}


def _bins(record: Record, keys: Sequence[str], terms: Terms) -> dict[str, list[list[float]]] | None:
    """Samples, confidence and accuracy of each filled bin, clean and over the other cells; None where not kept."""
    samples = record.samples()
    names = [n for n, scorer in terms.scorers.items() if scorer.kept == "sums" and n in terms.rows.measured]
    if samples is None or not names:
        return None
    found = {}
    for what, some in (
        ("clean", [k for k in keys if k == "clean"]),
        ("corrupted", [k for k in keys if k != "clean"]),
    ):
        sums = samples.sums(names[0], some) if some else None
        if sums is None or sums.shape[1:] != (len(SUMS), BINS):
            continue
        n, sure, right = sums.sum(axis=0)[:3]
        filled = n > 0
        found[what] = np.round(
            np.stack([n[filled], sure[filled] / n[filled], right[filled] / n[filled]], axis=1), _DIGITS
        ).tolist()
    return found or None


class _Spent(NamedTuple):
    """What one model costs, from its least to its most."""

    cost: float
    low: float
    high: float
    unsteady: bool = False


def _costs(table: Table, rows: Sequence[Row], records: Mapping[Path, Record]) -> list[dict[str, Any]]:
    """A choice for each cost that several models have: its points and which of them no other beats.

    Times of one device in one precision on so many threads are one choice.
    """
    sign = table.metrics[0].sign
    choices: dict[str, list[_Spent | None]] = {
        "parameters, M": [
            _counted(row.cost.parameters or parameters_of(records[row.records[0]].card), 1e6) for row in rows
        ],
        "multiply-adds, G": [_counted(row.cost.macs, 1e9) for row in rows],
    }
    for i, row in enumerate(rows):
        for device, speed in row.cost.speeds.items():
            threads = "" if speed.threads is None else f", {speed.threads} threads"
            name = f"ms an image on {device}, {speed.precision}{threads}"
            choices.setdefault(name, [None] * len(rows))[i] = _spent(speed)
    column = table.metrics[0].name
    found = []
    for name, costs in choices.items():
        points = [
            (row.card, cost, row.values[column])
            for row, cost in zip(rows, costs, strict=True)
            if cost is not None and row.rank is not None
        ]
        if len(points) > 1:
            best = front([(one.cost, sign * value.mean) for _, one, value in points])
            found.append(
                {
                    "name": name,
                    "models": [model for model, _, _ in points],
                    "x": [one.cost for _, one, _ in points],
                    "ends": [[one.low, one.high] for _, one, _ in points],
                    "unsteady": [one.unsteady for _, one, _ in points],
                    "y": [value.mean for *_, value in points],
                    "half": [value.half_width for *_, value in points],
                    "front": best,
                }
            )
    return found


def _counted(count: int | None, scale: float) -> _Spent | None:
    return None if count is None else _Spent(count / scale, count / scale, count / scale)


def _spent(speed: Speed) -> _Spent:
    """Milliseconds an image; without an interval (too few blocks) its ends are itself."""
    mean, low, high = speed.interval
    told = math.isfinite(low) and low > 0
    return _Spent(
        1e3 / mean, 1e3 / (high if told else mean), 1e3 / (low if told else mean), bool(speed.doubts)
    )
