"""Profiling from cards to records; nothing here depends on how fast the machine is."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import Note
from robustbench_ms.profiling import loop, subject
from robustbench_ms.profiling.run import ProfileDone, Timed, profile
from robustbench_ms.profiling.subject import Setting
from robustbench_ms.records.profile import read_profile
from robustbench_ms.specs.card import Card, Input
from tests.fakes import Coarse, build
from tests.profiled import hurry

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    hurry(monkeypatch)


class AtMost(Coarse):
    """Takes so many images and no more, for want of memory or for another reason."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def forward(self, images):
        if len(images) > self.most:
            raise self.error
        return super().forward(images)


def card(build=build, name="coarse", **fields):
    return Card(name, build, input=Input(size=32), **fields)


def measured(cards, settings, places, blocks=2, **options):
    return list(profile(cards, settings, places, blocks=blocks, **options))


def rows_of(events):
    return [event.row for event in events if isinstance(event, Timed)]


class Clock:
    """Time passes by what is called."""

    def __init__(self, seconds):
        self.now, self.seconds, self.calls = 0.0, iter(seconds), 0

    def __call__(self, run):
        run()
        self.calls += 1
        return next(self.seconds), None


@pytest.mark.parametrize(
    ("seconds", "calls", "steady"),
    [
        ([0.1] * 20, 10, True),  # two windows of 5 that agree
        ([1.0, 0.5, *[0.1] * 20], 12, True),
        ([0.1 * 1.02**i for i in range(80)], 56, False),  # drifts by a tenth a window, until 10 s
        ([9.0] * 20, 3, False),  # 3 at least, whatever they take
    ],
)
def test_warm_up(monkeypatch, seconds, calls, steady):
    monkeypatch.setattr(loop, "_LONGEST", 10.0)
    clock = Clock(seconds)
    found = loop.warm_up(lambda: None, clock)

    assert found.steady == steady
    assert (found.calls, clock.calls) == (calls, calls)


def test_a_turn_is_a_tenth_of_a_second_in_five_to_forty_calls(monkeypatch):
    monkeypatch.undo()

    assert [loop.calls_of(s) for s in (1.0, 0.02, 0.01, 0.0001)] == [5, 5, 10, 40]


def test_turns_are_interleaved_in_keyed_order_and_their_first_call_is_not_timed():
    called = []
    runs = {name: (lambda name=name: called.append(name)) for name in "abc"}
    found = loop.in_turns(runs, {"a": 2, "b": 3, "c": 4}, 12, CPU, nullcontext)

    assert {name: [len(block) for block in found[name].host] for name in runs} == {
        "a": [2] * 12,
        "b": [3] * 12,
        "c": [4] * 12,
    }
    wanted = [
        name
        for block in range(12)
        for name in loop.order(list("abc"), block)
        for _ in range({"a": 3, "b": 4, "c": 5}[name])
    ]
    assert called == wanted
    assert len({tuple(loop.order(list("abc"), block)) for block in range(12)}) > 3
    assert not found["a"].device


class Later(Coarse):
    """Raises at one of its calls, and changes how many threads there are at each."""

    def __init__(self, call, error):
        super().__init__()
        self.left, self.error = call, error

    def forward(self, images):
        torch.set_num_threads(3)
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().forward(images)


@pytest.mark.parametrize("call", [1, 8, 16])  # it is called 19 times at least
def test_a_model_that_ends_the_process_ends_its_own_row(places, call):
    ends = card(lambda classes=10: Later(call, SystemExit(0)), "ends")
    threads = torch.get_num_threads()

    rows = {e.name: e.row for e in measured([card(), ends], [Setting(2)], places) if isinstance(e, Timed)}

    assert rows["ends"].error == "SystemExit: 0"
    assert not rows["ends"].times
    assert rows["coarse"].error is None
    assert {len(blocks) for blocks in rows["coarse"].times.values()} == {2}
    assert rows["coarse"].threads == torch.get_num_threads() == threads
    assert subject.load(card(lambda classes=10: Later(1, SystemExit(0))), CPU, places).costs == {}


