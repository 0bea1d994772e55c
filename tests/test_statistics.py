"""Our statistics against scipy's and statsmodels', and against what they promise."""

from __future__ import annotations

import math
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from robustbench_ms.statistics.differences import Student, welch
from robustbench_ms.statistics.intervals import (
    binomial_tail,
    holm,
    t_quantile,
    t_tail,
)


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


@pytest.mark.parametrize("t", [1e-6, 0.01, 0.7, 1.0, 1.41, 1.42, 3.0, 30.0, 1e4])
def test_tails_of_one_and_two_degrees_are_their_closed_forms(t):
    """The Cauchy distribution's, and (s - t) / 2s of s = sqrt(2 + t^2), without the difference."""
    root = math.sqrt(2 + t * t)
    exact = {1: math.atan2(1, t) / math.pi, 2: 1 / (root * (root + t))}

    for degrees, tail in exact.items():
        assert t_tail(t, degrees) == pytest.approx(tail, rel=1e-12)
        assert t_tail(-t, degrees) == pytest.approx(1 - tail, rel=1e-12)


@pytest.mark.parametrize("p", [1e-9, 1e-4, 0.025, 0.4, 0.6, 0.975, 0.9999])
def test_quantiles_of_one_and_two_degrees_are_their_closed_forms(p):
    assert t_quantile(p, 1) == pytest.approx(-1 / math.tan(math.pi * p), rel=1e-12)
    assert t_quantile(p, 2) == pytest.approx((2 * p - 1) / math.sqrt(2 * p * (1 - p)), rel=1e-12)


@pytest.mark.parametrize("n", [1, 7, 79, 300])
@pytest.mark.parametrize("p", [1e-6, 0.01, 0.5, 0.9])
def test_binomial_tail_is_the_sum_of_its_terms(n, p):
    share = Fraction(p)
    terms = [math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(n + 1)]

    for k in {1, n // 3 + 1, n // 2 + 1, n}:
        assert binomial_tail(k, n, p) == pytest.approx(float(sum(terms[k:])), rel=1e-12, abs=1e-290)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_holm_is_statsmodels(p_values):
    with patch("gc.collect"):  # theirs asks for one with every call, in a whole run half a second each
        theirs = multipletests(p_values, method="holm")[1]

    assert holm(p_values) == pytest.approx(list(theirs), abs=1e-12)


def test_holm_of_nothing_is_nothing():
    assert holm([]) == []


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


def test_needed_samples_are_statsmodels_power_calculation():
    found = Student(0.06, 1 / math.sqrt(500), 500, 499)
    theirs = TTestPower().solve_power(effect_size=0.04, alpha=0.05, power=0.8, alternative="larger")

    assert found.needed(0.02, 0.05) == pytest.approx(theirs, rel=0.01)
    assert found.needed(0.06, 0.05) is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: welch(np.array([1.0]), np.array([1.0, 2.0])),
        lambda: t_quantile(1.0, 5),
    ],
)
def test_what_has_no_answer_is_refused(wrong):
    with pytest.raises(ValueError, match=r"two|quantile"):
        wrong()
