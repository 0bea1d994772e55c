"""rbms accept and rbms compare as people run them."""

from __future__ import annotations

import json

import pytest

from tests.simulated import KEYS, answers, kept, record, turned_wrong


@pytest.fixture
def before(tmp_path):
    return kept(tmp_path / "before", record(answers()))


@pytest.fixture
def worse(tmp_path):
    return kept(tmp_path / "now", record(turned_wrong(answers(), 90)), "worse")


def test_accepting_makes_the_reference_and_keeps_the_first(rbms, tmp_path):
    results = ("--results", tmp_path / "r")
    runs = [record(turned_wrong(answers(2000), lost)) for lost in (0, 50, 100)]
    rules = ("--rule", "clean_accuracy=4pp", "--rule", "total:clean_accuracy=3pp", "--json")
    states = []
    for number, one in enumerate(runs):
        path = kept(tmp_path / str(number), one)
        gated = rbms("gate", path, *results, *rules)
        states.append([r["state"] for r in gated.json()["candidates"][0]["rules"]])
        assert rbms("accept", path, *results).code == 0

    reference = tmp_path / "r" / "cifar10-c" / "reference"
    assert states[0] == ["missing", "missing"]
    assert states[1] == ["pass", "unsure"]
    assert states[2] == ["pass", "fail"]  # no step lost 3 points, both together lost 5
    assert (reference / "mine.json").read_bytes() == (tmp_path / "2" / "mine.json").read_bytes()
    assert (reference / "first" / "mine.json").read_bytes() == (tmp_path / "0" / "mine.json").read_bytes()
    history = json.loads((reference / "history" / "mine.json").read_text())["references"]
    assert [entry["first"] for entry in history] == [True, False, False]


def test_accepting_again_changes_nothing_and_restarting_counts_from_here(rbms, tmp_path):
    results = ("--results", tmp_path / "r")
    one, other = (
        kept(tmp_path / "a", record(answers())),
        kept(tmp_path / "b", record(turned_wrong(answers(), 90))),
    )
    first = rbms("accept", one, *results)
    again = rbms("accept", one, *results)
    moved = rbms("accept", other, *results)
    restarted = rbms("accept", other, *results, "--restart")

    assert "the first: the total drift counts from here" in first.out
    assert "holds this record already" in again.out
    assert "15.00 pp" in moved.out  # what was accepted is shown
    assert "the first" not in moved.out
    assert "the first: the total drift counts from here" in restarted.out
    assert rbms("gate", other, *results, "--rule", "total:clean_accuracy=0pp").code == 0


def test_a_first_reference_that_was_tampered_with_is_refused(rbms, tmp_path):
    results = ("--results", tmp_path / "r")
    path = kept(tmp_path / "a", record(answers()))
    rbms("accept", path, *results)
    kept(tmp_path / "r" / "cifar10-c" / "reference" / "first", record(turned_wrong(answers(), 9)))
    done = rbms("gate", path, *results, "--rule", "total:clean_accuracy=1pp")

    assert done.code == 2
    assert "is not the first reference that was accepted" in done.err


def test_only_a_whole_record_can_be_accepted(rbms, tmp_path):
    results = ("--results", tmp_path / "r")
    broken = kept(tmp_path / "a", record(answers(), errors=[KEYS[3]]))
    bare = kept(tmp_path / "b", record(answers()))
    bare.with_name("mine.correct.npz").unlink()

    for path, told in (
        (broken, f"cells that ended in an error ({KEYS[3]})"),
        (bare, "there is no mine.correct.npz"),
    ):
        done = rbms("accept", path, *results)
        assert done.code == 2
        assert told in done.err
    assert not (tmp_path / "r").exists()


def test_a_record_that_is_not_there_is_told_with_what_is(rbms, tmp_path):
    path = kept(tmp_path / "a", record(answers()))

    for typed, told in (
        (path.with_name("mien.json"), "No such file; did you mean 'mine.json'?"),
        (path.with_suffix(""), "No such file; did you mean 'mine.json'?"),
        (path.parent / "b" / "mine.json", f"No such file: there is no folder {path.parent / 'b'}"),
    ):
        done = rbms("accept", typed)
        assert (done.code, done.err) == (2, f"rbms: {typed}: {told}\n")


def test_accepting_keeps_seeds_apart(rbms, tmp_path):
    results = ("--results", tmp_path / "r")
    for name in ("mine@0", "mine@1"):
        assert rbms("accept", kept(tmp_path / "a", record(answers()), name), *results).code == 0

    assert len(list((tmp_path / "r" / "cifar10-c" / "reference").glob("*.json"))) == 2


def test_compare_shows_the_table_without_a_verdict(rbms, worse, before):
    text, told = rbms("compare", before, worse), rbms("compare", before, worse, "--json").json()
    clean = next(row for row in told["metrics"] if row["metric"] == "clean_accuracy")

    assert text.code == 0
    assert "15.00 pp" in text.out
    assert "pass" not in text.out
    assert "differs beyond chance in 1 of 76 cells: clean -15.0 pp" in text.out
    assert clean["loss"] == pytest.approx(0.15)
    assert clean["low"] < 0.15 < clean["high"]
    assert clean["changed"] == 90
    assert len(told["cells"]) == 76


def test_compare_says_what_was_left_out(rbms, tmp_path, before):
    other = kept(tmp_path / "o", record(answers(), corruption_protocol=2))
    done = rbms("compare", before, other)

    assert done.code == 0
    assert "Not compared: corruption_protocol is 2, not 1" in done.out


def test_records_with_nothing_in_common_are_not_compared(rbms, tmp_path, before):
    other = kept(tmp_path / "o", record(answers(), dataset="cifar100"))
    done = rbms("compare", before, other)

    assert done.code == 2
    assert "dataset is cifar100, not cifar10" in done.err
