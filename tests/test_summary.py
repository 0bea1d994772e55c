"""Means over cells, against the literature and outside tables; and when they are refused."""

from __future__ import annotations

import csv
import math
import tomllib
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import proportion_confint

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.corruptions.table import COMMON, SEVERITIES
from robustbench_ms.errors import Incomparable
from robustbench_ms.records.normalised import mce, relative_mce
from robustbench_ms.records.summary import Incomplete, summarise
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.statistics.intervals import mean_interval, ratio_interval
from tests.judging import verdict
from tests.records import CORRUPTED, keys, record_of, written

SUMMARIES = rows_of("classification").summaries
ALEXNET = tomllib.loads(files("robustbench_ms.datasets").joinpath("alexnet.toml").read_text())


def alexnet(dataset="imagenet", **rest):
    accuracies = {"clean": 1 - ALEXNET["clean"]}
    for name in COMMON:
        for s in SEVERITIES:
            accuracies[f"corruption={name},severity={s}"] = 1 - ALEXNET["error"][name][s - 1]
    return record_of(accuracies, "alexnet", dataset=dataset, **rest)


def one(record, name):
    return summarise(record, (name,))[name]


# mCE


def test_alexnet_against_itself_is_exactly_1():
    assert mce(ALEXNET["error"]) == 1.0
    assert relative_mce(ALEXNET["error"], ALEXNET["clean"]) == 1.0
    assert one(alexnet(), "mce").mean == pytest.approx(1.0, abs=1e-12)
    assert one(alexnet(), "relative_mce").mean == pytest.approx(1.0, abs=1e-12)


def test_alexnets_errors_are_the_papers():
    """Hendrycks and Dietterich, ICLR 2019, appendix C: mean errors by corruption, and 78.9 % over all."""
    published = {
        "gaussian_noise": 0.886428, "shot_noise": 0.894468, "impulse_noise": 0.922640, "defocus_blur": 0.819880,
        "glass_blur": 0.826268, "motion_blur": 0.785948, "zoom_blur": 0.798360, "snow": 0.866816, "frost": 0.826572,
        "fog": 0.819324, "brightness": 0.564592, "contrast": 0.853204, "elastic_transform": 0.646056,
        "pixelate": 0.717840, "jpeg_compression": 0.606500,
    }  # fmt: skip

    assert {n: pytest.approx(np.mean(ALEXNET["error"][n]), abs=1e-6) for n in COMMON} == published
    assert np.mean(list(published.values())) == pytest.approx(0.788993, abs=1e-6)
    assert ALEXNET["clean"] == 0.4348
    assert one(alexnet(), "mean_corruption_error").mean == pytest.approx(0.788993, abs=1e-6)


def test_mce_is_the_mean_of_ratios_and_not_the_ratio_of_means():
    errors = {name: [0.5] * 5 for name in COMMON}
    expected = np.mean([0.5 / np.mean(ALEXNET["error"][name]) for name in COMMON])

    assert mce(errors) == pytest.approx(expected)
    assert mce(errors) != pytest.approx(0.5 / 0.788993)
    lost = np.mean([0.25 / (np.mean(ALEXNET["error"][n]) - ALEXNET["clean"]) for n in COMMON])
    assert relative_mce(errors, 0.25) == pytest.approx(lost)


def test_mce_is_refused_off_imagenet_and_over_a_part():
    for name in ("mce", "relative_mce"):
        with pytest.raises(Incomparable, match="has no meaning on cifar10; use mean_corruption_error"):
            one(alexnet("cifar10"), name)
    with pytest.raises(Incomplete, match="missing or partial: fog"):
        mce({**ALEXNET["error"], "fog": [0.5] * 4})
    with pytest.raises(Incomplete, match="missing or partial: snow"):
        relative_mce({k: v for k, v in ALEXNET["error"].items() if k != "snow"}, 0.5)


# means, from outside