def test_a_profile_is_written_and_another_grid_adds_rows(places):
    (done,) = [e for e in measured([card()], [Setting(1), Setting(4)], places) if isinstance(e, ProfileDone)]
    found = read_profile(done.path)

    assert done.path.parent.parent == places.results / "profiles"
    assert [row.batch for row in found.rows] == [1, 4]
    assert found.costs["parameters"] == 490
    for row in found.rows:
        assert set(row.times) == {"host", "yardstick", "end_to_end"}
        assert {len(blocks) for blocks in row.times.values()} == {2}
        assert row.threads == torch.get_num_threads()
        assert row.precision == "fp32"
        assert set(row.facts) >= {"warm_up"}
    events = measured([card()], [Setting(4), Setting(8)], places)
    again = read_profile(done.path)
    assert [row.batch for row in again.rows] == [1, 4, 8]
    assert again.rows[0] == found.rows[0]
    assert again.rows[1].times != found.rows[1].times
    assert [e.message.endswith("1 of its rows is replaced") for e in events if isinstance(e, Note)] == [True]


def test_out_of_memory_halves_the_batch_and_says_so(places):
    little = card(AtMost(3, torch.OutOfMemoryError("CUDA out of memory")), "little")
    events = measured([little, card()], [Setting(16)], places)

    rows = {event.name: event.row for event in events if isinstance(event, Timed)}
    assert (rows["little"].batch, rows["little"].facts["asked"], rows["little"].error) == (2, 16, None)
    assert rows["coarse"].batch == 16
    told = [event.message for event in events if isinstance(event, Note)]
    assert told[0] == "little: memory is too small for a batch of 16; 8 is tried"


def test_a_model_that_cannot_take_a_batch_has_a_row_that_says_so(places):
    picky = card(AtMost(3, ValueError("three images at most\nand more lines")), "picky")
    events = measured([picky, card()], [Setting(2), Setting(4)], places)

    rows = [(e.name, e.row.batch, e.row.error) for e in events if isinstance(e, Timed)]
    assert sorted(rows) == [
        ("coarse", 2, None),
        ("coarse", 4, None),
        ("picky", 2, None),
        ("picky", 4, "ValueError: three images at most"),
    ]
    (done,) = [e for e in events if isinstance(e, ProfileDone) and e.profile.name == "picky"]
    assert [row.error is None for row in read_profile(done.path).rows] == [True, False]


def test_bf16_is_another_row_with_a_yardstick_of_its_own(places, monkeypatch):
    seen = []
    forward = subject.Model.forward

    def noting(model, shown):
        seen.append((model.card.name, model.card.precision))
        return forward(model, shown)

    monkeypatch.setattr(subject.Model, "forward", noting)
    rows = rows_of(measured([card()], [Setting(1, "fp32"), Setting(1, "bf16")], places))

    assert [row.precision for row in rows] == ["fp32", "bf16"]
    assert set(seen) == {(n, p) for n in ("coarse", "resnet18") for p in ("fp32", "bf16")}


def test_training_moves_a_copy_of_the_weights():
    loaded = subject.load(card(Coarse()), CPU, None)
    before = [p.clone() for p in loaded.model.module.parameters()]
    chosen = loaded.in_setting(Setting(4, train=True))
    step = chosen.call(Setting(4, train=True))
    step()
    step()

    assert chosen.model.module.training
    assert not loaded.model.module.training
    assert all(torch.equal(a, b) for a, b in zip(before, loaded.model.module.parameters(), strict=True))
    assert not torch.equal(before[0], chosen.model.module.head.weight)


def test_training_rows_have_no_end_to_end(places):
    (row,) = rows_of(measured([card()], [Setting(4, train=True)], places))

    assert row.error is None
    assert row.train
    assert "end_to_end" not in row.times


def test_no_compiler_is_a_sentence(places, monkeypatch):
    def compiling(module):
        def fail(*_):
            raise RuntimeError("No working C++ compiler found in torch._inductor.config.cpp.cxx: ('g++',)")

        module.forward = fail

    monkeypatch.setattr(nn.Module, "compile", compiling)
    (row,) = rows_of(measured([card()], [Setting(1, compile=True)], places))

    assert row.compile
    assert row.error.startswith("it cannot be compiled, as torch finds no compiler that works here")


