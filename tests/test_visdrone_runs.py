"""VisDrone from a folder to a verdict: the official numbers, and COCO's on converted boxes, side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from robustbench_ms.catalog.cards import read_card
from robustbench_ms.catalog.registry import answers_of
from robustbench_ms.datasets.visdrone import NAMES
from robustbench_ms.errors import UserError
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Output
from robustbench_ms.tasks.detection.visdrone_metric import Official

IMAGES = 30
"""The fewest that a gate takes."""
CARD = """\
build = "tests.boxes.model:finds"
tasks = ["detection"]
args = {{ shift = {shift} }}
[input]
range = [0, 1]
[output]
score = 0.001
maximum = {maximum}
labels = {labels}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Pictures of 32 x 40: in each a red pedestrian, in every fifth a blue bus that no detector finds whole."""
    folder = tmp_path_factory.mktemp("data")
    root = folder / "VisDrone2019-DET-val"
    random = np.random.default_rng(7)
    for part in ("images", "annotations"):
        (root / part).mkdir(parents=True)
    for i in range(IMAGES):
        image = np.full((32, 40, 3), 40, np.uint8)
        x, y, side = (int(v) for v in random.integers((2, 2, 8), (10, 14, 14)))
        image[y : y + side, x : x + side, 0] = 250
        rows = [f"{x},{y},{side},{side},1,1,0,0", "36,28,4,4,0,0,0,0"]
        if i % 5 == 0:
            image[4:12, 26:36, 2] = 250
            rows.append("26,4,10,20,1,9,0,0")
        (root / "annotations" / f"{i:04}.txt").write_text(",\n".join(rows))
        Image.fromarray(image).save(root / "images" / f"{i:04}.png")
    return folder


def card(folder, name, shift=0.0, maximum=500):
    path = folder / f"{name}.toml"
    labels = ["pedestrian", "bus", *(name for name in NAMES if name not in {"pedestrian", "bus"})]
    path.write_text(CARD.format(shift=shift, maximum=maximum, labels=json.dumps(labels)))
    return path


@pytest.mark.parametrize(
    ("suite", "gated", "columns"),
    [
        ("visdrone", "VD_P", ["VD_P", "P", "P50"]),
        pytest.param(
            "visdrone-c", "VD_mPC", ["VD_mPC", "VD_P", "VD_rPC", "mPC", "P", "rPC"], marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_reports_both_and_the_gate_judges_the_official_one(suite, gated, columns, data, rbms, tmp_path):
    good, worse = card(tmp_path, "finds"), card(tmp_path, "worse", 3.0)
    ran = rbms("run", suite, "-m", good, "-m", worse, "--data", data, "--device", "cpu")
    assert ran.code == 0, ran.err
    folder = tmp_path / "results" / suite
    clean = read_record(folder / "finds.json").cell("clean").values

    # Every pedestrian is found whole, and of the bus too little for any threshold.
    assert clean["VD_AP"]["mean"] == pytest.approx(IMAGES / (IMAGES + IMAGES / 5))
    assert clean["AP"]["mean"] == pytest.approx(1 / 2)

    (table,) = rbms("leaderboard", suite, "--json").json()[suite]
    best = table["rows"][0]["values"]
    assert [*best] == columns
    assert best["VD_P"]["mean"] == pytest.approx(clean["VD_AP"]["mean"])
    assert best[gated]["mean"] > 1.2 * best[gated.removeprefix("VD_")]["mean"]

    asked = ("gate", folder / "worse.json", "--against", folder / "finds.json", "--rule")
    judged = rbms(*asked, f"{gated}=1pp")
    assert (judged.code, f"{gated}=1pp" in judged.out) == (1, True)
    assert rbms(*asked, f"{gated}=100pp").code == 0


def test_one_of_the_two_tasks_is_answered_by_models_of_the_other(data, rbms, tmp_path):
    assert answers_of("detection-visdrone") == answers_of("detection") == "detection"
    path = card(tmp_path, "finds")
    path.write_text(path.read_text().replace('["detection"]', '["detection-visdrone"]'))
    with pytest.raises(UserError, match="write 'detection', whose models answer detection-visdrone too"):
        read_card(path)
    found = rbms("run", "visdrone", "-m", "digits-resnet8", "--data", data)
    assert found.code == 2
    assert "does classification, and suite visdrone asks for detection" in found.err


def test_fewer_detections_than_the_official_ones_are_a_note(data, rbms, tmp_path):
    path = card(tmp_path, "few", maximum=100)

    found = rbms("run", "visdrone", "-m", path, "--data", data, "--device", "cpu")

    told = "maximum = 100: VisDrone's numbers are over 500 detections an image"
    assert told in found.out
    assert told in read_record(tmp_path / "results" / "visdrone" / "few.json").health["warnings"][-1]
    assert Official().lacks(Output(maximum=500)) == []
