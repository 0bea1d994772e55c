"""Records: written whole or not at all, read for ever, and damaged ones named."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.corruptions.table import COMMON, NAMES
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing
from robustbench_ms.records import record as module
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.records.record import FORMAT, read_record, records_in, write_record
from robustbench_ms.records.samples import Samples, read_samples, write_samples
from robustbench_ms.records.summary import summarise

KEPT = Path(__file__).parent / "data" / "records"
"""One record of each format that was ever written: these files are never changed."""

TEXT = (KEPT / "format-2.json").read_text()
OTHER_MEASURES = ("top5_accuracy", "nll", "brier", "ece")


@pytest.fixture(scope="module")
def kept():
    return read_record(KEPT / "format-2.json")


@pytest.fixture(scope="module")
def old():
    return read_record(KEPT / "format-1.json")


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_record_of_every_format_is_read_for_ever(number):
    found = read_record(KEPT / f"format-{number}.json")

    assert read_record(str(KEPT / f"format-{number}.json")) == found, "a path may be text"
    assert found.format == FORMAT
    assert found.name == "digits-resnet8@0"
    assert found.group == "digits-resnet8"
    assert found.suite["name"] == "quick-limit50"
    assert (found.suite["limit"], found.suite["seed"], found.task) == (50, 0, "classification")
    assert list(found.suite["matrix"]) == ["corruption", "severity"]
    assert sorted(found.suite["matrix"]["corruption"]) == sorted(NAMES)
    assert found.suite["matrix"]["severity"] == [1, 2, 3, 4, 5]
    assert found.suite["groups"] == {"common": {"axis": "corruption", "values": list(COMMON)}}
    assert found.measures == dict.fromkeys(("accuracy", "top5_accuracy", "nll", "brier", "ece"), 1)
    assert found.command == "rbms run quick -m digits-resnet8@0 --limit 50"
    assert len(found.measurements) == 96
    assert found.cell("clean").values["accuracy"]["mean"] == 1.0
    assert found.cell("corruption=gaussian_noise,severity=5").n == 50
    assert found.cell("corruption=gaussian_noise,severity=6") is None
    samples = found.samples()
    assert samples.correct.shape == (96, 50)
    for m in found.measurements:
        assert samples.row(m.key).mean() == pytest.approx(m.values["accuracy"]["mean"])
    numbers = summarise(found, tuple(n for n in rows_of("classification").summaries if "mce" not in n))
    assert numbers["clean_accuracy"].mean == 1.0
    expected = np.mean(
        [samples.row(f"corruption={c},severity={s}").mean() for c in COMMON for s in range(1, 6)]
    )
    assert numbers["mean_corruption_accuracy"].mean == pytest.approx(expected)


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_record_says_nothing_of_the_machine_it_was_made_on(number):
    path = KEPT / f"format-{number}.json"

    assert not re.search(r'"[^"]*(?<![:/\w])/[A-Za-z]', path.read_text())  # no absolute path; a URL is fine
    for environment in read_record(path).environments:
        assert set(dataclasses.asdict(environment)) == {
            "version", "commit", "dirty", "python", "torch", "cuda", "device", "cpu", "os", "packages",
            "threads",
        }  # fmt: skip


def test_a_cell_of_format_1_does_not_say_in_which_environment_it_was_measured(old, kept):
    assert len(old.environments) == 1
    assert {m.environment for m in old.measurements} == {None}
    assert (old.digest, old.arrays) == (None, None)
    assert {m.environment for m in kept.measurements} == {0}
    assert (len(kept.digest), len(kept.arrays)) == (64, 64)


def test_limit_and_seed_of_format_1_are_the_protocols_and_the_labels_where_that_has_none(tmp_path):
    told = json.loads((KEPT / "format-1.json").read_text())
    path = tmp_path / "old.json"
    told["suite"]["name"] = "quick-limit7-seed3"

    def facts():
        path.write_text(json.dumps(told))
        found = read_record(path)
        return found.suite["limit"], found.suite["seed"], found.suite["matrix"]

    assert facts()[:2] == (50, 0)
    del told["suite"]["protocol"]["limit"]
    told["measurements"] = told["measurements"][:1]
    assert facts() == (7, 3, {})  # the clean cell knows no seed
    told["suite"]["name"] = "quick"
    assert facts()[:2] == (None, 0)


def test_a_record_is_what_is_read_again_and_is_not_written_twice(tmp_path, kept, snapshot):
    path = tmp_path / "suite" / "net.json"

    assert write_record(kept, kept.samples(), path)
    again = read_record(path)
    assert again == kept
    assert again.answers() == kept.answers()
    assert path.read_bytes() == (KEPT / "format-2.json").read_bytes()
    assert again.samples().correct.tolist() == kept.samples().correct.tolist()
    before = snapshot(tmp_path)
    assert not write_record(elsewhere(kept), kept.samples(), path)
    assert snapshot(tmp_path) == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["net.correct.npz", "net.json"]


def elsewhere(kept):
    """The same answers at another time, on another machine and more slowly."""
    another = dataclasses.replace(kept.environment, cpu="another")
    slower = tuple(dataclasses.replace(m, seconds={"model": 9.0}) for m in kept.measurements)
    return dataclasses.replace(
        kept, started="2030-01-01T00:00:00Z", environments=(another,), measurements=slower
    )


def test_the_same_answers_leave_a_record_of_format_1_alone(tmp_path, old, snapshot):
    for name in ("format-1.json", "format-1.correct.npz"):
        shutil.copy(KEPT / name, tmp_path)
    before = snapshot(tmp_path)
    path = tmp_path / "format-1.json"
    now = dataclasses.replace(
        elsewhere(old),
        suite={**old.suite, "matrix": {}, "groups": {}, "seed": 1, "limit": None},
        measures={},
        measurements=tuple(
            dataclasses.replace(m, environment=0, absent={"ap": "none"}) for m in old.measurements
        ),
    )

    assert not write_record(now, old.samples(), path)
    assert snapshot(tmp_path) == before
    assert write_record(changed(now, n=51), old.samples(), path)
    assert json.loads(path.read_text())["format"] == FORMAT
    assert read_record(path).digest is not None


def test_one_line_a_cell(kept):
    lines = (KEPT / "format-2.json").read_text().splitlines()

    assert len([line for line in lines if line.startswith('  {"key":')]) == len(kept.measurements)


def changed(kept, **change):
    return dataclasses.replace(
        kept, measurements=(dataclasses.replace(kept.measurements[0], **change), *kept.measurements[1:])
    )


@pytest.mark.parametrize(
    "change",
    [
        {"n": 51},
        {"protocol": "0" * 16},
        {
            "values": {"accuracy": {"mean": 1.0, "stderr": 0.1}},
            "absent": dict.fromkeys(OTHER_MEASURES, "not now"),
        },
        {"error": "no"},
    ],
)
def test_other_answers_are_written(tmp_path, kept, change):
    path = tmp_path / "net.json"
    write_record(kept, kept.samples(), path)

    other = changed(kept, **change)

    assert write_record(other, kept.samples(), path)
    assert read_record(path).answers() == other.answers()


def test_other_bits_are_written_and_damaged_ones_too(tmp_path, kept):
    path = tmp_path / "net.json"
    samples = kept.samples()
    write_record(kept, samples, path)

    flipped = dataclasses.replace(samples, correct=samples.correct[:, ::-1])
    assert write_record(kept, flipped, path)
    assert np.array_equal(read_record(path).samples().correct, flipped.correct)
    beside = tmp_path / "net.correct.npz"
    beside.write_bytes(beside.read_bytes()[:-100])
    assert write_record(kept, samples, path)
    beside.unlink()
    assert write_record(kept, samples, path)
    assert not write_record(kept, samples, path)


def test_a_value_that_is_no_number_is_null_and_still_the_same(tmp_path, kept):
    nan = float("nan")
    path = tmp_path / "net.json"
    one = changed(kept, values={**kept.measurements[0].values, "ece": {"mean": 0.1, "stderr": nan}})

    assert write_record(one, kept.samples(), path)
    assert "NaN" not in path.read_text()
    assert '"stderr":null' in path.read_text()
    assert np.isnan(read_record(path).measurements[0].values["ece"]["stderr"])
    assert not write_record(one, kept.samples(), path)


def test_any_number_of_samples_keeps_its_bits(tmp_path):
    for n in (0, 1, 7, 8, 9, 597):
        correct = np.random.default_rng(n).random((3, n)) < 0.5
        samples = Samples(("a", "b", "c"), correct, {"nll_clean": np.zeros(n, np.float16)})
        write_samples(samples, tmp_path / f"{n}.correct.npz")
        again = read_samples(tmp_path / f"{n}.correct.npz")
        assert np.array_equal(again.correct, correct)
        assert again.keys == samples.keys


@pytest.mark.parametrize("fails", ["arrays", "record"])
def test_a_full_disk_leaves_the_record_that_stood_and_its_arrays(tmp_path, kept, monkeypatch, fails):
    path = tmp_path / "net.json"
    assert write_record(kept, kept.samples(), path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    if fails == "arrays":
        monkeypatch.setattr(module, "write_samples", full)
    else:
        monkeypatch.setattr(Path, "write_text", full)
    other = changed(kept, values={"accuracy": {"mean": 0.25, "stderr": 0.01}})
    with pytest.raises(
        UserError, match=r"net\.json could not be written \(No space left on device\); what stood"
    ):
        write_record(other, kept.samples(), path)

    monkeypatch.undo()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    assert read_record(path).samples() is not None


@pytest.mark.parametrize(
    ("name", "value"), [("weights", [1]), ("cells", "../../x"), ("cells", 5), ("cells", "a" * 17)]
)
def test_a_subject_that_is_no_word_is_no_record(tmp_path, kept, name, value):
    path = tmp_path / "net.json"
    write_record(dataclasses.replace(kept, subject={**kept.subject, name: value}), kept.samples(), path)

    with pytest.raises(BadFile, match=rf"net\.json: not a whole record: TypeError: subject\.{name} is "):
        read_record(path)


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def write():
        with replacing(path) as part:
            part.write_text("half")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


TEXTS = {
    "": "not valid JSON",
    "[1, 2": "not valid JSON",
    "[" * 100_000: "not valid JSON",
    "[1]": "no format number",
    "{}": "no format number",
    '{"format": "1"}': "no format number",
    '{"format": true}': "no format number",
    '{"format": 3}': r"format 3, newer than this version reads \(2\); update robustbench_ms",
    '{"format": 0}': "no record has format 0; the oldest is 1",
    '{"format": -3}': "no record has format -3",
    '{"format": 1}': "not a whole record: KeyError: 'suite'",
    '{"format": 2}': "not a whole record: KeyError: 'digest'",
    '{"format": 2, "digest": "0", "a": NaN}': "not valid JSON .a is nan, and JSON has finite numbers alone",
    '{"format": 1, "a": [{"key": "clean", "n": -1e999}]}': "a: clean: n is -inf",
    '{"format": 1, "a": Infinity}': "a is inf",
    '{"format": 1, "a": 1, "a": 1}': "'a' stands twice in one table",
}


@pytest.mark.parametrize(("text", "words"), TEXTS.items(), ids=lambda t: t[:20])
def test_what_is_no_record_is_named(tmp_path, rbms, text, words):
    folder = tmp_path / "results" / "quick"
    folder.mkdir(parents=True)
    (folder / "net.json").write_text(text)
    (folder / "net.correct.npz").write_bytes(b"")

    found = rbms("leaderboard", "quick")

    assert found.code == 2
    assert str(folder / "net.json") in found.err
    assert re.search(words, found.err)


@pytest.mark.parametrize(
    ("part", "fields", "words"),
    [
        ("card", {"args": 5}, "card.args is no table"),
        ("card", {"input": "x"}, "card.input is no table"),
        ("protocol", {"dataset": "imagenet", "split": ["val"]}, "suite.protocol.split is no word"),
        ("protocol", {"dataset": ["digits"]}, "suite.protocol.dataset is no word"),
        ("protocol", {"classes_present": 3}, "suite.protocol.classes_present says of how many classes"),
    ],
)
def test_fields_that_tables_rely_on_are_held_to_their_kind(tmp_path, part, fields, words):
    told = json.loads((KEPT / f"format-{FORMAT}.json").read_text())
    (told["card"] if part == "card" else told["suite"]["protocol"]).update(fields)
    told["digest"] = content_digest({key: value for key, value in told.items() if key != "digest"})
    (tmp_path / "net.json").write_text(json.dumps(told))

    with pytest.raises(BadFile, match=f"net.json: not a whole record: TypeError: {words}"):
        read_record(tmp_path / "net.json")


def test_a_file_that_is_not_there_and_bits_that_are_damaged_are_named(tmp_path):
    with pytest.raises(BadFile, match=r"absent\.json: No such file"):
        read_record(tmp_path / "absent.json")
    for name in ("format-1.json", "format-1.correct.npz"):
        shutil.copy(KEPT / name, tmp_path)
    beside = tmp_path / "format-1.correct.npz"
    beside.write_bytes(beside.read_bytes()[:200])
    with pytest.raises(BadFile, match=r"format-1\.correct\.npz: damaged"):
        read_record(tmp_path / "format-1.json").samples()
    assert records_in(tmp_path / "nowhere") == []


def test_an_older_format_is_upgraded_a_step_a_version(tmp_path, monkeypatch):
    told = json.loads((KEPT / "format-1.json").read_text())
    steps = []

    def upgrade(to, first=lambda old: old):
        def step(old):
            steps.append(to)
            return {**first(old), "format": to}

        return step

    monkeypatch.setattr(module, "FORMAT", 3)
    monkeypatch.setattr(module, "UPGRADES", {1: upgrade(2, module.UPGRADES[1]), 2: upgrade(3)})
    path = tmp_path / "old.json"
    path.write_text(json.dumps(told))

    read_record(path)

    assert steps == [2, 3]
