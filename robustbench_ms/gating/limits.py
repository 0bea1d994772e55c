"""What a suite's own rule about any cell tolerates where fewer images are shown than it is made for."""

from __future__ import annotations

from dataclasses import replace

from robustbench_ms.gating.rules import Rule
from robustbench_ms.specs.suite import Suite

__all__ = ["TOLERATED", "limited"]

TOLERATED = {50: 0.28, 100: 0.18, 200: 0.125, 300: 0.1, 500: 0.075, 1000: 0.055, 2000: 0.04, 5000: 0.025}
"""{images: the tolerance at which a model passes in 95 % that is as good as its reference and answers a tenth otherwise
in 96 cells}; of results/gate-simulation.md, rounded up."""


def limited(rule: Rule, suite: Suite) -> Rule:
    """A suite's own rule as it stands on fewer images, with what became of it in its note."""
    if (
        not (rule.any and suite.reduced and suite.limit)
        or rule.floor
        or rule.relative
        or rule.row.apart != "pp"
    ):
        return rule
    fitting = [n for n in TOLERATED if n <= suite.limit]
    own = f"{100 * rule.tolerance:g} pp"
    if not fitting:
        why = f"a warning, because {suite.limit} images cannot tell a loss in one of many cells"
        return replace(rule, warn=True, note=why)
    tolerance = TOLERATED[max(fitting)]
    if tolerance <= rule.tolerance:
        return rule
    why = (
        f"{100 * tolerance:g} pp instead of the suite's {own}, because only {suite.limit:,} images are shown"
    )
    return replace(rule, tolerance=tolerance, note=why)
