"""Verdicts of a gate for people and programs: Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robustbench_ms.gating.judge import Judgement, gravest
from robustbench_ms.gating.verdict import Verdict, amount
from robustbench_ms.reports.comparisons import SHOWN_CELLS, finite, points
from robustbench_ms.reports.markdown import code, escape, grid

__all__ = ["judged_json", "judged_markdown"]


_OVER = {"run": "runs of these subjects", "group": "groups (subjects)"}
"""What bounds are over, by what a verdict's n counts."""


def judged_markdown(judged: Sequence[Judgement]) -> str:
    """One table a candidate, readable in a terminal and rendered in a pull request."""
    return "\n\n".join(_judged(one) for one in judged) + "\n"


def _judged(one: Judgement) -> str:
    head = ["rule", "reference", "candidate", "loss", "at least", "at most", "changed", "verdict"]
    rows = [head, *(_row(v) for v in one.verdicts)]
    lines = [
        f"**{one.state}**: {code(one.name)} against {code(one.against)}",
        *(f"- {escape(told)}" for told in one.relation),
        "",
        *grid(rows, left={0, 7}),
        "",
    ]
    lines += [f"- {code(str(v.rule))} {v.state}: {escape(v.reason)}" for v in one.verdicts]
    worse = one.worse_cells
    if worse and one.first is not None:
        told = "; ".join(
            f"{escape(c.key)} {points(one.first, c.difference.mean)}" for c in worse[:SHOWN_CELLS]
        )
        more = f"; and {len(worse) - SHOWN_CELLS} more" if len(worse) > SHOWN_CELLS else ""
        lines.append(
            f"- {one.first.title} lost beyond chance in {len(worse)} of {len(one.cells)} cells: {told}{more}"
        )
    elif one.cells and one.first is not None:
        lines.append(f"- {one.first.title} lost beyond chance in none of {len(one.cells)} cells")
    lines += [f"- Note: {escape(note)}" for note in one.notes]
    tested = [v for v in one.verdicts if v.n is not None]
    if tested:
        runs = dict.fromkeys(_OVER[v.each] for v in tested if v.each in _OVER)
        samples = ", ".join(
            sorted({f"{v.n:,} {'samples' if v.each == 'image' else f'{v.each}s of samples'}" for v in tested})
        )
        shown = ", ".join(
            f"{code(v.rule.target)} {amount(v.rule.row, v.detectable) or 'none'}" for v in tested
        )
        lines.append(
            f"- n = {samples} a cell; bounds are one-sided at alpha = {one.alpha:g}, the lower ones "
            f"Holm-adjusted over the rules; noticed four times in five where the loss exceeds its tolerance by: {shown}"
        )
        over = " and of ".join(runs) or f"{one.sample}s"
        lines.append(f"- Bounds cover the sampling of {over} and not of training seeds")
    return "\n".join(lines)


def _row(verdict: Verdict) -> list[str]:
    rule, metric = verdict.rule, verdict.rule.row
    if verdict.interval is None:
        return [code(str(rule)), "", "", "", "", "", "", verdict.state]
    interval = verdict.interval
    return [
        code(str(rule)),
        "" if verdict.reference is None else metric.show(verdict.reference),
        "" if verdict.candidate is None else metric.show(verdict.candidate),
        *(amount(metric, value) for value in (interval.mean, interval.low, interval.high)),
        "" if verdict.changed is None else f"{verdict.changed:,}",
        verdict.state,
    ]


def judged_json(judged: Sequence[Judgement], *, lenient: bool) -> dict[str, Any]:
    """Plain data: fractions, not rounded."""
    return {
        "state": gravest(judged),
        "passed": all(one.passed(lenient=lenient) for one in judged),
        "lenient": lenient,
        "candidates": [
            {
                "name": one.name,
                "against": one.against,
                "state": one.state,
                "alpha": one.alpha,
                "notes": [*one.relation, *one.notes],
                "rules": [
                    {
                        "rule": str(v.rule),
                        "state": v.state,
                        "reason": v.reason,
                        "reference": v.reference,
                        "candidate": v.candidate,
                        "loss": v.loss,
                        "lower": None if v.interval is None else v.interval.low,
                        "upper": None if v.interval is None else finite(v.interval.high),
                        "tolerated": v.margin,
                        "method": v.method or None,
                        "n": v.n,
                        "each": v.each,
                        "changed": v.changed,
                        "detectable": v.detectable,
                        "needed": v.needed,
                        "gates": v in one.deciding,
                        "cell": v.cell,
                        "failed_cells": list(v.failed),
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
