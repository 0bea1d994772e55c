"""Calibration errors: the number, its interval by inversion, and where both are shown."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from robustbench_ms.evaluation.checking import check
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.gating.reproduce import compare_records
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.records.summary import by_chance, summarise
from robustbench_ms.reports.exports import to_csv, to_json
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.tasks.calibration import bin_sums, calibrated_ece, ece, ece_interval, ece_stderr
from robustbench_ms.tasks.classification.measures import SCORERS
from robustbench_ms.tasks.classification.rows import ROWS
from robustbench_ms.tasks.measure import cell_values
from robustbench_ms.tasks.outcomes import Outcomes
from tests import fakes
from tests.calibrated import LEANS, MADE, RARE, SHAPES, SIZES, Made, covered
from tests.running import card_of, measure, only

# the number


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

    found = ece(bin_sums(confidence, correct))
    # A confidence on a bin's edge may fall to either side by rounding.
    if not np.any(
        np.abs(confidence.astype(np.float64) * 15 - np.round(confidence.astype(np.float64) * 15)) < 1e-6
    ):
        assert found == pytest.approx(expected, abs=1e-9)
    assert 0 <= found <= 1


def test_edges_belong_to_the_lower_bin():
    # 0.2 and 3/15 are one number: the third bin is (2/15, 3/15].
    confidence = np.array([3 / 15, 0.19, 0.0, 1.0])
    correct = np.array([True, False, False, True])

    assert ece(bin_sums(confidence, correct)) == pytest.approx((abs(1 - 3 / 15 - 0.19) + 0 + 0) / 4)


def test_the_sums_of_a_bin():
    confidence = np.array([0.95, 0.99, 0.5])
    correct = np.array([True, False, True])

    found = bin_sums(confidence, correct)

    assert found.shape == (5, 15)
    assert np.flatnonzero(found[0]).tolist() == [7, 14]
    squares, variance = 0.05**2 + 0.99**2, 0.95 * 0.05 + 0.99 * 0.01
    assert found[:, 14] == pytest.approx([2, 1.94, 1, squares, variance])
    assert found[:, 7] == pytest.approx([1, 0.5, 1, 0.25, 0.25])
    with pytest.raises(ValueError, match="no values"):
        bin_sums(np.array([]), np.array([], bool))


def test_the_standard_error_is_the_spread_where_no_gap_is_near_0():
    made, random = Made("spread", "over", 0.11), np.random.default_rng(3)
    by = made.strength()

    def sums():
        sure = SHAPES["spread"](random, 3000)
        return bin_sums(sure, random.random(3000) < LEANS["over"](sure, by))

    drawn = [sums() for _ in range(300)]

    assert np.mean([ece_stderr(one) for one in drawn]) == pytest.approx(np.std([*map(ece, drawn)]), rel=0.15)
    assert np.isnan(ece_stderr(bin_sums(np.array([0.5]), np.array([True]))))


def test_what_a_calibrated_model_shows():
    random = np.random.default_rng(4)
    sure = SHAPES["spread"](random, 2000)
    drawn = [bin_sums(sure, random.random(2000) < sure) for _ in range(400)]

    told = calibrated_ece(drawn[0][None])

    assert told == pytest.approx(np.mean([*map(ece, drawn)]), rel=0.05)
    assert calibrated_ece(np.stack(drawn[:3])) == pytest.approx(told)


# its interval


def one_bin(n, sure, right):
    return bin_sums(np.full(n, sure), np.arange(n) < right)[None]


@pytest.mark.parametrize(
    ("n", "sure", "right"), [(500, 0.72, 325), (500, 0.72, 352), (2000, 0.9, 1500), (400, 0.9, 372)]
)
def test_the_ends_of_one_bin_are_those_of_the_normal(n, sure, right):
    """With one bin the probability is a normal's, whose ends scipy finds."""
    gap = abs(right / n - sure)
    spread = (right * (1 - sure) ** 2 + (n - right) * sure**2) ** 0.5 / n
    none = 2 * stats.norm.sf(gap / ((sure * (1 - sure) / n) ** 0.5))

    def end(level):
        if none >= level:
            return 0.0
        share = lambda t: stats.norm.sf((gap - t) / spread) + stats.norm.cdf((-gap - t) / spread)  # noqa: E731
        return optimize.brentq(lambda t: share(t) - level, 0, 1)

    low, high = ece_interval(one_bin(n, sure, right))

    # 4,000 draws know the 2.5 % point of a normal to some .05 spreads.
    assert (low, high) == pytest.approx((end(0.025), end(0.975)), abs=0.12 * spread)
    assert (low == 0) == (none >= 0.025)


