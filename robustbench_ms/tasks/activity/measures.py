"""How activities are scored: accuracy, NLL and Brier a window, macro F1 and ECE of the whole set.

Where windows have subjects, macro F1 and ECE are replicated with one subject left out at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.calibration import BINS
from robustbench_ms.tasks.measure import Mean, Scorer, Whole, jackknife_weights
from robustbench_ms.tasks.outcomes import Absent, Outcomes

__all__ = ["SCORERS"]

Weights = NDArray[np.float64]


def _macro_f1(
    outcomes: Outcomes, truth: Outcomes | None, weights: Weights
) -> Mapping[str, NDArray[np.float64] | Absent]:
    """The mean over the labels' classes of F1 = 2 tp / (2 tp + fp + fn), under weightings (R, n)."""
    if truth is None:
        raise ValueError("answers are scored beside their labels")
    label, said = truth.samples["label"], outcomes.samples["prediction"]
    classes = np.unique(label)
    is_it = (label[:, None] == classes).astype(np.float64)
    called = (said[:, None] == classes).astype(np.float64)
    right, true, predicted = (weights @ one for one in (is_it * called, is_it, called))
    with np.errstate(invalid="ignore"):
        each = np.where(true + predicted > 0, 2 * right / (true + predicted), 0.0)
    there = true > 0
    return {"macro_f1": np.where(there, each, 0.0).sum(axis=1) / there.sum(axis=1)}


def _confusion(outcomes: Outcomes, truth: Outcomes, classes: int) -> NDArray[np.int64]:
    """How often each label (rows) was answered with each class (columns), (classes, classes)."""
    label, said = truth.samples["label"], outcomes.samples["prediction"]
    found: NDArray[np.int64] = np.bincount(label * classes + said, minlength=classes**2).reshape(
        classes, classes
    )
    return found


def _ece(
    outcomes: Outcomes, truth: Outcomes | None, weights: Weights
) -> Mapping[str, NDArray[np.float64] | Absent]:
    """15 equal-width bins (low, high] of confidence: the sum over bins of |right - confidence|, over the weight."""
    del truth
    sure = outcomes.samples["confidence"].astype(np.float64)
    gap = outcomes.samples["correct"].astype(np.float64) - sure
    place = np.clip(np.searchsorted(np.linspace(0, 1, BINS + 1), sure, side="left") - 1, 0, BINS - 1)
    bins = (place[:, None] == np.arange(BINS)) * gap[:, None]
    found: NDArray[np.float64] = np.abs(weights @ bins).sum(axis=1) / weights.sum(axis=1)
    return {"ece": found}


def _scores(name: str, infinite: str = "") -> Mean:
    return Mean(name, name, kept="scores", infinite=infinite)


SCORERS: tuple[Scorer, ...] = (
    Mean("accuracy", "correct", kept="bits", answers=True, arrays={"bits": "correct"}),
    Whole(("macro_f1",), _macro_f1, jackknife_weights, "jackknife", counts=_confusion),
    _scores("nll", "the label's logit is -inf, a probability of 0"),
    _scores("brier"),
    Whole(("ece",), _ece, jackknife_weights, "jackknife", untested="calibration errors have no test"),
)
