"""COCO's twelve numbers of a cell, with the replicates of a delete-a-group jackknife of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.measure import Measured, OfSets, Scorer, jackknife_weights, of_replicates
from robustbench_ms.tasks.outcomes import Absent, Outcomes

if TYPE_CHECKING:
    from robustbench_ms.tasks.detection.matching import Matched

__all__ = ["FEWEST", "SCORERS", "Precision", "by_class", "in_order"]

FEWEST = 30
"""Images below which no gate tests an AP; of results/ap-simulation.md."""
Numbers = dict[str, NDArray[np.float64]]
_CUTS = (1, 10, 100)
_SIZES = ("", "small", "medium", "large")
_AT: dict[str, slice] = {"AP": slice(None), "AP50": slice(0, 1), "AP75": slice(5, 6)}


@dataclass(frozen=True)
class Precision(OfSets):
    """COCO's AP and AR (cocodataset.org, "Detection Evaluation"), of boxes or, where the truth has them, of masks.

    Matching is done once, and every weighting of the images reads it. Equal scores rank by image id, as pycocotools
    ranks them. Classes are those of the truth; one with nothing to be found in a weighting is left out of its mean.
    """

    names: tuple[str, ...] = (
        *_AT,
        *(f"AP_{size}" for size in _SIZES[1:]),
        *(f"AR{most}" for most in _CUTS),
        *(f"AR_{size}" for size in _SIZES[1:]),
    )
    fewest: int = FEWEST

    def measure(
        self,
        outcomes: Outcomes,
        truth: Outcomes | None,
        ids: NDArray[np.int64],
        groups: NDArray[np.int64] | None,
    ) -> dict[str, Measured | Absent]:
        """The numbers of detections (items "detections") against objects ("truths") of one cell."""
        found, order = _matched(outcomes, truth, ids)
        one = _exact(found, len(ids))
        weights = jackknife_weights(ids, groups)[:, order]
        return of_replicates(one, _weighted(found, weights), self.rule, _absent)

    def doubts(self, truth: Outcomes) -> list[str]:
        """What is odd about the objects that are to be found: too many classes in one image each."""
        truths = truth.items["truths"]
        counted = ~(truths.columns["crowd"] | truths.columns["ignore"])
        pairs = np.unique(
            np.stack([truths.columns["label"][counted].astype(np.int64), truths.owner[counted]]), axis=1
        )
        _, images = np.unique(pairs[0], return_counts=True)
        alone = np.count_nonzero(images == 1)
        if 3 * alone <= images.size:
            return []
        return [f"{alone} of {images.size} classes stand in one image alone, on which their AP hangs"]


def in_order(ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each sample's place by id (n,), and the samples in that order (n,)."""
    order = np.argsort(ids, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return place, order


def by_class(outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64]) -> dict[int, float]:
    """AP of each class by label, of those of which something is to be found."""
    from robustbench_ms.tasks.detection.accumulate import curves

    found, _ = _matched(outcomes, truth, ids)
    each = curves(found, np.ones((1, len(ids))), _CUTS).precision[0].mean(axis=0)[:, 0]
    return {int(k): float(ap) for k, ap in zip(found.classes, each, strict=True) if np.isfinite(ap)}


def _matched(
    outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64]
) -> tuple[Matched, NDArray[np.int64]]:
    from robustbench_ms.tasks.detection.matching import matched

    if truth is None:
        raise ValueError("detection is scored beside its truth")
    place, order = in_order(ids)
    return matched(outcomes.items["detections"], truth.items["truths"], place, most=_CUTS[-1]), order


def _exact(found: Matched, images: int) -> Numbers:
    """The twelve numbers (1,) as COCOeval.summarize has them, its order of summing included; nan for its -1."""
    from robustbench_ms.tasks.detection.accumulate import RECALLS, curves

    areas, thresholds, _ = found.code.shape
    table = np.full((areas, thresholds, RECALLS.size, found.classes.size), -1.0)
    recall = curves(found, np.ones((1, images)), _CUTS, table=table).recall[..., 0]
    told = {name: table[0, at] for name, at in _AT.items()}
    told |= {f"AP_{size}": table[a] for a, size in enumerate(_SIZES) if size}
    told |= {f"AR{most}": recall[0, m] for m, most in enumerate(_CUTS)}
    told |= {f"AR_{size}": recall[a, -1] for a, size in enumerate(_SIZES) if size}
    means = {}
    for name, values in told.items():
        some = values[values > -1]
        means[name] = np.array([np.mean(some) if some.size else np.nan])
    return means


def _weighted(found: Matched, weights: NDArray[np.float64]) -> Numbers:
    """The twelve numbers under weightings (R, n) of the images in their places, (R,) each."""
    from robustbench_ms.tasks.detection.accumulate import curves

    if not len(weights):
        return {}
    made = curves(found, weights, _CUTS)
    told = {name: _over_classes(made.precision[0, at]) for name, at in _AT.items()}
    for a, size in enumerate(_SIZES):
        if size:
            told[f"AP_{size}"] = _over_classes(made.precision[a])
            told[f"AR_{size}"] = _over_classes(made.recall[a, -1])
    return told | {f"AR{most}": _over_classes(made.recall[0, m]) for m, most in enumerate(_CUTS)}


def _over_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over thresholds and classes (..., K, R) of what is there; nan where nothing is."""
    rows = values.reshape(-1, values.shape[-1])
    there = np.isfinite(rows)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(there, rows, 0.0).sum(axis=0) / there.sum(axis=0)
    return mean


def _absent(name: str) -> Absent:
    size = name.partition("_")[2]
    return Absent(f"no {size} object" if size else "no object")


SCORERS: tuple[Scorer, ...] = (Precision(),)
