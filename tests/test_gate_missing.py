"""What cannot be compared, and what is not there: no verdict passes on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.gating.judge import exit_code, judge
from robustbench_ms.reports.annotations import annotation_lines
from tests.judging import FOG, RULES, parse_rules, verdict, with_loss
from tests.simulated import KEYS, answers, record


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"dataset": "cifar100"}, "dataset is cifar100, not cifar10"),
        ({"seed": 7}, "seed is 7, not 0"),
        ({"limit": 600}, "limit is 600, not None"),
    ],
)
def test_a_reference_of_another_question_is_incomparable_and_the_field_is_named(fields, told):
    correct = answers()
    judged = judge(record(correct, **fields), record(correct), RULES)

    assert [v.state for v in judged.verdicts] == ["incomparable", "incomparable"]
    assert all(told in v.reason for v in judged.verdicts)
    assert judged.cells == ()
    assert not judged.passed(lenient=True)


def test_a_reference_of_another_corruption_protocol_leaves_the_clean_rule_standing():
    correct = answers()
    judged = judge(record(correct, corruption_protocol=2), record(correct), RULES)

    assert [v.state for v in judged.verdicts] == ["pass", "incomparable"]
    assert "corruption_protocol is 2, not 1" in judged.verdicts[1].reason
    assert judged.state == "incomparable"


WHOSE = pytest.mark.parametrize(("who", "state"), [("candidate", "fail"), ("reference", "missing")])


@WHOSE
def test_cells_that_ended_in_an_error_are_the_candidates_fault_or_missing(who, state):
    correct = answers()
    broken = record(correct, errors=[KEYS[FOG]])
    judged = judge(*((broken, record(correct)) if who == "candidate" else (record(correct), broken)), RULES)

    assert [v.state for v in judged.verdicts] == ["pass", state]
    assert f"the {who}'s {KEYS[FOG]} ended in an error (RuntimeError: it broke)" in judged.verdicts[1].reason
    assert not judged.passed(lenient=True)


@WHOSE
def test_cells_that_are_absent_are_the_candidates_fault_or_missing(who, state):
    correct = answers()
    part = record(correct[:40], KEYS[:40])
    judged = judge(*((part, record(correct)) if who == "candidate" else (record(correct), part)), RULES)

    assert [v.state for v in judged.verdicts] == ["pass", state]
    assert f"the {who} lacks {KEYS[40]}" in judged.verdicts[1].reason
    assert "and 33 more" in judged.verdicts[1].reason


@pytest.mark.parametrize(
    ("fields", "errors", "state"),
    [
        ({"dataset": "digits"}, (), "incomparable"),
        ({"dataset": "digits"}, ("clean",), "fail"),
        ({"corruption_protocol": 2}, (), "fail"),
        ({}, (), "fail"),
    ],
    ids=["another question", "an error beside it", "clean asked alike", "one question"],
)
def test_what_a_candidate_lacks_of_another_question_is_not_its_fault(fields, errors, state):
    part = record(answers()[:40], KEYS[:40], errors=errors, **fields)
    found = verdict(part, record(answers()), "any:accuracy=10pp")

    assert found.state == state
    assert ("dataset is digits, not cifar10" in found.reason) == (state == "incomparable")
    if state == "incomparable":
        for rule in ("mean_corruption_accuracy=2pp", f"accuracy[{KEYS[-1]}]=2pp"):
            assert verdict(part, record(answers()), rule).state == state
            assert verdict(record(answers()), part, rule).state == state


def test_records_with_no_cell_in_common_do_not_pass():
    correct = answers()
    judged = judge(record(correct[:1], KEYS[:1]), record(correct[1:], KEYS[1:]), RULES)

    assert [v.state for v in judged.verdicts] == ["missing", "fail"]
    assert not judged.passed(lenient=True)


def test_a_rule_about_a_cell_that_no_record_has_is_missing():
    one = record(answers())
    found = verdict(one, one, "accuracy[corruption=saturate]=1pp")

    assert (found.state, found.reason) == (
        "missing",
        "neither record has a cell of accuracy[corruption=saturate]",
    )


def test_a_rule_about_a_metric_that_no_cell_holds_is_missing():
    one = record(answers())

    assert verdict(one, one, "clean_nll=0.1nats").reason == (
        "the candidate's nll has no value in clean; the reference's nll has no value in clean"
    )


def test_a_relative_drop_from_nothing_is_missing():
    none = answers()
    none[0] = False

    assert verdict(record(none), record(none), "relative_drop=1pp").state == "missing"


def test_one_sample_tells_nothing():
    one = record(answers(1))

    assert verdict(one, one, "clean_accuracy=1pp").reason == "one sample says nothing of a difference"


@pytest.mark.parametrize("who", ["candidate", "reference"])
def test_answers_without_their_bits_are_missing_and_the_file_is_named(who, tmp_path):
    correct = answers()
    bare = replace(record(correct, kept=False), path=tmp_path / "bare.json")
    judged = judge(*((bare, record(correct)) if who == "candidate" else (record(correct), bare)), RULES)

    told = f"the arrays beside the {who} ({tmp_path / 'bare.correct.npz'}) are not there"
    assert [(v.state, v.reason) for v in judged.verdicts] == [("missing", told)] * 2
    assert judged.cells == ()


def test_what_no_record_keeps_sample_by_sample_is_missing():
    nll = np.full(600, 0.5)
    one = record(answers(), scores={"nll": nll, "brier": nll, "top5_accuracy": np.ones(600)})

    for text in ("nll[corruption=fog,severity=3]=0.1nats", "brier[severity=3]=0.1", "any:nll=0.1nats"):
        found = verdict(one, one, text)
        assert found.state == "missing"
        assert "keeps" in found.reason, text
        assert "sample by sample" in found.reason
    assert verdict(one, one, "nll[clean]=0.1nats").state == "pass"


def test_nothing_to_compare_with_does_not_pass():
    judged = judge(record(answers()), None, RULES)

    assert [v.state for v in judged.verdicts] == ["missing", "missing"]
    assert not judged.passed(lenient=True)


@pytest.mark.parametrize(
    ("candidate", "reference", "state", "code"),
    [
        (record(answers(), errors=KEYS), record(answers()), "fail", 1),
        (record(answers()[:40], KEYS[:40]), record(answers()), "fail", 1),
        (record(answers()), record(answers()[:40], KEYS[:40]), "missing", 2),
        (record(answers()), record(answers(), kept=False), "missing", 2),
        (record(answers()), None, "missing", 2),
        (record(answers(), dataset="cifar100"), record(answers()), "incomparable", 2),
        (record(with_loss(answers(), "clean", 300)), record(answers()), "pass", 0),
    ],
    ids=["broken", "part", "part of a reference", "no bits", "no reference", "another question", "a loss"],
)
def test_a_gate_of_warnings_alone_excuses_a_loss_and_nothing_that_cannot_be_compared(
    candidate, reference, state, code
):
    judged = judge(candidate, reference, parse_rules(["warn:any:accuracy=10pp"]))
    (note,) = [note for note in judged.notes if note.startswith("nothing was gated: every rule is a warning")]

    assert (judged.state, exit_code([judged], lenient=True)) == (state, code)
    assert note.endswith("and none excuses what cannot be compared") == (code > 0)
    assert annotation_lines([judged], lenient=True)[0].startswith("::error" if code else "::warning")
    floor = judge(candidate, reference, parse_rules(["warn:any:accuracy=10pp", "floor:clean_accuracy=0pp"]))
    assert floor.deciding == floor.verdicts[1:]


def test_a_floor_that_only_warns_needs_no_reference():
    assert judge(record(answers()), None, parse_rules(["warn:floor:clean_accuracy=99pp"])).state == "pass"
