"""The simulation of many workers, where its answers are known."""

from __future__ import annotations

import pytest

from tests.cluster_simulation import Costs, claims, drawn, ideal, queue

FREE = Costs(0, 0, 0, 0)


def test_at_no_cost_both_take_what_the_jobs_take():
    lengths = drawn(100, 3)
    assert sum(lengths) == pytest.approx(300)
    assert ideal(lengths, 1) == pytest.approx(300)
    assert queue(lengths, 1, 3, FREE).seconds == pytest.approx(300)
    assert claims(lengths, 1, 3, FREE).seconds == pytest.approx(300)
    assert queue(lengths, 8, 3, FREE).seconds == pytest.approx(ideal(lengths, 8))


def test_a_parent_that_takes_all_the_time_is_the_limit():
    found = queue([0.0] * 100, 50, 2, Costs(0.01, 0.1, 0, 0))

    # 100 jobs x (8 questions, 2 cells) and one question by which each worker learns that it is over.
    assert found.seconds == pytest.approx(100 * (0.08 + 0.2) + 50 * 0.01)
    assert found.busy == pytest.approx(1)


def test_each_worker_looks_at_every_job_once_and_again_at_what_others_are_at():
    found = claims([1.0, 1.0], 2, 1, Costs(0, 0, 0.001, 0.01, 0.02))

    # Each measures one, and finds the other's finished.
    assert found.seconds == pytest.approx(1 + 2 * (0.001 + 0.02) + 0.01, abs=0.002)
    apart = claims([1.0, 3.0], 2, 1, Costs(0, 0, 0.0, 0.01), longest=0.1)
    assert apart.seconds == pytest.approx(
        3 + 0.01, abs=0.11
    )  # the first waits, and looks every tenth of a second
