"""The loop: what is measured, what is reused, what a failing model does to the others."""

from __future__ import annotations

import dataclasses
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from timm.layers import SEModule

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.evaluation.answer import _made
from robustbench_ms.evaluation.events import (
    BatchDone,
    CellDone,
    CellStarted,
    Note,
    Planned,
    RecordDone,
    Trouble,
)
from robustbench_ms.evaluation.run import run
from robustbench_ms.models import create_attention
from robustbench_ms.records.record import read_record, records_in
from robustbench_ms.records.summary import summarise
from robustbench_ms.reports.tables import tables
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from tests import fakes
from tests.running import KEYS, card_of, measure, only


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
    path, stood = places.results / "tiny" / "net.json", first.subject["digest"]
    assert only(events, Note)[-1].message == (
        f"{path}: the record of another subject stood here, and was replaced: net, started {first.started} ({stood}); "
        "git restore brings a committed one back, rbms accept keeps one as the reference, and --name gives the new one "
        "a file of its own"
    )
    again = only(measure(tiny, [card_of(fakes.edited(), "net")], places), Note)
    assert not [note for note in again if "stood here" in note.message]


def test_a_record_of_other_cells_is_replaced_with_a_word_and_one_that_grows_without(tiny, places):
    def notes(*severities):
        suite = read_suite(tiny)
        other = dataclasses.replace(suite, matrix={**suite.matrix, "severity": severities})
        events = run(other, [card_of(fakes.build(), "net")], places)
        return [note.message for note in only(events, Note) if "stood here" in note.message]

    assert notes(1, 3) == []
    assert notes(1, 3, 4) == []
    (told,) = notes(1, 3)
    first = KEYS[1].replace("1", "4")
    assert (
        "a record of another question stood here, and was replaced: of its 7 cells 2 are asked no more"
        in told
    )
    assert f"({first} first), started " in told
    assert "--name gives the new one" in told


def test_a_file_that_is_no_record_is_replaced_with_a_word(tiny, places):
    path = places.results / "tiny" / "net.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 9}')

    events = measure(tiny, [card_of(fakes.build(), "net")], places)

    assert only(events, Note)[-1].message == (
        f"{path}: what stood here could not be read (a record of format 9, newer than this version reads (2); update "
        "robustbench_ms), and was replaced"
    )


def test_a_record_says_in_which_environments_its_cells_were_measured(write_suite, places, monkeypatch):
    from robustbench_ms.evaluation import work

    measure(write_suite(), [card_of(fakes.build(), "net")], places)
    real = work.describe_environment
    monkeypatch.setattr(
        work, "describe_environment", lambda where: dataclasses.replace(real(where), cpu="another")
    )
    changed = write_suite("changed", replace=[("severity = [1, 3]", "severity = [1, 4]")])

    (done,) = only(measure(changed, [card_of(fakes.build(), "net")], places), RecordDone)

    record = read_record(done.path)
    assert record == done.record
    first, second = record.environments
    assert second == dataclasses.replace(first, cpu="another")
    assert [m.environment for m in record.measurements] == [0, 0, 1, 0, 1]
    assert record.suite["matrix"] == {"corruption": ["brightness", "contrast"], "severity": [1, 4]}
    assert (record.suite["limit"], record.suite["seed"]) == (None, 0)
    # A card that fails there says where it failed.
    (failed,) = only(measure(changed, [card_of(fakes.raises_later(), "bad")], places), RecordDone)
    assert [e.cpu for e in failed.record.environments] == ["another"]


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
    (done,) = only(run(suite, [card_of(part, "b")], other, Settings(batch_size=4)), RecordDone)

    rows = [torch.cat(part.shown[4 + 3 * i : 7 + 3 * i]) for i in range(4)]
    fogs, glasses, noises = rows[1:]
    chosen = [i for i in range(40) if any(torch.equal(rows[0][j], whole.shown[4][i]) for j in range(11))]
    assert len(chosen) == 11
    for mine, theirs in ((noises, whole.shown[5]), (fogs, whole.shown[6]), (glasses, whole.shown[7])):
        assert torch.equal(mine, theirs[chosen])
    assert done.record.measurements[0].n == 11


def test_each_batch_is_corrupted_once_for_all_cards(tiny, places, corrupted):
    watchers = [fakes.Watcher() for _ in range(3)]
    for i, watcher in enumerate(watchers):
        torch.nn.init.constant_(watcher.head.bias, i)  # three subjects

    events = measure(tiny, [card_of(w, f"w{i}") for i, w in enumerate(watchers)], places, batch_size=16)

    assert len(corrupted) == 4 * 3
    assert len(set(corrupted)) == len(corrupted)
    assert [e.cards for e in only(events, CellStarted)] == [("w0", "w1", "w2")] * 5
    for watcher in watchers[1:]:
        assert all(torch.equal(a, b) for a, b in zip(watcher.shown, watchers[0].shown, strict=True))
    # A card that comes later is shown only what it lacks, and so is one that lacks nothing.
    corrupted.clear()
    events = measure(tiny, [card_of(watchers[0], "w0"), card_of(fakes.other(), "new")], places, batch_size=40)
    assert [e.cards for e in only(events, CellStarted)] == [("new",)] * 5
    assert len(corrupted) == 4


def test_many_small_images_are_corrupted_together_and_answered_in_batches(
    tiny, places, monkeypatch, corrupted
):
    monkeypatch.setattr("robustbench_ms.evaluation.work.fitting_batch", lambda *_: 16)
    watcher = fakes.Watcher()

    measure(tiny, [card_of(watcher)], places)

    assert [len(ids) for *_, ids in corrupted] == [40] * 4
    assert [len(shown) for shown in watcher.shown[4:]] == [16, 16, 8] * 5  # after the probe's four


def test_on_a_gpu_the_next_batch_is_made_while_one_is_answered():
    begun = []

    def show(start):
        begun.append(start)
        return start

    with ThreadPoolExecutor(1) as ahead:
        made = _made(show, range(3), ahead)
        assert next(made) == 0
        ahead.submit(int).result()  # after all that was submitted before
        assert begun == [0, 1]
        assert list(made) == [1, 2]


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


def test_a_run_says_that_a_backbone_kept_attention_of_its_own(tiny, places):
    kept, plain = fakes.build(), fakes.other()
    kept.own, kept.put = SEModule(16), create_attention("se", 16)
    plain.put = create_attention("se", 16)
    notes = [e.message for e in only(measure(tiny, [card_of(kept, "a"), card_of(plain, "b")], places), Note)]

    assert [n for n in notes if "its own" in n] == [
        "model a: its backbone keeps attention of its own (1) beside what was put in"
    ]


def test_the_published_resnet20_is_as_right_as_published(real_data, places):
    from robustbench_ms.catalog.find import find_suite

    folder = real_data("weights/resnet20-12fca82f.th").parent.parent
    real_data("cifar10/test_images.npy")
    suite = find_suite("cifar10").limited(1000)

    (done,) = only(run(suite, [find_card("resnet20")], dataclasses.replace(places, data=folder)), RecordDone)

    accuracy = done.record.cell("clean").values["accuracy"]
    assert abs(accuracy["mean"] - 0.9173) < 3 * accuracy["stderr"]
    assert done.record.health == {"warnings": [], "nondeterministic": False}
    assert done.record.card["weights"]["sha256"] == find_card("resnet20").weights[0].sha256