PUBLISHED = {
    "Standard": 73.46,
    "Hendrycks2020AugMixResNeXt": 89.09,
    "Hendrycks2020AugMixWRN": 88.82,
    "Erichson2022NoisyMix": 92.78,
    "Calian2021Defending": 92.17,
    "Diffenderfer2021Winning_LRR_CARD_Deck": 92.78,
}
"""RobustBench's own corruptions_acc, in per cent, to two digits (some cut off there, some rounded)."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_cells_give_the_published_mean(real_data, name):
    with real_data("tables/robustbench-cifar10-c.csv").open(newline="") as file:
        corruptions, severities, *rows = list(csv.reader(file))
    (cells,) = (row[1:] for row in rows if row and row[0] == name)
    found = {
        f"corruption={c},severity={s}": float(cell)
        for c, s, cell in zip(corruptions[1:], severities[1:], cells, strict=True)
    }
    assert set(found) == set(CORRUPTED)

    mean = one(record_of(found, name), "mean_corruption_accuracy").mean

    assert 100 * mean == pytest.approx(PUBLISHED[name], abs=0.0099)
    assert 100 * one(record_of(found, name), "mean_corruption_error").mean == pytest.approx(100 - 100 * mean)


def accuracies(seed=0):
    random = np.random.default_rng(seed)
    return {key: float(random.uniform(0.2, 0.9)) for key in keys()}


def test_a_mean_over_a_part_is_refused_and_names_what_is_missing():
    whole = accuracies()
    for missing in (["clean"], [CORRUPTED[7]], list(CORRUPTED[10:20])):
        part = record_of({k: v for k, v in whole.items() if k not in missing})
        for name in SUMMARIES:
            needs = Terms.of(part).needs(name)
            lacking = [k for k in needs if k in missing]
            if not lacking:
                if "mce" not in name:
                    one(part, name)
                continue
            with pytest.raises(
                Incomplete, match=f"needs {len(needs)} cells, and {len(lacking)} are missing"
            ) as told:
                one(part, name)
            assert lacking[0] in str(told.value)


def test_a_cell_that_ended_in_an_error_is_missing():
    from dataclasses import replace

    record = record_of(accuracies())
    broken = replace(record.measurements[5], error="no", values={})
    record = replace(record, measurements=(*record.measurements[:5], broken, *record.measurements[6:]))

    with pytest.raises(Incomplete, match="1 are missing: corruption=gaussian_noise,severity=5"):
        one(record, "mean_corruption_accuracy")


def test_extra_corruptions_and_other_severities_play_no_part():
    whole = accuracies()

    more = record_of(
        {**whole, "corruption=saturate,severity=1": 0.0, "corruption=speckle_noise,severity=5": 0.0}
    )

    for name in SUMMARIES:
        if "mce" not in name:
            assert one(more, name) == pytest.approx(one(record_of(whole), name), nan_ok=True)


# intervals


@pytest.fixture
def sampled(tmp_path):
    """A record over 400 images, some harder than others, with its bits."""
    random = np.random.default_rng(5)
    ease = random.beta(2, 2, 400)
    correct = random.random((76, 400)) < ease
    nll, brier = random.exponential(1, 400), random.random(400)
    found = {key: float(row.mean()) for key, row in zip(keys(), correct, strict=True)}
    record = record_of(found, n=400)
    return written(record, tmp_path, correct, nll_corrupted=nll, brier_corrupted=brier), correct, nll, brier


def test_the_interval_of_a_mean_over_cells_is_over_images(sampled):
    record, correct, nll, brier = sampled
    share = correct[1:].mean(axis=0)

    found = one(record, "mean_corruption_accuracy")

    low, high = scipy_stats.t.interval(0.95, 399, share.mean(), scipy_stats.sem(share))
    assert found.mean == pytest.approx(share.mean())
    assert 0 < low - found.low < 0.003
    assert 0 < found.high - high < 0.003
    error = one(record, "mean_corruption_error")
    assert (error.mean, error.low, error.high) == pytest.approx(
        (1 - found.mean, 1 - found.high, 1 - found.low)
    )
    for name, rows in (("mean_corruption_nll", nll), ("mean_corruption_brier", brier)):
        half = scipy_stats.t.ppf(0.975, 399) * scipy_stats.sem(rows.astype(np.float16).astype(float))
        assert half < one(record, name).half_width < 2 * half, "wider, by what was not seen"
    # Cells of the same images are not independent: a width as if they were would be far too small.
    assert found.half_width > 3 * 1.96 * (share.mean() * (1 - share.mean()) / correct[1:].size) ** 0.5


def test_the_relative_drop_and_its_interval_are_those_of_resampled_images(sampled):
    record, correct, _, _ = sampled
    random = np.random.default_rng(0)
    clean, share = correct[0].astype(float), correct[1:].mean(axis=0)

    found = one(record, "relative_drop")

    assert found.mean == pytest.approx(1 - share.mean() / clean.mean())
    draws = []
    for _ in range(2000):
        rows = random.integers(0, 400, 400)
        draws.append(1 - share[rows].mean() / clean[rows].mean())
    assert found.half_width == pytest.approx(1.96 * np.std(draws), rel=0.1)


def test_clean_accuracy_has_clopper_and_pearsons_interval(sampled):
    record, correct, _, _ = sampled

    found = one(record, "clean_accuracy")

    low, high = proportion_confint(int(correct[0].sum()), 400, method="beta")
    assert (found.mean, found.low, found.high) == pytest.approx((correct[0].mean(), low, high))


@pytest.mark.parametrize("n", [20, 400])
def test_none_right_is_no_certainty(tmp_path, n):
    """What may lie in 0..1 may do so where only small values were seen: 0 of n has Clopper and Pearson's end."""
    wrong = np.zeros((76, n), bool)
    few = wrong.copy()
    few[1::8, 0] = True
    told = {"nll_corrupted": np.ones(n), "brier_corrupted": np.full(n, 0.1)}
    nothing, little = (
        written(record_of({key: float(row.mean()) for key, row in zip(keys(), bits, strict=True)}, name, n=n),
                tmp_path, bits, **told)
        for name, bits in (("nothing", wrong), ("little", few))
    )  # fmt: skip

    _, high = proportion_confint(0, n, method="beta")
    for name in ("clean_accuracy", "mean_corruption_accuracy"):
        found = one(nothing, name)
        assert (found.mean, found.low, found.high) == pytest.approx((0, 0, high))
    assert one(little, "mean_corruption_accuracy").high > high
    assert one(nothing, "mean_corruption_error").low == pytest.approx(1 - high)
    assert (
        one(nothing, "mean_corruption_brier").high > 0.1 + (1 - 0.1) * high
    )  # of 2, the most that Brier's can be


