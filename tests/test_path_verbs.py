"""A folder in COCO's format is gated, planned and reproduced as it is run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from robustbench_ms.records.record import read_record
from tests.cocofolders import SIZES, described, folder_at, pixels
from tests.test_run_path import CARD

BRIGHTER = ("--corruptions", "brightness")


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "finds.toml"
    path.write_text(CARD)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two annotation files, of which one is meant."""
    root = tmp_path / "mine"
    folder_at(root)
    (root / "annotations" / "instances_other.json").write_text(json.dumps(described()))
    return root


def meant(folder):
    return folder, "--annotations", "annotations/instances_val.json"


def test_a_plan_of_a_folder_counts_its_pictures(folder, rbms):
    found = rbms("plan", *meant(folder), *BRIGHTER, "--json").json()

    assert (len(found["conditions"]), found["images_per_cell"]) == (6, 3)
    assert found["suite"].startswith("mine-")
    assert "A gate on 3 images: what it notices is known from 30 on" in rbms("plan", *meant(folder)).out
    assert "choose one with --annotations" in rbms("plan", folder).err


def test_a_gate_of_a_folder_is_of_what_was_run(folder, card, rbms, tmp_path):
    asked = (*meant(folder), "-m", card, "--device", "cpu")
    assert rbms("run", *asked, *BRIGHTER).code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    rule = ("--rule", "AP[clean]=1pp")

    judged = rbms("gate", *asked, *BRIGHTER, "--against", path, *rule)
    assert judged.code == 2  # three pictures are too few to be told, and nothing else is wrong
    assert "3 images say nothing certain of AP" in judged.out
    assert "suite mine-" in (told := rbms("gate", *asked, "--against", path).err)
    assert "has no rules of its own; give one, as --rule P=0.5pp" in told
    wrong = rbms("gate", path, "--against", path, *rule, "--annotations", "x.json")
    assert (wrong.code, "--annotations speak of what is measured" in wrong.err) == (2, True)


def test_a_record_of_a_folder_is_reproduced_where_the_pictures_are(folder, card, rbms, tmp_path):
    asked = (*meant(folder), "-m", card, "--device", "cpu", *BRIGHTER)
    assert rbms("run", *asked).code == 0
    (path,) = (tmp_path / "results").rglob("*.json")
    again = ("reproduce", path, "-m", card, "--device", "cpu")

    assert "give its file or its folder with --suite" in rbms(*again).err
    told = rbms(*again, "--suite", *meant(folder), "--json")
    assert told.code == 0, told.err
    (one,) = told.json()["models"]
    assert one["counts"] == {"equal": sum(len(m.values) for m in read_record(path).measurements)}
    assert rbms("reproduce", *asked).code == 0
    assert "are those of the record" in rbms(*again, "--suite", *meant(folder), *BRIGHTER).err
    Image.fromarray(255 - np.asarray(pixels(1, *SIZES[0]))).save(folder / "val" / "1.png")
    told = rbms(*again, "--suite", *meant(folder))
    assert (told.code, "other pictures" in told.err) == (2, True)
