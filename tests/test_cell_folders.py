"""A detection suite's cells as folders of pictures in COCO's format, for a model that runs elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import robustbench_ms as rbms_api
from tests import boxes
from tests.boxes.data import CATEGORY_IDS, coco, picture

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _known():
    boxes.register()


def test_a_suites_cells_are_written_as_cocos_folders(tmp_path, rbms):
    (tmp_path / "suite.toml").write_text(boxes.SUITE)

    found = rbms("corrupt", tmp_path / "suite.toml", "--out", tmp_path / "cells", "--limit", 6)

    assert found.code == 0, found.err
    home = tmp_path / "cells"
    assert sorted(p.name for p in home.iterdir()) == sorted(
        ["clean", *(f"{c}-{s}" for c in ("brightness", "contrast") for s in (1, 2))]
    )
    index = coco(home / "clean" / "_annotations.coco.json", home / "clean")
    assert index.names == ("red", "blue")
    assert index.category_ids == CATEGORY_IDS
    data = index.open("stored")
    for row, i in enumerate(index.ids.tolist()):
        batch = data.load(np.array([row]), CPU)
        assert np.array_equal(batch.samples[0].numpy(), picture(i)[0])
        wanted = [list(map(float, box)) for *box, _ in picture(i)[1]]
        assert batch.targets[0]["boxes"].tolist() == wanted
    worse = coco(home / "contrast-2" / "_annotations.coco.json", home / "contrast-2").open("stored")
    one = rbms_api.corrupt(
        data.load(np.array([0]), CPU).samples, "contrast", 2, profile="any-size", ids=index.ids[:1]
    )
    assert torch.equal(worse.load(np.array([0]), CPU).samples, torch.as_tensor(one))


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("quick", "--out", "x"), "a folder in COCO's format is of boxes, and it asks for classification"),
        (("quick", "--out", "x", "--grid"), "--out is for all cells of a suite"),
        (("a.png", "--name", "fog"), "give -o, the picture to write, or --out"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(argv, says, rbms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = rbms("corrupt", *argv)
    assert found.code == 2
    assert says in found.err
    assert not Path("x").exists()
