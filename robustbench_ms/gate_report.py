"""Verdicts and comparisons for people and programs: Markdown, JSON, annotations of a pull request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from robustbench_ms.gate import Judgement, Verdict, amount
from robustbench_ms.markdown import code, escape, grid
from robustbench_ms.records.comparison import Comparison, Loss
from robustbench_ms.records.summary import SUMMARIES
from robustbench_ms.specs.metrics import METRICS

__all__ = ["annotation_lines", "compared_json", "compared_markdown", "judged_json", "judged_markdown"]

_SHOWN_CELLS = 10


def judged_markdown(judged: Sequence[Judgement]) -> str:
    """One table a candidate, readable in a terminal and rendered in a pull request."""
    return "\n\n".join(_judged(one) for one in judged) + "\n"


def _judged(one: Judgement) -> str:
    head = ["rule", "reference", "candidate", "loss", "at least", "at most", "changed", "verdict"]
    rows = [head, *(_row(v) for v in one.verdicts)]
    lines = [
        f"**{one.state}**: {code(one.name)} against {code(one.against)}",
        "",
        *grid(rows, left={0, 7}),
        "",
    ]
    lines += [f"- {code(str(v.rule))} {v.state}: {escape(v.reason)}" for v in one.verdicts]
    worse = one.worse_cells
    if worse:
        told = "; ".join(f"{c.key} {_points(c.difference.mean)}" for c in worse[:_SHOWN_CELLS])
        more = f"; and {len(worse) - _SHOWN_CELLS} more" if len(worse) > _SHOWN_CELLS else ""
        lines.append(f"- Accuracy lost beyond chance in {len(worse)} of {len(one.cells)} cells: {told}{more}")
    elif one.cells:
        lines.append(f"- Accuracy lost beyond chance in none of {len(one.cells)} cells")
    lines += [f"- Note: {escape(note)}" for note in one.notes]
    tested = [v for v in one.verdicts if v.n is not None]
    if tested:
        samples = ", ".join(sorted({f"{v.n:,}" for v in tested}))
        shown = ", ".join(f"{code(v.rule.target)} {amount(v.rule, v.detectable or 0.0)}" for v in tested)
        lines.append(
            f"- n = {samples} samples a cell; bounds are one-sided at alpha = {one.alpha:g}, the lower ones "
            f"Holm-adjusted over the rules; noticed four times in five where the loss exceeds its tolerance by: {shown}"
        )
        lines.append("- Bounds cover the sampling of images and not of training seeds")
    return "\n".join(lines)


def _row(verdict: Verdict) -> list[str]:
    rule, metric = verdict.rule, METRICS[verdict.rule.metric]
    if verdict.interval is None:
        return [code(str(rule)), "", "", "", "", "", "", verdict.state]
    interval = verdict.interval
    return [
        code(str(rule)),
        metric.show(verdict.reference or 0.0),
        metric.show(verdict.candidate or 0.0),
        *(amount(rule, value) for value in (interval.mean, interval.low, interval.high)),
        "" if verdict.changed is None else f"{verdict.changed:,}",
        verdict.state,
    ]


def judged_json(judged: Sequence[Judgement], *, lenient: bool) -> dict[str, Any]:
    """Plain data: fractions, not rounded."""
    return {
        "passed": all(one.passed(lenient=lenient) for one in judged),
        "lenient": lenient,
        "candidates": [
            {
                "name": one.name,
                "against": one.against,
                "state": one.state,
                "alpha": one.alpha,
                "notes": list(one.notes),
                "rules": [
                    {
                        "rule": str(v.rule),
                        "state": v.state,
                        "reason": v.reason,
                        "reference": v.reference,
                        "candidate": v.candidate,
                        "loss": v.loss,
                        "lower": None if v.interval is None else v.interval.low,
                        "upper": None if v.interval is None else v.interval.high,
                        "tolerated": v.margin,
                        "method": v.method or None,
                        "n": v.n,
                        "changed": v.changed,
                        "detectable": v.detectable,
                        "needed": v.needed,
                    }
                    for v in one.verdicts
                ],
                "worse_cells": [
                    {
                        "cell": c.key,
                        "reference": c.reference,
                        "candidate": c.candidate,
                        "loss": c.difference.mean,
                        "p": c.p_lost,
                    }
                    for c in one.worse_cells
                ],
            }
            for one in judged
        ],
    }


def annotation_lines(judged: Sequence[Judgement], *, lenient: bool) -> list[str]:
    """GitHub's workflow commands, one a rule that did not pass, and one notice where all passed."""
    lines = []
    for one in judged:
        for v in one.verdicts:
            if v.state != "pass":
                mild = lenient and v.state == "unsure"
                title = _property(f"rbms gate: {v.rule} {v.state}")
                lines.append(
                    f"::{'warning' if mild else 'error'} title={title}::{_data(f'{one.name}: {v.reason}')}"
                )
        if one.state == "pass":
            told = f"{one.name}: {len(one.verdicts)} rules hold against {one.against}"
            lines.append(f"::notice title=rbms gate::{_data(told)}")
    return lines


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _points(loss: float) -> str:
    return f"{-100 * loss:+.1f} pp"


