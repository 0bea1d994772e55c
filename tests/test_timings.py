"""Statistics of times: against scipy's binomial, and on drawn times of known quantiles and ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from robustbench_ms.statistics.timings import fewest, log_ratios, quantile, ratio, slower, variation


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.99, 368)])
def test_a_percentile_needs_so_many_calls(q, n):
    assert fewest(q) == n
    assert quantile(np.arange(1.0, n), q) is None
    assert quantile(np.arange(1.0, n + 1), q) is not None


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.5, 51), (0.9, 36), (0.9, 400), (0.99, 368), (0.99, 1000)])
def test_its_ends_are_the_innermost_order_statistics_with_equal_tails(q, n):
    """Of the values 1..n each is its own rank: the number below the quantile is binomial."""
    found = quantile(np.random.default_rng(0).permutation(np.arange(1.0, n + 1)), q)
    below = stats.binom(n, q)

    low, high = int(found.low), int(found.high)
    assert below.cdf(low - 1) <= 0.025 < below.cdf(low)
    assert below.sf(high - 1) <= 0.025 < below.sf(high - 2)
    assert found.mean == pytest.approx(np.quantile(np.arange(1, n + 1), q))


def test_it_covers_the_true_percentile_of_skewed_times():
    random = np.random.default_rng(1)
    for q in (0.5, 0.9):
        true = stats.lognorm(0.5).ppf(q)
        drawn = [quantile(random.lognormal(0, 0.5, 60), q) for _ in range(400)]
        assert np.mean([i.low <= true <= i.high for i in drawn]) >= 0.93
        assert np.mean([true < i.low for i in drawn]) <= 0.045
        assert np.mean([true > i.high for i in drawn]) <= 0.045


def drawn(random, factor, blocks=10, calls=8, steady=True):
    """Times of a yardstick and of a model `factor` times as slow, and rounds that slow both down."""
    load = np.ones(blocks) if steady else random.lognormal(0, 0.4, blocks)
    one = load[:, None] * random.lognormal(0, 0.05, (blocks, calls))
    return (factor * load[:, None] * random.lognormal(0, 0.05, (blocks, calls))).tolist(), one.tolist()


@pytest.mark.parametrize("steady", [True, False])
def test_a_ratio_covers_the_true_one_whatever_slows_whole_rounds_down(steady):
    random = np.random.default_rng(2)
    found = [ratio(*drawn(random, 1.3, steady=steady)) for _ in range(400)]

    assert 0.92 <= np.mean([i.low <= 1.3 <= i.high for i in found]) <= 0.98
    assert np.mean([i.mean for i in found]) == pytest.approx(1.3, rel=0.005)
    assert np.mean([i.half_width for i in found]) < 0.03


def test_a_ratio_is_students_t_over_logs_of_the_blocks_means():
    one, other = drawn(np.random.default_rng(3), 0.8)
    logs = np.log(np.mean(one, axis=1) / np.mean(other, axis=1))
    low, high = stats.t.interval(0.95, 9, logs.mean(), stats.sem(logs))

    assert log_ratios(one, other) == pytest.approx(logs)
    assert ratio(one, other) == pytest.approx((math.exp(logs.mean()), math.exp(low), math.exp(high)))
    assert ratio(one[:9], other[:9]) is None


@pytest.mark.parametrize("paired", [True, False])
def test_a_slowdown_of_none_is_seldom_found_and_one_of_a_tenth_is(paired):
    random = np.random.default_rng(4)
    told = {}
    for factor in (1.0, 1.1):
        told[factor] = []
        for _ in range(100):
            sides = [log_ratios(*drawn(random, f, 20)) for f in (factor, 1.0)]
            told[factor].append(slower(*sides, paired=paired).p_above(0.0))

    assert np.mean(np.array(told[1.0]) <= 0.05) <= 0.12
    assert np.mean(np.array(told[1.1]) <= 0.05) > 0.95


def test_slower_is_scipys():
    random = np.random.default_rng(5)
    one, other = random.normal(0.1, 0.02, 20), random.normal(0, 0.03, 25)

    assert slower(one, other, paired=False).p_above(0.0) == pytest.approx(
        stats.ttest_ind(one, other, equal_var=False, alternative="greater").pvalue
    )
    assert slower(one, other[:20], paired=True).p_above(0.05) == pytest.approx(
        stats.ttest_1samp(one - other[:20], 0.05, alternative="greater").pvalue
    )


def test_variation():
    assert variation(np.array([1.0, 2.0, 3.0])) == pytest.approx(0.5)
