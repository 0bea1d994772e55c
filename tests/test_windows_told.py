"""What is said of windows that are alike: footnotes of tables, verdicts, and sentences where nothing can be told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from robustbench_ms.cli import app
from robustbench_ms.faults.table import NAMES
from robustbench_ms.gating.judge import judge
from robustbench_ms.gating.rules import parse_rule
from robustbench_ms.records.entry import entry_of
from robustbench_ms.records.record import read_record, write_record
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.cells import footnotes
from robustbench_ms.reports.tables import tables
from robustbench_ms.reports.verdicts import judged_markdown
from tests import signalled

CARD = 'build = "tests.test_activity:listens"\n[input]\nchannels = "signals"\nmean = [0.0]\nstd = [1.0]\n'


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("windows")
    card = folder / "listens.toml"
    card.write_text(CARD)
    suite = signalled.npz_suite(
        folder / "own", faults='fault = "all"\nlevel = [1, 2, 3, 4, 5]',
        replace=[('["clean_accuracy"]', '["mean_fault_accuracy", "clean_macro_f1"]')],
    )  # fmt: skip
    words = ["run", suite, "-m", card, "--device", "cpu", "--data", folder, "--cache", folder / "cache"]
    found = CliRunner().invoke(app, [*map(str, words), "--results", str(folder / "results")])
    assert found.exit_code == 0, found.output
    return read_record(next((folder / "results").rglob("*.json")))


@pytest.fixture
def changed(record, tmp_path):
    """The record with other arrays, or another name, in a file of its own."""

    def made(name, **more):
        path = tmp_path / f"{name}.json"
        other = replace(
            record, card={**record.card, "name": name}, subject={**record.subject, "digest": name}
        )
        write_record(other, replace(record.samples(), **more), path)
        return read_record(path)

    return made


def verdict(candidate, reference, text):
    terms = Terms.of(candidate)
    one = judge(candidate, reference, [parse_rule(text, terms.rows, terms.axes, terms.untested)])
    return one.verdicts[0], judged_markdown([one])


def test_footnotes_have_windows_and_groups_and_no_images(record, changed):
    (table,) = tables([record, changed("other")])
    told = "\n".join(footnotes(table))

    assert "n = 60 windows a cell" in told
    assert "over the 6 groups (subjects) of the test windows" in told
    assert "5 degrees of freedom" in told
    assert "as far as these runs" in told
    assert "macro F1: of sets of 60 such windows, intervals too (a jackknife of 6 groups)" in told
    assert "image" not in told


def test_footnotes_say_where_groups_are_too_few(record, changed):
    (table,) = tables([changed("few", groups=np.arange(60) // 15)])

    assert "over the 4 groups (subjects) of the test windows, and of fewer than 5 there is none" in "\n".join(
        footnotes(table)
    )


def test_verdicts_have_runs_of_these_subjects(record, changed):
    found, page = verdict(changed("other"), record, "clean_accuracy=50pp")

    assert (found.state, found.n, found.each) == ("pass", 30, "run")
    assert "n = 30 runs of samples a cell" in page
    assert "Bounds cover the sampling of runs of these subjects and not of training seeds" in page


def test_what_is_left_out_by_subjects_counts_them(record, changed):
    found, page = verdict(changed("other"), record, "clean_macro_f1=90pp")

    assert (found.state, found.n, found.each) == ("pass", 6, "group")
    assert "n = 6 groups of samples a cell" in page
    assert "the sampling of groups (subjects) and not of training seeds" in page
    assert verdict(record, record, "floor:worst_fault_accuracy=1pp")[0].n == 6


def test_what_cannot_be_told_is_a_sentence(record, changed):
    one = changed("one", runs=np.zeros(60, np.int64))
    assert verdict(one, one, "clean_accuracy=1pp")[0].reason == "one run says nothing of a difference"
    assert entry_of(one).judged == ""
    nobody = changed("nobody", groups=None)
    told = "windows of one run are alike, and no groups (subjects) are known by which macro_f1 is told"
    assert verdict(nobody, nobody, "clean_macro_f1=1pp")[0].reason == told
    groups = changed("groups", runs=None)
    told = "the candidate tells differences by groups, and the reference by runs"
    assert verdict(groups, record, "clean_accuracy=1pp")[0].reason == told
    assert verdict(groups, groups, "floor:clean_accuracy=1pp")[0].each == "group"


def test_without_its_arrays_no_floor_is_told_as_if_windows_were_not_alike(changed, tmp_path):
    changed("alone")
    (tmp_path / "alone.correct.npz").unlink()
    alone = read_record(tmp_path / "alone.json")

    found = verdict(alone, alone, "floor:clean_accuracy=1pp")[0]
    assert found.state == "missing"
    assert found.reason.startswith("windows are alike in runs of one group and class, and the arrays")


def test_a_record_shows_confusions_clean_and_under_the_worst_fault(record, rbms):
    shown = json.loads(rbms("show", record.path, "--json").out)["confusions"]
    told = rbms("show", record.path).out
    samples = record.samples()
    keys = [key for key in samples.keys if not key.startswith(("clean", "fault=sensor"))]
    accuracy = {key: record.cell(key).values["accuracy"]["mean"] for key in keys}
    faults = {key.partition(",")[0] for key in keys}
    mean = {one: np.mean([v for key, v in accuracy.items() if key.startswith(one + ",")]) for one in faults}
    common = {f"fault={name}" for name in NAMES}
    worst = min(mean.keys() & common, key=mean.get)

    assert [len(one["cells"]) for one in shown] == [1, 5]
    assert {key.partition(",")[0] for key in shown[1]["cells"]} == {worst}
    counts = np.array(shown[1]["counts"])
    assert counts.sum() == 5 * 60
    assert np.trace(counts) == pytest.approx(5 * 60 * mean[worst])
    assert "answered where true: clean, %" in told
    assert f"{worst.removeprefix('fault=').replace('_', ' ')}, all its levels, the worst" in told
    share = 100 * counts[0, 0] / counts[0].sum()
    assert f"| {share:.1f} |" in " ".join(told.split())
