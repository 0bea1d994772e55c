"""Records: written whole or not at all, read for ever, and damaged ones named."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.errors import BadFile
from robustbench_ms.files import replacing
from robustbench_ms.records import record as module
from robustbench_ms.records.record import FORMAT, Record, read_record, records_in, write_record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.summary import summarise
from robustbench_ms.reports.tables import tables

KEPT = Path(__file__).parent / "data" / "records"
"""One record of each format that was ever written: these files are never changed."""


@pytest.fixture(scope="module")
def kept():
    return read_record(KEPT / "format-1.json")


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
def test_a_record_of_every_format_is_read_for_ever(number):
    found = read_record(KEPT / f"format-{number}.json")

    assert found.format == FORMAT
    assert found.name == "digits-resnet8@0"
    assert found.group == "digits-resnet8"
    assert found.suite["name"] == "quick-limit50"
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


def test_a_record_says_nothing_of_the_machine_it_was_made_on(kept):
    told = (KEPT / "format-1.json").read_text()

    assert not re.search(r'"[^"]*(?<![:/\w])/[A-Za-z]', told)  # no absolute path; a URL is fine
    assert set(dataclasses.asdict(kept.environment)) == {
        "version", "commit", "dirty", "python", "torch", "cuda", "device", "cpu", "os", "packages",
    }  # fmt: skip


def test_a_record_is_what_is_read_again_and_is_not_written_twice(tmp_path, kept, snapshot):
    path = tmp_path / "suite" / "net.json"

    assert write_record(kept, kept.samples(), path)
    again = read_record(path)
    assert again == kept
    assert again.answers() == kept.answers()
    assert path.read_bytes() == (KEPT / "format-1.json").read_bytes()
    before = snapshot(tmp_path)
    later = dataclasses.replace(kept, started="2030-01-01T00:00:00Z")
    later = dataclasses.replace(later, environment=dataclasses.replace(kept.environment, cpu="another"))
    slower = tuple(dataclasses.replace(m, seconds={"model": 9.0}) for m in kept.measurements)
    assert not write_record(dataclasses.replace(later, measurements=slower), kept.samples(), path)
    assert snapshot(tmp_path) == before
    assert sorted(p.name for p in path.parent.iterdir()) == ["net.correct.npz", "net.json"]


def changed(kept, **change):
    return dataclasses.replace(
        kept, measurements=(dataclasses.replace(kept.measurements[0], **change), *kept.measurements[1:])
    )


@pytest.mark.parametrize(
    "change",
    [
        {"n": 51},
        {"protocol": "0" * 16},
        {"values": {"accuracy": {"mean": 0.98, "stderr": 0.0}}},
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

    flipped = dataclasses.replace(samples, correct=~samples.correct)
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
    one = changed(kept, values={"accuracy": {"mean": 1.0, "stderr": nan}})

    assert write_record(one, kept.samples(), path)
    assert "NaN" not in path.read_text()
    assert '"stderr": null' in path.read_text()
    assert np.isnan(read_record(path).measurements[0].values["accuracy"]["stderr"])
    assert not write_record(one, kept.samples(), path)


def test_any_number_of_samples_keeps_its_bits(tmp_path, kept):
    for n in (0, 1, 7, 8, 9, 597):
        correct = np.random.default_rng(n).random((3, n)) < 0.5
        samples = Samples(("a", "b", "c"), correct, {"nll_clean": np.zeros(n, np.float16)})
        write_record(kept, samples, tmp_path / f"{n}.json")
        again = read_record(tmp_path / f"{n}.json").samples()
        assert np.array_equal(again.correct, correct)
        assert again.keys == samples.keys


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
    '{"format": 2}': r"format 2, newer than this version reads \(1\); update robustbench_ms",
    '{"format": 0}': "no record has format 0; the oldest is 1",
    '{"format": -3}': "no record has format -3",
    '{"format": 1}': "not a whole record: KeyError: 'suite'",
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


def test_an_older_format_is_upgraded_a_step_a_version(tmp_path, monkeypatch, kept):
    told = json.loads((KEPT / "format-1.json").read_text())
    steps = []

    def upgrade(to):
        def step(old):
            steps.append(to)
            return {**old, "format": to}

        return step

    monkeypatch.setattr(module, "FORMAT", 3)
    monkeypatch.setattr(module, "_UPGRADES", {1: upgrade(2), 2: upgrade(3)})
    path = tmp_path / "old.json"
    path.write_text(json.dumps(told))

    read_record(path)

    assert steps == [2, 3]


def spots(value, at=()):
    """Every place in a nest of JSON."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from spots(value[key], (*at, key))
    elif isinstance(value, list):
        for i, item in enumerate(value[:4]):
            yield from spots(item, (*at, i))


WHOLE = json.loads((KEPT / "format-1.json").read_text()) if (KEPT / "format-1.json").exists() else {}
SPOTS = [at for at in spots(WHOLE) if at]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GONE = object()


@settings(max_examples=250, deadline=None)
@given(changes=st.lists(st.tuples(st.sampled_from(SPOTS), JSON | st.just(GONE)), min_size=1, max_size=3))
def test_a_changed_record_is_a_record_or_a_bad_file(tmp_path_factory, changes):
    told = copy.deepcopy(WHOLE)
    told["measurements"] = told["measurements"][:5]
    for at, value in changes:
        inner = told
        try:
            for step in at[:-1]:
                inner = inner[step]
            if value is GONE:
                del inner[at[-1]]
            else:
                inner[at[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(told))

    try:
        found = read_record(path)
    except BadFile as error:
        assert str(path) in str(error)  # noqa: PT017 - either end is fine
        return
    assert isinstance(found, Record)
    found.answers()
    tables([found])  # what is read can be shown, or is left out with a reason


@settings(max_examples=100, deadline=None)
@given(cut=st.integers(0, 60_000))
def test_a_record_cut_off_anywhere_is_a_bad_file(tmp_path_factory, cut):
    text = (KEPT / "format-1.json").read_text()
    path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_text(text[: min(cut, len(text) - 3)])

    with pytest.raises(BadFile, match=r"cut\.json"):
        read_record(path)
