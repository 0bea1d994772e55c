"""Which ranks a model can have, given what the images and the seeds can tell apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from statistics import fmean
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.comparison import Comparison, Side, loss_between
from robustbench_ms.records.entry import Entry
from robustbench_ms.records.evidence import Evidence
from robustbench_ms.records.summary import Goodness
from robustbench_ms.statistics.differences import Difference, Student, of_replicates
from robustbench_ms.statistics.ranks import Bounds, apart, gaffke_bounds, rank_ranges
from robustbench_ms.statistics.seeds import SeedsAndImages, over_seeds

__all__ = ["KeptTests", "Progress", "gain", "ranges", "silent"]

Progress = Callable[[str, int, int], None]
"""Told what is counted, how many of it are done, and of how many."""
_OFTEN = 200
"""Pairs from one word about how far it is to the next."""


def silent(what: str, done: int, of: int) -> None:
    """No progress is shown."""
    del what, done, of


class KeptTests(Protocol):
    """What was worked out of pairs of models, each known by a digest."""

    def tests(self, models: Sequence[str]) -> Bounds:
        """Gains of row over column and bounds of the two-sided p, (M, M) each; nan where they are not kept."""

    def keep(self, models: Sequence[str], found: Bounds) -> None:
        """The same, to be kept."""


def ranges(
    models: Sequence[Sequence[Entry]], kept: KeptTests | None = None, progress: Progress = silent
) -> list[tuple[int, int]] | None:
    """For each model, the entries of its seeds, [1 + number significantly better, M - number significantly worse].

    By the first column, of which all have a value. Two-sided tests at 0.05, Holm-adjusted over all pairs. Between
    models of one seed over the images. Where one has several, over the seeds and over the images, of which it has the
    mean over its seeds; the larger p counts. All entries answer the same question. None where the column has no test (a
    calibration error of one seed), its samples are not kept or there is one image.
    """
    judged = {one.judged for row in models for one in row}
    if "" in judged or ("seeds" in judged and any(len(row) < 2 for row in models)):
        return None
    digests = [hashlib.sha256("".join(one.digest for one in row).encode()).hexdigest()[:32] for row in models]
    if any(not one.digest for row in models for one in row):
        kept = None
    pairs = _Pairs(models)
    i, j = np.triu_indices(len(models), 1)
    known = None if kept is None else kept.tests(digests)
    if known is None or np.isnan(known.low[i, j]).any():
        found = pairs.bounds()
        if known is None:
            known = found
        known = Bounds(*(np.where(np.isnan(k), f, k) for k, f in zip(known, found, strict=True)))
    gain, low, high = (one[i, j] for one in known)

    def exact(where: NDArray[np.intp]) -> NDArray[np.float64]:
        p = np.empty(len(where))
        for at, pair in enumerate(where):
            if at % _OFTEN == 0:
                progress("pairs", at, len(where))
            found = pairs.gain(int(i[pair]), int(j[pair]))
            gain[pair], p[at] = found.mean, found.p_differs
        return p

    distinct = apart(low, high, exact)
    if kept is not None:
        square = Bounds(*(np.full((len(models),) * 2, np.nan) for _ in range(3)))
        for table, one, turned in zip(square, (gain, low, high), (-gain, low, high), strict=True):
            table[i, j], table[j, i] = one, turned
        kept.keep(digests, square)
    i, j, won = i[distinct], j[distinct], gain[distinct] > 0
    return rank_ranges(np.where(won, i, j), np.where(won, j, i), len(models))


def gain(mine: Sequence[Entry], other: Sequence[Entry]) -> Difference:
    """By how much the seeds of one model are better than another's by the first column of their entries."""
    return _Pairs([mine, other]).gain(0, 1)


