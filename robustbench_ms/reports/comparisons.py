"""Two records side by side for people and programs: Markdown and JSON."""

from __future__ import annotations

import math
from typing import Any

from robustbench_ms.gating.verdict import amount
from robustbench_ms.records.comparison import Comparison, Loss
from robustbench_ms.records.terms import Quantity
from robustbench_ms.reports.markdown import code, escape, grid
from robustbench_ms.specs.metrics import Metric

__all__ = ["SHOWN_CELLS", "compared_json", "compared_markdown", "finite", "points"]

SHOWN_CELLS = 10


def finite(value: float | None) -> float | None:
    """As JSON can say it."""
    return value if value is not None and math.isfinite(value) else None


def points(metric: Metric, loss: float) -> str:
    """A loss as people see it, as a change of the number: of an accuracy "-1.2 pp"."""
    digits = 1 if metric.apart == "pp" else metric.digits
    # Zero has no sign of its own: a loss of it would be shown as -0.0.
    change = round(-metric.sign * metric.scale * loss, digits) + 0.0
    return f"{change:+.{digits}f} {metric.apart}".rstrip()


def _quantities(pair: Comparison) -> list[Quantity]:
    """The summaries of both records' suites that can be compared."""
    wanted = dict.fromkeys([*pair.reference.record.suite["summary"], *pair.candidate.record.suite["summary"]])
    found = []
    for metric in wanted:
        if metric not in pair.terms.rows.summaries:
            continue
        quantity = pair.quantity(metric)
        keys = quantity.cells
        if not quantity.keys or pair.missing(keys) or pair.differing(keys) or pair.absent(quantity):
            continue
        values = [side.value(quantity) for side in (pair.reference, pair.candidate)]
        if pair.candidate.cells[keys[0]].n > 1 and all(map(math.isfinite, values)):
            found.append(quantity)
    return found


def _compared(pair: Comparison) -> list[tuple[Metric, float, float, Loss | None]]:
    """Metric, reference, candidate, loss; None for what has no test."""
    rows = []
    for quantity in _quantities(pair):
        reference, candidate = (side.value(quantity) for side in (pair.reference, pair.candidate))
        tested = quantity.of not in pair.terms.untested and not pair.unkept(quantity)
        loss = pair.loss(quantity) if tested else None
        rows.append((quantity.row, reference, candidate, loss))
    return rows


def compared_markdown(pair: Comparison, alpha: float) -> str:
    """The table of a gate without a verdict: the first record, the second, what the second loses."""
    one, other = pair.reference.record, pair.candidate.record
    head = ["", code(one.name), code(other.name), "loss", "at least", "at most", "changed", "detectable"]
    rows = [head]
    for told, reference, candidate, loss in _compared(pair):
        values = [told.show(reference), told.show(candidate)]
        if loss is None:
            rows.append(
                [told.label, *values, f"{(candidate - reference) * told.scale:.{told.digits}f}", *[""] * 4]
            )
            continue
        found = loss.difference
        shown = (found.mean, found.lower(alpha / 2), found.upper(alpha / 2))
        rows.append(
            [
                told.label,
                *values,
                *(amount(told, value) for value in shown),
                "" if loss.changed is None else f"{loss.changed:,}",
                amount(told, found.detectable(alpha / 2)),
            ]
        )
    lines = [*grid(rows, left={0}), ""] if len(rows) > 1 else []
    cells, first = pair.cells(), pair.terms.rows.first
    apart = sorted((c for c in cells if c.p_differs <= alpha), key=lambda c: -abs(c.difference.mean))
    told_cells = "; ".join(f"{escape(c.key)} {points(first, c.difference.mean)}" for c in apart[:SHOWN_CELLS])
    more = f"; and {len(apart) - SHOWN_CELLS} more" if len(apart) > SHOWN_CELLS else ""
    lines.append(
        f"- {first.title} differs beyond chance in {len(apart)} of {len(cells)} cells"
        + (f": {told_cells}{more}" if apart else "")
    )
    samples = pair.candidate.samples
    alike = samples is not None and samples.alike is not None
    over = f"{samples.each}s of these subjects" if samples and alike else f"{pair.terms.rows.sample}s"
    lines.append(
        f"- A loss above 0 means that the second is worse; {100 * (1 - alpha):g} % intervals over the same {over}, "
        f"which do not cover training seeds{''.join(f'; {why}' for why in pair.terms.untested.values())}"
    )
    lines += [f"- Not compared: {escape(told)}" for told in _apart(pair)]
    return "\n".join(lines) + "\n"


def compared_json(pair: Comparison, alpha: float) -> dict[str, Any]:
    """Plain data: fractions, not rounded."""
    return {
        "reference": pair.reference.record.name,
        "candidate": pair.candidate.record.name,
        "alpha": alpha,
        "metrics": [
            {
                "metric": metric.name,
                "reference": reference,
                "candidate": candidate,
                **(
                    {}
                    if loss is None
                    else {
                        "loss": loss.difference.mean,
                        "low": finite(loss.difference.lower(alpha / 2)),
                        "high": finite(loss.difference.upper(alpha / 2)),
                        "p": loss.difference.p_differs,
                        "changed": loss.changed,
                        "detectable": loss.difference.detectable(alpha / 2),
                        "method": loss.difference.method,
                    }
                ),
            }
            for metric, reference, candidate, loss in _compared(pair)
        ],
        "cells": [
            {
                "cell": c.key,
                "reference": c.reference,
                "candidate": c.candidate,
                "loss": c.difference.mean,
                "p": c.p_differs,
            }
            for c in pair.cells()
        ],
        "not_compared": _apart(pair),
    }


def _apart(pair: Comparison) -> list[str]:
    """Why cells were left out of a comparison."""
    every = list(dict.fromkeys([*pair.reference.cells, *pair.candidate.cells]))
    missing = pair.missing(every)
    both = [key for key in every if not pair.missing([key])]
    told = [lack.told for lack in missing[:3]] + (
        [f"and {len(missing) - 3} more cells"] if len(missing) > 3 else []
    )
    return told + pair.differing(both)
