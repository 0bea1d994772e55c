"""The gate on speed, on drawn times of known ratio."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.environment import describe_environment
from robustbench_ms.gating import speed
from robustbench_ms.gating.judge import Case, judge_all
from robustbench_ms.gating.references import Found, References
from robustbench_ms.profiling import run as profiling
from robustbench_ms.profiling.machine import device_name
from robustbench_ms.records.profile import Profile, Row, slug, write_profile
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.settings import Settings
from tests.judging import parse_rule
from tests.records import ENVIRONMENT, record_of

RULE = parse_rule("images_per_second=5%")
QUIET = {"warm_up": {"calls": 10, "steady": True}, "others": 0.01}
CARD = Card("net", "tests.fakes:build", untrained=True)


def row(slow=1.0, seed=0, blocks=20, spread=0.01, **fields):
    """Calls that take `slow` times as long as resnet18's, with noise of its own in each block."""
    random = np.random.default_rng(seed)
    machine = random.lognormal(0, 0.3, blocks)
    host = machine * slow * random.lognormal(0, spread, blocks)
    times = {"host": [[float(t)] * 5 for t in host], "yardstick": [[float(t)] * 5 for t in machine]}
    facts = fields.pop("facts", QUIET)
    return replace(Row(1, "fp32", False, torch.get_num_threads(), False, times=times, facts=facts), **fields)


def judged(candidate, reference, *, together=True, rule=RULE, **options):
    """The verdict over a finding of two rows."""
    record = record_of({"clean": 0.9})
    found = speed.compare(rule, candidate, reference, together=together)
    (one,) = judge_all([Case(record, None, speeds={rule.target: found})], [rule], **options)
    return one.verdicts[0]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("slow", "state"), [(1.0, "pass"), (0.5, "pass"), (1.2, "fail"), (1.053, "unsure")])
def test_verdicts(slow, state, together):
    found = judged(row(2 * slow, 1), row(2, 2), together=together)

    assert found.state == state
    assert found.reference == pytest.approx(0.5, rel=0.01)
    assert found.candidate == pytest.approx(0.5 / slow, rel=0.02)
    assert found.loss == pytest.approx(found.reference - found.candidate)
    assert found.interval.low < found.loss < found.interval.high
    assert found.margin == pytest.approx(0.05 * found.reference)
    assert ("both timed here in 20 blocks" in found.reason) == together


def test_a_slowdown_that_is_tolerated_fails_once_in_twenty_at_most():
    """At the edge of what is tolerated."""
    edge = 1 / 0.95
    states = [judged(row(edge, 2 * i), row(1, 2 * i + 1), alpha=0.05).state for i in range(200)]

    assert states.count("fail") <= 20
    assert states.count("pass") <= 20
    assert states.count("unsure") >= 160


@pytest.mark.parametrize("who", ["candidate", "reference"])
@pytest.mark.parametrize("slow", [1.0, 3.0])
def test_what_is_busy_or_unsteady_is_unsure_whatever_it_shows(who, slow):
    for doubtful, why in (
        ({"facts": {**QUIET, "others": 0.4}}, "other processes used 0.40 cores"),
        ({"spread": 0.2}, "its blocks vary by"),
    ):
        sides = {"candidate": row(slow, 1), "reference": row(1, 2)}
        sides[who] = row(slow if who == "candidate" else 1, 3, **doubtful)
        found = judged(*sides.values())

        assert found.state == "unsure"
        assert f"the {who}: {why}" in found.reason
        assert found.interval is None


def test_it_is_one_of_holms_rules():
    """A p between alpha / 2 and alpha fails alone and not beside another rule that hardly passes."""
    rules = [parse_rule("images_per_second=5%"), parse_rule("images_per_second[batch=8]=5%")]
    pair = next(
        (row(1.06, 2 * seed), row(1, 2 * seed + 1))
        for seed in range(500)
        if 0.025 < speed.compare(RULE, row(1.06, 2 * seed), row(1, 2 * seed + 1), together=True).p_fail < 0.05
    )
    alone = judged(*pair)
    found = {rule.target: speed.compare(rule, *pair, together=True) for rule in rules}
    (both,) = judge_all([Case(record_of({"clean": 0.9}), None, speeds=found)], rules)

    assert alone.state == "fail"
    assert [v.state for v in both.verdicts] == ["unsure", "unsure"]


def test_a_record_alone_has_no_times():
    (one,) = judge_all([Case(record_of({"clean": 0.9}), None)], [RULE])

    assert one.verdicts[0].state == "missing"
    assert "gate the model, as rbms gate SUITE -m MODEL" in one.verdicts[0].reason


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image_per_second=5%", "did you mean 'images_per_second'"),
        ("images_per_second=5pp", "a share of the reference's speed is wanted, as images_per_second=5%"),
        ("images_per_second=200%", "more than 100 %"),
        ("images_per_second[corruption=fog]=5%", r"takes a batch, as images_per_second\[batch=8\]"),
        ("images_per_second[batch=0]=5%", "takes a batch"),
        ("floor:images_per_second=5%", "takes no floor:"),
        ("any:images_per_second=5%", "takes no any:"),
    ],
)
def test_rules_that_are_wrong(text, told):
    with pytest.raises(UserError, match=told):
        parse_rule(text)


def test_rules_are_spelled_as_they_are_read():
    for text in ("images_per_second=5%", "warn:images_per_second[batch=8]=2.5%"):
        assert str(parse_rule(text)) == text
    assert str(parse_rule("images_per_second[batch=1]=5%")) == "images_per_second=5%"


