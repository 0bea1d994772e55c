"""Where a run's time goes: in its record, and nowhere that answers are compared."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from robustbench_ms.evaluation import answer, split
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.evaluation.split import PARTS, Split
from robustbench_ms.reports.time_split import time_split
from tests.fakes import Coarse
from tests.records import record_of
from tests.running import card_of, measure, only

CPU = torch.device("cpu")


class Clock:
    """Each look at it takes a second."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1.0
        return self.now


def test_what_models_share_is_counted_to_equal_parts(tiny, places, monkeypatch):
    clock = Clock()
    for module in (answer, split):
        monkeypatch.setattr(module, "time", clock)
    events = measure(tiny, [card_of(Coarse(i), f"net{i}") for i in range(4)], places, batch_size=40)

    for done in only(events, RecordDone):
        for cell in done.record.measurements:
            # Two looks at the clock for the data and two for the corruption, a second apart, shared by four.
            assert tuple(cell.seconds) == PARTS
            assert (cell.seconds["data"], cell.seconds["corruption"]) == (0.25, 0.25)
            assert (cell.seconds["model"], cell.seconds["waiting"]) == (1.0, 0.0)
            assert cell.seconds["scoring"] == 2.0  # of the batch, and of the whole


def test_seconds_are_no_part_of_who_answered_what():
    one = record_of({"clean": 0.9})
    other = replace(one, measurements=(replace(one.measurements[0], seconds={"model": 7.0}),))

    assert one.answers() == other.answers()


class Event:
    """CUDA's, whose times are known after a synchronise alone."""

    known = False
    now = 0.0

    def __init__(self, *, enable_timing):
        assert enable_timing

    def record(self, _stream):
        Event.now += 0.5
        self.at = Event.now

    def elapsed_time(self, last):
        assert Event.known
        return 1000 * (last.at - self.at)


def test_on_cuda_nothing_is_waited_for_before_the_end(monkeypatch):
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: setattr(Event, "known", True))
    found = Split(["a", "b"], torch.device("cuda"))
    for _ in range(3):
        first = found.mark()
        found.between("corruption", ["a", "b"], first, found.mark())
    found.add("waiting", ["a"], 0.25)

    assert not Event.known
    assert found.seconds("a") == {
        "data": 0.0,
        "corruption": 0.75,
        "model": 0.0,
        "scoring": 0.0,
        "waiting": 0.25,
    }
    assert found.seconds("b")["corruption"] == 0.75


@pytest.mark.parametrize("old", [False, True])
def test_it_is_told_in_a_line(old):
    one = record_of({"clean": 0.9, "corruption=fog,severity=3": 0.8})
    parts = {"data": 1.0, "corruption": 4.0, "model": 4.0, "scoring": 0.5, "waiting": 0.5}
    cells = [replace(m, seconds=parts) for m in one.measurements]
    if old:
        cells[1] = replace(cells[1], seconds={"data": 1.0, "model": 3.0})
    told = time_split(replace(one, measurements=tuple(cells)))

    whole = "20.0" if not old else "10.0"
    assert told[0].startswith(
        f"{whole} s: data 10%, corruption 40%, model 40%, scoring 5%, waiting 5%; what models"
    )
    assert len(told) == 1 + old
    if old:
        assert told[1].startswith("4.0 s: data 25%, model 75%; of cells measured before it was divided")
    assert time_split(replace(one, measurements=())) == []
