"""The committed networks for CIFAR-10 have their test images right on any machine, as their records say."""

from __future__ import annotations

import pytest

import robustbench_ms as rbms
from robustbench_ms.records.record import read_record
from tests.sources import ROOT

RECORDS = sorted((ROOT / "results" / "cifar10-c").glob("*@*.json"))
N = 10_000


def right_of(record):
    """How many test images a record has right."""
    cell = record.cell("clean")
    assert cell.n == N
    return round(cell.values["accuracy"]["mean"] * N)


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if i else (), id=path.stem) for i, path in enumerate(RECORDS)],
)
def test_a_network_gives_its_clean_accuracy_again(tmp_path, real_data, monkeypatch, path):
    """Through the suite `cifar10`, as anybody would measure it; another processor may round two answers otherwise."""
    monkeypatch.setenv("RBMS_DATA", str(real_data("cifar10/test_images.npy").parent.parent))

    (again,) = rbms.run(
        "cifar10", [path.stem], device="cpu", results=tmp_path / "results", cache=tmp_path / "cache"
    )

    assert abs(right_of(again) - right_of(read_record(path))) <= 2
