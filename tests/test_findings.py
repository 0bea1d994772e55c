"""The page of claims: fresh, of the records' own figures, and its three verdicts."""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from robustbench_ms.catalog.find import card_names, suite_names
from robustbench_ms.statistics.differences import Student
from tests import findings

MINE, RIVAL = "digits-resnet8-cbam", "digits-resnet8"
CLAIM = {
    "of": "CBAM", "says": "more digits are read", "source": "nobody", "suite": "quick", "model": MINE,
    "column": "clean_accuracy", "against": [RIVAL],
}  # fmt: skip


def test_the_page_is_fresh():
    assert findings.page() == findings.PAGE.read_text(encoding="utf-8")


def test_claims_name_what_is_shipped():
    import tomllib

    for claim in tomllib.loads((findings.RESULTS / "findings.toml").read_text())["claims"]:
        assert claim["suite"] in suite_names()
        assert {claim["model"], *claim["against"]} <= {*card_names()}
        assert claim["model"] not in claim["against"]


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
    assert f"| {RIVAL} | 3, 3 | {100 * difference.mean:+.2f} (" in findings.told(CLAIM)


def test_a_record_that_is_not_there_is_told(tmp_path):
    said = findings.told(CLAIM, tmp_path)
    assert "**Not measured yet.**" in said
    assert f"no record of {MINE}" in said


def student(mean, stderr):
    return Student(mean, stderr, 300, 299, "t")


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
