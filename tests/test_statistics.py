"""Our statistics against scipy's and statsmodels', and against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from robustbench_ms.statistics.differences import (
    Exact,
    Resampled,
    Student,
    of_counts,
    paired,
    planned_detectable,
    rank_ranges,
    welch,
)
from robustbench_ms.statistics.intervals import (
    binomial_bound,
    binomial_tail,
    bootstrap_means,
    holm,
    t_quantile,
    t_tail,
)
from robustbench_ms.tasks.calibration import bin_sums, ece


def normal(seed, n, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, n)


@pytest.mark.parametrize("degrees", [1, 2.5, 7, 596, 9_999, 49_999])
@pytest.mark.parametrize("t", [-3.0, -0.2, 0.0, 0.7, 2.0, 9.0, 30.0])
def test_tail_of_t_is_scipys(degrees, t):
    assert t_tail(t, degrees) == pytest.approx(scipy_stats.t.sf(t, degrees), rel=1e-9, abs=1e-280)


@pytest.mark.parametrize("degrees", [1, 2.5, 7, 596, 9_999])
@pytest.mark.parametrize("p", [0.001, 0.05, 0.5, 0.8, 0.95, 0.9999])
def test_quantile_of_t_is_scipys(degrees, p):
    assert t_quantile(p, degrees) == pytest.approx(scipy_stats.t.ppf(p, degrees), rel=1e-8, abs=1e-9)


@given(n=st.integers(1, 60_000), share=st.floats(0, 1), p=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_binomial_tail_is_scipys(n, share, p):
    k = round(share * n)

    assert binomial_tail(k, n, p) == pytest.approx(scipy_stats.binom.sf(k - 1, n, p), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 600), (1, 600), (19, 10_000), (300, 600), (600, 600)])
@pytest.mark.parametrize("alpha", [0.001, 0.05, 0.4])
def test_binomial_bounds_are_statsmodels(k, n, alpha):
    low, high = proportion_confint(k, n, alpha=2 * alpha, method="beta")

    assert binomial_bound(k, n, alpha, upper=False) == pytest.approx(low, abs=1e-9)
    assert binomial_bound(k, n, alpha, upper=True) == pytest.approx(high, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_holm_is_statsmodels(p_values):
    theirs = multipletests(p_values, method="holm")[1]

    assert holm(p_values) == pytest.approx(list(theirs), abs=1e-12)


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


def test_paired_mean_is_scipys_paired_test():
    before, after = normal(0, 400), normal(1, 400, -0.1)
    found = paired(before - after, answers=False)
    theirs = scipy_stats.ttest_rel(before, after, alternative="greater")

    assert isinstance(found, Student)
    assert found.p_above(0.0) == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.lower(0.05) == pytest.approx(theirs.confidence_interval(0.95).low, rel=1e-9)
    assert found.p_below(0.0) == pytest.approx(1 - theirs.pvalue, rel=1e-9)
    two_sided = scipy_stats.ttest_rel(before, after)
    assert found.p_differs == pytest.approx(two_sided.pvalue, rel=1e-9)
    assert found.upper(0.025) == pytest.approx(two_sided.confidence_interval(0.95).high, rel=1e-9)


def test_paired_mean_against_a_tolerance_is_scipys_one_sample_test():
    losses = normal(2, 300, 0.3)
    found = paired(losses, answers=False)

    above = scipy_stats.ttest_1samp(losses, 0.2, alternative="greater").pvalue
    below = scipy_stats.ttest_1samp(losses, 0.5, alternative="less").pvalue
    assert found.p_above(0.2) == pytest.approx(above, rel=1e-9)
    assert found.p_below(0.5) == pytest.approx(below, rel=1e-9)


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (0, 7), (6, 0), (12, 7), (3, 3)])
def test_few_changes_against_no_loss_are_mcnemars_exact_test(worse, better):
    found = of_counts(worse, better, 600)
    theirs = mcnemar([[500, worse], [better, 100]], exact=True)

    assert isinstance(found, Exact)
    if worse != better:
        assert found.p_differs == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.p_above(0.0) == pytest.approx(scipy_stats.binom.sf(worse - 1, worse + better, 0.5), rel=1e-9)


@pytest.mark.parametrize(("worse", "better", "n"), [(0, 0, 600), (5, 0, 600), (12, 7, 600), (3, 15, 10_000)])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_bounds_of_few_changes_are_made_of_two_exact_binomial_bounds(worse, better, n, alpha):
    found = of_counts(worse, better, n)
    least, _ = proportion_confint(worse, n, alpha=alpha, method="beta")
    _, most_better = proportion_confint(better, n, alpha=alpha, method="beta")
    expected = least - most_better
    if scipy_stats.binom.sf(worse - 1, worse + better, 0.5) <= alpha:
        expected = max(expected, 0.0)

    assert found.lower(alpha) == pytest.approx(expected, abs=1e-9)
    assert found.upper(alpha) == pytest.approx(-of_counts(better, worse, n).lower(alpha), abs=1e-12)


@given(
    worse=st.integers(0, 12),
    better=st.integers(0, 7),
    n=st.integers(20, 2000),
    tolerance=st.floats(-0.2, 0.2).filter(lambda m: abs(m) > 1e-4),
    alpha=st.floats(0.001, 0.4),
)
@settings(max_examples=200, deadline=None)
def test_p_values_and_bounds_tell_the_same(worse, better, n, tolerance, alpha):
    for found in (of_counts(worse, better, n), of_counts(worse * 5 + 30, better, n * 40)):
        lower, upper = found.lower(alpha), found.upper(alpha)
        if abs(lower - tolerance) > 1e-6 and (tolerance > 0 or lower != 0.0):
            assert (found.p_above(tolerance) <= alpha) == (lower > tolerance)
        if abs(upper - tolerance) > 1e-6 and (tolerance < 0 or upper != 0.0):
            assert (found.p_below(tolerance) <= alpha) == (upper < tolerance)
        assert lower <= found.mean <= upper


@pytest.mark.parametrize("n", [60, 600])
@pytest.mark.parametrize(("up", "down"), [(0.01, 0.0), (0.012, 0.004), (0.0, 0.02)])
def test_exact_bounds_miss_no_more_often_than_they_say(n, up, down):
    """Over all outcomes of the trinomial, not a sample of them: the probability that the bound is above the truth."""
    alpha, missed = 0.05, 0.0
    for worse in range(19):
        for better in range(19 - worse):
            found = of_counts(worse, better, n)
            if found.lower(alpha) > up - down + 1e-12:
                chance = scipy_stats.multinomial.pmf(
                    [worse, better, n - worse - better], n, [up, down, 1 - up - down]
                )
                missed += chance

    assert missed <= alpha


def test_with_twenty_changes_the_t_test_takes_over_and_agrees_with_the_full_differences():
    losses = np.zeros(600)
    losses[:25], losses[25:32] = 1, -1

    found, counted = paired(losses, answers=True), of_counts(25, 7, 600)

    assert isinstance(found, Student)
    assert isinstance(counted, Student)
    assert counted.mean == pytest.approx(found.mean)
    assert counted.stderr == pytest.approx(found.stderr)
    assert isinstance(paired(np.where(np.arange(600) < 19, 1.0, 0.0), answers=True), Exact)
    assert isinstance(paired(np.where(np.arange(600) < 20, 1.0, 0.0), answers=True), Student)


def test_few_images_that_change_by_parts_are_bounded_by_the_largest_part():
    losses = np.zeros(600)
    losses[:3], losses[3:5], losses[5] = 1 / 75, 4 / 75, -2 / 75
    found = paired(losses, answers=True)

    assert isinstance(found, Exact)
    assert (found.worse, found.better) == (5, 1)
    share = proportion_confint(5, 600, alpha=0.05, method="beta")[1]
    least_better = proportion_confint(1, 600, alpha=0.05, method="beta")[0]
    assert found.upper(0.05) == pytest.approx(4 / 75 * share - 1 / 75 * least_better, abs=1e-9)


def test_signs_of_unequal_changes_are_not_taken_for_a_loss():
    losses = np.zeros(600)
    losses[:10], losses[10] = 1 / 75, -60 / 75  # most images lose a little, the mean gains

    found = paired(losses, answers=True)

    assert found.mean < 0
    assert found.p_above(0.0) > 0.5


def test_losses_that_are_all_equal_are_known():
    found = paired(np.full(50, 0.25), answers=False)

    assert (found.lower(0.05), found.upper(0.05)) == (0.25, 0.25)
    assert (found.p_above(0.2), found.p_above(0.25), found.p_below(0.3)) == (0.0, 1.0, 0.0)


def test_welch_is_scipys_and_statsmodels():
    one, other = normal(3, 5, 0.8), 3 * normal(4, 4)
    found = welch(one, other)
    theirs = scipy_stats.ttest_ind(one, other, equal_var=False)

    assert found.p_differs == pytest.approx(theirs.pvalue, rel=1e-9)
    assert found.degrees == pytest.approx(theirs.df, rel=1e-9)
    low, high = CompareMeans(DescrStatsW(one), DescrStatsW(other)).tconfint_diff(usevar="unequal")
    assert (found.lower(0.025), found.upper(0.025)) == pytest.approx((low, high), rel=1e-9)


def test_welch_of_seeds_that_never_differ():
    assert welch(np.array([0.5, 0.5]), np.array([0.4, 0.4])).p_differs == 0.0


@pytest.mark.parametrize("n", [30, 600, 10_000])
@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_detectable_difference_is_statsmodels_power_calculation(n, alpha):
    found = Student(0.0, 1 / math.sqrt(n), n, n - 1)
    theirs = TTestPower().solve_power(nobs=n, alpha=alpha, power=0.8, alternative="larger")

    assert found.detectable(alpha) == pytest.approx(theirs, rel=0.01)


def test_a_loss_of_answers_cannot_be_noticed_more_sharply_than_the_answers_it_takes_vary():
    """Nothing changed, and 4 points are tolerated: how often does a gate of 600 images notice what it says it would?"""
    found = of_counts(0, 0, 600)
    beyond = found.detectable(0.05, 0.04)

    worse = np.random.default_rng(9).binomial(600, 0.04 + beyond, 400)
    noticed = np.mean([of_counts(int(w), 0, 600).p_above(0.04) <= 0.05 for w in worse])

    assert beyond > 4 * found.stderr * 2.5
    assert noticed == pytest.approx(0.8, abs=0.07)


def test_needed_samples_are_statsmodels_power_calculation():
    found = Student(0.06, 1 / math.sqrt(500), 500, 499)
    theirs = TTestPower().solve_power(effect_size=0.04, alpha=0.05, power=0.8, alternative="larger")

    assert found.needed(0.02, 0.05) == pytest.approx(theirs, rel=0.01)
    assert found.needed(0.06, 0.05) is None


@pytest.mark.parametrize(
    ("worse", "better", "n", "tolerance"), [(1, 0, 100, 0.04), (3, 1, 600, 0.01), (8, 0, 300, 0.01)]
)
def test_as_many_samples_as_are_said_to_settle_a_few_changes_do(worse, better, n, tolerance):
    """Were the shares of changed answers what they seem; an unsure gate never asks for fewer than it has."""
    found = of_counts(worse, better, n)
    needed = found.needed(tolerance, 0.05)
    assert found.lower(0.05) < tolerance < found.upper(0.05)
    assert needed > n

    draws = np.random.default_rng(0).multinomial(
        needed, [worse / n, better / n, 1 - (worse + better) / n], 300
    )
    settled = [
        again.upper(0.05) < tolerance or again.lower(0.05) > tolerance
        for again in (of_counts(int(up), int(down), needed) for up, down, _ in draws)
    ]
    assert 0.7 < np.mean(settled) < 0.97


def test_planned_detectable_difference_of_one_cell_and_of_many():
    whole = planned_detectable(600, changed=0.1)
    theirs = TTestPower().solve_power(nobs=600, alpha=0.05, power=0.8, alternative="larger") * math.sqrt(0.1)

    assert whole == pytest.approx(theirs, rel=0.01)
    assert planned_detectable(600, changed=0.1, cells=75, correlation=1) == whole
    assert planned_detectable(600, changed=0.1, cells=75, correlation=0) == pytest.approx(
        whole / math.sqrt(75)
    )


def test_bootstrap_of_a_ratio_is_scipys():
    random = np.random.default_rng(5)
    rows = np.stack([random.random(300) < 0.5, random.random(300) < 0.9]).astype(float)
    draws = bootstrap_means(rows, resamples=4000)
    theirs = scipy_stats.bootstrap(
        (rows[0], rows[1]), lambda x, y, axis: x.mean(axis) / y.mean(axis), paired=True, n_resamples=4000,
        method="percentile", vectorized=True, rng=np.random.default_rng(0),
    )  # fmt: skip

    ratio = Resampled(rows[0].mean() / rows[1].mean(), 0.0, 300, draws[:, 0] / draws[:, 1])
    assert ratio.draws.std(ddof=1) == pytest.approx(theirs.standard_error, rel=0.05)
    assert ratio.lower(0.025) == pytest.approx(theirs.confidence_interval.low, abs=0.005)
    assert ratio.upper(0.025) == pytest.approx(theirs.confidence_interval.high, abs=0.005)


def test_bootstrap_of_a_calibration_error_follows_its_definition():
    random = np.random.default_rng(6)
    confidence = random.random(500)
    correct = random.random(500) < confidence**2
    bins = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
    rows = np.zeros((15, 500))
    rows[bins, np.arange(500)] = correct - confidence
    draws = np.abs(bootstrap_means(rows, resamples=300)).sum(axis=1)

    index = np.random.default_rng(7)
    theirs = [
        ece(bin_sums(confidence[i], correct[i])) for i in (index.integers(0, 500, 500) for _ in range(300))
    ]
    assert draws.mean() == pytest.approx(np.mean(theirs), rel=0.05)
    assert draws.std() == pytest.approx(np.std(theirs), rel=0.2)


def test_bootstrap_draws_clusters_whole():
    """Ten copies of each of 60 values are worth 60 values, not 600."""
    values = normal(8, 60)
    copies, groups = np.repeat(values, 10), np.repeat(np.arange(60), 10)

    clustered = bootstrap_means(copies, groups).std(ddof=1)

    assert clustered == pytest.approx(bootstrap_means(values).std(ddof=1), rel=1e-9)
    assert clustered > 2.5 * bootstrap_means(copies).std(ddof=1)


def test_bootstrap_is_the_same_each_time_and_weighs_clusters_by_their_size():
    values, groups = np.array([1.0, 1.0, 1.0, 5.0]), np.array([7, 7, 7, 9])
    draws = bootstrap_means(values, groups, resamples=200)[:, 0]

    assert np.array_equal(draws, bootstrap_means(values, groups, resamples=200)[:, 0])
    assert set(np.round(draws, 12)) == {1.0, 2.0, 5.0}


def test_rank_ranges_count_who_is_significantly_better_and_worse():
    means = [0.9, 0.895, 0.8, 0.5]
    gains = {(i, j): Student(means[i] - means[j], 0.01, 1000, 999) for i in range(4) for j in range(i + 1, 4)}

    assert rank_ranges(gains, 4) == [(1, 2), (1, 2), (3, 3), (4, 4)]
    assert rank_ranges({}, 1) == [(1, 1)]


def test_rank_ranges_are_adjusted_for_the_number_of_pairs():
    """A pair at p = 0.03 is apart alone and not among ten that are not."""
    close = Student(t_quantile(0.985, 999) * 0.01, 0.01, 1000, 999)
    apart = rank_ranges({(0, 1): close}, 2)
    none = Student(0.0, 0.01, 1000, 999)
    among = {(i, j): none for i in range(5) for j in range(i + 1, 5)} | {(0, 1): close}

    assert apart == [(1, 1), (2, 2)]
    assert rank_ranges(among, 5) == [(1, 5)] * 5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: paired(np.array([0.1]), answers=False),
        lambda: welch(np.array([1.0]), np.array([1.0, 2.0])),
        lambda: bootstrap_means(np.array([1.0])),
        lambda: bootstrap_means(np.array([1.0, 2.0]), np.array([3, 3])),
        lambda: binomial_bound(3, 2, 0.05, upper=True),
        lambda: t_quantile(1.0, 5),
    ],
)
def test_what_has_no_answer_is_refused(wrong):
    with pytest.raises(ValueError, match=r"two|successes|quantile"):
        wrong()