def test_compiling_is_timed_apart(places, monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda module: None)
    (row,) = rows_of(measured([card()], [Setting(1, compile=True)], places))

    assert row.facts["compiling"] >= 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cards": [card(), card()]}, "model coarse is given twice"),
        ({"blocks": 1}, "--blocks must be 2 or more"),
        ({"device": "gpu"}, "no device named 'gpu'"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_timed(places, options, told):
    cards = options.pop("cards", [card()])
    with pytest.raises(UserError, match=told):
        measured(cards, [Setting(1)], places, **options)
    assert not (places.results / "profiles").exists()


def test_settings_that_no_call_has():
    with pytest.raises(UserError, match="a batch has 1 image or more"):
        Setting(0)
    with pytest.raises(UserError, match=r"no precision named 'bf61'; did you mean 'bf16'"):
        Setting(1, "bf61")


def test_threads_are_set_and_set_back(places):
    before = torch.get_num_threads()
    (row,) = rows_of(measured([card()], [Setting(1)], places, threads=before + 1))

    assert row.threads == before + 1
    assert torch.get_num_threads() == before


def test_signals_have_no_canvas(places):
    har = Card(
        "har", "robustbench_ms.models:HybridHAR", args={"classes": 6, "in_channels": 9}, untrained=True
    )
    (row,) = rows_of(measured([har], [Setting(2)], places))

    assert row.error is None
    assert "end_to_end" not in row.times


def test_accuracy_of_the_very_precision_stands_beside_a_row(places, tiny, monkeypatch):
    from robustbench_ms.catalog.suites import read_suite
    from robustbench_ms.profiling import accuracy

    values = {"fp32": 0.8, "bf16": 0.6}
    asked = []

    def first(one, suite, _places, _device):
        asked.append((one.precision, dict(suite.matrix), suite.also))
        return values[one.precision]

    monkeypatch.setattr(accuracy, "_first", first)
    rows = rows_of(measured([card()], [Setting(1, "fp32"), Setting(1, "bf16")], places))
    plain, other = (accuracy.kept_accuracy(row, card(), read_suite(tiny), places, CPU) for row in rows)

    assert plain.kept is None
    assert other.kept == pytest.approx(0.75)
    assert other.loses
    assert asked == [("fp32", {}, ("clean",)), ("bf16", {}, ("clean",))]


def test_accuracy_is_the_suites_own(places, tiny):
    from robustbench_ms.catalog.suites import read_suite
    from robustbench_ms.profiling.accuracy import kept_accuracy

    (row,) = rows_of(measured([card()], [Setting(1, "bf16")], places))
    found = kept_accuracy(row, card(), read_suite(tiny), places, CPU)

    told = found.facts["kept"]
    assert (told["suite"], told["metric"]) == ("tiny", "accuracy")
    assert 0 <= told["value"] <= 1
    assert not (places.results / "tiny").exists()


def test_times_stand_where_the_accuracy_cannot_be_told(places, tiny, monkeypatch):
    from robustbench_ms.catalog.suites import read_suite

    def first(*_):
        raise UserError("it cannot be asked")

    monkeypatch.setattr("robustbench_ms.profiling.accuracy._first", first)
    events = measured([card()], [Setting(1, "bf16")], places, suite=read_suite(tiny))

    assert [e.message for e in events if isinstance(e, Note)] == ["model coarse: it cannot be asked"]
    (done,) = [e for e in events if isinstance(e, ProfileDone)]
    assert read_profile(done.path).rows[0].error is None


@pytest.mark.parametrize(("name", "shape"), [("volumes-resnet", (1, 28, 28, 28)), ("har-linear", (9, 128))])
def test_networks_of_volumes_and_of_windows_are_profiled_at_their_own_size(places, name, shape):
    (row,) = rows_of(measured([find_card(name)], [Setting(1)], places))

    assert (row.error, subject.load(find_card(name), CPU, places).shape) == (None, shape)
