"""Models that fail, what the probe finds, and what the user can mend: the loop goes on, or says it first."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.evaluation.events import CellDone, CellStarted, Note, Planned, RecordDone, Trouble
from robustbench_ms.evaluation.jobs import Conditions
from robustbench_ms.records.record import read_record
from robustbench_ms.records.samples import read_samples, samples_path
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.specs.card import Input
from robustbench_ms.specs.places import Places
from robustbench_ms.tasks import corrupting
from tests import fakes
from tests.running import KEYS, card_of, measure, only

# models that fail


@pytest.mark.parametrize(
    ("bad", "words", "kept"),
    [
        ("raises_later", "ValueError: a bug of the model's own", 1),
        ("no_room", "OutOfMemoryError: CUDA out of memory", 0),
    ],
)
def test_a_model_that_fails_on_the_way_is_stopped_and_the_rest_runs(tiny, places, rbms, bad, words, kept):
    found = rbms("run", tiny, "-m", f"tests.fakes:{bad}", "-m", "tests.fakes:build", "--json")

    assert found.code == 1
    (stopped,) = found.json()["stopped"]
    assert stopped["card"] == f"tests.fakes:{bad}"
    assert words in stopped["message"]
    good, failed = (read_record(places.results / "tiny" / f"tests.fakes-{n}.json") for n in ("build", bad))
    assert [m.key for m in good.measurements] == KEYS
    assert not any(m.error for m in good.measurements)
    assert [m.key for m in failed.measurements] == KEYS[: kept + 1]
    assert words.split(":")[0] in failed.measurements[-1].error
    assert failed.cell(KEYS[kept]) is None
    assert failed.measurements[-1].values == {}
    # Cells that ended in an error are never reused.
    again = measure(tiny, [find_card(f"tests.fakes:{bad}")], places)
    assert [e.key for e in only(again, CellStarted)] == KEYS[kept : kept + 2 - (bad == "no_room")]


def test_a_model_that_wants_gradients_of_its_own_has_them(tiny, places):
    cards = [card_of(fakes.Coarse()), card_of(fakes.Purifies())]
    plain, purified = (done.record for done in only(measure(tiny, cards, places), RecordDone))

    assert len(plain.measurements) == len(KEYS)
    assert [m.values for m in purified.measurements] == [m.values for m in plain.measurements]


def test_scores_beyond_float16_are_kept_as_they_are(tiny, places):
    (done,) = only(measure(tiny, [card_of(fakes.Huge())], places), RecordDone)
    samples = read_samples(samples_path(done.path))

    scores = samples.scores["nll_corrupted"]
    assert scores.max() > 1e20
    assert np.isfinite(scores).all()
    means = [m.values["nll"]["mean"] for m in done.record.measurements if m.key != "clean"]
    assert scores.mean() == pytest.approx(np.mean(means))
    assert samples.scores["brier_corrupted"].dtype == np.float16


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("raises_at_once", "raises ValueError on the probe"),
        ("leaves_at_once", "raises SystemExit on the probe: 0"),
    ],
)
def test_a_model_that_fails_the_probe_is_stopped_and_the_rest_runs(tiny, places, rbms, bad, words):
    found = rbms("run", tiny, "-m", f"tests.fakes:{bad}", "-m", "tests.fakes:build")

    assert found.code == 1
    assert words in found.err
    assert [p.name for p in sorted((places.results / "tiny").iterdir())] == [
        "tests.fakes-build.correct.npz",
        "tests.fakes-build.json",
    ]
    assert rbms("run", tiny, "-m", f"tests.fakes:{bad}").code == 1


def test_where_no_model_can_be_loaded_no_data_are_digested(tiny, places, monkeypatch):
    monkeypatch.setattr(Conditions, "known", lambda *_: False)  # as of photographs
    monkeypatch.setattr(Conditions, "question", lambda *_: pytest.fail("digested"))

    events = measure(tiny, [find_card("tests.strangers.models:exit0build")], places)

    assert [event.message for event in only(events, Trouble)] == ["SystemExit: 0"]


def test_memory_that_runs_out_halves_the_batch_and_changes_no_answer(tiny, places, tmp_path):
    small = fakes.small()
    events = measure(tiny, [card_of(small, "net")], places, batch_size=16)
    other = Places(places.data, tmp_path / "other", tmp_path / "other-cache")
    plain = measure(tiny, [card_of(fakes.build(), "net")], other, batch_size=16)

    assert small.sizes[4:9] == [16, 8, 4, 2, 2]
    assert max(small.sizes[7:]) == 2
    notes = [e.message for e in only(events, Note) if "memory" in e.message]
    assert notes == ["model net: memory ran out; its batch is now 2"]
    mine, theirs = (only(e, RecordDone)[0].record for e in (events, plain))
    assert mine.subject["digest"] == theirs.subject["digest"]
    assert np.array_equal(mine.samples().correct, theirs.samples().correct)
    assert [m.n for m in mine.measurements] == [40] * 5


@pytest.mark.parametrize(("bad", "cells"), [("loses_device", 1), ("loses_device_at_once", 0)])
def test_a_lost_device_ends_the_run_with_code_3_and_what_was_finished_is_kept(tiny, places, rbms, bad, cells):
    found = rbms("run", tiny, "-m", f"tests.fakes:{bad}", "-m", "tests.fakes:build")

    assert found.code == 3
    assert "start the same run again, and it goes on" in found.err
    assert found.err.count("the device failed") == 1
    assert "Traceback" not in found.err
    assert not list(places.results.glob("*/*.json"))
    assert len(list((places.cache / "cells").glob("*.npz"))) >= cells


def test_a_device_lost_while_corrupting_is_a_lost_device_too(tiny, places, monkeypatch):
    def lost(images, *_, **__):
        if len(images):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return images

    monkeypatch.setattr(corrupting, "corrupt", lost)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        measure(tiny, [card_of(fakes.build())], places)
    assert len(list((places.cache / "cells").glob("*.npz"))) == 1


def test_a_card_that_was_stopped_costs_nothing_more(tiny, places, corrupted):
    failing = fakes.Gate(fakes._raise(ValueError("no")), calm=40)

    measure(tiny, [card_of(failing, "gate")], places, batch_size=1)

    assert len(corrupted) == 1  # the image that it failed on


# what the probe finds

WARNED = {
    "Probabilities": "answers with probabilities, not logits",
    "ReadsTheBatch": "its answer to a sample depends on the batch",
    "StuckNorm": "parts stay in train mode after eval(): norm",
    "StuckDropout": "nondeterministic",
    "Constant": "is not told from chance (10.0%)",
}


@pytest.mark.parametrize("name", WARNED)
def test_what_is_odd_about_a_model_stands_in_its_record_and_on_its_table(tiny, places, rbms, name):
    found = rbms("run", tiny, "-m", f"tests.fakes:{name}", "--mean", "0.5", "--std", "0.25")

    assert found.code == 0
    record = read_record(places.results / "tiny" / f"tests.fakes-{name}.json")
    assert any(WARNED[name] in warning for warning in record.health["warnings"])
    assert record.health["nondeterministic"] == (name == "StuckDropout")
    assert WARNED[name] in to_markdown(tables([record]))
    assert WARNED[name] in found.out
    assert f"tests.fakes:{name}\\*" in found.out or f"tests.fakes:{name}*" in found.out
    if name == "Constant":
        assert "mean 0.5, std 0.25" in found.out  # the assumed input is the first suspect


def test_a_sound_model_is_not_warned_of(tiny, places):
    model = fakes.build()
    images = torch.from_numpy(np.load(tiny.parent / "images.npy")).permute(0, 3, 1, 2).float() / 255
    labels = torch.from_numpy(np.load(tiny.parent / "labels.npy"))
    model.requires_grad_(True)
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()

    (done,) = only(measure(tiny, [card_of(model)], places), RecordDone)

    assert done.record.health == {"warnings": [], "nondeterministic": False}
    assert done.record.cell("clean").values["accuracy"]["mean"] > 0.9


def test_a_nondeterministic_model_is_named_by_what_it_is_made_of(tiny, places):
    (done,) = only(measure(tiny, [card_of(fakes.StuckDropout())], places), RecordDone)

    assert {"weights", "source", "device", "precision", "torch"} <= done.record.subject.keys()
    assert "outputs" not in done.record.subject
    events = measure(tiny, [card_of(fakes.StuckDropout())], places)
    assert only(events, Planned)[0].reused == 5
    assert not only(events, RecordDone)[0].written


def test_the_weights_are_digested_before_a_model_in_train_mode_changes_them(tiny, places):
    from robustbench_ms.subjects.weights import state_digest

    model = fakes.StuckNorm()
    before = state_digest(model)

    (done,) = only(measure(tiny, [card_of(model)], places), RecordDone)

    assert done.record.subject["weights"] == before
    assert state_digest(model) != before


def test_less_than_fp32_says_at_which_batch_size_it_answered(tiny, places):
    card = dataclasses.replace(card_of(fakes.build()), precision="bf16")

    (first,) = only(measure(tiny, [card], places, batch_size=8), RecordDone)
    events = measure(tiny, [card], places, batch_size=16)

    assert first.record.subject["batch_size"] == 8
    assert only(events, Planned)[0].reused == 0
    assert only(events, RecordDone)[0].record.subject["batch_size"] == 16
    (plain,) = only(measure(tiny, [card_of(fakes.build(), "plain")], places), RecordDone)
    assert plain.record.subject["outputs"] != first.record.subject["outputs"]
    assert "batch_size" not in plain.record.subject


def test_of_several_heads_the_first_answers(tiny, places):
    (heads,) = only(measure(tiny, [card_of(fakes.Heads())], places), RecordDone)
    (plain,) = only(measure(tiny, [card_of(fakes.build())], places), RecordDone)

    assert heads.record.subject == plain.record.subject


# what the user can mend

MISTAKES = {
    "no model": ([], "no model given"),
    "same model twice": ([card_of(fakes.build()), card_of(fakes.build())], "two models are named 'Coarse'"),
    "names that make one file": (
        [card_of(fakes.build(), "a/b"), card_of(fakes.build(), "a:b")],
        "two models are 'a/b' and 'a:b', and a name is a record",
    ),
    "another number of classes": (
        [card_of(fakes.Coarse(classes=7))],
        "answers for 7 classes, and the data set has 10",
    ),
    "one number a sample": (
        [card_of(torch.nn.Flatten(0))],
        r"model Flatten: its answer to 8 images has shape \(24576,\)",
    ),
    "another task": ([dataclasses.replace(card_of(fakes.build()), tasks=("detection",))], "does detection"),
    "a mean of two channels": (
        [dataclasses.replace(card_of(fakes.build()), input=Input(mean=(0.1, 0.2), std=(1.0, 1.0)))],
        "its mean has 2 numbers for 3 channels",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_what_the_user_can_mend_stops_the_run_before_anything_is_measured(tiny, places, case):
    cards, words = MISTAKES[case]

    with pytest.raises(UserError, match=words):
        measure(tiny, cards, places)

    assert not list(places.results.rglob("*.*"))
    assert not list((places.cache / "cells").glob("*.npz"))


def test_a_profile_that_does_not_take_the_images_is_told_before_the_first_cell(write_suite, places):
    path = write_suite(images=np.zeros((40, 24, 24, 3), np.uint8))

    with pytest.raises(
        UserError, match="suite tiny: profile 'cifar' is for images of 32 x 32 pixels, not 24 x 24"
    ):
        measure(path, [card_of(fakes.build())], places)
    assert not places.results.exists()
    path = write_suite(replace=[('"cifar"', '"any-size"')])
    assert len(only(measure(path, [card_of(fakes.build())], places), CellDone)) == 5


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": -1}])
def test_a_batch_of_none_is_refused(tiny, places, options):
    with pytest.raises(UserError, match="batch_size must be 1 or more"):
        measure(tiny, [card_of(fakes.build())], places, **options)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "mps", "cpuu"])
def test_a_device_that_is_not_there_is_named(tiny, places, rbms, device):
    found = rbms("run", tiny, "-m", "tests.fakes:build", "--device", device)

    assert found.code == 2
    assert repr(device) in found.err
    assert not places.results.exists()


@pytest.mark.parametrize("folder", ["results", "cache"])
def test_a_folder_that_cannot_be_written_is_told_first(tiny, tmp_path, rbms, folder):
    (tmp_path / "file").write_text("in the way")

    found = rbms("run", tiny, "-m", "tests.fakes:build", f"--{folder}", tmp_path / "file" / "x")

    assert found.code == 2
    assert f"the {folder} folder" in found.err
    assert f"RBMS_{folder.upper()}" in found.err
    assert not (tmp_path / "results").exists()
