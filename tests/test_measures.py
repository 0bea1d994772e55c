"""A metric is added in two places, and every reader knows it: record, table, gate rule, comparison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.catalog.registry import TASKS, TaskInfo, measures_of
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.gating.judge import judge
from robustbench_ms.gating.reproduce import compare_records
from robustbench_ms.gating.rules import parse_rule
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.records.entry import entry_of
from robustbench_ms.records.ranking import ranges
from robustbench_ms.records.summary import Incomplete, summarise
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.comparisons import compared_markdown
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.specs.card import Card
from robustbench_ms.statistics.intervals import t_quantile
from robustbench_ms.tasks.measure import Mean, cell_values, jackknife_weights, poisson_weights
from robustbench_ms.tasks.outcomes import Outcomes
from tests import fakes
from tests.running import KEYS, measure, only

TASK = "robustbench_ms.tasks.classification.task:Classification"
TASKS.register("toy", TaskInfo(TASK, "tests.toy.rows:ROWS", "tests.toy.measures:SCORERS"))
MATRIX = {"corruption": ["brightness", "contrast"], "severity": [1, 3]}


@pytest.fixture
def two(write_suite, places):
    """Records of two models on the toy task, whose suite's matrix has four cells of the common group."""
    columns = '"mean_odds", "clean_odds", "mean_doubt", "clean_doubt"'
    path = write_suite(
        replace=[('dataset = "arrays"', f'task = "toy"\ndataset = "arrays"\nsummary = [{columns}]')]
    )
    cards = [
        Card(name, build=fakes.Coarse(seed), tasks=("toy",)) for name, seed in (("one", 3), ("other", 4))
    ]
    records = [event.record for event in only(measure(path, cards, places), RecordDone)]
    return [replace(record, suite={**record.suite, "matrix": MATRIX}) for record in records]


def rule(text, record):
    terms = Terms.of(record)
    return parse_rule(text, terms.rows, terms.axes, terms.untested)


def jackknifed(values):
    values = np.array(values)
    return ((len(values) - 1) / len(values) * ((values - values.mean()) ** 2).sum()) ** 0.5


def odds(bits):
    return bits.sum() / (~bits).sum()


def test_a_new_metric_is_in_a_record_a_table_a_rule_and_a_comparison(two):
    one, other = two
    samples = one.samples()
    cell = one.cell("clean").values
    assert cell["doubt"] == cell["brier"]
    assert cell["odds"]["mean"] == pytest.approx(odds(samples.row("clean")))
    assert set(samples.scores) >= {"doubt/clean", "doubt/common", "nll_clean"}

    (table,) = tables(two)
    text = to_markdown([table])
    assert "odds ↑" in text
    assert "Doubt and odds: means over 2 corruptions x 2 severities." in text  # of what is shown alone
    assert table.rows[0].ranks is not None

    for text in ("clean_odds=0.5", "mean_odds=10%", "odds[corruption=contrast]=1", "doubt[clean]=0.1"):
        (verdict,) = judge(one, other, [rule(text, one)]).verdicts
        assert verdict.state in {"pass", "fail", "unsure"}, verdict.reason
        assert verdict.loss == pytest.approx(verdict.rule.row.sign * (verdict.reference - verdict.candidate))
    assert judge(one, one, [rule("mean_odds=0", one)]).verdicts[0].reason == (
        "the same network gives the same raw answers"
    )

    told = compared_markdown(Comparison.of(one, other), 0.05)
    for label in ("| odds ", "| clean odds ", "| doubt ", "| clean doubt "):
        assert label in told
    assert compare_records(one, one).reproduced


def test_a_set_measures_error_and_differences_are_the_brute_force_jackknifes(two):
    one, other = two
    bits = [record.samples().correct for record in two]
    left_out = [np.delete(np.arange(40), i) for i in range(40)]
    values = [np.array([[odds(row[keep]) for keep in left_out] for row in kept]) for kept in bits]

    cell = one.cell("clean").values["odds"]
    assert cell["stderr"] == pytest.approx(jackknifed(values[0][0]), rel=1e-6)
    found = summarise(one, ("mean_odds", "clean_odds"))
    for name, draws in (("mean_odds", values[0][1:].mean(axis=0)), ("clean_odds", values[0][0])):
        assert found[name].half_width == pytest.approx(t_quantile(0.975, 39) * jackknifed(draws), rel=1e-4)

    pair = Comparison.of(one, other)
    loss = pair.loss(pair.quantity("mean_odds"))
    losses = (values[1] - values[0])[1:].mean(axis=0)
    assert loss.difference.stderr == pytest.approx(jackknifed(losses), rel=1e-4)
    assert loss.difference.degrees == 39
    expected = np.mean([odds(row) for row in bits[1][1:]]) - np.mean([odds(row) for row in bits[0][1:]])
    assert loss.difference.mean == pytest.approx(expected)
    apart = loss.difference.p_differs <= 0.05
    assert (ranges([[entry_of(one)], [entry_of(other)]]) != [(1, 2), (1, 2)]) == apart


