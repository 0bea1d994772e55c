"""Ranks of many models: bounds hold the p that they stand for, and Holm's procedure is answered as by all p-values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.records import ranking
from robustbench_ms.records.entry import entry_of
from robustbench_ms.statistics.bounded import bounded
from robustbench_ms.statistics.intervals import holm
from robustbench_ms.statistics.ranks import apart, gaffke_bounds, rank_ranges
from tests.simulated import record


def of_many_cells(random):
    """Means of 75 answers, of models of like skill on images of unlike ease."""
    ease = random.standard_normal(400)
    skills = 0.15 * random.standard_normal(24)
    return np.stack([(ease + s + random.standard_normal((75, 400)) > 0).mean(axis=0) for s in skills])


def of_answers(random):
    """Yes and no; half of the models lose some answers of the first, the others win some too."""
    right = random.random(500) < 0.9
    models = [right]
    for k in range(23):
        moved = right.copy()
        moved[random.choice(np.flatnonzero(right), k, replace=False)] = False
        if k % 2:
            moved[random.choice(np.flatnonzero(~right), k // 2, replace=False)] = True
        models.append(moved)
    return np.stack(models).astype(float)


def of_few_that_lose_all(random):
    """Means of 75 answers that are alike but for a few images."""
    same = random.integers(0, 76, 600) / 75
    models = np.tile(same, (24, 1))
    for k, row in enumerate(models):
        row[random.choice(600, k, replace=False)] = 0
    return models


def of_few_images(random):
    """Means of 5 answers of 40 images."""
    return np.stack([random.binomial(5, share, 40) / 5 for share in random.uniform(0.3, 0.9, 24)])


def test_bounds_hold_the_integral_of_a_thousand_pairs():
    """And tell most of them apart, or hold them together, at a level of 1,000 pairs."""
    pairs, settled = 0, 0
    for seed, kind in enumerate((of_many_cells, of_answers, of_few_that_lose_all, of_few_images)):
        values = kind(np.random.default_rng(seed))
        bounds = gaffke_bounds(values, 1.0)
        for i, j in zip(*np.triu_indices(len(values), 1), strict=True):
            gain, low, high = (table[i, j] for table in bounds)
            difference = bounded(values[i] - values[j], -1.0, 1.0)
            assert gain == pytest.approx(difference.mean, abs=1e-12)
            p = difference.p_above(0.0) if gain > 0 else difference.p_below(0.0)
            assert low <= p <= high, (kind.__name__, i, j)
            pairs += 1
            settled += high < 2.5e-5 or low > 2.5e-5
    assert pairs >= 1000
    assert settled > pairs / 2


P = (0.0, 1e-6, 1e-4, 0.001, 0.004, 0.01, 0.012, 0.02, 0.05, 0.3, 1.0)


def test_holm_of_bounds_is_that_of_all_p_values():
    random = np.random.default_rng(5)
    spared = 0
    for _ in range(300):
        p = random.choice(P, random.integers(1, 25))
        low = p * random.random(p.size)
        high = p + (1 - p) * random.random(p.size) ** random.choice([1, 6, 20])
        asked = []

        def exact(where, p=p, asked=asked):
            asked.extend(where)
            return p[where]

        assert apart(low, high, exact).tolist() == [one <= 0.05 for one in holm(p.tolist())]
        assert len(asked) == len(set(asked))
        spared += p.size - len(asked)
    assert spared


def test_what_bounds_decide_is_not_asked():
    def never(where):
        raise AssertionError(where)

    assert apart(np.array([0.0, 0.3]), np.array([0.01, 1.0]), never).tolist() == [True, False]
    with pytest.raises(AssertionError):
        apart(np.array([0.0, 0.3]), np.array([0.03, 1.0]), never)


def test_ranks_count_who_is_better_and_who_is_worse():
    assert rank_ranges([0, 0, 1, 1, 2], [2, 3, 2, 3, 3], 4) == [(1, 2), (1, 2), (3, 3), (4, 4)]
    assert rank_ranges([], [], 1) == [(1, 1)]


def test_a_pair_is_apart_alone_and_not_among_ten():
    """14 answers against 3, p = .013 by the binomial; of ten pairs the level of the first is .005."""
    right = np.ones((5, 1, 100), dtype=bool)
    right[0, 0, :3], right[1, 0, 3:17] = False, False
    right[2:, 0, 20:28] = False
    models = []
    for row in right:
        made = record(row, keys=("clean",))
        models.append([entry_of(replace(made, suite={**made.suite, "summary": ["clean_accuracy"]}))])

    assert ranking.ranges(models[:2]) == [(1, 1), (2, 2)]
    assert ranking.ranges(models) == [(1, 5)] * 5


def test_bounds_hold_the_p_of_models_of_several_seeds_too():
    """The larger p of seeds and images, of one seed against several and of several against several."""
    random = np.random.default_rng(7)
    models = []
    for seeds, share in ((1, 0.7), (1, 0.74), (2, 0.7), (3, 0.8), (3, 0.72), (2, 0.9)):
        row = [record(random.random((1, 300)) < share + 0.01 * k, keys=("clean",)) for k in range(seeds)]
        models.append([entry_of(replace(m, suite={**m.suite, "summary": ["clean_accuracy"]})) for m in row])
    pairs = ranking._Pairs(models)
    bounds = pairs.bounds()

    for i, j in zip(*np.triu_indices(len(models), 1), strict=True):
        found = pairs.gain(int(i), int(j))
        assert bounds.gain[i, j] == pytest.approx(found.mean, abs=1e-12)
        assert bounds.low[i, j] <= found.p_differs <= bounds.high[i, j]
    assert (bounds.high < 0.05).any()
    assert (bounds.low > 0.05).any()
