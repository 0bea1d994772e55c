"""The committed comparison of ResNet-20's answers: whole, current, within its limits; and its arithmetic."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from robustbench_ms.corruptions.table import PROTOCOL
from tests.oracles.cifar_images import COMMON, SEVERITIES
from tests.oracles.resnet20_parity import CELL_LIMIT, CLEAN, MEAN_LIMIT, Cell, summary, table

FOLDER = Path(__file__).parents[2] / "results" / "cifar10-c" / "parity"


@pytest.fixture(scope="module")
def report():
    return json.loads((FOLDER / "resnet20.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cells(report):
    keys = ("corruption", "severity", "n", "oracle", "ours", "changed")
    return [Cell(*(cell[key] for key in keys)) for cell in report["cells"]]


def test_it_is_of_the_protocols_that_ship(report):
    assert report["protocol"] == {name: PROTOCOL[name] for name in COMMON}, (
        "a corruption's number was raised: run python -m tests.oracles.resnet20_parity"
    )


def test_every_cell_lies_within_its_limit(cells):
    assert [(cell.corruption, cell.severity) for cell in cells] == [
        (n, s) for n in COMMON for s in SEVERITIES
    ]
    assert not [cell for cell in cells if abs(cell.z) > CELL_LIMIT]
    assert all(cell.n in {10_000, 30_000} and cell.changed >= abs(cell.ours - cell.oracle) for cell in cells)


def test_the_mean_lies_within_its_limit(report, cells):
    mean = summary(cells)
    assert abs(mean["z"]) <= MEAN_LIMIT
    assert report["mean"] == {key: round(value, 4) for key, value in mean.items()}
    assert abs(report["clean"] - CLEAN) < 0.005


def test_the_table_is_the_figures(report, cells):
    written = (FOLDER / "resnet20.md").read_text(encoding="utf-8")
    assert written == table(cells, summary(cells), report["clean"], report["seeds"])


def test_the_paired_error_is_mcnemars():
    one = Cell("fog", 1, 10_000, oracle=9_000, ours=8_970, changed=100)
    assert one.difference == pytest.approx(-0.3)
    assert one.error == pytest.approx(0.1)
    assert one.z == pytest.approx(-3)
    same = Cell("fog", 2, 10_000, oracle=8_000, ours=8_000, changed=0)
    assert same.z == 0
    mean = summary([one, same])
    assert mean["difference"] == pytest.approx(-0.15)
    assert mean["error"] == pytest.approx(0.05)
    assert mean["z"] == pytest.approx(-3)
    assert mean["ours"] == pytest.approx((89.7 + 80) / 2)
    assert math.isclose(mean["oracle"], 85)
