"""Every number that is measured or shown: unit, direction, digits in one table, and the functions behind it.

Definitions: facts of calibration follow torchmetrics and robustness_metrics (15 equal-width bins of top-label
confidence, l1 norm); NLL in nats; Brier is the sum over classes of squared differences (0..2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from robustbench_ms.errors import choose

if TYPE_CHECKING:  # the table alone is read by listing and planning, which start faster without numpy
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating]

__all__ = ["COSTS", "MEASURED", "METRICS", "Metric", "ece", "ece_with_stderr", "mean_with_stderr", "metric"]


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


def mean_with_stderr(values: Floats) -> tuple[float, float]:
    """Mean and standard error of a sample's values (n,), n >= 1; the error of one value is nan."""
    import numpy as np

    values = np.asarray(values, dtype=np.float64)
    if values.size == 0:
        raise ValueError("the mean of no values")
    spread = values.std(ddof=1) / np.sqrt(values.size) if values.size > 1 else np.nan
    return float(values.mean()), float(spread)


ECE_BINS = 15


def _bins(confidence: Floats) -> NDArray[np.intp]:
    import numpy as np

    # Bins are (low, high] as in torchmetrics; a confidence of 0 falls into the first.
    edges = np.linspace(0.0, 1.0, ECE_BINS + 1)
    found = np.searchsorted(edges, np.asarray(confidence, dtype=np.float64), side="left") - 1
    return np.clip(found, 0, ECE_BINS - 1)


def _gaps(confidence: Floats, correct: NDArray[np.bool_]) -> Floats:
    import numpy as np

    if len(confidence) == 0:
        raise ValueError("the calibration error of no values")
    return np.asarray(correct, dtype=np.float64) - np.asarray(confidence, dtype=np.float64)


def ece(confidence: Floats, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: sum over bins of (n_b / n) |accuracy_b - confidence_b|, a fraction.

    `confidence` (n,) in 0..1 of the top label, `correct` (n,). Guo et al., ICML 2017, equation 3.
    """
    import numpy as np

    gaps = _gaps(confidence, correct)
    return float(np.abs(np.bincount(_bins(confidence), weights=gaps, minlength=ECE_BINS)).sum() / gaps.size)


def ece_with_stderr(
    confidence: Floats, correct: NDArray[np.bool_], resamples: int = 200
) -> tuple[float, float]:
    """ECE and its bootstrap standard error over samples (fixed seed: the same input gives the same number).

    Poisson weights stand for the multinomial (Hanley and MacGibbon, 2006); they come from a table by 16-bit words,
    which makes a resample of 10,000 samples some 40 microseconds.
    """
    import numpy as np

    bins, gaps = _bins(confidence), _gaps(confidence, correct)
    # Samples of one bin stand together, so that a resample's sum over a bin is one piece of one pass.
    counts = np.bincount(bins, minlength=ECE_BINS)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])[counts > 0]
    gaps = gaps[np.argsort(bins, kind="stable")]
    random, poisson = np.random.default_rng(0), _poisson()
    draws = np.empty(resamples)
    for i in range(resamples):
        weights = poisson[random.integers(0, 1 << 16, gaps.size, dtype=np.uint16)]
        draws[i] = np.abs(np.add.reduceat(weights * gaps, starts)).sum() / max(1.0, weights.sum())
    return ece(confidence, correct), float(draws.std(ddof=1))


@cache
def _poisson() -> Floats:
    """Poisson(1) counts by a 16-bit word, by inversion: float64 (65536,)."""
    import numpy as np

    shares = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(9)])
    return np.searchsorted(shares, (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.float64)
