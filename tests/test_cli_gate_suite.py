"""rbms gate on a suite: models that are measured and judged."""

from __future__ import annotations

import pytest

from robustbench_ms.records.record import read_record
from tests.simulated import answers, kept, record

TINY = ("--rule", "accuracy[clean]=60pp", "--rule", "accuracy[corruption=contrast]=60pp")


@pytest.fixture
def before(tmp_path):
    return kept(tmp_path / "before", record(answers()))


def test_a_model_is_measured_against_its_record_and_nothing_is_written(rbms, tiny, tmp_path, snapshot):
    run = rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine")
    assert run.code == 0
    before = snapshot(tmp_path / "results")
    options = ("--name", "mine", "--against", tmp_path / "results", *TINY)
    same = rbms("gate", tiny, "-m", "tests.fakes:build", *options)
    other = rbms("gate", tiny, "-m", "tests.fakes:edited", *options)

    assert (same.code, other.code) == (0, 0)
    assert "5 of 5 cells are finished already" in same.err
    assert "the same weights give the same raw answers" in same.out
    assert same.out.splitlines()[1].startswith("- the reference is this very model (subject ")
    assert "this very model" not in other.out
    # Another forward with the same weights is another subject: measured, not taken from the cache.
    assert "finished already" not in other.err
    assert "the same weights give" not in other.out
    assert snapshot(tmp_path / "results") == before
    assert (
        "5 of 5" in rbms("run", tiny, "-m", "tests.fakes:edited", "--name", "edited").err
    )  # the cache has it


def test_a_model_without_a_reference_is_not_measured(rbms, tiny, tmp_path):
    done = rbms("gate", tiny, "-m", "tests.fakes:build", *TINY)

    assert done.code == 2
    assert "nothing to compare with" in done.out
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_one_of_several_models_without_a_reference_is_missing(rbms, tiny, tmp_path):
    rbms("run", tiny, "-m", "tests.fakes:build")
    told = rbms("gate", tiny, "-m", "tests.fakes:build", "-m", "tests.fakes:other", "--against",
                tmp_path / "results", *TINY, "--json")  # fmt: skip

    assert told.code == 2
    assert [c["state"] for c in told.json()["candidates"]] == ["pass", "missing"]


def test_a_model_that_breaks_fails(rbms, tiny, tmp_path):
    rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine")
    options = ("--name", "mine", "--against", tmp_path / "results", *TINY, "--lenient")
    later = rbms("gate", tiny, "-m", "tests.fakes:raises_later", *options)
    at_once = rbms("gate", tiny, "-m", "tests.fakes:nan_at_once", *options)

    assert (later.code, at_once.code) == (1, 1)
    assert "a bug of the model's own" in later.out
    assert "NaN" in at_once.out


@pytest.mark.parametrize(
    ("model", "code", "state"),
    [
        ("raises_at_once", 1, "fail"),
        ("nan_later", 1, "fail"),
        ("build", 0, "pass"),
        ("elsewhere", 2, "missing"),
    ],
)
def test_warnings_alone_let_no_model_in_that_breaks_or_has_no_reference(
    rbms, tiny, tmp_path, model, code, state
):
    known = model != "elsewhere"
    if known:
        rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine")
    build = f"tests.fakes:{model if known else 'build'}"
    where = ("--against", tmp_path / "results") if known else ()
    done = rbms(
        "gate", tiny, "-m", build, "--name", "mine", *where, "--rule", "warn:any:accuracy=25pp", "--json"
    )
    (one,) = done.json()["candidates"]

    assert (done.code, one["state"], done.json()["passed"]) == (code, state, code == 0)
    assert any(note.startswith("nothing was gated: every rule is a warning") for note in one["notes"])
    assert [rule["gates"] for rule in one["rules"]] == [code > 0]


def test_a_damaged_reference_stops_before_anything_is_measured(rbms, tiny, tmp_path):
    rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine")
    next((tmp_path / "results").rglob("mine.correct.npz")).write_bytes(b"no zip")
    cells = len(list((tmp_path / "cache").rglob("*.npz")))
    done = rbms(
        "gate", tiny, "-m", "tests.fakes:other", "--name", "mine", "--against", tmp_path / "results", *TINY
    )

    assert done.code == 2
    assert "damaged" in done.err
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == cells


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((), "no model given; name one with -m"),
        (("-m", "tests.fakes:build"), "has no rules of its own; give one, as --rule"),
        (("-m", "tests.fakes:build", "--alpha", "0.7", *TINY), "alpha must be at least 1e-9 and below 0.5"),
        (
            ("-m", "tests.fakes:build", "-m", "tests.fakes:other", "--name", "x", *TINY),
            "speak of one model, and 2",
        ),
    ],
)
def test_mistakes_with_a_suite_are_told_before_anything_is_measured(rbms, tiny, tmp_path, argv, told):
    done = rbms("gate", tiny, *(argv or TINY))

    assert done.code == 2
    assert told in done.err
    assert not list((tmp_path / "cache").rglob("*.npz"))


def test_one_file_is_no_reference_for_two_models(rbms, tiny, before):
    done = rbms(
        "gate", tiny, "-m", "tests.fakes:build", "-m", "tests.fakes:other", "--against", before, *TINY
    )

    assert done.code == 2
    assert "--against names one record, and 2 are gated" in done.err


def test_rules_of_a_suite_that_do_not_parse_name_the_suite(rbms, write_suite):
    path = write_suite("bad", replace=[("classes = 10", 'classes = 10\ngate = ["clean_acuracy=1pp"]')])
    done = rbms("gate", path, "-m", "tests.fakes:build")

    assert done.code == 2
    assert (
        "suite bad: gate: rule 'clean_acuracy=1pp': no metric named 'clean_acuracy'; did you mean" in done.err
    )


def test_a_limit_is_another_question_than_the_whole_suite(rbms, tiny, tmp_path):
    rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine")
    whole = next((tmp_path / "results").rglob("mine.json"))
    gate = ("gate", tiny, "-m", "tests.fakes:build", "--name", "mine", "--limit", "20", *TINY)
    other = rbms(*gate, "--against", whole)
    rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine", "--limit", "20")
    equal = rbms(*gate, "--against", tmp_path / "results")

    assert other.code == 2
    assert "limit is 20, not None" in other.out
    assert equal.code == 0
    assert "n = 20 samples a cell" in equal.out
    assert "noticed four times in five where the loss exceeds its tolerance by" in equal.out
    assert read_record(whole).cell("clean").n == 40