def test_the_interval_is_that_of_a_search_over_a_grid():
    """Another search, over other draws, that knows of the bins what the sums say."""
    random = np.random.default_rng(5)
    sure = SHAPES["spread"](random, 1500)
    sums = bin_sums(sure, random.random(1500) < sure * 0.95)
    gaps, spreads = (sums[2] - sums[1]) / 1500, np.sqrt(sums[3]) / 1500
    noise = random.normal(size=(20_000, 15)) * spreads
    grid = np.linspace(0, 3, 301)
    shares = np.array([(np.abs(t * gaps + noise).sum(axis=1) >= np.abs(gaps).sum()).mean() for t in grid])
    believed = grid[(shares >= 0.025) & (shares <= 0.975)]

    low, high = ece_interval(sums[None])

    seen = ece(sums)
    assert (low / seen, high / seen) == pytest.approx((believed[0], believed[-1]), abs=0.03)


def test_equal_sums_have_equal_intervals_and_equal_cells_that_of_one():
    random = np.random.default_rng(6)
    sure = SHAPES["sure"](random, 800)
    sums = bin_sums(sure, random.random(800) < sure * 0.97)

    one = ece_interval(sums[None])

    assert ece_interval(sums[None].copy()) == one
    assert ece_interval(np.stack([sums] * 7)) == pytest.approx(one, abs=1e-9)
    other = bin_sums(sure, random.random(800) < sure * 0.6)
    low, high = ece_interval(np.stack([sums, other]))
    assert one[0] < low < ece_interval(other[None])[0]
    assert one[1] < high < ece_interval(other[None])[1]


def test_what_even_a_calibrated_model_exceeds_has_an_interval_of_0():
    assert ece_interval(one_bin(1000, 0.75, 750)) == (0, 0)
    assert ece_interval(bin_sums(np.ones(50), np.ones(50, bool))[None]) == (0, 0)
    low, high = ece_interval(one_bin(1, 1.0, 0))
    assert 0 <= low < high == 1  # no error is more than that


@pytest.mark.parametrize(
    ("shape", "lean", "error", "n"),
    [
        ("spread", "over", 0.0, 597),
        ("spread", "both ways", 0.01, 597),
        ("sure", "over", 0.04, 2000),
        ("spread", "over", 0.11, 2000),
        ("sure", "over", 0.0, 10_000),
        ("spread", "both ways", 0.02, 10_000),
    ],
)
def test_the_interval_covers_the_true_error(shape, lean, error, n):
    held, _ = covered(Made(shape, lean, error), n, 200)

    # Of 200, where .91 are held, .88 or more are in 19 cases of 20.
    assert held >= 0.88


@pytest.mark.parametrize("error", [0.0, 0.04])
def test_and_so_it_does_of_a_mean_over_cells(error):
    held, _ = covered(Made("spread", "over", error), 597, 30, cells=10)

    assert held >= 0.95


@pytest.mark.slow
def test_the_interval_covers_everywhere_it_is_said_to():
    for n in SIZES:
        for made in MADE:
            assert covered(made, n, 800, seed=1)[0] >= 0.89, (made, n)
        for made in RARE:
            assert covered(made, n, 800, seed=1)[0] >= 0.8, (made, n)


# where it is kept and shown


@pytest.fixture
def record(write_suite, places):
    columns = '"clean_ece", "mean_corruption_ece", "clean_accuracy"'
    path = write_suite(replace=[('dataset = "arrays"', f'dataset = "arrays"\nsummary = [{columns}]')])
    (done,) = only(measure(path, [card_of(fakes.build(), "net")], places), RecordDone)
    suite = {**done.record.suite, "matrix": {"corruption": ["brightness", "contrast"], "severity": [1, 3]}}
    return dataclasses.replace(done.record, suite=suite)


def without(record, tmp_path):
    """The same record as one that was written before there were sums."""
    samples = record.samples()
    path = tmp_path / "older.json"
    write_record(record, dataclasses.replace(samples, tables={}), path)
    return read_record(path)


def test_a_record_keeps_the_sums_that_its_errors_and_their_intervals_are_of(record, tmp_path):
    samples = record.samples()
    keys = [m.key for m in record.measurements]
    sums = samples.sums("ece", keys)
    assert sums.shape == (5, 5, 15)
    assert [ece(one) for one in sums] == [m.values["ece"]["mean"] for m in record.measurements]
    assert [ece_stderr(one) for one in sums] == [m.values["ece"]["stderr"] for m in record.measurements]

    found = summarise(record, ("clean_ece", "mean_corruption_ece"))
    assert found["clean_ece"][1:] == ece_interval(sums[:1])
    assert found["mean_corruption_ece"][1:] == ece_interval(sums[1:])
    assert by_chance(record, ("clean_ece", "clean_accuracy")) == {"clean_ece": calibrated_ece(sums[:1])}

    older = without(record, tmp_path)
    for name in found:
        before = summarise(older, (name,))[name]
        assert before.mean == found[name].mean
        assert np.isnan(before.low)
    assert by_chance(older, ("clean_ece",)) == {}


