"""The page of claims: fresh, of the records' own figures, and its three verdicts."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest

from robustbench_ms.catalog.find import card_names, suite_names
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.statistics.differences import Student
from robustbench_ms.statistics.intervals import Interval
from tests import findings, signalled
from tests.test_activity import CARD

MINE, RIVAL, FLOOR = "digits-resnet8-cbam", "digits-resnet8", "digits-resnet8-eca"
CLAIM = {
    "of": "CBAM", "says": "more digits are read", "source": "nobody", "suite": "quick", "model": MINE,
    "column": "clean_accuracy", "against": [RIVAL],
}  # fmt: skip


def student(mean, stderr):
    return Student(mean, stderr, 300, 299, "t")


def test_the_page_is_fresh():
    assert findings.page() == findings.PAGE.read_text(encoding="utf-8")


def test_claims_name_what_is_shipped():
    import tomllib

    for claim in tomllib.loads((findings.RESULTS / "findings.toml").read_text())["claims"]:
        assert claim["suite"] in suite_names()
        models = [claim["model"], *claim.get("against", ()), *claim.get("floors", ())]
        assert ("against" in claim) != ("value" in claim)
        assert {*models} <= {*card_names()}
        assert len({*models}) == len(models)


def test_figures_are_the_records():
    """The gain is that of the means over seeds, read from the files by hand."""

    def mean(model):
        found = []
        for seed in range(3):
            told = json.loads((findings.RESULTS / "quick" / f"{model}@{seed}.json").read_text())
            (clean,) = [cell for cell in told["measurements"] if cell["key"] == "clean"]
            found.append(clean["values"]["accuracy"]["mean"])
        return fmean(found)

    ((rival, seeds, difference),) = findings.rows(CLAIM)
    assert (rival, seeds) == (RIVAL, (3, 3))
    assert difference.mean == pytest.approx(mean(MINE) - mean(RIVAL))
    said = findings.told(CLAIM)
    assert f"| {100 * difference.mean:+.2f} (" in said
    assert f"| {RIVAL} | 3 | {100 * mean(RIVAL):.2f} (" in said
    assert f"| {MINE} | 3 | {100 * mean(MINE):.2f} (" in said
    assert "on `quick`, 597 images. **" in said
    assert difference.method in said
    assert f"Measured by `rbms run quick -m {MINE} -m {RIVAL}`." in said


def test_what_is_not_surely_above_a_floor_is_told(monkeypatch):
    claim = {**CLAIM, "floors": [FLOOR], "beside": "clean_accuracy"}
    for gains, said in (
        ({MINE: student(0.05, 0.01), RIVAL: student(0.03, 0.005)}, "Every network is surely above them."),
        ({MINE: student(0.05, 0.01), RIVAL: student(0.01, 0.02)}, f"surely above: `{RIVAL}` over `{FLOOR}` (+1.00)."),
        ({MINE: student(-0.05, 0.01), RIVAL: student(0.05, 0.01)}, f"surely above: `{MINE}` over `{FLOOR}` (-5.00)."),
    ):  # fmt: skip
        monkeypatch.setattr(findings, "gain", lambda mine, theirs, known=gains: known[mine[0].group])
        assert said in findings.told(claim)
    assert "Beside it: clean 9" in findings.told(claim)
    assert f"Floors: `{FLOOR}`; no record of " in findings.floors({**claim, "against": ["nothing"]})


def test_a_record_that_is_not_there_is_told(tmp_path):
    said = findings.told(CLAIM, tmp_path)
    assert "**Not measured yet.**" in said
    assert f"no record of {MINE}" in said


NUMBER = {
    "of": "Listens", "says": "it hears", "source": "nobody", "note": "By hand", "suite": "har-mini-faults",
    "model": "listens", "column": "clean_accuracy", "value": 0.9606,
}  # fmt: skip


def test_a_number_that_is_claimed_is_judged_by_subjects(tmp_path, rbms):
    """Of two seeds of a small network: the interval is the jackknife's, over the subjects, of the mean over seeds."""
    assert "| 96.06 | - | - | no record of listens |" in findings.told(NUMBER, tmp_path)
    card = tmp_path / "listens.toml"
    card.write_text(CARD)
    assert rbms("run", signalled.npz_suite(tmp_path / "own"), "-m", card, "--device", "cpu").code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    samples = record.samples()
    bits, folder = [], tmp_path / "records" / "har-mini-faults"
    for seed in range(2):
        correct = samples.correct.copy()
        correct[0, : 3 * seed + 4] = False
        cells = [
            replace(m, values={**m.values, "accuracy": {**m.values["accuracy"], "mean": row.mean()}})
            for m, row in zip(record.measurements, correct, strict=True)
        ]
        other = replace(
            record, card={**record.card, "name": f"listens@{seed}"}, measurements=tuple(cells),
            subject={**record.subject, "digest": str(seed)},
        )  # fmt: skip
        tables = {name: one for name, one in samples.tables.items() if not name.endswith("/counts")}
        write_record(other, replace(samples, correct=correct, tables=tables), folder / f"listens@{seed}.json")
        bits.append(correct[0])
    mean = np.mean(bits, axis=0)
    left = np.array([mean[samples.groups != group].mean() for group in range(6)])
    half = 2.570581835636314 * np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())

    seeds, groups, found = findings.by_groups(NUMBER, tmp_path / "records")
    assert (seeds, groups) == (2, 6)
    assert found.mean == pytest.approx(mean.mean())
    assert found.low == pytest.approx(mean.mean() - half)
    said = findings.told(NUMBER, tmp_path / "records")
    assert f"| 96.06 | 2 | 6 | {100 * found.mean:.2f} (" in said
    assert "on `har-mini-faults`, 60 windows. By hand. **Cannot be told here.**" in said


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((0.956, 0.97), "holds"),
        ((0.95, 0.97), "cannot be told here"),
        ((0.94, 0.96), "does not hold"),
        ((0.957, 0.96), "holds"),
        ((float("nan"), float("nan")), "cannot be told here"),
    ],
)
def test_verdicts_on_numbers(ends, said):
    assert findings.verdict_on(0.9606, Interval(0.955, *ends)) == said


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([(0.05, 0.01), (0.03, 0.005)], "holds"),
        ([(0.05, 0.01), (0.01, 0.02)], "cannot be told here"),
        ([(0.05, 0.01), (-0.05, 0.01)], "does not hold"),
        ([(0.05, 0.01), (0.001, 0.001)], "does not hold"),
        ([(0.05, 0.01)], "not measured yet"),
    ],
)
def test_verdicts(gains, said):
    differences = [student(*one) for one in gains]
    p_values = [min(1.0, 2 * d.p_differs) for d in differences]
    assert findings.verdict(differences, [*p_values, None][:2]) == said
