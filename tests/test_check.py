"""rbms check: what is as it was written is well, and what is not is named."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.datasets import arrays
from robustbench_ms.evaluation.cells import FinishedCell, read_cell, save_cell
from robustbench_ms.evaluation.checking import check
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.records.summary import summarise
from robustbench_ms.subjects.identity import digest
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.scores import mean_with_stderr
from tests import fakes
from tests.running import card_of, measure

ROOT = Path(__file__).parent.parent
KEPT = Path(__file__).parent / "data" / "records"


def faults(*paths):
    return [fault for one in check(paths) for fault in one.faults]


@pytest.fixture
def record(tmp_path):
    """A record of format 2 in a folder of its own, with its arrays."""
    folder = tmp_path / "records"
    folder.mkdir()
    for name in ("json", "correct.npz"):
        shutil.copy(KEPT / f"format-2.{name}", folder / f"net.{name}")
    return folder / "net.json"


def reseal(path, change):
    """Change a record and make its digest fit, as a forger would."""
    told = json.loads(path.read_text())
    change(told)
    told["digest"] = content_digest({key: value for key, value in told.items() if key != "digest"})
    path.write_text(json.dumps(told))


def test_a_folder_with_a_colon_is_one_of_records(rbms, record):
    folder = record.parent.rename(record.parent.with_name("12:30"))

    for path in (folder, folder / "net.json"):
        found = rbms("check", path)
        assert (found.code, found.out) == (0, f"{folder / 'net.json'}: 96 cells, all well\n")


def test_a_folder_of_results_is_checked_suite_by_suite(rbms, record, tmp_path):
    results = tmp_path / "results"
    for folder in ("one", "two", ".hidden"):
        shutil.copytree(record.parent, results / folder)
    profile = next((ROOT / "results" / "profiles").glob("*/*.json"))
    kept = results / "profiles" / profile.parent.name / profile.name
    kept.parent.mkdir(parents=True)
    shutil.copy(profile, kept)
    damaged = results / "two" / "net.json"
    damaged.write_text(damaged.read_text().replace('"n":50', '"n":51', 1))

    found = rbms("check", results)

    assert found.code == 1
    one, rows, two = found.out.splitlines()
    assert one == f"{results / 'one' / 'net.json'}: 96 cells, all well"
    assert rows.startswith(f"{kept}: ")
    assert rows.endswith(" rows, all well")
    assert two.startswith(f"{damaged}: damaged or edited")


def test_all_that_is_committed_is_well(rbms):
    folders = sorted({p.parent for p in (ROOT / "results").glob("*/*.correct.npz")})
    assert folders

    assert faults(*folders, KEPT) == []


def test_a_run_leaves_what_is_well(tiny, places, rbms):
    measure(tiny, [card_of(fakes.build(), "net"), card_of(fakes.raises_later(), "bad")], places)

    found = rbms("check", places.cache, places.results / "tiny")

    assert found.code == 0
    folder = places.results / "tiny"
    assert found.out.splitlines() == [
        f"{places.cache / 'cells'}: 6 cells, all well",
        f"{folder / 'bad.json'}: 1 cells, all well",
        f"{folder / 'net.json'}: 5 cells, all well",
    ]
    told = rbms("check", folder / "net.json", "--json").json()
    assert told == {
        "well": True,
        "checked": [
            {"path": str(folder / "net.json"), "cells": 5, "faults": [], "notes": [], "what": "cells"}
        ],
    }


class OfPeople:
    """Data of which four samples each are of one person."""

    def __init__(self, data):
        self._data = data
        self.facts = dataclasses.replace(data.facts, groups=np.arange(data.facts.n) // 4)

    def __getattr__(self, name):
        return getattr(self._data, name)


def test_samples_that_stand_or_fall_together_are_kept_and_count_in_the_errors(
    tiny, places, rbms, monkeypatch
):
    real = arrays.index_arrays

    def index(*words):
        found = real(*words)
        return dataclasses.replace(found, opener=lambda canvas: OfPeople(found.open(canvas)))

    monkeypatch.setattr(arrays, "index_arrays", index)
    measure(tiny, [card_of(fakes.build(), "net")], places)

    found = rbms("check", places.cache, places.results / "tiny")

    assert found.code == 0, found.out
    samples = read_record(places.results / "tiny" / "net.json").samples()
    assert samples.groups.tolist() == [i // 4 for i in range(40)]
    stderr = read_record(places.results / "tiny" / "net.json").cell("clean").values["accuracy"]["stderr"]
    bits = samples.row("clean")
    assert stderr == pytest.approx(mean_with_stderr(bits, samples.groups)[1])
    assert stderr != pytest.approx(mean_with_stderr(bits)[1])


@pytest.mark.parametrize(
    ("name", "cells", "clean", "corrupted"),
    [
        ("format-1", 96, 50, 0.859467),
        ("format-1-cbam", 96, 590, 0.819654),
        ("format-1-cifar10-c", 76, 9173, 0.686432),
    ],
)
def test_a_record_of_format_1_carries_no_digest_and_is_well(rbms, name, cells, clean, corrupted):
    path = KEPT / f"{name}.json"
    found, record = rbms("check", path), read_record(path)
    told = summarise(record, ("clean_accuracy", "mean_corruption_accuracy"))

    assert found.code == 0
    assert found.out.splitlines() == [
        f"{path}: carries no digest, as a record of format 1: damage that no value shows is not found",
        f"{path}: {cells} cells, all well",
    ]
    assert round(told["clean_accuracy"].mean * record.measurements[0].n) == clean
    assert told["mean_corruption_accuracy"].mean == pytest.approx(corrupted, abs=5e-6)


def test_a_damaged_record_is_one_sentence_and_exit_1(record, rbms):
    text = record.read_text()
    record.write_text(text.replace('"n":50', '"n":51', 1))

    found = rbms("check", record, KEPT / "format-2.json")

    assert found.code == 1
    fault, well = found.out.splitlines()
    assert fault == (
        f"{record}: damaged or edited, as its digest does not fit; take it from the version control, or delete it and "
        "measure it again: rbms run quick -m digits-resnet8@0 --limit 50"
    )
    assert well == f"{KEPT / 'format-2.json'}: 96 cells, all well"
    record.write_text(text[:1000])
    assert "not valid JSON" in faults(record)[0]
    told = rbms("check", record, "--json")
    assert told.code == 1
    assert told.json()["well"] is False


def shift(measure, by, key="clean", part="mean"):
    def change(told):
        (cell,) = (m for m in told["measurements"] if m["key"] == key)
        cell["values"][measure][part] += by

    return change


def another_question(told):
    told["measurements"][3]["condition"]["severity"] = 2


FORGED = {
    "accuracy": (shift("accuracy", -0.02), "clean: accuracy is 0.98, and its bits say 1"),
    "error": (
        shift("accuracy", 0.5, part="stderr"),
        "clean: the standard error of accuracy is 0.5, and its bits say 0",
    ),
    "clean score": (
        shift("nll", 0.001),
        "the mean nll of its clean cells is 0.0226061, and the scores beside it say 0.0216",
    ),
    "corrupted score": (
        shift("brier", 0.5, key="corruption=fog,severity=3"),
        "the mean brier of its common cells is ",
    ),
    "question": (
        another_question,
        "corruption=gaussian_noise,severity=3: its protocol is ",
    ),
    "order": (
        lambda told: told["measurements"].reverse(),
        "the arrays beside it are of other cells",
    ),
    "n": (lambda told: told["measurements"][0].update(n=49), "clean: n is 49, and there are 50 bits"),
}


@pytest.mark.parametrize(("change", "words"), FORGED.values(), ids=FORGED)
def test_values_are_made_again_from_the_arrays(record, change, words):
    reseal(record, change)

    (fault,) = faults(record)
    assert fault.startswith(f"{record}: {words}")


def test_arrays_of_another_run_and_missing_ones_are_named(record, tmp_path):
    kept = read_record(record)
    samples = kept.samples()
    write_record(kept, dataclasses.replace(samples, correct=~samples.correct), tmp_path / "other.json")
    beside = record.with_name("net.correct.npz")
    shutil.copy(tmp_path / "other.correct.npz", beside)
    assert "the arrays beside it (net.correct.npz) are not those of its answers" in faults(record)[0]
    beside.write_bytes(beside.read_bytes()[:100])
    assert "net.correct.npz: damaged" in faults(record)[0]
    beside.unlink()
    assert faults(record) == [f"{record}: the arrays beside it (net.correct.npz) are missing"]
    shutil.copy(KEPT / "format-1.json", record)
    (found,) = check([record])
    assert found.faults == ()
    assert found.notes[1] == f"{record}: there are no arrays beside it, so that no value can be made again"


# cells


@pytest.fixture
def cells(tiny, places):
    measure(tiny, [card_of(fakes.build(), "net")], places)
    return places.cache / "cells"


def again(path, **change):
    """Keep a cell anew, changed, under a digest that fits."""
    save_cell(path.parent, *path.stem.split("-"), dataclasses.replace(read_cell(path), **change))


def test_each_value_of_a_cell_is_made_again_from_its_outcomes(cells, rbms, snapshot):
    one, two, three, four, five = sorted(cells.glob("*.npz"))
    values = read_cell(one).values
    again(one, values={**values, "ece": {"mean": 0.5, "stderr": values["ece"]["stderr"]}})
    again(
        two, values={name: value for name, value in values.items() if name != "nll"} | {"mood": values["nll"]}
    )
    again(three, question={**read_cell(three).question, "seed": 7})
    again(four, outcomes=Outcomes({"correct": np.ones(40, bool)}))
    five.write_bytes(five.read_bytes()[:-50])
    before = snapshot(cells)

    found = rbms("check", cells)

    assert found.code == 1
    lines = found.out.splitlines()
    assert lines[0].startswith(f"{one}: ece is 0.5, and its outcomes say ")
    assert f"{two}: nll is missing" in lines
    assert f"{two}: mood is nothing that its outcomes have" in lines
    assert any(
        line.startswith(f"{three}: its protocol is {three.stem[:16]}, which is not the") for line in lines
    )
    assert f"{four}: its outcomes are none of its task's (KeyError: 'top5')" in lines
    assert any(line.startswith(f"{five}: damaged") for line in lines)
    assert snapshot(cells) == before  # nothing is set aside


def test_what_is_not_read_or_not_known_here_is_a_note(tmp_path):
    np.savez(tmp_path / "p-s.npz", told=np.array("{}"))
    (tmp_path / "q-s.broken").write_text("")
    question = {"task": "clasification"}
    cell = FinishedCell({}, Outcomes({"a": np.zeros(2)}), 2, {}, question=question)
    save_cell(tmp_path, digest(question), "s", cell)

    (found,) = check([tmp_path])

    assert (found.cells, found.faults) == (1, ())
    assert found.notes == (
        f"{tmp_path}: values that cannot be made again: no task named 'clasification'; did you mean 'classification'?",
        f"{tmp_path}: 1 finished cells are of an older form, which is not read",
        f"{tmp_path}: 1 damaged cells were set aside (.broken)",
    )


def test_what_can_not_be_checked_is_told(tmp_path, rbms, record):
    (tmp_path / "empty").mkdir()
    (tmp_path / "net.txt").write_text("")
    wrong = {
        tmp_path / "empty": "there are neither finished cells nor records in it",
        record.with_name("nett.json"): "no such file or folder; did you mean 'net.json'?",
        tmp_path / "net.txt": "is neither a record (.json) nor a folder of finished cells",
        record.with_name("net.correct.npz"): "holds the arrays of a record; give the record, net.json",
    }
    for path, words in wrong.items():
        found = rbms("check", path)
        assert found.code == 2
        assert str(path) in found.err
        assert words in found.err