def test_a_measure_without_a_value_in_one_cell_is_absent_and_said_to_be(two):
    one, other = two
    key = KEYS[2]
    lacking = tuple(
        replace(m, values={k: v for k, v in m.values.items() if k != "odds"}) if m.key == key else m
        for m in one.measurements
    )
    part = replace(one, measurements=lacking)

    with pytest.raises(Incomplete, match=f"one: mean_odds: odds has no value in {key}"):
        summarise(part, ("mean_odds",))
    assert summarise(part, ("clean_odds",)) == summarise(one, ("clean_odds",))
    for text in ("mean_odds=1", f"odds[{key}]=1", "odds[corruption=brightness]=1"):
        (verdict,) = judge(part, other, [rule(text, one)]).verdicts
        assert (verdict.state, verdict.reason) == ("fail", f"the candidate's odds has no value in {key}")
    assert tables([part])[0].left_out == (f"one: mean_odds: odds has no value in {key}",)
    assert "| clean odds" in compared_markdown(Comparison.of(part, other), 0.05)
    assert "| odds" not in compared_markdown(Comparison.of(part, other), 0.05)


def test_a_cell_without_a_value_gives_its_reason_and_one_sample_gives_no_error():
    scorers = measures_of("toy")

    def scored(correct):
        n = len(correct)
        columns = {"correct": np.array(correct), "top5": np.array(correct), "prediction": np.zeros(n, int)}
        columns |= {name: np.full(n, 0.5) for name in ("nll", "brier", "confidence")}
        return cell_values(scorers, Outcomes(columns), None, np.arange(n), None)

    values, absent, kept = scored([True, True])
    assert absent == {"odds": "no wrong answer"}
    assert "odds" not in values
    assert list(kept) == ["ece/sums"]
    values, absent, kept = scored([False])
    assert values["odds"]["mean"] == 0
    assert np.isnan(values["odds"]["stderr"])
    assert (absent, list(kept)) == ({}, ["ece/sums"])
    # Without the one wrong answer there is no value, and so no error.
    values, absent, kept = scored([True, True, False])
    assert values["odds"]["mean"] == 2
    assert np.isnan(values["odds"]["stderr"])
    assert (absent, list(kept)) == ({}, ["ece/sums"])


def test_weights_are_a_samples_own_or_its_groups():
    ids = np.arange(500) * 7 + 1
    weights = jackknife_weights(ids)
    assert weights.shape == (200, 500)
    assert set((weights == 0).sum(axis=1)) == {2, 3}
    assert np.all((weights == 0).sum(axis=0) == 1)
    order = np.random.default_rng(0).permutation(500)
    assert np.array_equal(jackknife_weights(ids[order]), weights[:, order])
    groups = ids % 5
    of_groups = jackknife_weights(ids, groups)
    assert of_groups.shape == (5, 500)
    assert all(len(set(groups[row == 0])) == 1 for row in of_groups)
    assert jackknife_weights(ids[:1]).shape == (0, 1)

    drawn = poisson_weights(ids)
    assert drawn.shape == (200, 500)
    assert (drawn.mean(), drawn.var()) == pytest.approx((1, 1), abs=0.02)
    assert np.array_equal(poisson_weights(ids[order]), drawn[:, order])
    assert np.abs(np.corrcoef(drawn.T)[0, 1:]).max() < 0.35
    assert all(len(set(row[groups == 2])) == 1 for row in poisson_weights(ids, groups)[:5])


def test_rows_and_measures_that_do_not_agree_are_refused():
    ours = "robustbench_ms.tasks.classification"
    TASKS.register("apart", TaskInfo(TASK, f"{ours}.rows:ROWS", "tests.toy.measures:SCORERS"))
    with pytest.raises(UserError, match=r"not of the same names \(doubt, odds\)"):
        measures_of("apart")
    with pytest.raises(ValueError, match="are no answers"):
        Mean("doubt", "brier", kept="bits")
