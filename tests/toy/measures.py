"""Classification's scorers, and two more."""

from __future__ import annotations

import numpy as np

from robustbench_ms.tasks.classification.measures import SCORERS as OURS
from robustbench_ms.tasks.measure import Mean, Whole, jackknife_weights
from robustbench_ms.tasks.outcomes import Absent


def odds(outcomes, truth, weights):
    """Right answers to wrong ones, which has no value where none is wrong."""
    del truth
    correct = outcomes.samples["correct"]
    wrong = weights @ ~correct
    return {"odds": weights @ correct / wrong if np.all(wrong) else Absent("no wrong answer")}


SCORERS = (
    *OURS,
    Mean("doubt", "brier", kept="scores"),
    Whole(("odds",), odds, jackknife_weights, "jackknife", kind="ratio"),
)
