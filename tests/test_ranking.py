"""Rank ranges in tables: what images and seeds can tell apart."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from robustbench_ms.records import ranking
from robustbench_ms.records.entry import entry_of
from robustbench_ms.reports.exports import to_csv, to_json
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from tests.simulated import KEYS, bits, record

METRIC = "mean_corruption_accuracy"


def ranges(models, metric):
    """Of models, the records of their seeds, by a number."""
    shown = [[replace(one, suite={**one.suite, "summary": [metric]}) for one in row] for row in models]
    return ranking.ranges([[entry_of(one) for one in row] for row in shown])


def family(losses, n=600):
    """Models of one difficulty of images: the first, and others that lose so much of it, on the same images."""
    first = bits(n, (0.0, 0.0), seed=0)[0]
    random = np.random.default_rng(1)
    models = []
    for loss in losses:
        drop = random.random(first.shape) < loss / first[1:].mean()
        models.append(first & ~drop)
    return models


def renamed(correct, name, **card):
    made = record(correct, name=name)
    return replace(made, card={**made.card, **card})


def test_models_that_the_images_tell_apart_have_a_rank_and_others_a_range():
    models = family([0.0, 0.02, 0.05, 0.05, 0.2])
    found = ranges([[record(m)] for m in models], METRIC)

    shares = [m[1:].mean(axis=0) for m in models]
    pairs = [(i, j) for i in range(5) for j in range(i + 1, 5)]
    tests = [scipy_stats.ttest_rel(shares[i], shares[j]) for i, j in pairs]
    apart = multipletests([t.pvalue for t in tests], method="holm")[0]
    expected = [[1, 5] for _ in models]
    for (i, j), test, distinct in zip(pairs, tests, apart, strict=True):
        if distinct:
            winner, loser = (i, j) if test.statistic > 0 else (j, i)
            expected[loser][0] += 1
            expected[winner][1] -= 1
    assert [list(r) for r in found] == expected
    assert found[0][0] == 1
    assert found[4] == (5, 5)
    assert found[2] == found[3] == (3, 4)


def seeds_of(*shares, n=4000, seed=2, **options):
    """A record a share of right answers."""
    random = np.random.default_rng(seed)
    return [record(random.random((len(KEYS), n)) < share, **options) for share in shares]


def test_models_of_several_seeds_are_apart_where_seeds_and_images_say_so():
    """Thousands of images tell each seed from each other; three seeds that vary as much as the models do not."""
    wide = [seeds_of(0.80, 0.86, 0.92), seeds_of(0.78, 0.84, 0.90, seed=3)]
    close = [seeds_of(0.86, 0.861), seeds_of(0.84, 0.841, seed=3)]

    assert ranges(wide, METRIC) == [(1, 2), (1, 2)]
    assert ranges([[row[0]] for row in wide], METRIC) == [(1, 1), (2, 2)]
    assert ranges(close, METRIC) == [(1, 1), (2, 2)]


def test_seeds_of_equal_counts_are_not_apart_where_the_images_cannot_tell():
    """Two seeds on either side, without spread: Welch's p is 0, on 40 images of which one more is right."""
    right = np.arange(40) < np.array([30, 31])[:, None]
    one, other = ([record(np.stack([row, row]), keys=KEYS[:2])] * 2 for row in right)

    assert ranges([one, other], "clean_accuracy") == [(1, 2), (1, 2)]


def test_one_seed_is_taken_to_spread_as_the_others_several_do():
    """By scipy's test of two samples of which one is a single value; to the images all pairs are apart."""
    for several, one in (((0.80, 0.84, 0.88), 0.76), ((0.84, 0.841, 0.842), 0.80)):
        models = [seeds_of(*several), seeds_of(one, seed=3)]
        means = [
            [np.mean([m.values["accuracy"]["mean"] for m in r.measurements[1:]]) for r in row]
            for row in models
        ]
        apart = scipy_stats.ttest_ind(*means).pvalue <= 0.05

        assert apart == (several[1] == 0.841)
        assert ranges(models, METRIC) == ([(1, 1), (2, 2)] if apart else [(1, 2), (1, 2)])
        assert ranges(models[::-1], METRIC) == ([(2, 2), (1, 1)] if apart else [(1, 2), (1, 2)])
        assert ranges([[models[0][1]], models[1]], METRIC) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("metric", ["relative_drop", "mean_corruption_nll"])