def _metrics_of(pair: Comparison) -> list[str]:
    """The summaries of both records' suites that can be compared."""
    wanted = dict.fromkeys([*pair.reference.record.suite["summary"], *pair.candidate.record.suite["summary"]])
    found = []
    for metric in wanted:
        keys = SUMMARIES[metric][0] if metric in SUMMARIES else ()
        if (
            keys
            and not pair.missing(keys)
            and not pair.differing(keys)
            and pair.candidate.cells[keys[0]].n > 1
        ):
            values = [side.value(metric, keys) for side in (pair.reference, pair.candidate)]
            if all(map(math.isfinite, values)):
                found.append(metric)
    return found


def _compared(pair: Comparison) -> list[tuple[str, float, float, Loss | None]]:
    """Metric, reference, candidate, loss; None for calibration errors, which have no test."""
    rows = []
    for metric in _metrics_of(pair):
        keys = SUMMARIES[metric][0]
        reference, candidate = (side.value(metric, keys) for side in (pair.reference, pair.candidate))
        loss = None if metric.endswith("ece") else pair.loss(metric, keys)
        rows.append((metric, reference, candidate, loss))
    return rows


def compared_markdown(pair: Comparison, alpha: float) -> str:
    """The table of a gate without a verdict: the first record, the second, what the second loses."""
    one, other = pair.reference.record, pair.candidate.record
    head = ["", code(one.name), code(other.name), "loss", "at least", "at most", "changed", "detectable"]
    rows = [head]
    for metric, reference, candidate, loss in _compared(pair):
        told = METRICS[metric]
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
                *(_in_unit(metric, value) for value in shown),
                "" if loss.changed is None else f"{loss.changed:,}",
                _in_unit(metric, found.detectable(alpha / 2)),
            ]
        )
    lines = [*grid(rows, left={0}), ""] if len(rows) > 1 else []
    cells = pair.cells()
    apart = sorted((c for c in cells if c.p_differs <= alpha), key=lambda c: -abs(c.difference.mean))
    told_cells = "; ".join(f"{c.key} {_points(c.difference.mean)}" for c in apart[:_SHOWN_CELLS])
    more = f"; and {len(apart) - _SHOWN_CELLS} more" if len(apart) > _SHOWN_CELLS else ""
    lines.append(
        f"- Accuracy differs beyond chance in {len(apart)} of {len(cells)} cells"
        + (f": {told_cells}{more}" if apart else "")
    )
    lines.append(
        f"- A loss above 0 means that the second is worse; {100 * (1 - alpha):g} % intervals over the same images, "
        "which do not cover training seeds; calibration errors have no test"
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
                "metric": metric,
                "reference": reference,
                "candidate": candidate,
                **(
                    {}
                    if loss is None
                    else {
                        "loss": loss.difference.mean,
                        "low": loss.difference.lower(alpha / 2),
                        "high": loss.difference.upper(alpha / 2),
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
    told = [f"{line}" for line in missing[:3]] + (
        [f"and {len(missing) - 3} more cells"] if len(missing) > 3 else []
    )
    return told + pair.differing(both)


def _in_unit(metric: str, value: float) -> str:
    told = METRICS[metric]
    unit = "pp" if told.unit == "%" else told.unit
    return f"{value * told.scale:.{told.digits}f} {unit}".rstrip()
