"""What so many images can tell: what a suite's own rule about any cell tolerates on fewer, and what a gate notices."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from robustbench_ms.catalog.registry import measures_of, rows_of
from robustbench_ms.gating.rules import Rule
from robustbench_ms.specs.metrics import Summary
from robustbench_ms.specs.suite import Suite
from robustbench_ms.statistics.bounded import of_counts

__all__ = ["NOTICED", "TOLERATED", "limited", "noticed", "noticed_lines"]

TOLERATED: Mapping[str, Mapping[int, float]] = {
    "accuracy": {
        50: 0.28, 100: 0.18, 200: 0.125, 300: 0.1, 500: 0.075, 1000: 0.055, 2000: 0.04, 5000: 0.025,
    },
    "AP": {30: 0.2, 79: 0.1, 300: 0.06},
}  # fmt: skip
"""{metric: {images: the tolerance of any of its cells at which a model passes in 95 % that is as good as its reference
and answers a tenth otherwise}}, rounded up: of 96 cells of results/gate-simulation.md, and of 76 of
results/ap-simulation.md (80 classes)."""

NOTICED: Mapping[str, Mapping[int, float]] = {
    "P": {30: 0.05, 50: 0.046, 79: 0.038, 300: 0.022},
    "mPC": {30: 0.022, 50: 0.018, 79: 0.016, 300: 0.01},
}
"""{summary: {images: how much more than is tolerated a model must lose to fail in 90 %}}, of one with a tenth of its
detections changed; as much must be tolerated for one that loses nothing to pass in 90 %. Of results/ap-simulation.md
(80 classes; fewer classes take less)."""
CHANGED = 0.1
"""The share of answers that are thought to be others."""


def limited(rule: Rule, suite: Suite) -> Rule:
    """A suite's own rule as it stands on fewer images, with what became of it in its note."""
    if (
        not (rule.any and suite.reduced and suite.limit)
        or rule.floor
        or rule.relative
        or rule.row.apart != "pp"
    ):
        return rule
    if rule.metric not in TOLERATED:
        why = f"a warning, because no simulation says what {suite.limit:,} images show of {rule.metric} in many cells"
        return replace(rule, warn=True, note=why)
    tolerance = _row(TOLERATED[rule.metric], suite.limit)
    own = f"{100 * rule.tolerance:g} pp"
    if tolerance is None:
        why = f"a warning, because {suite.limit} images cannot tell a loss in one of many cells"
        return replace(rule, warn=True, note=why)
    if tolerance <= rule.tolerance:
        return rule
    why = (
        f"{100 * tolerance:g} pp instead of the suite's {own}, because only {suite.limit:,} images are shown"
    )
    return replace(rule, tolerance=tolerance, note=why)


def noticed(suite: Suite, n: int | None) -> dict[str, float]:
    """By how much more than is tolerated a model must lose for a gate to fail it, of a suite's columns {summary: loss}.

    Of a model with a tenth of its answers changed: of AP in 90 %, as simulated; of the mean of answers that are right
    or wrong in one cell in 80 %, by the gate's own bound at .05. Columns of which nobody knows are not in it.
    """
    if n is None:
        return {}
    rows = rows_of(suite.task)
    answers = {name for scorer in measures_of(suite.task) if scorer.answers for name in scorer.names}
    found = {}
    for name in suite.summary:
        row = rows.summary(name)
        loss = _row(NOTICED[name], n) if name in NOTICED else None
        if _is_one_cell(row) and row.of in answers:
            loss = _of_answers(n)
        if loss is not None:
            found[name] = loss
    return found


def noticed_lines(suite: Suite, n: int | None) -> list[str]:
    """The same for people, in a line or two."""
    rows = rows_of(suite.task)
    fewest = max((getattr(scorer, "fewest", 0) for scorer in measures_of(suite.task)), default=0)
    if n is not None and n < fewest:
        return [f"{n:,} images say too little for a gate, which takes {fewest} or more."]
    told = [f"{rows[name].show_apart(loss)} of {name}" for name, loss in noticed(suite, n).items()]
    if not told:
        return []
    losses = " and ".join(told)
    line = f"A gate on {n:,} images notices a loss of {losses} beyond what is tolerated, where a tenth of the answers"
    return [f"{line} changed."]


def _row(table: Mapping[int, float], n: int) -> float | None:
    """What stands at the largest number of images that is not above n."""
    at = bisect.bisect_right(sorted(table), n)
    return table[sorted(table)[at - 1]] if at else None


def _is_one_cell(row: Summary) -> bool:
    return row.over == ("clean",) and row.how == "mean"


@lru_cache(maxsize=64)
def _of_answers(n: int) -> float | None:
    """Of one cell's n answers, as many of which turned wrong as right."""
    half = round(n * CHANGED / 2)
    return of_counts(half, half, n).detectable(0.05)
