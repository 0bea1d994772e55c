"""Clean against corrupted, of a table's ranked models: the points, the line through them and how far each lies off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_ms.records.comparison import Side
from robustbench_ms.records.record import Record
from robustbench_ms.records.summary import jackknifed, sample_means
from robustbench_ms.records.terms import Quantity, Terms
from robustbench_ms.reports.tables import Row, Table
from robustbench_ms.site.lines import FEWEST, Floats, line_through
from robustbench_ms.site.text import capital
from robustbench_ms.statistics.intervals import Z, t_quantile

__all__ = ["covariance", "shift_of"]


def shift_of(table: Table, records: Mapping[Path, Record]) -> dict[str, Any] | None:
    """Points of shares with their half widths, by the rows' places, and the line of `line_through` or why none.

    None where a table has no such two columns, and of one model alone.
    """
    ranked = [i for i, row in enumerate(table.rows) if row.rank is not None and row.records]
    if len(ranked) < 2:
        return None
    rows = [table.rows[i] for i in ranked]
    terms = Terms.of(records[rows[0].records[0]])
    names = [
        next((c for c in table.columns if _is_mean(terms.quantity(c), terms.rows.first.name, clean)), None)
        for clean in (True, False)
    ]
    if None in names or terms.rows.first.scale == 1:
        return None
    pair = [terms.quantity(str(name)) for name in names]
    ranked = [i for i in ranked if not {*map(str, names)} & {*table.rows[i].without}]
    if len(ranked) < 2:
        return None
    rows = [table.rows[i] for i in ranked]
    ends = [[row.values[quantity.row.name] for row in rows] for quantity in pair]
    x, y = (np.array([one.mean for one in each]) for each in ends)
    line, why = None, ""
    if len(rows) < FEWEST:
        why = f"effective robustness takes {FEWEST} ranked models of one protocol, and there are {len(rows)}"
    else:
        errors = covariance(rows, records, pair)
        line = None if errors is None else line_through(x, y, errors, min(row.n for row in rows))
        if line is None:
            kept = "the models are all alike"
            why = "a record keeps nothing by which its intervals could be told" if errors is None else kept
    return {
        "rows": ranked,
        "models": [row.card for row in rows],
        "x": x.tolist(),
        "y": y.tolist(),
        "half": [[one.half_width for one in each] for each in ends],
        "labels": [capital(quantity.row.label) for quantity in pair],
        "line": line,
        "why": why,
    }


def _is_mean(quantity: Quantity, of: str, clean: bool) -> bool:
    return (
        quantity.of == of
        and quantity.how == "mean"
        and not quantity.beside
        and (quantity.over == "clean") == clean
    )


def covariance(
    rows: Sequence[Row], records: Mapping[Path, Record], pair: Sequence[Quantity]
) -> Floats | None:
    """Of the errors of two numbers of several models, (2 models, 2 models), the first number's before the second's.

    The images are the same for all of them, so their errors go together; seeds of a card add a part of their own, as
    wide as the t interval of a table. None where a record keeps no samples, or they are not equally many.
    """
    count = len(rows)
    moves: list[Floats] = []
    seeds = np.zeros((2 * count, 2 * count))
    for i, row in enumerate(rows):
        sides = [Side.of(records[path]) for path in row.records]
        both = [[_moves(side, quantity) for side in sides] for quantity in pair]
        kept = [one for each in both for one in each if one is not None]
        if len(kept) < 2 * len(sides) or len({one.size for one in (*kept, *moves)}) > 1:
            return None
        moves += [np.mean(np.stack(kept[k * len(sides) : (k + 1) * len(sides)]), axis=0) for k in (0, 1)]
        if len(sides) > 1:
            values = np.array([[side.value(quantity) for side in sides] for quantity in pair])
            wider = (t_quantile(0.975, len(sides) - 1) / Z) ** 2
            seeds[np.ix_([i, i + count], [i, i + count])] = np.cov(values) * wider / len(sides)
    ordered = np.stack([*moves[::2], *moves[1::2]])
    found: Floats = ordered @ ordered.T + seeds
    return found


def _moves(side: Side, quantity: Quantity) -> Floats | None:
    """By how much each sample, or what stands together, moves a number: the sum of their squares is its variance."""
    scorer, samples = side.terms.scorers[quantity.of], side.samples
    values = sample_means(samples, scorer, quantity.over, quantity.keys)
    if values is not None and samples is not None:
        found: Floats = (values - values.mean()) / values.size
        if samples.groups is not None:
            _, which = np.unique(samples.groups, return_inverse=True)
            found = np.bincount(which, weights=found).astype(np.float64)
        moved: Floats = found * (found.size / max(found.size - 1, 1)) ** 0.5
        return moved
    replicates = side.replicates(quantity)
    if replicates is None:
        return None
    count = replicates.size
    scale = ((count - 1) / count) ** 0.5 if jackknifed(quantity, scorer) else (count - 1) ** -0.5
    turned: Floats = (replicates - replicates.mean()) * scale
    return turned
