"""rbms reproduce: every number again, from nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.gating.reproduce import compare_published, compare_records, describe, reproduce
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Published
from robustbench_ms.specs.places import Places
from tests.fakes import other
from tests.simulated import KEYS, record
from tests.sources import ROOT


@pytest.fixture
def measured(rbms, tiny, tmp_path):
    """A record of the tiny suite, as a run wrote it."""
    assert rbms("run", tiny, "-m", "tests.fakes:build", "--name", "mine").code == 0
    return next((tmp_path / "results").rglob("mine.json"))


def edit(path, change):
    told = json.loads(path.read_text())
    change(told)
    told["digest"] = content_digest({key: value for key, value in told.items() if key != "digest"})
    path.write_text(json.dumps(told))


def numbers(answer):
    (model,) = answer.json()["models"]
    return model["numbers"]


def test_a_record_comes_out_equal_and_is_not_taken_from_the_cache(rbms, tiny, measured, tmp_path, snapshot):
    before = snapshot(tmp_path / "results"), snapshot(tmp_path / "cache")
    done = rbms("reproduce", measured, "-m", "tests.fakes:build", "--suite", tiny)

    assert done.code == 0
    assert "mine: 25 numbers: 25 equal; 0 of 200 answers changed" in done.out
    assert "finished already" not in done.err
    assert (snapshot(tmp_path / "results"), snapshot(tmp_path / "cache")) == before


def test_weights_and_precision_that_were_given_beside_the_name_come_again(rbms, tiny, tmp_path):
    file = tmp_path / "best.pt"
    torch.save(other().state_dict(), file)
    given = ("-m", "tests.fakes:build", "--weights", file)
    assert rbms("run", tiny, *given, "--precision", "bf16", "--name", "mine").code == 0
    path = next((tmp_path / "results").rglob("mine.json"))
    without = rbms("reproduce", path, "-m", "tests.fakes:build", "--suite", tiny)
    done = rbms("reproduce", path, *given, "--suite", tiny)

    assert without.code == 2
    assert (
        f"the record's model 'mine' had weights that were given beside its name, best.pt of SHA-256 "
        f"{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}...; give that file with --weights"
        in without.err
    )
    assert done.code == 0
    assert "mine: 25 numbers: 25 equal; 0 of 200 answers changed" in done.out
    assert "note" not in done.out


def test_some_cells_of_a_record_are_chosen_by_its_digest(rbms, tiny, measured):
    words = ("reproduce", measured, "-m", "tests.fakes:build", "--suite", tiny, "--cells", 2)
    done = rbms(*words, "--json")
    (model,) = done.json()["models"]
    then = read_record(measured)
    order = sorted(
        then.measurements, key=lambda m: hashlib.sha256(f"{then.digest}:{m.key}".encode()).hexdigest()
    )

    assert done.code == 0
    assert list(dict.fromkeys(n["where"] for n in model["numbers"])) == [m.key for m in order[:2]]
    assert model["counts"] == {"equal": 10}
    assert model["changed"] == [0, 80]
    assert "mine: 10 numbers: 10 equal; 0 of 80 answers changed" in rbms(*words).out
    other = rbms("reproduce", measured, "-m", "tests.fakes:other", "--suite", tiny, "--cells", 5)
    assert other.code == 1
    assert "of 200 answers changed" in other.out
    assert "--cells is a number" in rbms("reproduce", measured, "--suite", tiny, "--cells", 0).err


def test_three_cells_of_a_committed_network_come_out():
    """On another machine two answers a cell may differ, where floats are summed in another order."""
    records = sorted((ROOT / "results" / "quick").glob("*.json"))
    chosen = min(records, key=lambda path: hashlib.sha256(path.read_bytes()).hexdigest())
    (found,) = reproduce(str(chosen), Places.find(), cells=3)

    assert len({number.where for number in found.numbers}) == 3
    assert found.reproduced, describe(found)
    assert found.changed[0] <= 6


def test_another_model_does_not_come_out(rbms, tiny, measured):
    done = rbms("reproduce", measured, "-m", "tests.fakes:other", "--suite", tiny)

    assert done.code == 1
    assert "outside" in done.out
    assert "note: the weights are others" in done.out
    assert "0 of 200 answers changed" not in done.out


def test_another_forward_is_noticed_where_its_answers_stay(rbms, tiny, measured):
    """Scaled logits have the same accuracy and another NLL."""
    done = rbms("reproduce", measured, "-m", "tests.fakes:edited", "--suite", tiny, "--json")
    states = {(n["where"], n["metric"]): n["state"] for n in numbers(done)}

    assert states["clean", "accuracy"] == "equal"
    assert states["clean", "nll"] != "equal"
    assert "the same weights give other raw answers here" in done.json()["models"][0]["notes"]


def test_each_number_is_held_to_its_own_interval(rbms, tiny, measured):
    def shift(told):
        first, second = told["measurements"][:2]
        first["values"]["nll"]["mean"] += first["values"]["nll"]["stderr"]
        second["values"]["nll"]["mean"] += 3 * second["values"]["nll"]["stderr"]

    edit(measured, shift)
    measured.with_name("mine.correct.npz").unlink()  # its scores would refuse the shift
    done = rbms("reproduce", measured, "-m", "tests.fakes:build", "--suite", tiny, "--json")
    states = [n["state"] for n in numbers(done)]

    assert done.code == 1
    assert (states.count("equal"), states.count("within interval"), states.count("outside")) == (23, 1, 1)


def test_all_records_of_a_suite_are_measured_again(rbms, tiny, tmp_path):
    for name in ("build", "other"):
        rbms("run", tiny, "-m", f"tests.fakes:{name}", "--name", f"tests.fakes:{name}")
    whole = rbms("reproduce", tiny, "--trust", "--json")
    one = rbms("reproduce", tiny, "-m", "tests.fakes:other", "--json")

    assert whole.code == 0
    assert [m["name"] for m in whole.json()["models"]] == ["tests.fakes:build", "tests.fakes:other"]
    assert [m["name"] for m in one.json()["models"]] == ["tests.fakes:other"]
    assert all(m["reproduced"] for m in whole.json()["models"])


def test_a_model_that_breaks_is_told(rbms, tiny, measured):
    at_once = rbms("reproduce", measured, "-m", "tests.fakes:nan_at_once", "--suite", tiny)
    later = rbms("reproduce", measured, "-m", "tests.fakes:raises_later", "--suite", tiny)

    assert (at_once.code, later.code) == (1, 1)
    assert "missing (NaN for 40 of 40 images, first 0)" in at_once.out
    assert "missing" in later.out
    assert "a bug of the model's own" in later.out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("{record}",), "suite 'tiny' is not shipped; give its file or its folder with --suite"),
        (
            ("{record}", "--suite", "{tiny}"),
            "the record's model 'mine' is no name that is known here; say with -m",
        ),
        (("{record}", "--suite", "{tiny}", "-m", "a", "-m", "b"), "one record is one model, and 2 are given"),
        (("{record}", "--suite", "{tiny}", "-m", "digits-resnet8"), "is 3 models"),
        (("{record}", "--limit", "5"), "--limit, --seed and --corruptions are those of the record"),
        (("{tiny}", "--suite", "{tiny}"), "--suite is for a record"),
        (("{tiny}", "--weights", "w.pt"), "--weights is for one record; name its file"),
        (("{tiny}", "--limit", "7"), "there are no records in"),
        (("{tiny}", "-m", "tests.fakes:other"), "there is no record"),
        (("quik",), "no suite named 'quik'; did you mean 'quick'?"),
        (("{tiny}", "--published"), "--published needs a model"),
        (("{tiny}", "--published", "-m", "tests.fakes:build"), "no published figure is about suite tiny"),
        (("nowhere.json",), "nowhere.json: No such file"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(rbms, tiny, measured, argv, told):
    done = rbms("reproduce", *(word.format(record=measured, tiny=tiny) for word in argv))

    assert done.code == 2
    assert told in done.err
    assert done.out == ""


def test_a_limit_and_a_seed_come_from_the_record(rbms, tiny, tmp_path):
    rbms("run", tiny, "-m", "tests.fakes:build", "--limit", "20", "--seed", "3")
    path = next((tmp_path / "results").rglob("*.json"))
    done = rbms("reproduce", path, "--suite", tiny, "--trust")

    assert path.parent.name == "tiny-limit20-seed3"
    assert done.code == 0
    assert "25 equal; 0 of 100 answers changed" in done.out


def card_with(tmp_path, tiny, **published):
    rows = "\n".join(f"{k} = {json.dumps(v)}" for k, v in published.items())
    path = tmp_path / "cited.toml"
    path.write_text(f'build = "tests.fakes:build"\nabout = "x"\n[[published]]\n{rows}\n')
    return path


@pytest.mark.parametrize(
    ("shift", "state", "code"), [(0.0, "equal", 0), (0.04, "within interval", 0), (0.4, "outside", 1)]
)
def test_published_figures_are_held_to_our_interval(rbms, tiny, measured, tmp_path, shift, state, code):
    clean = read_record(measured).cell("clean").values["accuracy"]["mean"]
    told = round(clean + shift, 3)
    card = card_with(tmp_path, tiny, metric="clean_accuracy", value=told, on="tiny", source="a paper")
    done = rbms("reproduce", tiny, "--published", "-m", card, "--json")
    (number,) = numbers(done)

    assert (done.code, number["state"]) == (code, state)
    assert (number["where"], number["then"]) == ("a paper", told)


def test_a_figure_on_other_data_is_not_compared(rbms, tiny, tmp_path):
    card = card_with(tmp_path, tiny, metric="clean_accuracy", value=0.9, on="cifar10", source="a paper")

    assert rbms("reproduce", tiny, "--published", "-m", card).code == 2


@pytest.mark.parametrize(
    ("value", "right", "state"),
    [
        (0.917, 9173, "equal"),
        (0.92, 9173, "within interval"),
        (0.9173, 9173, "equal"),
        (0.9172, 9173, "within interval"),
        (0.9, 9173, "outside"),
        (1.0, 9173, "outside"),
    ],
)
def test_equal_means_equal_to_the_digits_that_were_published(value, right, state):
    """The published 91.7 % of a paper is our 91.73 %, and 91.72 % is not; a round 92 % may be rounded or not."""
    correct = np.ones((1, 10_000), dtype=bool)
    correct[0, right:] = False
    found = compare_published([Published("clean_accuracy", value, "cifar10", "s")], record(correct, KEYS[:1]))

    assert [n.state for n in found.numbers] == [state]


def test_a_figure_that_needs_cells_which_were_not_measured_is_missing():
    correct = np.ones((1, 10), dtype=bool)
    found = compare_published([Published("mean_corruption_error", 0.3, "x", "s")], record(correct, KEYS[:1]))

    assert [n.state for n in found.numbers] == ["missing"]
    assert not found.reproduced


def test_cells_that_failed_or_changed_their_question_are_not_reproduced():
    correct = np.random.default_rng(0).random((len(KEYS), 50)) < 0.8
    then = record(correct)
    broken = compare_records(then, record(correct, errors=[KEYS[3]]))
    other = compare_records(then, record(correct, corruption_protocol=2))

    assert broken.counts == {"equal": 75, "missing": 1}
    assert other.counts == {"equal": 1, "incomparable": 75}
    assert not broken.reproduced
    assert "corruption_protocol is 2, not 1" in other.numbers[5].reason


def test_without_bits_the_numbers_are_still_compared():
    correct = np.random.default_rng(0).random((len(KEYS), 50)) < 0.8
    found = compare_records(record(correct, kept=False), record(correct))

    assert found.changed is None
    assert found.reproduced


def test_where_it_was_measured_is_told():
    correct = np.random.default_rng(0).random((len(KEYS), 50)) < 0.8
    then = record(correct)
    now = replace(then, environments=(replace(then.environment, torch="3.0"),))

    assert "torch is 3.0, then 2.11" in compare_records(then, now).notes
    now = replace(then, environments=(then.environment, replace(then.environment, torch="3.0", cpu="other")))
    assert "torch is 2.11 and 3.0, then 2.11" in compare_records(then, now).notes
