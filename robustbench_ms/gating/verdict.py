"""What becomes of a rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from robustbench_ms.gating.rules import Rule
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval

__all__ = ["GRAVITY", "State", "Verdict", "amount"]

State = Literal["pass", "fail", "unsure", "missing", "incomparable"]

GRAVITY: tuple[State, ...] = ("pass", "unsure", "missing", "incomparable", "fail")


@dataclass(frozen=True)
class Verdict:
    """What became of one rule."""

    rule: Rule
    state: State
    reason: str
    """One sentence."""
    reference: float | None = None
    """The metric's value, a fraction for accuracies; None where it could not be compared, and of a floor."""
    candidate: float | None = None
    loss: float | None = None
    """Above 0 is worse, whatever the metric's direction; of a floor, how far below it the candidate is."""
    interval: Interval | None = None
    """The loss with its one-sided bounds, the lower one at the level that Holm's adjustment leaves."""
    margin: float | None = None
    """The tolerated loss in the metric's stored unit."""
    method: str = ""
    n: int | None = None
    """Samples; of such as are alike, runs or groups of them."""
    changed: int | None = None
    """Answers that are right in one record and wrong in the other."""
    detectable: float | None = None
    """A true loss so far beyond the margin is noticed in a draw as unlucky as one in five; None where none is."""
    needed: int | None = None
    """Samples that would settle an unsure rule, were the loss what it seems."""
    cell: str | None = None
    """Of a rule about any cell, the worst one, of which values and loss are told."""
    failed: tuple[str, ...] = ()
    """Of a rule about any cell, those that lose more than is tolerated."""
    each: str = "image"
    """What n counts: "image" for any sample, "run" or "group"."""

    @property
    def excusable(self) -> bool:
        """Whether a warning excuses it: a loss or a doubt, and not that there was nothing to test."""
        return self.interval is not None or self.state == "unsure"


def amount(metric: Metric, loss: float | None) -> str:
    """A loss in its unit: "0.35 pp"; "" where there is none to tell, "any amount" where it has no end."""
    if loss is None:
        return ""
    return metric.show_apart(loss) if math.isfinite(loss) else "any amount"
