"""VisDrone's official numbers: other ones than COCO's of the same detections, under names of their own.

From the MATLAB toolkit VisDrone2018-DET-toolkit (2019): what lies by half in the union of the ignored regions is
dropped first, truths and detections alike; a truth of score 0 is a crowd in matching and counts among what is to be
found all the same; the best 1, 10, 100 and 500 detections of an image count over all classes; AP is the whole area
under the precision envelope; the mean over classes weighs each by the number of images that contain it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.specs.card import Output
from robustbench_ms.tasks.detection.measures import FEWEST, Precision, in_order
from robustbench_ms.tasks.measure import Measured, OfSets, Scorer, jackknife_weights, of_replicates
from robustbench_ms.tasks.outcomes import Absent, Items, Outcomes

__all__ = ["REGION", "SCORERS", "Official"]

REGION = 10
"""The label of ignored regions, which no class has: VisDrone's classes are 0..9."""
_CUTS = (1, 10, 100, 500)
_AT: dict[str, slice] = {"VD_AP": slice(None), "VD_AP50": slice(0, 1), "VD_AP75": slice(5, 6)}


@dataclass(frozen=True)
class Official(OfSets):
    """VD_AP, VD_AP50, VD_AP75 and VD_AR1, 10, 100, 500 of boxes, as fractions."""

    names: tuple[str, ...] = (*_AT, *(f"VD_AR{most}" for most in _CUTS))
    fewest: int = FEWEST

    def lacks(self, output: Output) -> list[str]:
        """What a card's output keeps from these numbers."""
        if output.maximum >= _CUTS[-1]:
            return []
        told = f"[output] maximum = {output.maximum}: VisDrone's numbers are over {_CUTS[-1]} detections an image"
        return [f"{told}, and with fewer VD_AP and VD_AR{_CUTS[-1]} can only be lower"]

    def measure(
        self,
        outcomes: Outcomes,
        truth: Outcomes | None,
        ids: NDArray[np.int64],
        groups: NDArray[np.int64] | None,
    ) -> dict[str, Measured | Absent]:
        """The numbers of one cell; regions are truths of the label `REGION`."""
        if truth is None:
            raise ValueError("detection is scored beside its truth")
        place, order = in_order(ids)
        detections, truths = _outside_regions(outcomes, truth)
        weights = jackknife_weights(ids, groups)[:, order]
        one = _numbers(detections, truths, place, np.ones((1, len(ids))))
        many = _numbers(detections, truths, place, weights) if len(weights) else {}
        return of_replicates(one, many, self.rule, lambda _: Absent("no object outside the ignored regions"))


def _numbers(
    detections: Items, truths: Items, place: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    from robustbench_ms.tasks.detection.accumulate import curves
    from robustbench_ms.tasks.detection.matching import matched

    area = np.array([[-np.inf, np.inf]])
    found = matched(detections, truths, place, areas=area, most=_CUTS[-1], of_image=True)
    # Ignored truths match as crowds do, and are to be found all the same.
    found = replace(found, counted=np.ones_like(found.counted))
    made = curves(found, weights, _CUTS, every_recall=True)
    classes, lanes = found.classes.size, len(weights)
    images = np.zeros((classes, lanes))
    for k in range(classes):
        held = np.unique(found.truth_image[found.truth_starts[k] : found.truth_starts[k + 1]])
        images[k] = weights[:, held].sum(axis=1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Over thresholds and classes (T, K, R)."""
        with np.errstate(invalid="ignore"):
            found: NDArray[np.float64] = (np.nan_to_num(values) * images).sum(axis=1).mean(
                axis=0
            ) / images.sum(axis=0)
        return found

    told = {name: mean(made.precision[0, at]) for name, at in _AT.items()}
    return told | {f"VD_AR{most}": mean(made.recall[0, m]) for m, most in enumerate(_CUTS)}


def _outside_regions(outcomes: Outcomes, truth: Outcomes) -> tuple[Items, Items]:
    """Detections and truths of which less than half lies in their image's ignored regions, regions left out."""
    truths, detections = truth.items["truths"], outcomes.items["detections"]
    region = truths.columns["label"] == REGION
    kept, kept_found = ~region, np.ones(detections.owner.size, dtype=bool)
    for i in np.unique(truths.owner[region]):
        size = int(truth.samples["height"][i]), int(truth.samples["width"][i])
        covered = _covered(truths.columns["box"][region & (truths.owner == i)], size)
        for keep, table in ((kept, truths), (kept_found, detections)):
            rows = np.flatnonzero(table.owner == i)
            keep[rows] &= _share(table.columns["box"][rows], covered) < 0.5
    return _chosen(detections, kept_found), _chosen(truths, kept)


def _chosen(items: Items, rows: NDArray[np.bool_]) -> Items:
    return Items(items.owner[rows], {name: column[rows] for name, column in items.columns.items()})


def _xywh(boxes: NDArray[np.float32]) -> NDArray[np.int64]:
    """As the toolkit rounds them: whole pixels, halves upwards, at least 1 each, (m, 4)."""
    found = boxes.astype(np.float64).reshape(-1, 4)
    found[:, 2:] -= found[:, :2]
    return np.maximum(1, np.floor(found + 0.5)).astype(np.int64)


def _covered(regions: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.int64]:
    """Pixels of the regions' union above and left of each (H + 1, W + 1), in the toolkit's own pixels, from 1 on.

    There a region reaches from x to x + w, both in, and an object (see `_share`) from x + 1 to x + w.
    """
    height, width = size
    mask = np.zeros((height + 1, width + 1), dtype=np.int64)
    for x, y, w, h in _xywh(regions):
        mask[y : y + h + 1, x : x + w + 1] = 1
    return mask.cumsum(axis=0).cumsum(axis=1)


def _share(boxes: NDArray[np.float32], covered: NDArray[np.int64]) -> NDArray[np.float64]:
    """Which part of each box is covered (m,), of its whole area where it reaches over the edge."""
    x, y, w, h = _xywh(boxes).T
    height, width = (side - 1 for side in covered.shape)
    left, top = np.minimum(x, width), np.minimum(y, height)
    right, bottom = np.minimum(left + w, width), np.minimum(top + h, height)
    inside = covered[bottom, right] + covered[top, left] - covered[top, right] - covered[bottom, left]
    share: NDArray[np.float64] = inside / (w * h)
    return share


SCORERS: tuple[Scorer, ...] = (Precision(), Official())