def test_tables_show_both_ends_and_what_a_calibrated_model_shows(record, tmp_path):
    table = tables([record])[0]
    found = summarise(record, ("clean_ece",))["clean_ece"]
    shown = f"{100 * found.mean:.2f} ({100 * found.low:.2f}-{100 * found.high:.2f})"
    chance = 100 * by_chance(record, ("clean_ece",))["clean_ece"]
    text = to_markdown([table])

    assert f" {shown} |" in text
    assert (
        f"clean ECE: a model that is as sure and calibrated shows {chance:.2f} % at this n; (low-high) is"
        in text
    )
    assert to_json([table])[0]["rows"][0]["values"]["clean_ece"] == found._asdict()
    assert f"{found.mean},{found.low},{found.high}" in to_csv([table])
    # An upper end below the number is shown as it is.
    row = dataclasses.replace(
        table.rows[0],
        values={**table.rows[0].values, "clean_ece": found._replace(mean=0.0357, low=0.0004, high=0.0346)},
    )
    assert "| 3.57 (0.04-3.46) |" in to_markdown([dataclasses.replace(table, rows=(row,))])

    older = to_markdown(tables([without(record, tmp_path)]))
    assert f" {100 * found.mean:.2f} |" in older
    assert "as sure and calibrated" not in older


def test_seeds_have_the_interval_of_their_spread_and_the_same_footnote(record):
    seeds = [
        dataclasses.replace(
            record,
            card={**record.card, "name": f"net@{i}"},
            subject={**record.subject, "digest": str(i) * 16, "weights": str(i) * 64},
        )
        for i in range(2)
    ]

    text = to_markdown(tables(seeds))

    assert f" {100 * record.cell('clean').values['ece']['mean']:.2f} ± 0.00 |" in text
    assert "clean ECE: a model that is as sure and calibrated shows " in text
    assert "(low-high)" not in text


def test_check_makes_the_errors_again_of_their_sums(record, tmp_path):
    path = tmp_path / "net.json"
    samples = record.samples()
    write_record(record, samples, path)
    assert [one.faults for one in check([path])] == [()]
    for part, what in (("mean", "ece"), ("stderr", "the standard error of ece")):
        cells = [
            dataclasses.replace(m, values={**m.values, "ece": {**m.values["ece"], part: 0.5}}) if not i else m
            for i, m in enumerate(record.measurements)
        ]
        write_record(dataclasses.replace(record, measurements=tuple(cells)), samples, path)
        ((fault,),) = (one.faults for one in check([path]))
        assert fault.startswith(f"{path}: clean: {what} is 0.5, and its sums say ")


def test_of_samples_that_stand_or_fall_together_no_interval_is_known(record, tmp_path):
    columns = {name: np.tile(np.array([0.9, 0.6, 0.8, 0.7]), 5) for name in ("confidence", "nll", "brier")}
    columns |= {name: np.tile([True, False], 10) for name in ("correct", "top5")}
    values, _, kept = cell_values(SCORERS, Outcomes(columns), None, np.arange(20), np.arange(20) // 4)
    assert np.isnan(values["ece"]["stderr"])
    assert values["ece"]["mean"] == ece(kept["ece/sums"])

    path = tmp_path / "net.json"
    n = record.measurements[0].n
    write_record(record, dataclasses.replace(record.samples(), groups=np.arange(n) // 4), path)
    assert np.isnan(summarise(read_record(path), ("clean_ece",))["clean_ece"].low)


def test_a_reproduced_error_is_held_to_its_own_standard_error(record):
    """Not to the interval of the true error, which may lie below the number that was seen."""
    cell = record.cell("clean")
    value = cell.values["ece"]
    for by, state in ((0, "equal"), (1.9, "within interval"), (2.1, "outside")):
        moved = {**cell.values, "ece": {**value, "mean": value["mean"] + by * value["stderr"]}}
        cells = (dataclasses.replace(cell, values=moved), *record.measurements[1:])
        now = dataclasses.replace(record, measurements=cells, path=None)  # whose arrays say nothing of it
        numbers = compare_records(record, now).numbers
        assert [one.state for one in numbers if (one.where, one.metric) == ("clean", "ece")] == [state]


def test_the_metric_says_whose_it_is():
    assert "Guo et al. 2017" in ROWS["ece"].about
    assert "torchmetrics takes [low, high)" in ROWS["ece"].about
