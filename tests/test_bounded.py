"""Gaffke's bound against what it must be, against other ways to compute it, and against the truth."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from robustbench_ms.statistics.bounded import bounded, mean_between, of_counts
from robustbench_ms.statistics.exponentials import positive_sum
from tests.judging import planned_detectable

ALPHAS = pytest.mark.parametrize("alpha", [0.001, 0.025, 0.05])


def davies(coefficients, counts, points=2_000_000):
    """P(sum >= 0) by the midpoint rule along the imaginary axis, as AS 155 has it; absolutely exact alone."""
    a, k = (np.array(x, dtype=float) for x in (coefficients, counts))
    reach = 60 * float(np.sqrt(k @ a**2)) + 60 * float(np.abs(a).max())
    h = math.pi / reach
    total = 0.0
    for first in range(0, points, 20_000):
        t = (first + np.arange(20_000) + 0.5) * h
        swings = (
            np.exp(-0.5 * (np.log1p(np.outer(t, a) ** 2) @ k)) * np.sin(np.arctan(np.outer(t, a)) @ k) / t
        )
        total += float(swings.sum())
        if np.abs(swings[-1]) < 1e-18:
            break
    return 0.5 + h / math.pi * total


def unlike(coefficients):
    """The same of coefficients that are all unlike, each once: partial fractions, exactly."""
    a = [Fraction(x) for x in coefficients]
    return float(sum(math.prod(x / (x - y) for y in a if y is not x) for x in a if x > 0))


# the probability


@pytest.mark.parametrize(
    ("coefficients", "counts"),
    [
        ([0.99, -0.01], [1, 300]),
        ([0.7, 0.1, -0.3], [4, 20, 9]),
        ([1.0, -1.0, 0.02, -0.03], [10, 11, 40, 80]),
        ([2.0, -0.5, -0.25], [0.5, 7.5, 3.25]),
    ],
)
def test_a_probability_is_that_of_davies_sum(coefficients, counts):
    found = positive_sum(np.array(coefficients), np.array(counts, dtype=float))

    assert found == pytest.approx(davies(coefficients, counts), abs=1e-12)


@pytest.mark.parametrize(
    "coefficients",
    [
        (1.0, -1.0),
        (1 / 75, -1.0),
        (1.0, 2.0, 3.0, -2.5),
        (5.0, 1.0, -0.3, -0.7, -20.0),
        (1e-6, -1.0),
        (1.0, -1e-6),
    ],
)
def test_few_terms_need_no_more_points_than_many(coefficients):
    found = positive_sum(np.array(coefficients), np.ones(len(coefficients)))

    assert found == pytest.approx(unlike(coefficients), rel=1e-11)


def test_a_probability_is_that_of_gammas_by_quadrature():
    """P(X > Y) of two gammas, integrated by scipy where it is right."""
    x, y = stats.gamma(3.0, scale=0.8), stats.gamma(12.0, scale=0.35)
    theirs, _ = integrate.quad(lambda t: x.sf(t) * y.pdf(t), 0, 60, epsabs=1e-14, epsrel=1e-13)

    assert positive_sum(np.array([0.8, -0.35]), np.array([3.0, 12.0])) == pytest.approx(theirs, rel=1e-11)


@pytest.mark.parametrize(
    ("successes", "n", "p"),
    [(1, 10_000, 0.01), (9_990, 10_000, 0.999_9), (0, 400, 0.5), (3, 597, 0.5), (400, 401, 0.1)],
)
def test_the_far_tail_keeps_its_leading_digits(successes, n, p):
    """P(at most so many) where quadrature gives noise: of 1e-42, 1e-120 and less."""
    told = stats.binom.cdf(successes, n, p)
    found = positive_sum(np.array([1 - p, -p]), np.array([successes + 1.0, n - successes]))

    assert found == pytest.approx(told, rel=1e-10)


def test_sums_that_cannot_be_on_one_side():
    assert positive_sum(np.array([1.0, 0.0]), np.array([2.0, 5.0])) == 1.0
    assert positive_sum(np.array([0.0]), np.array([5.0])) == 1.0
    assert positive_sum(np.array([-1.0, 0.0]), np.array([2.0, 5.0])) == 0.0


# what it must be


@ALPHAS
@pytest.mark.parametrize(("successes", "n"), [(0, 50), (3, 597), (550, 597), (597, 597), (9000, 10_000)])
def test_bounds_of_yes_and_no_are_clopper_and_pearsons(successes, n, alpha):
    found = bounded(np.arange(n) < successes, 0.0, 1.0)
    upper = stats.beta.ppf(1 - alpha, successes + 1, n - successes) if successes < n else 1.0
    lower = stats.beta.ppf(alpha, successes, n - successes + 1) if successes else 0.0

    assert found.upper(alpha) == pytest.approx(upper, abs=1e-9)
    assert found.lower(alpha) == pytest.approx(lower, abs=1e-9)


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (0, 7), (6, 0), (12, 7), (3, 3), (260, 220)])
def test_at_no_tolerance_it_is_mcnemars_exact_test(worse, better):
    found = of_counts(worse, better, 600)
    above = stats.binom.sf(worse - 1, worse + better, 0.5)
    below = stats.binom.cdf(worse, worse + better, 0.5)
    losses = np.concatenate([np.ones(worse), -np.ones(better), np.zeros(600 - worse - better)])
    # Nearly no tolerance takes the way of all other means, not the binomial's.
    general = bounded(losses, -1.0, 1.0)

    assert found.p_above(0.0) == pytest.approx(above, abs=1e-12)
    assert found.p_below(0.0) == pytest.approx(below, abs=1e-12)
    assert general.p_above(1e-15) == pytest.approx(above, abs=1e-9)
    assert general.p_below(1e-15) == pytest.approx(below, abs=1e-9)
    assert found.p_differs == pytest.approx(min(1.0, 2 * min(above, below)), abs=1e-12)


@ALPHAS
@pytest.mark.parametrize("n", [2, 597, 10_000])
def test_where_nothing_changed_so_much_could_have_been_missed(n, alpha):
    found = of_counts(0, 0, n)

    assert found.upper(alpha) == pytest.approx(1 - alpha ** (1 / n), abs=1e-9)
    assert found.lower(alpha) == pytest.approx(-found.upper(alpha))
    assert found.p_above(0.0) == found.p_below(0.0) == found.p_differs == 1.0


def test_a_mean_of_the_largest_value_has_no_more_above():
    found = bounded(np.full(50, 2.0), 0.0, 2.0)

    assert (found.upper(0.05), found.p_below(2.0), found.p_below(2.5)) == (2.0, 1.0, 0.0)
    assert found.lower(0.05) == pytest.approx(2 * 0.05 ** (1 / 50))


def test_many_values_have_the_bounds_of_students_t():
    values = np.clip(np.random.default_rng(0).normal(0.3, 0.2, 20_000), -2, 2)
    found, theirs = bounded(values, -2.0, 2.0), stats.ttest_1samp(values, 0.3).confidence_interval(0.9)

    assert found.lower(0.05) == pytest.approx(theirs.low, abs=3e-4)
    assert found.upper(0.05) == pytest.approx(theirs.high, abs=3e-4)
    assert found.values.size <= 4097, "more values are rounded"
    assert mean_between(values, -2.0, 2.0).low == found.lower(0.025)


@given(
    worse=st.integers(0, 60), better=st.integers(0, 60), n=st.integers(121, 3000),
    tolerance=st.floats(-0.2, 0.2), alpha=st.floats(0.001, 0.4),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_p_values_and_bounds_tell_the_same(worse, better, n, tolerance, alpha):
    found = of_counts(worse, better, n)
    lower, upper = found.lower(alpha), found.upper(alpha)

    assert lower <= found.mean <= upper
    if abs(lower - tolerance) > 1e-8:
        assert (found.p_above(tolerance) <= alpha) == (lower > tolerance)
    if abs(upper - tolerance) > 1e-8:
        assert (found.p_below(tolerance) <= alpha) == (upper < tolerance)


def test_an_end_that_was_only_seen_is_none_where_nothing_was_seen():
    none, some = (
        bounded(np.zeros(50), 0.0, 0.0, supposed=True),
        bounded(np.ones(50), -2.0, 2.0, supposed=True),
    )

    assert (none.upper(0.05), none.p_below(0.1)) == (math.inf, 1.0)
    assert 1 < some.upper(0.05) < 2


@pytest.mark.parametrize(
    "wrong", [partial(bounded, np.array([0.1]), 0.0, 1.0), partial(bounded, np.array([0.1, 1.1]), 0.0, 1.0)]
)
def test_what_has_no_bound_is_refused(wrong):
    with pytest.raises(ValueError, match=r"two samples|not in 0\.\.1"):
        wrong()


# what it promises


@pytest.mark.parametrize("n", [60, 600])
@pytest.mark.parametrize(("up", "down"), [(0.01, 0.0), (0.012, 0.004), (0.0, 0.02)])
def test_bounds_miss_no_more_often_than_they_say(n, up, down):
    """Over all outcomes of the trinomial that matter, not a sample: the chance that a bound is beyond the truth."""
    alpha, above, below = 0.05, 0.0, 0.0
    for worse in range(25):
        for better in range(25 - worse):
            chance = stats.multinomial.pmf([worse, better, n - worse - better], n, [up, down, 1 - up - down])
            found = of_counts(worse, better, n)
            above += chance * (found.p_above(up - down) < alpha)
            below += chance * (found.p_below(up - down) < alpha)

    assert above <= alpha
    assert below <= alpha


@pytest.mark.parametrize("lost", [1, 3])
def test_a_loss_on_few_images_is_rarely_taken_for_none(lost):
    """So many of 597 lose all their cells, beside small changes; a tolerance of just that loss may pass in 5 %."""
    random, n, tolerance = np.random.default_rng(lost), 597, lost / 597
    passed = 0
    for _ in range(400):
        losses = np.zeros(n)
        losses[: random.poisson(60)] = random.choice([-1 / 75, 1 / 75])
        losses[: random.poisson(lost)] = 1.0
        passed += bounded(losses, -1.0, 1.0).p_below(tolerance) <= 0.05

    assert passed <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize(
    ("worse", "better", "n", "tolerance"), [(0, 0, 600, 0.04), (30, 30, 597, 0.04), (5, 2, 2000, 0.0)]
)
def test_what_is_said_to_be_detectable_is_noticed_four_times_in_five(worse, better, n, tolerance):
    found = of_counts(worse, better, n)
    beyond = found.detectable(0.05, tolerance)
    loss = tolerance + beyond
    up = loss + better / n
    draws = np.random.default_rng(9).multinomial(n, [up, better / n, 1 - up - better / n], 300)
    noticed = np.mean([of_counts(int(w), int(b), n).p_above(tolerance) <= 0.05 for w, b, _ in draws])

    assert 0.72 < noticed < 0.9


@pytest.mark.parametrize(
    ("worse", "better", "n", "tolerance"),
    [(1, 0, 100, 0.04), (3, 1, 600, 0.01), (40, 10, 597, 0.04), (40, 10, 597, 0.06)],
)
def test_as_many_samples_as_are_said_to_settle_it_do(worse, better, n, tolerance):
    """Were the shares of changed answers what they seem; an unsure gate never asks for fewer than it has."""
    found = of_counts(worse, better, n)
    needed = found.needed(tolerance, 0.05)
    assert found.lower(0.05) < tolerance < found.upper(0.05)
    assert needed > n

    shares = [worse / n, better / n, 1 - (worse + better) / n]
    draws = np.random.default_rng(0).multinomial(needed, shares, 300)
    below = found.mean < tolerance
    settled = []
    for up, down, _ in draws:
        again = of_counts(int(up), int(down), needed)
        settled.append((again.p_below(tolerance) if below else again.p_above(tolerance)) <= 0.05)
    assert 0.68 < np.mean(settled) < 0.9


def test_what_is_needed_is_the_least_number():
    assert of_counts(0, 0, 597).needed(0.004, 0.05) == math.ceil(math.log(0.05) / math.log(1 - 0.004))
    assert of_counts(3, 0, 600).needed(3 / 600, 0.05) is None
    assert of_counts(0, 0, 2).detectable(0.05, 0.99) is None


def test_what_is_planned_is_what_is_found():
    """A tenth of 600 answers changed either way: near enough to what is said before anything is measured."""
    found = of_counts(30, 30, 600)

    assert found.detectable(0.05) == pytest.approx(planned_detectable(600, changed=0.1), rel=0.3)