class _Pairs:
    """Models that answer one question, two by two."""

    def __init__(self, models: Sequence[Sequence[Entry]]) -> None:
        self._models = models
        self._sides: dict[int, list[Side]] = {}

    @cached_property
    def _kept(self) -> list[list[Evidence]]:
        """Read for the first pair that is not known."""
        return [[one.found() for one in row] for row in self._models]

    @cached_property
    def _means(self) -> list[NDArray[np.float64]]:
        return [np.array([one.value for one in row]) for row in self._kept]

    @cached_property
    def _goods(self) -> list[Goodness | None]:
        """Of each model, sample by sample the mean over its seeds."""
        return [_mean([one.goodness for one in row]) for row in self._kept]

    @property
    def _by_seeds_alone(self) -> bool:
        return self._models[0][0].judged == "seeds"

    def gain(self, i: int, j: int) -> Difference:
        """By how much i is better than j."""
        if max(len(self._models[i]), len(self._models[j])) == 1:
            return self._over_images(i, j)
        seeds = over_seeds(self._means[i], self._means[j])
        return seeds if self._by_seeds_alone else SeedsAndImages.of(seeds, self._over_images(i, j))

    def bounds(self) -> Bounds:
        """Gains, and bounds of p of all pairs (M, M); 0 and 1 where only a test tells."""
        count = len(self._models)
        goods = [good for good in self._goods if good is not None]
        span = goods[0].high - goods[0].low if goods else math.inf
        if len(goods) < count or self._by_seeds_alone or not math.isfinite(span):
            square = (count, count)
            return Bounds(np.zeros(square), np.zeros(square), np.ones(square))
        gain, low, high = gaffke_bounds(np.stack([good.values for good in goods]), span)
        for i, row in enumerate(self._models):
            for j in range(i + 1, count):
                if max(len(row), len(self._models[j])) > 1:
                    seeds = over_seeds(self._means[i], self._means[j])
                    p = seeds.p_above(0.0) if gain[i, j] > 0 else seeds.p_below(0.0)
                    low[i, j], high[i, j] = max(low[i, j], min(p, 1 - p)), max(high[i, j], p)
        return Bounds(gain, np.minimum(1.0, 2 * low), np.minimum(1.0, 2 * high))

    def _over_images(self, i: int, j: int) -> Difference:
        mine, theirs = self._goods[i], self._goods[j]
        if mine is not None and theirs is not None:
            return loss_between(theirs, mine)
        return self._by_replicates(i, j) or self._by_pairs(i, j)

    def _by_replicates(self, i: int, j: int) -> Difference | None:
        """The same of the means over seeds, where all keep replicates."""
        mine, theirs = ([one.replicates for one in self._kept[k]] for k in (i, j))
        rows = [row for row in (*mine, *theirs) if row is not None]
        if len(rows) < len(mine) + len(theirs) or len({row.shape for row in rows}) > 1:
            return None
        one = self._kept[i][0]
        apart = one.sign * (np.mean(rows[: len(mine)], axis=0) - np.mean(rows[len(mine) :], axis=0))
        gain = float(self._means[i].mean() - self._means[j].mean())
        return of_replicates(gain, apart, one.n, jackknife=one.jackknife)

    def _by_pairs(self, i: int, j: int) -> Difference:
        """Of each seed against each; the standard error of a mean is at most the mean of the standard errors."""
        metric = self._models[i][0].columns[0]
        found = []
        for mine in self._sides_of(i):
            for other in self._sides_of(j):
                pair = Comparison(other, mine)
                found.append(pair.loss(mine.terms.quantity(metric)).difference)
        if len(found) == 1:
            return found[0]
        mean, spread = fmean(one.mean for one in found), fmean(one.stderr for one in found)
        return Student(mean, spread, found[0].n, found[0].n - 1, "Student's t, seed against seed")

    def _sides_of(self, i: int) -> list[Side]:
        if i not in self._sides:
            self._sides[i] = [Side.of(one.record()) for one in self._models[i]]
        return self._sides[i]


def _mean(row: Sequence[Goodness | None]) -> Goodness | None:
    """Of the seeds of one model; None where one has none."""
    goods = [good for good in row if good is not None]
    if len(goods) < len(row):
        return None
    return replace(goods[0], values=np.mean([good.values for good in goods], axis=0))
