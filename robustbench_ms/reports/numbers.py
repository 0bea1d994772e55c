"""Numbers of a metric for people, as every table has them."""

from __future__ import annotations

import math

from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval

__all__ = ["heading", "number", "plain"]


def heading(metric: Metric) -> str:
    """A column's head: label, unit, and an arrow to where it is better."""
    arrow = "↑" if metric.better == "higher" else "↓"
    return f"{metric.label}{f', {metric.unit}' if metric.unit else ''} {arrow}"


def plain(metric: Metric, value: float) -> str:
    """A value on the metric's scale, with its digits."""
    return f"{value * metric.scale:.{metric.digits}f}"


def number(metric: Metric, value: Interval, *, ends: bool) -> str:
    """As "91.73 ± 0.54", or with the interval's ends, which may both be below the number: "3.57 (0.04-3.46)"."""
    if math.isnan(value.mean):
        return "-"
    text = plain(metric, value.mean)
    if math.isnan(value.half_width):
        return text
    if ends:
        return f"{text} ({plain(metric, value.low)}-{plain(metric, value.high)})"
    return f"{text} ± {plain(metric, value.half_width)}"