class Bench(profiling.Bench):
    """Times nothing: rows are drawn, the candidate 1.2 times as slow as `others` are."""

    timed: list[tuple[str, ...]]

    def time(self, subjects, setting, blocks, *, whole=True):
        assert (blocks, whole) == (20, False)
        Bench.timed.append(tuple(s.name for s in subjects))
        for i, one in enumerate(subjects):
            slow = 1.2 if one.name == "candidate" else 1.0
            yield profiling.Timed(one.name, replace(row(slow, i), batch=setting.batch))


@pytest.fixture
def ask(places, monkeypatch):
    """A function: the verdict or finding of a rule on CARD, given the reference record's card and kept profiles."""
    monkeypatch.setattr(profiling, "Bench", Bench)
    Bench.timed = []

    def find(rule=RULE, **changed):
        record = None
        if changed:
            from robustbench_ms.evaluation.collect import described_card
            from robustbench_ms.profiling.subject import load

            told = described_card(load(CARD, torch.device("cpu"), places).model)
            record = replace(record_of({"clean": 0.9}), card={**told, **changed})
        with References(None, places.results) as references:
            found = speed.speeds(
                [rule], [CARD], {"net": Found(record, None, "there")}, references, places, Settings("cpu")
            )
        return found["net"][rule.target]

    return find


def keep(places, *rows, device=None):
    here = describe_environment(torch.device("cpu"))
    name = device or device_name(here)
    one = Profile(name, {"name": "net", "build": "b"}, {}, (ENVIRONMENT,), rows)
    write_profile(one, places.results / "profiles" / slug(name) / "net.json")


def test_another_card_is_timed_here_in_the_same_turns(ask):
    found = ask(args={"seed": 1})

    assert Bench.timed == [("candidate", "reference")]
    assert "both timed here" in found.where


def test_the_same_card_is_held_to_its_committed_profile(ask, places):
    """What is built here of a card that did not change is the candidate: its code may have become slow."""
    assert "net has no committed profile" in ask(args={}).reason
    keep(places, row(1.0, 7))
    found = ask(args={})

    assert Bench.timed == [("candidate",)]
    assert found.p_fail < 0.001
    assert "20 of the committed profile" in found.where


def test_without_a_record_the_profile_decides_too(ask, places):
    keep(places, row(1.0, 7))

    assert ask().p_fail < 0.001


def test_another_machine_is_incomparable_and_named(ask, places):
    keep(places, row(), device="Other CPU, 4 cores")
    found = ask()

    assert found.state == "incomparable"
    assert re.search("device .* instead of Other CPU, 4 cores", found.reason)


def test_other_threads_are_incomparable_and_another_batch_is_missing(ask, places):
    keep(places, row(threads=63))
    assert ask().state == "incomparable"
    assert "instead of 63" in ask().reason
    found = ask(parse_rule("images_per_second[batch=8]=5%"))
    assert found.state == "missing"
    assert "rbms profile net --batch 8" in found.reason


def test_a_candidate_that_cannot_take_the_batch_fails(ask, places, monkeypatch):
    keep(places, row(1.0, 7))

    def failing(self, subjects, setting, blocks, *, whole=True):
        yield profiling.Timed("candidate", Row(1, "fp32", False, 2, False, error="it will not"))

    monkeypatch.setattr(Bench, "time", failing)
    assert (ask().state, ask().reason) == ("fail", "the candidate: it will not")


@pytest.mark.parametrize(("who", "state"), [("candidate", "fail"), ("reference", "missing")])
def test_one_of_two_that_cannot_take_the_batch_is_named(ask, monkeypatch, who, state):
    def halving(self, subjects, setting, blocks, *, whole=True):
        for one in subjects:
            yield profiling.Timed(one.name, replace(row(), batch=setting.batch // (1 + (one.name == who))))

    monkeypatch.setattr(Bench, "time", halving)
    found = ask(parse_rule("images_per_second[batch=8]=5%"), args={"seed": 1})

    assert (found.state, found.reason) == (state, f"the {who}: memory is too small for a batch of 8")


def test_no_rule_of_speed_times_nothing(places):
    with References(None, places.results) as references:
        rules = [parse_rule("clean_accuracy=1pp")]
        assert speed.speeds(rules, [CARD], {}, references, places, Settings()) == {}


def test_the_command_gates_a_suite_and_speed_together(rbms, tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(profiling, "Bench", Bench)
    Bench.timed = []
    assert rbms("run", tiny, "-m", "tests.fakes:build", "--name", "net").code == 0
    options = ("-m", "tests.fakes:other", "--name", "net", "--against", tmp_path / "results")
    strange = rbms("gate", tiny, *options, "--rule", "images_per_second=5%")
    assert strange.code == 2
    assert "would have tests.fakes:build, the code of a module of that name run" in strange.out
    assert Bench.timed == []
    options = (*options, "--trust")
    found = rbms(
        "gate", tiny, *options, "--rule", "images_per_second=5%", "--rule", "warn:clean_accuracy=50pp"
    )

    assert found.code == 1, found.err
    assert Bench.timed == [("candidate", "reference")]
    assert re.search(r"`images_per_second=5%` fail: it loses 16\.\d%, at least 1\d\.\d%", found.out)
    told = rbms("gate", tiny, *options, "--rule", "images_per_second=5%", "--json").json()
    (rule,) = told["candidates"][0]["rules"]
    assert (rule["state"], rule["n"]) == ("fail", None)
    assert rule["method"].startswith("Student's t over the blocks' log ratios")