def test_without_its_bits_a_record_has_means_and_no_width():
    record = record_of(accuracies())

    for name in ("mean_corruption_accuracy", "relative_drop", "mean_corruption_nll"):
        found = one(record, name)
        assert np.isfinite(found.mean)
        assert np.isnan(found.half_width)


def test_one_image_and_a_clean_accuracy_of_0_have_no_interval(tmp_path):
    single = record_of(dict.fromkeys(keys(), 1.0), n=1)
    single = written(single, tmp_path, np.ones((76, 1), bool), nll_corrupted=[1.0], brier_corrupted=[0.5])
    for name in ("mean_corruption_accuracy", "relative_drop", "mean_corruption_nll"):
        assert np.isnan(one(single, name).half_width)
    assert one(single, "mean_corruption_accuracy").mean == 1
    nothing = record_of({**accuracies(), "clean": 0.0}, "nothing")
    assert np.isnan(one(nothing, "relative_drop").mean)
    assert np.isfinite(one(nothing, "mean_corruption_accuracy").mean)


# the intervals themselves


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_mean_interval_is_scipys(n, confidence):
    values = np.random.default_rng(n).normal(3, 2, n)

    found = mean_interval(values, confidence)

    low, high = scipy_stats.t.interval(confidence, n - 1, values.mean(), scipy_stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    with pytest.raises(ValueError, match="two values"):
        mean_interval(values[:1])


def test_ratio_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(11)
    hits = 0
    for _ in range(600):
        y = random.gamma(4, 1, 200)
        x = 0.5 * y + random.normal(0, 1, 200)
        found = ratio_interval(x, y)
        hits += found.low <= 0.5 <= found.high

    assert 0.92 <= hits / 600 <= 0.98
    with pytest.raises(ZeroDivisionError):
        ratio_interval(np.ones(3), np.zeros(3))


# mCE on a part of ImageNet


def _on(protocol, **rest):
    record = alexnet(summary=("clean_accuracy", "mce"), **rest)
    return replace(record, suite={**record.suite, "protocol": {**record.suite["protocol"], **protocol}})


@pytest.mark.parametrize(
    ("protocol", "why"),
    [
        ({"n": 50_000}, None),
        ({"n": 5_000}, None),
        ({"n": 4_999}, "on 4,999 images, where it takes 5,000"),
        (
            {"n": 50_000, "classes": 1000, "classes_present": 999},
            "on 999 of 1,000 classes, where it takes all",
        ),
    ],
)
def test_mce_is_of_all_classes_and_of_thousands_of_images(protocol, why):
    record = _on(protocol)
    (table,) = tables([record])
    text = to_markdown([table])

    for name in ("mce", "relative_mce"):
        assert math.isnan(one(record, name).mean) == (why is not None)
    assert one(record, "clean_accuracy").mean == pytest.approx(0.5652)
    assert (f"mCE: - has no value, {why}." in text) == (why is not None)
    assert ("over AlexNet's errors on the published files" in text) == (why is None)
    found = verdict(record, record, "mce=1pp")
    if why is not None:
        assert (found.state, found.reason) == ("missing", f"mce has no value {why}")


def test_mce_of_images_that_were_corrupted_here_says_so():
    texts = [to_markdown(tables([_on(told)])) for told in ({}, {"profile": "imagenet"})]

    assert "mCE: the model's over AlexNet's errors on the published files; " in texts[0]
    assert "mCE: ours over AlexNet's errors on the published files; " in texts[1]
    assert "RobustBench has an mCE on these of ResNet-50 76.38, AugMix 64.17" in texts[1]
