"""The loop: what is measured, what is reused, what a failing model does to the others."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
import torch

from robustbench_ms.catalog import find_card
from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.events import BatchDone, CellDone, CellStarted, Note, Planned, RecordDone, Trouble
from robustbench_ms.leaderboard import tables, to_markdown
from robustbench_ms.places import Places
from robustbench_ms.record import read_record, records_in
from robustbench_ms.runner import run
from robustbench_ms.spec import Card, Input
from robustbench_ms.summary import summarise
from robustbench_ms.tasks import classification
from robustbench_ms.toml_files import read_suite
from tests import fakes

KEYS = ["clean"] + [f"corruption={c},severity={s}" for c in ("brightness", "contrast") for s in (1, 3)]


def card_of(model, name=None):
    return Card(name or type(model).__name__, build=model)


def measure(path, cards, places, **options):
    return list(run(read_suite(path), cards, places, **options))


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def test_a_run_tells_what_it_does_and_writes_what_it_measured(tiny, places, pictures):
    events = measure(tiny, [card_of(fakes.build())], places, batch_size=16)

    assert only(events, Planned) == [Planned(cells=5, reused=0, answers=200)]
    assert [e.key for e in only(events, CellStarted)] == KEYS
    assert [e.key for e in only(events, CellDone)] == KEYS
    assert [e.answers for e in only(events, BatchDone)] == [16, 16, 8] * 5
    assert not only(events, Trouble)
    (done,) = only(events, RecordDone)
    assert done.written
    assert done.path == places.results / "tiny" / "Coarse.json"
    record = read_record(done.path)
    assert record.answers() == done.record.answers()
    assert [m.key for m in record.measurements] == KEYS
    # What is stored is what the model answers, by arithmetic of our own.
    images = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).float() / 255
    logits = fakes.build()(images).detach().double()
    labels = torch.from_numpy(pictures[1])
    right = logits.argmax(1) == labels
    clean = record.cell("clean").values
    assert clean["accuracy"]["mean"] == right.double().mean()
    assert clean["accuracy"]["stderr"] == pytest.approx(float(right.double().std()) / 40**0.5)
    nll = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    assert clean["nll"]["mean"] == pytest.approx(float(nll.mean()), rel=1e-5)
    one_hot = torch.nn.functional.one_hot(labels, 10)
    brier = (logits.softmax(1) - one_hot).square().sum(1)
    assert clean["brier"]["mean"] == pytest.approx(float(brier.mean()), rel=1e-5)
    top5 = (logits.topk(5, dim=1).indices == labels[:, None]).any(1)
    assert clean["top5_accuracy"]["mean"] == pytest.approx(float(top5.double().mean()))
    samples = record.samples()
    assert samples.keys == tuple(KEYS)
    assert np.array_equal(samples.row("clean"), right.numpy())
    assert np.allclose(samples.scores["nll_clean"], nll.numpy(), rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "same"),
    [({}, True), ({"seed": 1}, False), ({"limit": 20}, False), ({"profile": "any-size"}, False)],
)
def test_the_protocol_is_made_of_what_fixes_the_question(tiny, places, change, same):
    suite = read_suite(tiny)
    other = dataclasses.replace(suite, name="renamed", **change)

    first, second = (
        only(run(s, [card_of(fakes.build())], places), RecordDone)[0].record for s in (suite, other)
    )

    protocols = [{m.key: m.protocol for m in r.measurements} for r in (first, second)]
    for key in KEYS[1:]:
        assert (protocols[0][key] == protocols[1][key]) == same
    assert (protocols[0]["clean"] == protocols[1]["clean"]) == ("limit" not in change)


def test_a_complete_record_is_not_rewritten_and_nothing_is_answered(tiny, places, snapshot):
    measure(tiny, [card_of(fakes.build())], places)
    before = snapshot(places.results) | snapshot(places.cache)
    model, calls = fakes.build(), []
    model.register_forward_hook(lambda *_: calls.append(1))

    events = measure(tiny, [card_of(model)], places)

    assert only(events, Planned) == [Planned(cells=5, reused=5, answers=0)]
    assert [e.written for e in only(events, RecordDone)] == [False]
    assert not only(events, CellStarted)
    assert len(calls) == 4
    assert snapshot(places.results) | snapshot(places.cache) == before


def test_a_suite_changed_by_one_severity_reuses_the_other_cells(write_suite, places):
    measure(write_suite(), [card_of(fakes.build())], places)

    changed = write_suite("changed", replace=[("severity = [1, 3]", "severity = [1, 4]")])
    events = measure(changed, [card_of(fakes.build())], places)

    assert [e.key for e in only(events, CellStarted)] == [
        KEYS[1].replace("1", "4"),
        KEYS[3].replace("1", "4"),
    ]
    assert only(events, Planned) == [Planned(cells=5, reused=3, answers=80)]


def test_an_edited_forward_with_the_same_weights_is_a_new_subject(tiny, places):
    first = only(measure(tiny, [card_of(fakes.build(), "net")], places), RecordDone)[0].record

    events = measure(tiny, [card_of(fakes.edited(), "net")], places)

    second = only(events, RecordDone)[0].record
    assert len(only(events, CellStarted)) == 5
    assert first.subject["weights"] == second.subject["weights"]
    assert first.subject["digest"] != second.subject["digest"]
    assert only(events, RecordDone)[0].written


RANDOM = [('["brightness", "contrast"]', '["gaussian_noise", "fog", "glass_blur"]'), ("[1, 3]", "[1, 5]")]


def test_inputs_are_equal_byte_for_byte_at_any_batch_size_and_answers_too(write_suite, tmp_path):
    path = write_suite(replace=RANDOM)
    shown, records = [], []
    for size in (1, 7, 256):
        watcher = fakes.Watcher()
        places = Places(tmp_path / "data", tmp_path / f"results{size}", tmp_path / f"cache{size}")
        (done,) = only(measure(path, [card_of(watcher)], places, batch_size=size), RecordDone)
        assert len(watcher.shown) == 4 + 7 * -(-40 // size)
        shown.append(torch.cat(watcher.shown[4:]).numpy().tobytes())
        records.append(done.record)

    assert shown[0] == shown[1] == shown[2]
    for record in records[1:]:
        assert record.subject == records[0].subject
        assert [m.protocol for m in record.measurements] == [m.protocol for m in records[0].measurements]
        assert np.array_equal(record.samples().correct, records[0].samples().correct)
        for mine, theirs in zip(record.measurements, records[0].measurements, strict=True):
            for name, value in mine.values.items():
                assert value["mean"] == pytest.approx(theirs.values[name]["mean"], rel=1e-5)


def test_the_order_of_conditions_and_a_subset_leave_a_samples_corruption_alone(write_suite, places, tmp_path):
    whole, part = fakes.Watcher(), fakes.Watcher()
    path = write_suite(replace=[*RANDOM, ("[1, 5]", "[5]")])
    turned = write_suite(
        "turned", replace=[(RANDOM[0][0], '["fog", "glass_blur", "gaussian_noise"]'), ("[1, 3]", "[5]")]
    )

    measure(path, [card_of(whole, "a")], places, batch_size=40)
    suite = dataclasses.replace(read_suite(turned), limit=11)
    other = Places(places.data, tmp_path / "other", tmp_path / "other-cache")
    (done,) = only(run(suite, [card_of(part, "b")], other, batch_size=4), RecordDone)

    rows = [torch.cat(part.shown[4 + 3 * i : 7 + 3 * i]) for i in range(4)]
    fogs, glasses, noises = rows[1:]
    chosen = [i for i in range(40) if any(torch.equal(rows[0][j], whole.shown[4][i]) for j in range(11))]
    assert len(chosen) == 11
    for mine, theirs in ((noises, whole.shown[5]), (fogs, whole.shown[6]), (glasses, whole.shown[7])):
        assert torch.equal(mine, theirs[chosen])
    assert done.record.measurements[0].n == 11


def test_each_batch_is_corrupted_once_for_all_cards(tiny, places, monkeypatch):
    calls = []

    def counting(images, name, severity, **rest):
        if len(images):
            calls.append((name, severity, tuple(rest["ids"].tolist())))
        return corrupt(images, name, severity, **rest)

    corrupt = classification.corrupt
    monkeypatch.setattr(classification, "corrupt", counting)
    watchers = [fakes.Watcher() for _ in range(3)]
    for i, watcher in enumerate(watchers):
        torch.nn.init.constant_(watcher.head.bias, i)  # three subjects

    events = measure(tiny, [card_of(w, f"w{i}") for i, w in enumerate(watchers)], places, batch_size=16)

    assert len(calls) == 4 * 3
    assert len(set(calls)) == len(calls)
    assert [e.cards for e in only(events, CellStarted)] == [("w0", "w1", "w2")] * 5
    for watcher in watchers[1:]:
        assert all(torch.equal(a, b) for a, b in zip(watcher.shown, watchers[0].shown, strict=True))
    # A card that comes later is shown only what it lacks, and so is one that lacks nothing.
    calls.clear()
    events = measure(tiny, [card_of(watchers[0], "w0"), card_of(fakes.other(), "new")], places, batch_size=40)
    assert [e.cards for e in only(events, CellStarted)] == [("new",)] * 5
    assert len(calls) == 4


# models that fail


@pytest.mark.parametrize(
    ("bad", "words", "kept"),
    [
        ("raises_later", "ValueError: a bug of the model's own", 1),
        ("nan_later", "answers NaN or infinity", 1),
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


@pytest.mark.parametrize(
    ("bad", "words"),
    [("raises_at_once", "raises ValueError on the probe"), ("nan_at_once", "NaN or infinity on the probe")],
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
    assert mine.subject == theirs.subject
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

    monkeypatch.setattr(classification, "corrupt", lost)
    with pytest.raises(DeviceLost, match="illegal memory access"):
        measure(tiny, [card_of(fakes.build())], places)
    assert len(list((places.cache / "cells").glob("*.npz"))) == 1


def test_a_card_that_was_stopped_costs_nothing_more(tiny, places, monkeypatch):
    calls = []
    corrupt = classification.corrupt

    def counting(images, *given, **rest):
        calls.append(len(images))
        return corrupt(images, *given, **rest)

    monkeypatch.setattr(classification, "corrupt", counting)
    measure(
        tiny, [card_of(fakes.Gate(fakes._raise(ValueError("no")), calm=40), "gate")], places, batch_size=1
    )

    assert sum(calls) <= 2  # the batch that it failed on, and the one made ahead


# what the probe finds

WARNED = {
    "Probabilities": "answers with probabilities, not logits",
    "ReadsTheBatch": "its answer to a sample depends on the batch",
    "StuckNorm": "parts stay in train mode after eval(): norm",
    "StuckDropout": "nondeterministic",
    "Constant": "clean accuracy 10.0% is no better than chance (10.0%)",
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
    from robustbench_ms.weights import state_digest

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
        "two models are named 'a:b'",
    ),
    "another number of classes": (
        [card_of(fakes.Coarse(classes=7))],
        "answers for 7 classes, and the data set has 10",
    ),
    "a table of words": ([card_of(fakes.Told())], "it answers with dict, not a tensor of logits"),
    "one number a sample": (
        [card_of(torch.nn.Flatten(0)), card_of(fakes.build(), "b")],
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
    assert not list((places.cache / "cells").glob("*"))


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


# images after the corruption, and seeds


def test_what_a_suite_encodes_goes_through_jpeg(write_suite, places):
    from PIL import Image

    plain, encoded = fakes.Watcher(), fakes.Watcher()
    measure(write_suite(), [card_of(plain, "a")], places, batch_size=40)
    path = write_suite("encoded", replace=[('profile = "cifar"', 'profile = "cifar"\nencode = "jpeg-50"')])
    measure(
        path, [card_of(encoded, "b")], Places(places.data, places.results, places.cache / "b"), batch_size=40
    )

    assert torch.equal(plain.shown[4], encoded.shown[4])  # the clean images are left alone
    file = io.BytesIO()
    shown = (plain.shown[5][3] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    Image.fromarray(shown).save(file, "JPEG", quality=50)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    assert torch.equal((encoded.shown[5][3] * 255).round().to(torch.uint8), expected)


def test_weights_of_several_seeds_are_several_records_and_one_row(tiny, places, tmp_path, rbms):
    from safetensors.torch import save_file

    text = 'build = "tests.fakes:build"\n[input]\nmean = [0.5]\nstd = [0.25]\n'
    for seed in (0, 1):
        save_file(fakes.Coarse(seed).state_dict(), tmp_path / f"net-{seed}.safetensors")
        text += f'[[weights]]\nseed = {seed}\nfile = "net-{seed}.safetensors"\n'
    card = tmp_path / "net.toml"
    card.write_text(text)
    full = tiny.with_name("full.toml")
    full.write_text(
        tiny.read_text()
        .replace('corruption = ["brightness", "contrast"]\nseverity = [1, 3]', 'corruption = "common"')
        .replace("[matrix]", 'summary = ["mean_corruption_accuracy", "clean_accuracy"]\n[matrix]')
    )

    found = rbms("run", full, "-m", card)

    assert found.code == 0
    records = records_in(places.results / "full")
    assert [r.name for r in records] == ["net@0", "net@1"]
    assert {r.group for r in records} == {"net"}
    assert [r.card["weights"]["seed"] for r in records] == [0, 1]
    assert records[0].subject != records[1].subject
    (table,) = tables(records)
    (row,) = table.rows
    assert (row.card, row.seeds, row.rank) == ("net", 2, 1)
    means = [summarise(r, ("mean_corruption_accuracy",))["mean_corruption_accuracy"].mean for r in records]
    assert row.values["mean_corruption_accuracy"].mean == pytest.approx(np.mean(means))
    half = 12.706204736 * np.std(means, ddof=1) / 2**0.5  # Student's t, one degree of freedom
    assert row.values["mean_corruption_accuracy"].half_width == pytest.approx(half)
    assert "over the seeds" in found.out
    # One seed of it is the same subject: nothing is left to do.
    one = measure(full, [find_card(f"{card}@1")], places)
    assert only(one, Planned)[0].reused == 76
    assert json.loads((places.results / "full" / "net@1.json").read_text())["card"]["name"] == "net@1"


def test_the_published_resnet20_is_as_right_as_published(real_data, places):
    from robustbench_ms.catalog import find_suite

    folder = real_data("weights/resnet20-12fca82f.th").parent.parent
    real_data("cifar10/test_images.npy")
    suite = find_suite("cifar10").limited(1000)

    (done,) = only(run(suite, [find_card("resnet20")], dataclasses.replace(places, data=folder)), RecordDone)

    accuracy = done.record.cell("clean").values["accuracy"]
    assert abs(accuracy["mean"] - 0.9173) < 3 * accuracy["stderr"]
    assert done.record.health == {"warnings": [], "nondeterministic": False}
    assert done.record.card["weights"]["sha256"] == find_card("resnet20").weights[0].sha256
