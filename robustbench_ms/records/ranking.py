"""Which ranks a model can have, given what the images and the seeds can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from robustbench_ms.records.comparison import Comparison, Side, loss_between
from robustbench_ms.records.record import Record
from robustbench_ms.statistics.differences import Difference, Student, of_replicates, rank_ranges
from robustbench_ms.statistics.seeds import SeedsAndImages, over_seeds

__all__ = ["ranges"]


def ranges(models: Sequence[Sequence[Record]], metric: str) -> list[tuple[int, int]] | None:
    """For each model, the records of its seeds, [1 + number significantly better, M - number significantly worse].

    Two-sided tests at 0.05, Holm-adjusted over all pairs. Between models of one seed over the images. Where one has
    several, over the seeds and over the images, of which it has the mean over its seeds; the larger p counts. All
    records answer the same question. None where the metric has no test (a calibration error of one seed), its samples
    are not kept or there is one image.
    """
    sides = [[Side.of(record) for record in records] for records in models]
    terms = sides[0][0].terms
    quantity = terms.quantity(metric)
    if any(side.cells[key].n < 2 for row in sides for side in row for key in quantity.cells):
        return None
    if quantity.of in terms.untested:
        if any(len(row) < 2 for row in sides):
            return None
    elif any(Comparison(one, one).unkept(quantity) for row in sides for one in row):
        return None
    means = [np.array([quantity.row.sign * side.value(quantity) for side in row]) for row in sides]
    kept = [[side.goodness(quantity) for side in row] for row in sides]

    def gain(i: int, j: int) -> Difference:
        """By how much i is better than j."""
        if max(means[i].size, means[j].size) == 1:
            return over_images(i, j)
        seeds = over_seeds(means[i], means[j])
        return seeds if quantity.of in terms.untested else SeedsAndImages.of(seeds, over_images(i, j))

    def over_images(i: int, j: int) -> Difference:
        mine, theirs = ([good for good in kept[k] if good is not None] for k in (i, j))
        if len(mine) == len(kept[i]) and len(theirs) == len(kept[j]):
            one, other = (
                replace(row[0], values=np.mean([good.values for good in row], axis=0))
                for row in (mine, theirs)
            )
            return loss_between(other, one)
        return by_replicates(i, j) or by_pairs(i, j)

    def by_replicates(i: int, j: int) -> Difference | None:
        """The same of the means over seeds, where all keep replicates."""
        values = [[side.replicates(quantity) for side in sides[k]] for k in (i, j)]
        mine, theirs = ([one for one in row if one is not None] for row in values)
        if [len(mine), len(theirs)] != [len(row) for row in values]:
            return None
        if len({one.shape for one in (*mine, *theirs)}) > 1:
            return None
        apart = quantity.row.sign * (np.mean(mine, axis=0) - np.mean(theirs, axis=0))
        rule = getattr(terms.scorers[quantity.of], "rule", "")
        n = sides[i][0].cells[quantity.cells[0]].n
        return of_replicates(
            float(means[i].mean() - means[j].mean()), apart, n, jackknife=rule == "jackknife"
        )

    def by_pairs(i: int, j: int) -> Difference:
        """Of each seed against each; the standard error of a mean is at most the mean of the standard errors."""
        found = [Comparison(b, a).loss(quantity).difference for a in sides[i] for b in sides[j]]
        if len(found) == 1:
            return found[0]
        mean, spread = fmean(one.mean for one in found), fmean(one.stderr for one in found)
        return Student(mean, spread, found[0].n, found[0].n - 1, "Student's t, seed against seed")

    count = len(models)
    return rank_ranges({(i, j): gain(i, j) for i in range(count) for j in range(i + 1, count)}, count)