def test_numbers_that_are_no_share_of_answers_rank_by_the_images_too(metric):
    """Two seeds a model without spread: the images decide."""
    nll = 0.2 + np.random.default_rng(3).gamma(1.0, 0.5, 600)
    little = 0.01 + 0.2 * np.sin(np.arange(600))
    models = family([0.0, 0.0005, 0.1])
    models[2][0] = models[0][0]  # it loses nothing clean
    first, close, far = (
        [record(answers, scores={"nll": nll + shift})] * 2
        for answers, shift in zip(models, (0.0, little, 0.3), strict=True)
    )

    assert ranges([first, close], metric) == [(1, 2), (1, 2)]
    assert ranges([first, far], metric) == [(1, 1), (2, 2)]


def test_a_metric_that_should_be_low_ranks_the_other_way():
    models = family([0.0, 0.1])

    assert ranges([[record(m)] for m in models], "mean_corruption_error") == [(1, 1), (2, 2)]
    assert ranges([[record(m)] for m in models[::-1]], "mean_corruption_error") == [(2, 2), (1, 1)]


def test_scores_rank_by_their_per_image_values():
    nll = np.random.default_rng(3).gamma(1.0, 0.5, 600)
    correct = family([0.0])[0]
    better, worse = (
        record(correct, scores={"nll": nll + shift, "brier": np.minimum(nll, 2)}) for shift in (0.0, 0.2)
    )

    assert ranges([[worse], [better]], "mean_corruption_nll") == [(2, 2), (1, 1)]
    assert ranges([[worse], [better]], "clean_brier") == [(1, 2), (1, 2)]


def test_without_bits_nothing_is_ranked():
    models = family([0.0, 0.01, 0.2])

    assert ranges([[record(m, kept=False)] for m in models], METRIC) is None
    assert ranges([[record(m), record(m, kept=False)] for m in models], METRIC) is None, "nor by seeds alone"


@pytest.mark.parametrize("one", [record(family([0.0], n=1)[0])])
def test_one_image_ranks_nobody(one):
    assert ranges([[one], [one]], METRIC) is None


def test_calibration_errors_of_one_seed_have_no_ranks():
    models = [record(m, scores={"ece": np.full(600, 0.1)}) for m in family([0.0, 0.2])]

    assert ranges([[m] for m in models], "mean_corruption_ece") is None


def test_tables_show_ranges_and_leave_out_what_is_not_ranked():
    models = family([0.0, 0.0, 0.2])
    models[1] = models[0].copy()
    models[1][5, np.flatnonzero(models[0][5])[:3]] = False  # three answers are nothing to go by
    records = [renamed(m, name) for m, name in zip(models, "abc", strict=True)]
    records.append(renamed(models[0], "random", untrained=True))
    (table,) = tables(records)
    text = to_markdown([table])

    assert [(r.card, r.rank, r.ranks) for r in table.rows] == [
        ("a", 1, (1, 2)),
        ("b", 2, (1, 2)),
        ("c", 3, (3, 3)),
        ("random (untrained)", None, None),
    ]
    assert "|   1 |   1-2 | a " in text
    assert "|   3 |     3 | c " in text
    assert "Holm over all pairs" in text
    assert "it does not cover training seeds" in text
    assert [row["ranks"] for row in to_json([table])[0]["rows"]] == [[1, 2], [1, 2], [3, 3], None]
    rows = list(csv.DictReader(io.StringIO(to_csv([table]))))
    assert [(r["rank_low"], r["rank_high"]) for r in rows] == [("1", "2"), ("1", "2"), ("3", "3"), ("", "")]


def test_one_model_alone_has_no_column_of_ranges():
    (table,) = tables([renamed(family([0.0])[0], "a")])

    assert table.rows[0].ranks is None
    assert "ranks" not in to_markdown([table])
