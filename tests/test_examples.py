"""The small programs of examples/ end as they say, from a folder that is not theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustbench_ms.records.record import read_record

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


def ran(folder, name, *words):
    told = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, words)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "RBMS_RESULTS"}
        | {"RBMS_CACHE": str(folder / "cache")},
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


def test_every_program_is_run_here():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {
        "own_model.py", "gated_training.py", "record_in_pandas.py"
    }  # fmt: skip


def test_a_model_of_ones_own(tmp_path):
    lines = ran(tmp_path, "own_model.py")

    assert [line.partition(":")[0] for line in lines] == [
        "clean", "corruption=brightness,severity=1", "corruption=brightness,severity=3"
    ]  # fmt: skip
    (path,) = (tmp_path / "results").rglob("*.json")
    clean = read_record(path).cell("clean")
    assert lines[0] == f"clean: {clean.values['accuracy']['mean']:.0%} of 100"
    assert clean.values["accuracy"]["mean"] > 0.8


def test_a_gate_stops_the_training_where_an_epoch_forgets(tmp_path):
    assert ran(tmp_path, "gated_training.py") == ["epoch 1: pass", "epoch 2: fail"]


def test_a_record_in_pandas(tmp_path):
    pytest.importorskip("pandas")
    path = ROOT / "results" / "quick" / "digits-resnet8@0.json"

    lines = ran(tmp_path, "record_in_pandas.py", path)

    record = read_record(path)
    fog = [record.cell(f"corruption=fog,severity={s}").values["accuracy"]["mean"] for s in range(1, 6)]
    assert f"{sum(fog) / 5:.3f}".rstrip("0") in next(line for line in lines if line.startswith("fog"))
