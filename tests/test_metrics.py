"""Scores against independent implementations: scikit-learn's and definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, top_k_accuracy_score

from robustbench_ms.catalog.registry import measures_of
from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.specs.metrics import Metric, Rows, Summary
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.classification.rows import ROWS
from robustbench_ms.tasks.classification.task import Classification
from robustbench_ms.tasks.measure import cell_values
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.scores import mean_with_stderr
from tests.running import suite_of

TASK = Classification(suite_of("digits"))


def outcomes(logits, labels):
    rows = np.arange(len(labels))
    return TASK.outcomes(Answers(logits), Batch(logits, labels, rows, rows)).samples


def answers(n, classes, sharpness, seed):
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, n)
    labels[:classes] = np.arange(classes)
    logits = random.normal(size=(n, classes)) * sharpness
    logits[np.arange(n), labels] += sharpness
    return logits.astype(np.float32), labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("classes", "sharpness"), [(10, 1.0), (10, 5.0), (6, 0.1), (100, 3.0)])
def test_scores_are_scikit_learns(classes, sharpness, seed):
    logits, labels = answers(500, classes, sharpness, seed)
    softmax = torch.from_numpy(logits).double().softmax(1).numpy()

    rows = {k: v.numpy() for k, v in outcomes(torch.from_numpy(logits), torch.from_numpy(labels)).items()}
    values, absent, kept = cell_values(
        measures_of("classification"), Outcomes(rows), None, np.arange(len(labels)), None
    )
    found = {k: v["mean"] for k, v in values.items()}
    assert (list(values), absent, list(kept)) == (list(ROWS.measured), {}, ["ece/sums"])

    known = np.arange(classes)
    assert found["accuracy"] == accuracy_score(labels, softmax.argmax(1))
    assert found["top5_accuracy"] == pytest.approx(top_k_accuracy_score(labels, softmax, k=5, labels=known))
    assert found["nll"] == pytest.approx(log_loss(labels, softmax, labels=known), rel=1e-5)
    assert found["brier"] == pytest.approx(
        brier_score_loss(labels, softmax, labels=known, scale_by_half=False), rel=1e-5
    )
    right = softmax.argmax(1) == labels
    true, told = calibration_curve(right, softmax.max(1), n_bins=15)
    counts = np.histogram(softmax.max(1), bins=15, range=(0, 1))[0]
    assert found["ece"] == pytest.approx((counts[counts > 0] / 500 * np.abs(true - told)).sum(), abs=1e-5)


@given(
    hnp.arrays(np.float32, (7, 10), elements=st.floats(-(2.0**127), 2.0**127, width=32)),
    hnp.arrays(np.int64, 7, elements=st.integers(0, 9)),
)
@settings(max_examples=60, deadline=None)
def test_any_finite_logits_have_finite_scores_in_their_ranges(logits, labels):
    rows = outcomes(torch.from_numpy(logits), torch.from_numpy(labels))

    assert bool(torch.isfinite(rows["brier"]).all())
    assert bool((rows["brier"] >= -1e-6).all())
    assert bool((rows["brier"] <= 2 + 1e-6).all())
    assert bool((rows["nll"] >= 0).all())
    assert bool((rows["confidence"] >= 0.1 - 1e-6).all())
    assert bool((rows["confidence"] <= 1).all())
    assert bool((rows["top5"] | ~rows["correct"]).all())


def test_a_constant_answer_ranks_the_classes_by_their_index():
    labels = torch.arange(10)

    rows = outcomes(torch.zeros(10, 10), labels)

    assert rows["correct"].tolist() == [True] + [False] * 9
    assert rows["top5"].tolist() == [True] * 5 + [False] * 5
    assert rows["prediction"].tolist() == [0] * 10
    assert torch.allclose(rows["nll"], torch.tensor(10.0).log())
    assert torch.allclose(rows["brier"], torch.tensor(0.9))


@given(
    st.integers(2, 12).flatmap(
        lambda classes: st.tuples(
            hnp.arrays(np.float32, (6, classes), elements=st.sampled_from([-2.0, 0.0, -0.0, 1.5, 1.5000001])),
            hnp.arrays(np.int64, 6, elements=st.integers(0, classes - 1)),
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_classes_rank_by_logit_and_then_by_the_lower_index(case):
    logits, labels = case
    ranked = [sorted(range(len(row)), key=lambda k, row=row: (-float(row[k]), k)) for row in logits]

    rows = outcomes(torch.from_numpy(logits), torch.from_numpy(labels))

    assert rows["prediction"].tolist() == [order[0] for order in ranked]
    assert rows["correct"].tolist() == [
        order[0] == label for order, label in zip(ranked, labels, strict=True)
    ]
    assert rows["top5"].tolist() == [label in order[:5] for order, label in zip(ranked, labels, strict=True)]
    assert bool((rows["top5"] >= rows["correct"]).all())


def test_mean_and_its_error():
    from scipy import stats

    values = np.random.default_rng(0).random(50)

    mean, error = mean_with_stderr(values)
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(stats.sem(values))
    assert np.isnan(mean_with_stderr(np.array([True]))[1])
    with pytest.raises(ValueError, match="no values"):
        mean_with_stderr(np.array([]))


def test_every_number_has_its_unit_direction_and_digits():
    assert ROWS["accuracy"].show(0.9173) == "91.73 %"
    assert ROWS["clean_accuracy"].show(0.9173, half_width=0.00541) == "91.73 ± 0.54 %"
    assert ROWS["nll"].show(1.23456) == "1.235 nats"
    assert ROWS["brier"].show(0.5) == "0.500"
    assert ROWS["mce"].show(1.0) == "100.00 %"
    assert ROWS["clean_accuracy"].show_apart(0.0035) == "0.35 pp"
    assert {name for name, row in ROWS.items() if row.better == "higher"} == {
        "accuracy", "top5_accuracy", "clean_accuracy", "mean_corruption_accuracy",
    }  # fmt: skip
    assert [*ROWS] == [*ROWS.measured, *ROWS.summaries]
    assert ROWS.first.name == "accuracy"
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        ROWS["acuracy"]
    with pytest.raises(UnknownName, match="no summary named 'accuracy'"):
        ROWS.summary("accuracy")


def test_rows_that_cannot_be_meant_are_refused():
    one = Metric("hit", "hits", "%", "higher", 1, "hits")

    def mean(of="hit", over=("clean",), how="mean"):
        return Summary("clean_hit", "clean", "%", "higher", 1, "hits", of=of, over=over, how=how)

    assert len(Rows((one,), (mean(),))) == 2
    for measured, summaries, told in (
        ((), (), "needs measured metrics"),
        ((one, one), (), "different names"),
        ((one,), (mean(of="hat"),), "summary clean_hit: no measured metric named 'hat'; did you mean 'hit'"),
        ((one,), (mean(over=("clean", "common")),), "its cells are clean or one group"),
        ((one,), (mean(how="drop"),), "its cells are clean and one group, not clean"),
    ):
        with pytest.raises(UserError, match=told):
            Rows(measured, summaries)


def test_the_error_of_a_mean_over_groups_is_that_of_whole_groups():
    random = np.random.default_rng(3)
    groups = np.repeat(np.arange(60), 10)
    values = (random.normal(size=60)[groups] + random.normal(size=600)).astype(np.float32)

    mean, error = mean_with_stderr(values, groups)
    means = values.astype(np.float64).reshape(60, 10).mean(axis=1)

    assert mean == pytest.approx(means.mean())
    assert error == pytest.approx(stats.sem(means))
    assert error > 2 * mean_with_stderr(values)[1]
    alone = mean_with_stderr(values, np.arange(600))
    assert alone == pytest.approx(mean_with_stderr(values))
    assert np.isnan(mean_with_stderr(values, np.zeros(600, int))[1])
