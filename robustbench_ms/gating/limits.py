"""What so many images can tell: what a suite's own rule about any cell tolerates on fewer, and what a gate notices.

The tables are the metrics' own; a number of images has the row of the largest one that is not above it.
"""

from __future__ import annotations

from dataclasses import replace

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.gating.rules import Rule
from robustbench_ms.specs.metrics import ByImages
from robustbench_ms.specs.suite import Suite

__all__ = ["limited", "noticed", "noticed_lines"]


def limited(rule: Rule, suite: Suite) -> Rule:
    """A suite's own rule as it stands on fewer images, with what became of it in its note."""
    if (
        not (rule.any and suite.reduced and suite.limit)
        or rule.floor
        or rule.relative
        or rule.row.apart != "pp"
    ):
        return rule
    tolerance, sample = _row(rule.row.any_cell, suite.limit), rows_of(suite.task).sample
    own = f"{100 * rule.tolerance:g} pp"
    if tolerance is None:
        why = (
            f"{suite.limit} {sample}s cannot tell a loss in one of many cells"
            if rule.row.any_cell
            else f"no simulation says what {suite.limit:,} {sample}s tell of {rule.metric} in one of many cells"
        )
        return replace(rule, warn=True, note=f"a warning, because {why}")
    if tolerance <= rule.tolerance:
        return rule
    why = f"{100 * tolerance:g} pp instead of the suite's {own}, because only {suite.limit:,} {sample}s are shown"
    return replace(rule, tolerance=tolerance, note=why)


def noticed(suite: Suite, n: int | None) -> dict[str, float]:
    """By how much more than is tolerated a model must lose for a gate on n images to notice, {a suite's column: loss}.

    In the stored unit; columns of which that is not known are not in it.
    """
    rows = rows_of(suite.task)
    found = {} if n is None else {name: _row(rows[name].noticed, n) for name in suite.summary}
    return {name: loss for name, loss in found.items() if loss is not None}


def noticed_lines(suite: Suite, n: int | None) -> list[str]:
    """The same for people, in one line or none."""
    rows = rows_of(suite.task)
    told = [f"{rows[name].show_apart(loss)} of {name}" for name, loss in noticed(suite, n).items()]
    if told:
        line = (
            f"A gate on {n:,} {rows.sample}s notices a loss of {' and '.join(told)} beyond what is tolerated"
        )
        return [f"{line}, where a tenth of the answers changed."]
    firsts = [rows[name].noticed[0][0] for name in suite.summary if rows[name].noticed]
    if n is None or not firsts:
        return []
    return [f"A gate on {n:,} images: what it notices is known from {min(firsts)} on."]


def _row(table: ByImages, n: int) -> float | None:
    return max(((images, value) for images, value in table if images <= n), default=(0, None))[1]
