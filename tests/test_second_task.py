"""A second task of another kind goes through every public door, and no file of the package names it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import robustbench_ms as rbms_api
from robustbench_ms.records.record import read_record
from tests import spots

ROOT = Path(__file__).parent.parent
SUITE = """\
task = "spots"
dataset = "spots"
count = 24
layer = "features"
summary = ["mean_recall", "clean_recall", "clean_precision", "mean_energy"]
gate = ["clean_recall=20pp"]
[matrix]
shift = ["roll", "dim"]
level = [1, 2]
"""
SHIFTED = [f"shift={s},level={n}" for s in ("roll", "dim") for n in (1, 2)]
CARD = 'build = "tests.spots.model:{}"\ntasks = ["spots"]\n[input]\nrange = [0, 1]\n'


@pytest.fixture(scope="module", autouse=True)
def _known():
    spots.register()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("spots")
    (root / "suite.toml").write_text(SUITE)
    for name in ("good", "worse"):
        (root / f"{name}.toml").write_text(CARD.format(name))
    return root


def measured(folder, where, **options):
    cards = [str(folder / f"{name}.toml") for name in ("good", "worse")]
    found = rbms_api.run(
        str(folder / "suite.toml"), cards, device="cpu", threads=1,
        results=folder / where / "results", cache=folder / where / "cache", **options,
    )  # fmt: skip
    return {record.name: record for record in found}


@pytest.fixture(scope="module")
def records(folder):
    return measured(folder, "one")


def test_it_runs_and_its_records_hold_all_kinds_of_numbers(folder, records):
    good = records["good"]
    clean, dark = good.cell("clean"), good.cell("shift=dim,level=2")

    assert good.task == "spots"
    assert [m.key for m in good.measurements] == ["clean", *SHIFTED]
    assert clean.values["recall"]["mean"] > 0.5 > records["worse"].cell("clean").values["recall"]["mean"]
    assert clean.values["recall"]["stderr"] > 0
    assert dark.absent == {"precision": "nothing was found"}
    assert "precision" not in dark.values
    assert good.subject["calibration"]["threshold"] > 0
    samples = good.samples()
    kept = samples.replicates("recall", ("clean",))
    assert kept.shape == (1, 24)  # a jackknife over as many samples
    again = np.sqrt(23 / 24 * ((kept[0] - kept[0].mean()) ** 2).sum())
    assert clean.values["recall"]["stderr"] == pytest.approx(again, rel=1e-3)
    assert samples.replicates("precision", ("shift=dim,level=2",)) is None


def test_what_a_perturbation_moves_moves_its_maps_too(records):
    """Else the energy of a rolled image would lie where no spot is any more."""
    good = records["good"]
    rolled, clean = (good.cell(key).values for key in ("shift=roll,level=2", "clean"))

    assert rolled["energy"]["mean"] == pytest.approx(clean["energy"]["mean"], abs=0.03)
    assert rolled["energy"]["mean"] > 0.15  # a tenth of the pixels are spots: by chance it would be less
    assert rolled["recall"]["mean"] == pytest.approx(clean["recall"]["mean"], abs=0.1)


def test_a_finished_cell_is_not_measured_again_and_both_executors_agree(folder, records, rbms):
    seen = []
    again = measured(folder, "one", on_event=lambda event: seen.append(type(event).__name__))
    assert "CellStarted" not in seen
    two = measured(folder, "two", workers=2)
    for name, record in records.items():
        assert again[name].answers() == record.answers()
        assert two[name].answers() == record.answers()
        assert two[name].arrays == record.arrays


def test_killed_it_goes_on(folder, records):
    """The process is killed in the middle of its cells, and the same run ends in the same record."""
    (folder / "dies.toml").write_text(CARD.format("Dies"))
    script = (
        "import robustbench_ms as rbms\nfrom tests import spots\nspots.register()\n"
        f"rbms.run({str(folder / 'suite.toml')!r}, [{str(folder / 'dies.toml')!r}], device='cpu', threads=1, "
        f"batch_size=8, results={str(folder / 'k/results')!r}, cache={str(folder / 'k/cache')!r})\n"
    )
    for _ in range(12):
        found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
        if found.returncode == 0:
            break
        assert found.returncode == -9, found.stderr
    record = read_record(next((folder / "k" / "results").rglob("*.json")))
    good = records["good"]
    assert {m.key: m.values for m in record.measurements} == {m.key: m.values for m in good.measurements}


def paths(folder):
    home = next((folder / "one" / "results").iterdir())
    return home / "good.json", home / "worse.json"


def test_it_is_compared_gated_ranked_reproduced_and_checked_at_the_public_doors(folder, records, rbms):
    good, worse = paths(folder)
    compared = rbms("compare", good, worse, "--json").json()
    recall = next(row for row in compared["metrics"] if row["metric"] == "mean_recall")
    assert "jackknife" in recall["method"]
    assert recall["loss"] > 0
    assert recall["low"] < recall["loss"] < recall["high"]

    gated = rbms(
        "gate", worse, "--against", good, "--rule", "clean_recall=5pp", "--rule", "recall[shift=roll]=5pp"
    )
    assert gated.code == 1
    assert "fail" in gated.out
    unsaid = rbms("gate", worse, "--against", good, "--rule", "mean_precision=5pp")
    assert "precision has no value in shift=dim,level=2" in unsaid.out
    assert (
        "did you mean 'roll'" in rbms("gate", worse, "--against", good, "--rule", "recall[shift=rol]=5pp").err
    )

    results = folder / "one" / "results"
    table = rbms("leaderboard", good.parent.name, "--results", results)
    assert table.code == 0, table.err
    assert "1" in table.out.splitlines()[2]
    assert "2 shifts x 2 levels" in table.out
    assert json.loads(rbms("leaderboard", good.parent.name, "--results", results, "--json").out)

    again = rbms("reproduce", good, "-m", folder / "good.toml", "--suite", folder / "suite.toml")
    assert again.code == 0, again.out + again.err
    checked = rbms("check", good, folder / "one" / "cache")
    assert checked.code == 0, checked.out + checked.err


def test_no_file_of_the_package_names_it():
    for path in (ROOT / "robustbench_ms").rglob("*.py"):
        assert "spots" not in path.read_text(encoding="utf-8"), path


def test_a_row_whose_module_is_not_there_is_one_sentence(folder, rbms):
    from robustbench_ms.catalog.registry import TASKS, TaskInfo

    TASKS.register("lost", TaskInfo(task="tests.spts.task:Spots", rows="tests.spts.rows:ROWS", measures=""))
    path = folder / "lost.toml"
    path.write_text(SUITE.replace('task = "spots"', 'task = "lost"'))

    found = rbms("run", path, "-m", folder / "good.toml")

    assert found.code == 2
    assert "no module named 'tests.spts.rows'" in found.err


def test_its_record_is_shown_and_cannot_be_drawn(folder, records, rbms, tmp_path):
    where = folder / "one" / "results" / "suite" / "good.json"

    text = rbms("show", where).out
    given = ("--suite", folder / "suite.toml", "--cache", folder / "one" / "cache")
    found = rbms("show", where, *given, "--images", tmp_path / "s.png")
    detections = rbms("show", where, *given, "--detections", tmp_path / "d")

    assert "2 shifts x 2 levels; n = 24" in text
    assert [
        line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and "±" in line
    ][-2:] == ["roll", "dim"]
    assert "the task spots has no way to draw" in found.err
    assert "is a record of spots, which keeps no detections" in detections.err
