"""Every number that is measured or shown: unit, direction, digits in one table.

NLL is in nats; Brier is the sum over classes of squared differences (0..2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from robustbench_ms.errors import choose

__all__ = ["COSTS", "MEASURED", "METRICS", "Metric", "metric"]


@dataclass(frozen=True)
class Metric:
    """How one number is read."""

    name: str
    label: str
    """The heading of its column."""
    unit: Literal["%", "pp", "nats", ""]
    better: Literal["higher", "lower"]
    digits: int
    """Digits after the point when shown in its unit."""
    about: str

    @property
    def scale(self) -> float:
        """What the stored number is multiplied by to be shown in its unit: fractions are stored, per cent shown."""
        return 100.0 if self.unit in {"%", "pp"} else 1.0

    def show(self, value: float, *, half_width: float | None = None) -> str:
        """The number in its unit, with its interval's half width: "91.73 ± 0.54 %"."""
        text = f"{value * self.scale:.{self.digits}f}"
        if half_width is not None:
            text += f" ± {half_width * self.scale:.{self.digits}f}"
        return f"{text} {self.unit}".rstrip()


_TABLE = (
    Metric("accuracy", "top-1", "%", "higher", 2, "share of samples whose largest logit is the label's"),
    Metric(
        "top5_accuracy",
        "top-5",
        "%",
        "higher",
        2,
        "share of samples whose label is among the five largest logits",
    ),
    Metric("nll", "NLL", "nats", "lower", 3, "mean negative log-likelihood of the label"),
    Metric("brier", "Brier", "", "lower", 3, "mean sum over classes of (probability - one-hot)^2, 0..2"),
    Metric("ece", "ECE", "%", "lower", 2, "expected calibration error, 15 equal-width bins, top label, l1"),
    Metric("clean_accuracy", "clean", "%", "higher", 2, "top-1 on the uncorrupted images"),
    Metric("clean_nll", "clean NLL", "nats", "lower", 3, "NLL on the uncorrupted images"),
    Metric("clean_brier", "clean Brier", "", "lower", 3, "Brier score on the uncorrupted images"),
    Metric("clean_ece", "clean ECE", "%", "lower", 2, "expected calibration error on the uncorrupted images"),
    Metric(
        "mean_corruption_accuracy", "corrupted", "%", "higher", 2, "mean top-1 over the 15 common corruptions"
    ),
    Metric(
        "mean_corruption_error", "mean error", "%", "lower", 2, "1 - mean corruption accuracy, not normalised"
    ),
    Metric("relative_drop", "relative drop", "%", "lower", 2, "(clean - corrupted) / clean accuracy"),
    Metric("mean_corruption_nll", "NLL", "nats", "lower", 3, "mean NLL over the 15 common corruptions"),
    Metric(
        "mean_corruption_brier", "Brier", "", "lower", 3, "mean Brier score over the 15 common corruptions"
    ),
    Metric("mean_corruption_ece", "ECE", "%", "lower", 2, "mean ECE over the 15 common corruptions"),
    Metric(
        "mce",
        "mCE",
        "%",
        "lower",
        2,
        "mean corruption error, each corruption over AlexNet's (ImageNet-C only)",
    ),
    Metric(
        "relative_mce",
        "relative mCE",
        "%",
        "lower",
        2,
        "mean loss against clean over AlexNet's (ImageNet-C only)",
    ),
)
METRICS: dict[str, Metric] = {m.name: m for m in _TABLE}
MEASURED = ("accuracy", "top5_accuracy", "nll", "brier", "ece")
"""What a cell holds; the others are computed from cells, and are the columns of tables."""
COSTS = {
    "parameters": "parameters",
    "conv_linear_parameters": "of convolutions and linear layers",
    "macs": "multiply-adds, as its equations read",
    "macs_run": "multiply-adds, as it is run",
    "activations": "activations",
}
"""What `models.costs` counts of a network, with a title each; a card may cite them as published."""


def metric(name: str) -> Metric:
    """The metric of that name; UnknownName with the nearest if there is none."""
    return METRICS[choose(name, METRICS, "metric")]
