"""Scores against independent implementations: scikit-learn's and definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, top_k_accuracy_score

from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.errors import UnknownName
from robustbench_ms.specs.metrics import MEASURED, METRICS, metric
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.classification.task import Classification
from robustbench_ms.tasks.scores import ECE_BINS, ece, ece_with_stderr, mean_with_stderr
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
    found = {k: v["mean"] for k, v in TASK.score(rows).items()}

    known = np.arange(classes)
    assert found["accuracy"] == accuracy_score(labels, softmax.argmax(1))
    assert found["top5_accuracy"] == pytest.approx(top_k_accuracy_score(labels, softmax, k=5, labels=known))
    assert found["nll"] == pytest.approx(log_loss(labels, softmax, labels=known), rel=1e-5)
    assert found["brier"] == pytest.approx(
        brier_score_loss(labels, softmax, labels=known, scale_by_half=False), rel=1e-5
    )
    right = softmax.argmax(1) == labels
    true, told = calibration_curve(right, softmax.max(1), n_bins=ECE_BINS)
    counts = np.histogram(softmax.max(1), bins=ECE_BINS, range=(0, 1))[0]
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
    assert bool((rows["top5"] | ~rows["correct"] | (rows["confidence"] < 0.2001)).all())


def test_a_constant_answer_has_no_luck():
    labels = torch.arange(10)

    rows = outcomes(torch.zeros(10, 10), labels)

    assert not rows["top5"].any()
    assert rows["correct"].sum() == 1
    assert torch.allclose(rows["nll"], torch.tensor(10.0).log())
    assert torch.allclose(rows["brier"], torch.tensor(0.9))


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1, max_size=60))
@settings(max_examples=100, deadline=None)
def test_calibration_error_is_its_definition(pairs):
    confidence = np.array([c for c, _ in pairs], np.float32)
    correct = np.array([r for _, r in pairs])
    bins = np.minimum(np.maximum(np.ceil(confidence.astype(np.float64) * 15 - 1e-12), 1), 15)

    expected = 0.0
    for b in range(1, 16):
        inside = bins == b
        if inside.any():
            expected += inside.mean() * abs(
                correct[inside].mean() - confidence[inside].astype(np.float64).mean()
            )

    # A confidence on a bin's edge may fall to either side by rounding.
    if not np.any(
        np.abs(confidence.astype(np.float64) * 15 - np.round(confidence.astype(np.float64) * 15)) < 1e-6
    ):
        assert ece(confidence, correct) == pytest.approx(expected, abs=1e-9)
    assert 0 <= ece(confidence, correct) <= 1


def test_edges_belong_to_the_lower_bin():
    # 0.2 and 3/15 are one number: the third bin is (2/15, 3/15].
    confidence = np.array([3 / 15, 0.19, 0.0, 1.0])
    correct = np.array([True, False, False, True])

    assert ece(confidence, correct) == pytest.approx((abs(1 - 3 / 15 - 0.19) + 0 + 0) / 4)


def test_the_bootstraps_error_is_the_spread_over_new_samples():
    random = np.random.default_rng(3)

    def sample(n):
        confidence = random.beta(4, 2, n)
        return confidence, random.random(n) < confidence**1.5

    spread = np.std([ece(*sample(2000)) for _ in range(300)], ddof=1)
    told = np.mean([ece_with_stderr(*sample(2000))[1] for _ in range(10)])

    assert told == pytest.approx(spread, rel=0.2)
    confidence, correct = sample(500)
    value, error = ece_with_stderr(confidence, correct)
    assert (value, error) == ece_with_stderr(confidence, correct)
    assert value == ece(confidence, correct)


def test_mean_and_its_error():
    from scipy import stats

    values = np.random.default_rng(0).random(50)

    mean, error = mean_with_stderr(values)
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(stats.sem(values))
    assert np.isnan(mean_with_stderr(np.array([True]))[1])
    for function in (mean_with_stderr, lambda x: ece(x, x.astype(bool))):
        with pytest.raises(ValueError, match="no values"):
            function(np.array([]))


def test_every_number_has_its_unit_direction_and_digits():
    assert metric("accuracy").show(0.9173) == "91.73 %"
    assert metric("clean_accuracy").show(0.9173, half_width=0.00541) == "91.73 ± 0.54 %"
    assert metric("nll").show(1.23456) == "1.235 nats"
    assert metric("brier").show(0.5) == "0.500"
    assert metric("mce").show(1.0) == "100.00 %"
    assert all(METRICS[name].better == ("higher" if "accuracy" in name else "lower") for name in METRICS)
    assert set(MEASURED) == set(Classification.metrics)
    assert list(METRICS)[: len(MEASURED)] == list(MEASURED)
    with pytest.raises(UnknownName, match="did you mean 'accuracy'"):
        metric("acuracy")
