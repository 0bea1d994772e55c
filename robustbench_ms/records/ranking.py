"""Which ranks a model can have, given what the images or the seeds can tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustbench_ms.records.comparison import Comparison, Side
from robustbench_ms.records.record import Record
from robustbench_ms.records.summary import SUMMARIES
from robustbench_ms.specs.metrics import METRICS
from robustbench_ms.statistics.differences import Difference, paired, rank_ranges, welch

__all__ = ["ranges"]


def ranges(models: Sequence[Sequence[Record]], metric: str) -> list[tuple[int, int]] | None:
    """For each model, the records of its seeds, [1 + number significantly better, M - number significantly worse].

    Two-sided tests at 0.05, Holm-adjusted over all pairs. Between models of several seeds the seeds are the unit
    (Welch's t over their means); else the images, of which a model of several seeds has the mean. All records answer
    the same question. None where the metric has no test (a calibration error of one seed) or there is one image.
    """
    keys = SUMMARIES[metric][0]
    sides = [[Side.of(record) for record in records] for records in models]
    if any(side.cells[key].n < 2 for row in sides for side in row for key in keys):
        return None
    if metric.endswith("ece") and any(len(row) < 2 for row in sides):
        return None
    sign = 1.0 if METRICS[metric].better == "higher" else -1.0
    means = [np.array([sign * side.value(metric, keys) for side in row]) for row in sides]
    kept = [[side.goodness(metric, keys) for side in row] for row in sides]

    def gain(i: int, j: int) -> Difference:
        """By how much i is better than j."""
        if min(means[i].size, means[j].size) > 1:
            return welch(means[i], means[j])
        mine, theirs = ([good for good in kept[k] if good is not None] for k in (i, j))
        if len(mine) == len(kept[i]) and len(theirs) == len(kept[j]):
            values = [np.mean([good for good, _ in row], axis=0) for row in (mine, theirs)]
            return paired(values[0] - values[1], answers=mine[0][1])
        return Comparison(sides[j][0], sides[i][0]).loss(metric, keys).difference

    count = len(models)
    return rank_ranges({(i, j): gain(i, j) for i in range(count) for j in range(i + 1, count)}, count)
