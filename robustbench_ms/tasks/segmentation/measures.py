"""mIoU and its kin of counts an image and class, with the replicates of a delete-a-group jackknife of the images.

Every number is a function of sums over images, so that all weightings are one product of matrices. Sums of whole
numbers below 2^53 are exact in float64: no order of images moves a bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.measure import Beside, Measured, OfSets, Scorer, jackknife_weights, of_replicates
from robustbench_ms.tasks.outcomes import Absent, Outcomes

__all__ = ["FEWEST", "SCORERS", "ClassesCounted", "Overlaps"]

FEWEST = 30
"""Images below which no gate tests an mIoU: three times those from which on results/labelling-simulation.md has
intervals that hold, because a real set can be less even than its world."""
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Overlaps(OfSets):
    """mIoU_truth, mIoU, mAcc and pixel accuracy of one confusion matrix over the set.

    Outcomes have "intersection" and "predicted", the truth "true", whole numbers (n, K): the pixels of each image that
    are a class and are called it, that are called it, and that are it; ignored pixels are in none. A class without true
    pixels in a weighting is left out of its mIoU_truth and mAcc, and without predicted ones too of its mIoU.
    """

    names: tuple[str, ...] = ("mIoU_truth", "mIoU", "mAcc", "pixel_accuracy")
    fewest: int = FEWEST

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64], groups: NDArray[np.int64] | None
    ) -> dict[str, Measured | Absent]:  # fmt: skip
        """The numbers of one cell, absent where no pixel counts."""
        counts = _columns(outcomes, truth)
        one = _numbers(_summed(counts, np.ones((1, len(ids)))))
        weights = jackknife_weights(ids, groups)
        many = _numbers(_summed(counts, weights)) if len(weights) else {}
        return of_replicates(one, many, self.rule, lambda _: Absent("every pixel is ignored"))

    def doubts(self, truth: Outcomes) -> list[str]:
        """What is odd about the truth: too many classes in one image each, on which their IoU hangs."""
        images = np.count_nonzero(truth.samples["true"], axis=0)
        alone, there = int(np.count_nonzero(images == 1)), int(np.count_nonzero(images))
        if 3 * alone <= there:
            return []
        return [f"{alone} of {there} classes stand in one image alone, on which their IoU hangs"]


@dataclass(frozen=True)
class ClassesCounted(Beside):
    """How many classes mIoU and mIoU_truth are the mean of; nothing that a gate could test."""

    names: tuple[str, ...] = ("classes", "classes_truth")
    untested: str = "a number of classes has no test"

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64], groups: NDArray[np.int64] | None
    ) -> dict[str, Measured | Absent]:  # fmt: skip
        """The numbers of one cell."""
        del groups
        _, predicted, true = _summed(_columns(outcomes, truth), np.ones((1, len(ids))))
        found = (predicted + true > 0).sum(), (true > 0).sum()
        return {name: Measured(float(n), float("nan")) for name, n in zip(self.names, found, strict=True)}


def _columns(outcomes: Outcomes, truth: Outcomes | None) -> tuple[NDArray[np.integer], ...]:
    if truth is None:
        raise ValueError("labels are scored beside their truth")
    return outcomes.samples["intersection"], outcomes.samples["predicted"], truth.samples["true"]


def _summed(counts: tuple[NDArray[np.integer], ...], weights: Counts) -> tuple[Counts, Counts, Counts]:
    """The three counts (R, K) over the images, under weightings (R, n), by one product."""
    summed = weights @ np.hstack(counts).astype(np.float64)
    intersection, predicted, true = np.split(summed, 3, axis=1)
    return intersection, predicted, true


def _numbers(sums: tuple[Counts, Counts, Counts]) -> dict[str, Counts]:
    """The numbers (R,) of sums (R, K); nan where nothing is true."""
    intersection, predicted, true = sums
    union = predicted + true - intersection
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap, right = intersection / union, intersection / true
        whole = intersection.sum(axis=1) / true.sum(axis=1)
    there = true > 0
    return {
        "mIoU_truth": _mean(overlap, there),
        "mIoU": _mean(overlap, union > 0),
        "mAcc": _mean(right, there),
        "pixel_accuracy": whole,
    }


def _mean(values: Counts, there: NDArray[np.bool_]) -> Counts:
    """The mean (R,) over the classes that are there, of (R, K); nan where none is."""
    with np.errstate(invalid="ignore"):
        mean: Counts = np.where(there, values, 0.0).sum(axis=1) / there.sum(axis=1)
    return mean


SCORERS: tuple[Scorer, ...] = (Overlaps(), ClassesCounted())
