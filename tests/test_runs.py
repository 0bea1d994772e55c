"""Samples that come in runs of alike ones: what a gate, a comparison and ranks make of them."""

from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.gating.judge import judge
from robustbench_ms.records.comparison import Comparison
from robustbench_ms.statistics.bounded import bounded
from robustbench_ms.statistics.intervals import gathered
from tests.judging import parse_rules
from tests.simulated import KEYS, record
from tests.test_ranking import METRIC, ranges


def in_runs(made, runs):
    return replace(made, kept=replace(made.kept, runs=runs))


def stretches(random, count, longest=15):
    """(n,): numbers of runs of 5 to `longest` samples."""
    return np.repeat(np.arange(count), random.integers(5, longest + 1, count))


def alike(random, runs, losses):
    """Whether each of the samples is lost (cells, n): by whole runs, a few by themselves."""
    share = np.array(losses)[:, None]
    lost = random.random((share.size, runs.max() + 1)) < share
    alone = random.random((share.size, runs.size)) < 0.05
    return np.where(alone, random.random((share.size, runs.size)) < share, lost[:, runs])


def test_a_run_weighs_as_its_samples_do():
    values = np.array([[1.0, 0.0, 4.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0, 3.0]])
    found, short, long = gathered(values, np.array([7, 2, 2, 7, 7, 5]))

    assert found.tolist() == [
        [2.0, 0.5, 1.5],
        [0.0, 1.5, 0.0],
    ]  # of runs 2, 5 and 7, half a run's mean length each
    assert found.mean(axis=1) == pytest.approx(values.mean(axis=1))
    assert (short, long) == (0.5, 1.5)


def test_a_gate_over_runs_passes_no_oftener_than_its_level_where_one_over_samples_does():
    random, loss, passes = np.random.default_rng(0), 0.1, np.zeros(2)
    for _ in range(600):
        runs = stretches(random, 60)
        lost = alike(random, runs, [loss])[0].astype(float)
        values, _, long = gathered(lost, runs)
        passes += [
            bounded(values, -long, long).p_below(loss) <= 0.05,
            bounded(lost, -1.0, 1.0).p_below(loss) <= 0.05,
        ]

    assert passes[0] / 600 < 0.065
    assert passes[1] / 600 > 0.12


@pytest.fixture
def pair():
    """A reference, a candidate that loses one run in eight in every cell, and the runs of both."""
    random = np.random.default_rng(3)
    runs = stretches(random, 140)
    right = np.ones((len(KEYS), runs.size), bool)
    lost = alike(random, runs, [0.12] * len(KEYS))
    return record(right, name="reference"), record(right & ~lost, name="candidate"), runs


def test_the_verdict_counts_runs_and_says_so(pair):
    reference, candidate, runs = pair
    rules = parse_rules(
        ["clean_accuracy=11pp", "any:accuracy=40pp", "relative_drop=40pp", "floor:clean_accuracy=70pp"]
    )
    over = judge(in_runs(candidate, runs), in_runs(reference, runs), rules).verdicts
    alone = judge(candidate, reference, rules).verdicts

    assert [v.n for v in over] == [140] * 4
    assert [v.n for v in alone] == [runs.size] * 4
    assert [v.method.partition(" over")[2] for v in over] == [" runs", " runs", "", " runs"]
    assert "worst run" in over[2].method
    assert [v.loss for v in over] == pytest.approx([v.loss for v in alone])
    for wide, narrow in zip(over, alone, strict=True):
        assert wide.interval.high - wide.interval.low > 1.5 * (narrow.interval.high - narrow.interval.low)
    assert over[0].state == "unsure"
    assert "runs of samples would settle it" in over[0].reason
    assert [v.state for v in over[1:]] == ["pass"] * 3


def test_cells_and_ranks_are_told_apart_by_runs(pair):
    reference, candidate, _ = pair
    runs = np.repeat(np.arange(6), -(-candidate.kept.correct.shape[1] // 6))[
        : candidate.kept.correct.shape[1]
    ]
    wide = Comparison.of(in_runs(candidate, runs), in_runs(reference, runs)).cells()
    narrow = Comparison.of(candidate, reference).cells()
    models = [[in_runs(candidate, runs)], [in_runs(reference, runs)]]

    assert len(wide) == len(narrow) == len(KEYS)
    assert all(one.difference.n == 6 for one in wide)
    assert max(one.p_differs for one in narrow) < 1e-6
    assert min(one.p_differs for one in wide) > 0.01
    # six runs tell nothing at this level whose samples told all
    assert ranges(models, METRIC) == [(1, 2), (1, 2)]
    assert ranges([[candidate], [reference]], METRIC) == [(2, 2), (1, 1)]
