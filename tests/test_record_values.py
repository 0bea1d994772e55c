"""Records are data: a value that no cell can have, or a mean that its arrays lack, is refused in one sentence."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from robustbench_ms.errors import BadFile
from robustbench_ms.records.canonical import content_digest
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.records.samples import Samples, read_samples, write_samples

KEPT = Path(__file__).parent / "data" / "records"
FOG = "corruption=fog,severity=3"


@pytest.fixture
def results(tmp_path):
    """results/quick-limit50 with one record of format 1 ("old") and one of format 2 ("net"), with their arrays."""
    folder = tmp_path / "results" / "quick-limit50"
    folder.mkdir(parents=True)
    for name, kept in (("old", "format-1"), ("net", "format-2")):
        for end in ("json", "correct.npz"):
            shutil.copy(KEPT / f"{kept}.{end}", folder / f"{name}.{end}")
    return folder


def edit(path, change, key="clean"):
    """Change one cell; where there is a digest, it is made to fit."""
    told = json.loads(path.read_text())
    change(next(cell for cell in told["measurements"] if cell["key"] == key))
    if "digest" in told:
        told["digest"] = content_digest({k: v for k, v in told.items() if k != "digest"})
    path.write_text(json.dumps(told))


def value(measure, number, part="mean"):
    return lambda cell: cell["values"][measure].update({part: number})


OUT_OF_RANGE = {
    "per cent": (value("accuracy", 91.7), "accuracy is 91.7, and the largest that it can be is 1; did you mean 0.917?"),
    "above": (value("top5_accuracy", 1.01), "top5_accuracy is 1.01, and the largest that it can be is 1"),
    "below": (value("ece", -0.1), "ece is -0.1, and the least that it can be is 0"),
    "nll": (value("nll", -0.5), "nll is -0.5, and the least that it can be is 0"),
    "brier": (value("brier", 2.5), "brier is 2.5, and the largest that it can be is 2"),
    "error": (value("nll", -0.5, "stderr"), "the standard error of nll is -0.5, which is below 0"),
    "null": (value("accuracy", None), "accuracy is null, and a value that is not there is absent with its reason"),
    "gone": (lambda cell: cell["values"].pop("brier"), "brier has no value, and no reason is given"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["old", "net"])
@pytest.mark.parametrize(("change", "words"), OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
def test_a_value_that_no_cell_can_have_is_named(results, name, change, words):
    path = results / f"{name}.json"
    edit(path, change, FOG)

    with pytest.raises(BadFile) as told:
        read_record(path)

    assert str(told.value).startswith(f"{path}: {FOG}: {words}")
    assert str(told.value).endswith("measure it again: rbms run quick -m digits-resnet8@0 --limit 50")


def test_null_stands_for_the_error_of_one_sample_and_in_format_1_for_scores_that_were_not_finite(results):
    old = results / "old.json"
    edit(old, value("nll", None), FOG)  # what kept scores say otherwise is another matter
    edit(old, value("nll", None, "stderr"), FOG)
    assert np.isnan(read_record(old).cell(FOG).values["nll"]["mean"])
    edit(old, value("brier", None, "stderr"), FOG)
    with pytest.raises(BadFile, match="the standard error of brier is null, and there are 50 samples"):
        read_record(old)
    edit(old, lambda cell: cell.update(n=1), FOG)
    assert np.isnan(read_record(old).cell(FOG).values["brier"]["stderr"])
    edit(results / "net.json", value("nll", None), FOG)
    with pytest.raises(BadFile, match="nll is null, and a value that is not there is absent with its reason"):
        read_record(results / "net.json")


VERBS = {
    "leaderboard": ("leaderboard", "quick-limit50"),
    "compare": ("compare", "NET", "OLD"),
    "gate": ("gate", "NET", "--against", "OLD"),
    "gate against": ("gate", "OLD", "--against", "NET"),
    "accept": ("accept", "NET"),
    "reproduce": ("reproduce", "NET"),
    "plan": ("plan", "quick", "-m", "digits-resnet8@0", "--limit", "50"),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("harm", ["value", "literal"])
def test_every_verb_refuses_what_is_no_record_in_one_sentence(results, rbms, verb, harm):
    path, old = results / "net.json", results / "old.json"
    if verb == "plan":
        path = path.rename(results / "digits-resnet8@0.json")
        (results / "net.correct.npz").rename(results / "digits-resnet8@0.correct.npz")
    if harm == "value":
        edit(path, value("accuracy", 1.5))
    else:
        path.write_text(path.read_text().replace('"stderr":0.0', '"stderr":NaN', 1))
    words = [{"NET": path, "OLD": old}.get(word, word) for word in VERBS[verb]]

    found = rbms(*words, "--results", results.parent) if verb != "compare" else rbms(*words)

    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"rbms: {path}: ")
    assert found.err.count("\n") == 1
    shown = (
        "clean: accuracy is 1.5"
        if harm == "value"
        else "measurements: clean: values: accuracy: stderr is nan"
    )
    assert shown in found.err


def test_check_names_it_as_a_fault(results, rbms):
    edit(results / "net.json", value("brier", 7))

    found = rbms("check", results / "net.json")

    assert found.code == 1
    assert "clean: brier is 7, and the largest that it can be is 2" in found.out


MISFITS = {
    "bits": (value("accuracy", 0.98), "clean: accuracy is 0.98, and its bits say 1 (50 of 50)"),
    "no share of n": (value("accuracy", 0.9999), "clean: accuracy is 0.9999, and its bits say 1"),
    "scores": (
        value("nll", 0.5),
        "the mean nll of its clean cells is 0.5, and the scores beside it say 0.0216",
    ),
    "n": (lambda cell: cell.update(n=49), "clean: n is 49, and there are 50 bits"),
}


@pytest.mark.parametrize("verb", ["leaderboard", "compare", "gate", "accept"])
@pytest.mark.parametrize(("change", "words"), MISFITS.values(), ids=MISFITS)
def test_a_mean_that_does_not_fit_what_is_kept_beside_it_is_refused(results, rbms, verb, change, words):
    path = results / "old.json"  # no digest finds it
    edit(path, change)
    given = {"NET": path, "OLD": results / "net.json"}

    found = rbms(
        *(given.get(word, word) for word in VERBS[verb]),
        *(["--results", results.parent] * (verb != "compare")),
    )

    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"rbms: {path}: {words}")


def test_half_precision_is_room_enough(results):
    path = results / "net.json"
    kept = read_record(path)
    samples = kept.samples()
    cell = kept.measurements[0]
    near = {**cell.values, "nll": {**cell.values["nll"], "mean": cell.values["nll"]["mean"] + 1e-6}}
    moved = dataclasses.replace(
        kept, measurements=(dataclasses.replace(cell, values=near), *kept.measurements[1:])
    )
    write_record(moved, samples, path)

    assert read_record(path).samples() is not None


BROKEN = {
    "rows": {"correct": np.ones((2, 5), bool)},
    "scores": {"scores": {"nll_clean": np.zeros(4, np.float16)}},
    "tables": {"tables": {"hit/bits": np.ones((2, 5), bool)}},
    "groups": {"groups": np.zeros(4, np.int64)},
}


@pytest.mark.parametrize("harm", BROKEN.values(), ids=BROKEN)
def test_arrays_of_other_shapes_than_each_other_are_damaged(tmp_path, harm):
    path = tmp_path / "net.correct.npz"
    whole = Samples(("clean",), np.ones((1, 5), bool), {"nll_clean": np.zeros(5, np.float16)})
    write_samples(whole, path)
    assert read_samples(path).keys == ("clean",)
    write_samples(dataclasses.replace(whole, **harm), path)

    with pytest.raises(BadFile, match=r"net\.correct\.npz: damaged \(.+ is of "):
        read_samples(path)
