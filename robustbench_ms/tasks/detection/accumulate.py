"""From matches to average precision under many weightings of the images at once, in compiled loops.

At weight one it is COCOeval.accumulate to the last bit. Precision and recall are read where a detection is right alone:
the largest precision from there on is never at one that is wrong. Each weighting is a lane of the inner loops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.compiled import compiled
from robustbench_ms.tasks.detection.matching import Matched

__all__ = ["RECALLS", "Curves", "curves"]

RECALLS = np.linspace(0.0, 1.0, 101)
_ALL = np.empty(0)
_NO_TABLE = np.empty((0, 0, 0, 0))


class Curves:
    """Of R weightings; nan where a class has nothing to be found."""

    def __init__(self, areas: int, cuts: int, thresholds: int, classes: int, weightings: int) -> None:
        self.precision = np.full((areas, thresholds, classes, weightings), np.nan)
        """(A, T, K, R): average precision of all kept detections."""
        self.recall = np.full((areas, cuts, thresholds, classes, weightings), np.nan)
        """(A, M, T, K, R): the largest recall of those of a rank below each cut."""


def curves(
    found: Matched,
    weights: NDArray[np.float64],
    cuts: tuple[int, ...],
    *,
    every_recall: bool = False,
    table: NDArray[np.float64] = _NO_TABLE,
) -> Curves:
    """Average precision and recall by area, threshold and class under weights (R, n) of the images in their places.

    At 101 recalls as COCO's, or with `every_recall` the whole area under the curve, as VOC's since 2010. `table`
    (A, T, 101, K), of one weighting, takes COCO's precisions at the recalls, -1 where there are none.
    """
    areas, thresholds, _ = found.code.shape
    made = Curves(areas, len(cuts), thresholds, found.classes.size, len(weights))
    _accumulate(
        found.starts, found.image, found.rank, found.code, found.truth_starts, found.truth_image, found.counted,
        np.ascontiguousarray(weights.T), np.array(cuts), _ALL if every_recall else RECALLS, made.precision,
        made.recall, table,
    )  # fmt: skip
    return made


@compiled
def _steps(recall: Any, recalls: Any) -> Any:
    """How many of the recalls, i / (m - 1), are reached."""
    count = min(recalls.size, int(recall * (recalls.size - 1)) + 1)
    while count < recalls.size and recalls[count] <= recall:
        count += 1
    while count > 0 and recalls[count - 1] > recall:
        count -= 1
    return count


@compiled
def _accumulate(
    starts: Any,
    image: Any,
    rank: Any,
    code: Any,
    truth_starts: Any,
    truth_image: Any,
    counted: Any,
    weights: Any,
    cuts: Any,
    recalls: Any,
    precision: Any,
    recall: Any,
    table: Any,
) -> Any:
    lanes = weights.shape[1]
    most = 1
    for k in range(starts.size - 1):
        most = max(most, truth_starts[k + 1] - truth_starts[k])
    reached, exact = np.empty((most, lanes)), np.empty((most, lanes))
    right, wrong, wanted = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    best, total = np.empty(lanes), np.empty(lanes)
    within = np.empty((cuts.size, lanes))
    for k in range(starts.size - 1):
        for a in range(counted.shape[0]):
            wanted[:] = 0.0
            for g in range(truth_starts[k], truth_starts[k + 1]):
                if counted[a, g]:
                    wanted += weights[truth_image[g]]
            for t in range(code.shape[1]):
                right[:], wrong[:], within[:] = 0.0, 0.0, 0.0
                hits = 0
                for d in range(starts[k], starts[k + 1]):
                    if code[a, t, d] == 0:
                        for r in range(lanes):
                            wrong[r] += weights[image[d], r]
                    elif code[a, t, d] == 1:
                        for m in range(cuts.size):
                            if rank[d] < cuts[m]:
                                for r in range(lanes):
                                    within[m, r] += weights[image[d], r]
                        for r in range(lanes):
                            right[r] += weights[image[d], r]
                            reached[hits, r] = right[r] / wanted[r]
                            exact[hits, r] = right[r] / (wrong[r] + right[r] + 2.0**-52)
                        hits += 1
                best[:], total[:] = 0.0, 0.0
                for h in range(hits - 1, -1, -1):
                    for r in range(lanes):
                        if wanted[r] == 0:
                            continue
                        best[r] = max(best[r], exact[h, r])
                        exact[h, r] = best[r]
                        before = reached[h - 1, r] if h else 0.0
                        if recalls.size == 0:
                            total[r] += best[r] * (reached[h, r] - before)
                        elif reached[h, r] > before:
                            steps = _steps(before, recalls) if before > 0 else 0
                            total[r] += best[r] * (_steps(reached[h, r], recalls) - steps)
                for r in range(lanes):
                    if wanted[r] > 0:
                        precision[a, t, k, r] = total[r] / max(1, recalls.size)
                        for m in range(cuts.size):
                            recall[a, m, t, k, r] = within[m, r] / wanted[r]
                if table.size > 0 and wanted[0] > 0:
                    h = 0
                    for s in range(recalls.size):
                        while h < hits and reached[h, 0] < recalls[s]:
                            h += 1
                        table[a, t, s, k] = exact[h, 0] if h < hits else 0.0
