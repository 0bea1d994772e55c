"""Tests over seeds and images together: their level under simulation, and what each part answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from robustbench_ms.statistics.bounded import bounded, of_counts
from robustbench_ms.statistics.seeds import SeedsAndImages, over_seeds, t_needed

N = 597


def answers(models, random, spread):
    """Right or wrong (models, N) of one architecture's seeds: each a shift of its own, then each image its luck."""
    ease = np.linspace(-1.0, 4.0, N) * 1.6
    shift = spread * random.standard_normal((models, 1))
    return ease + shift + random.standard_normal((models, N)) > 0


def parts(one, other):
    """What the seeds say and what the images say of two models' answers (seeds, N)."""
    seeds = over_seeds(one.mean(axis=1), other.mean(axis=1))
    return seeds, bounded(one.mean(axis=0) - other.mean(axis=0), -1.0, 1.0)


@pytest.mark.parametrize(("several", "others"), [(2, 1), (3, 1), (1, 3), (2, 2), (3, 3)])
def test_models_that_differ_by_the_luck_of_training_alone_are_told_apart_in_one_of_twenty(several, others):
    """The images alone, which take these very seeds for the models, tell every second pair apart."""
    random, draws = np.random.default_rng(several * 10 + others), 1500
    found = []
    for _ in range(draws):
        shown = answers(several + others, random, spread=0.3)
        seeds, images = parts(shown[:several], shown[several:])
        both = SeedsAndImages.of(seeds, images)
        found.append([both.p_differs <= 0.05, images.p_differs <= 0.05])
    both, images = np.mean(found, axis=0)

    assert images > 0.3
    assert 0.01 < both < 0.05 + 2 * np.sqrt(0.05 * 0.95 / draws)


def test_two_seeds_that_happen_to_have_equal_counts_are_not_sure_of_every_difference():
    """One pair of seeds in some 25 has equal counts; of such models, the seeds alone tell nearly all apart."""
    random = np.random.default_rng(0)
    shown = answers(4000, random, spread=0.0)
    counts = shown.sum(axis=1)
    drawn = np.concatenate([random.permutation(len(shown)).reshape(-1, 2) for _ in range(24)])
    alike = drawn[counts[drawn[:, 0]] == counts[drawn[:, 1]]]
    assert 0.03 < len(alike) / len(drawn) < 0.08
    pairs = random.permutation(alike)[:1600].reshape(-1, 2, 2)

    found = [parts(shown[one], shown[other]) for one, other in pairs]

    alone = np.mean([seeds.p_differs <= 0.05 for seeds, _ in found])
    both = np.mean([SeedsAndImages.of(*two).p_differs <= 0.05 for two in found])
    assert alone > 0.9
    assert 0.01 < both < 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(found))


@pytest.mark.parametrize("one", [[0.81], [0.86], [0.81, 0.84], [0.7, 0.75, 0.9]])
def test_over_seeds_is_scipys_test_of_two_samples(one):
    """Of several against one the pooled variance is that of the several: Student's test; else Welch's."""
    several = [0.80, 0.83, 0.835]
    for here, there in ((several, one), (one, several)):
        theirs = scipy_stats.ttest_ind(here, there, equal_var=len(one) == 1)
        found = over_seeds(np.array(here), np.array(there))

        assert found.p_differs == pytest.approx(theirs.pvalue, rel=1e-9)
        assert found.mean == pytest.approx(np.mean(here) - np.mean(there))
        interval = theirs.confidence_interval(0.9)
        assert (found.lower(0.05), found.upper(0.05)) == pytest.approx((interval.low, interval.high))
    assert ("taken to spread as the several do" in found.method) == (len(one) == 1)


@pytest.mark.parametrize("sizes", [(1, 1), (0, 3), (3, 0), (0, 0)])
def test_over_seeds_wants_a_spread(sizes):
    with pytest.raises(ValueError, match="a test over seeds needs two values on one side"):
        over_seeds(*(np.zeros(size) for size in sizes))


def test_both_answer_by_the_less_sure_of_them_at_every_tolerance():
    random = np.random.default_rng(4)
    for spread in (0.0, 0.3):
        shown = answers(5, random, spread)
        seeds, images = parts(shown[:3], shown[3:])
        both = SeedsAndImages.of(seeds, images)
        for tolerance in (-0.03, 0.0, 0.01, both.mean, 0.08):
            assert both.p_above(tolerance) == max(seeds.p_above(tolerance), images.p_above(tolerance))
            assert both.p_below(tolerance) == max(seeds.p_below(tolerance), images.p_below(tolerance))
        assert both.p_differs == pytest.approx(max(seeds.p_differs, images.p_differs))
        for alpha in (0.001, 0.05, 0.2):
            assert both.lower(alpha) == min(seeds.lower(alpha), images.lower(alpha))
            assert both.upper(alpha) == max(seeds.upper(alpha), images.upper(alpha))
            # A bound is where the p is alpha.
            assert both.p_above(both.lower(alpha)) == pytest.approx(alpha, rel=1e-3)
            assert both.p_below(both.upper(alpha)) == pytest.approx(alpha, rel=1e-3)
        assert both.detectable(0.05) == max(seeds.detectable(0.05), images.detectable(0.05))
        assert (both.mean, both.n) == (seeds.mean, N)
        assert seeds.method in both.method
        assert images.method in both.method


def test_more_images_settle_nothing_that_the_seeds_leave_open():
    images = of_counts(45, 32, 597)  # a loss of .022, p about .07
    steady, wide = (
        over_seeds(np.array([0.02178, 0.02178 + s]) - s / 2, np.array([s, -s])) for s in (1e-5, 0.1)
    )

    assert SeedsAndImages.of(steady, images).needed(0.0, 0.05) == images.needed(0.0, 0.05) > N
    assert SeedsAndImages.of(wide, images).needed(0.0, 0.05) is None


@pytest.mark.parametrize(("pairs", "seeds"), [(78, 2), (78, 3), (78, 5), (1, 3), (15, 4)])
def test_the_t_that_holms_first_step_needs(pairs, seeds):
    """By scipy: 993 and 39.5 over 78 pairs, with the seeds - 1 degrees that Welch's test has at least."""
    found = t_needed(pairs, seeds)

    assert found == pytest.approx(scipy_stats.t.isf(0.025 / pairs, seeds - 1), rel=1e-9)
    told = {(78, 2): "993", (78, 3): "39.5"}.get((pairs, seeds))
    assert told in {None, f"{found:.3g}"}
