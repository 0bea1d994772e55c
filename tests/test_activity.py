"""Windows of signals run, recorded, trained and asked as files: the task of activities."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UserError
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import summarise
from robustbench_ms.statistics.intervals import group_interval
from robustbench_ms.subjects.training import train
from robustbench_ms.tasks.activity.measures import SCORERS
from robustbench_ms.tasks.outcomes import Outcomes
from tests import signalled

CARD = 'build = "tests.test_activity:listens"\n[input]\nchannels = "signals"\nmean = [0.0]\nstd = [1.0]\n'


class Listens(nn.Module):
    """Tells the class by the gyroscope's mean, which is about -1, 0 or 1."""

    def forward(self, windows):
        middle = windows[:, 3].mean(1, keepdim=True)
        return -((middle - torch.tensor([-1.0, 0.0, 1.0])) ** 2) * 4


def listens():
    return Listens()


class Mistakes(Listens):
    """Is wrong about every sixth window or so."""

    def forward(self, windows):
        wrong = (windows[:, 0, 0] * 1000).int() % 6 == 0
        found = super().forward(windows)
        return torch.where(wrong[:, None], -found, found)


def mistakes():
    return Mistakes()


def run(rbms, tmp_path, card=CARD, **suite):
    path = tmp_path / "listens.toml"
    path.write_text(card)
    return rbms("run", signalled.npz_suite(tmp_path / "own", **suite), "-m", path, "--device", "cpu")


def test_a_run_and_its_record(tmp_path, rbms):
    found = run(rbms, tmp_path)
    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    record, samples = read_record(path), read_record(path).samples()
    clean = record.cell("clean")

    assert (
        clean.values["accuracy"]["mean"]
        > 0.9
        > record.cell("fault=noise,level=5").values["macro_f1"]["mean"] / 2
    )
    assert samples.groups.tolist() == (np.arange(60) * 6 // 60).tolist()
    assert rbms("check", path).code == 0
    assert samples.runs.tolist() == (np.arange(60) // 2).tolist()
    assert record.suite["alike"] == "runs of one group and class"
    counts = samples.tables["macro_f1/counts"]
    assert counts.shape == (5, 3, 3)
    assert counts.sum((1, 2)).tolist() == [60] * 5
    assert np.trace(counts[0]) == samples.row("clean").sum()
    assert counts[0].sum(1).tolist() == [20] * 3  # rows are labels
    shown = summarise(record, ("clean_accuracy", "clean_macro_f1"), samples)
    bits = samples.row("clean").astype(float)
    left = np.array([bits[samples.groups != g].mean() for g in range(6)])
    wanted = 2.570581835636314 * np.sqrt(5 / 6 * ((left - left.mean()) ** 2).sum())
    assert shown["clean_accuracy"].low == pytest.approx(max(0, bits.mean() - wanted))
    assert shown["clean_accuracy"].high == pytest.approx(min(1, bits.mean() + wanted))
    assert shown["clean_macro_f1"].high <= 1
    old = shutil.copytree(path.parent, tmp_path / "old") / path.name
    assert samples.runs.tolist() == (np.arange(60) // 2).tolist()
    told = rbms(
        "gate", path, "--against", old, "--rule", "clean_macro_f1=5pp", "--rule", "clean_accuracy=5pp"
    )
    assert told.code == 0, told.out


def test_a_gate_of_another_model_is_over_runs_and_the_worst_fault_over_groups(tmp_path, rbms):
    rules = [
        "clean_accuracy=30pp",
        "worst_fault_accuracy=60pp",
        "retained=60pp",
        "floor:worst_fault_accuracy=5pp",
    ]
    words = [word for rule in rules for word in ("--rule", rule)]
    everything = {"faults": 'fault = "common"\nlevel = [1, 2, 3, 4, 5]'}
    for name, groups in (("with", {}), ("without", {"groups": None})):
        folder = tmp_path / name
        folder.mkdir()
        good = run(rbms, folder, arrays=groups, **everything)
        assert good.code == 0, good.err
        (reference,) = (tmp_path / "results").rglob("listens.json")
        kept = shutil.copytree(reference.parent, folder / "kept") / reference.name
        shutil.rmtree(tmp_path / "results")
        poor = run(rbms, folder, CARD.replace(":listens", ":mistakes"), arrays=groups, **everything)
        assert poor.code == 0, poor.err
        (candidate,) = (tmp_path / "results").rglob("listens.json")
        (told,) = json.loads(rbms("gate", candidate, "--against", kept, *words, "--json").out)["candidates"]
        states = {one["rule"]: (one["state"], one["method"], one["n"]) for one in told["rules"]}

        assert states["clean_accuracy=30pp"] == ("pass", "Gaffke's bound over runs", 30)
        assert states["retained=60pp"][2] == 30
        if name == "with":
            assert states["worst_fault_accuracy=60pp"][:2] == ("pass", "Student's t on a jackknife of groups")
            assert states["floor:worst_fault_accuracy=5pp"][0] == "pass"
        else:
            why = next(one["reason"] for one in told["rules"] if one["rule"] == "worst_fault_accuracy=60pp")
            assert states["worst_fault_accuracy=60pp"][0] == "missing"
            assert "worst_fault_accuracy is no mean over samples" in why


def test_fewer_than_five_groups_have_no_interval():
    assert np.isnan(group_interval(0.5, np.array([0.4, 0.5, 0.6, 0.5]), (0, 1)).low)
    assert group_interval(0.5, np.array([0.0, 0.5, 1.0, 0.5, 0.5]), (0, 1))[1:] == (0, 1)


def test_macro_f1_is_scikit_learns():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    label, said = random.integers(0, 4, 200), random.integers(0, 5, 200)
    (scorer,) = [one for one in SCORERS if one.names == ("macro_f1",)]
    groups = np.arange(200) // 20
    found = scorer.measure(
        Outcomes({"prediction": said}), Outcomes({"label": label}), np.arange(200), groups
    )["macro_f1"]  # fmt: skip

    assert found.mean == pytest.approx(f1_score(label, said, labels=range(4), average="macro"))
    assert found.replicates.shape == (10,)


@pytest.mark.parametrize(
    ("card", "told"),
    [
        (CARD.replace('channels = "signals"\n', ""), "its [input] is of images"),
        (
            CARD.replace("mean = [0.0]", "mean = [0.0, 1.0]").replace("std = [1.0]", "std = [1, 1]"),
            "2 numbers, and the windows have 9",
        ),
        (
            'build = "robustbench_ms.models:HybridHAR"\n[args]\nclasses = 3\nin_channels = 6\n',
            "to have 6 channels, but got 9",
        ),
    ],
)  # fmt: skip
def test_models_for_others_are_told_in_a_sentence(tmp_path, rbms, card, told):
    found = run(rbms, tmp_path, card)

    assert told in " ".join((found.out + found.err).split())
    assert "Traceback" not in found.err


def test_faults_need_scales_and_images_have_none(tmp_path, rbms):
    text = signalled.npz_suite(tmp_path / "own").read_text()
    found = run(rbms, tmp_path, replace=[(text[text.index("[scales]") :], "")])
    assert "it needs [scales]" in " ".join((found.out + found.err).split())
    found = run(rbms, tmp_path, replace=[("body_gyro_x = [", "body_gyro_q = [")])
    assert "no channel named 'body_gyro_q'" in " ".join((found.out + found.err).split())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_an_onnx_file_answers_signals(tmp_path, rbms):
    pytest.importorskip("onnxruntime")
    torch.onnx.export(
        Listens(), (torch.zeros(2, 9, 128),), tmp_path / "listens.onnx", dynamo=False,
        input_names=["x"], dynamic_axes={"x": {0: "n"}},
    )  # fmt: skip
    file = f"onnx:{tmp_path / 'listens.onnx'}"
    found = rbms("run", signalled.npz_suite(tmp_path / "own"), "-m", file, "--device", "cpu")

    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    assert read_record(path).cell("clean").values["accuracy"]["mean"] > 0.9


def test_whole_groups_are_held_out(tmp_path, places, monkeypatch):
    signalled.har_folder(places.data, monkeypatch)
    card = find_card("har-linear")
    card = replace(card, recipe={**card.recipe, "epochs": 2, "warmup_epochs": 1, "batch_size": 4})

    def trained(**more):
        changed = replace(card, recipe={**card.recipe, **more})
        return list(train(changed, tmp_path / "w.safetensors", places, device="cpu"))

    found = trained(held_out_groups=[3])
    assert found[-1].held_out in {0, 0.25, 0.5, 0.75, 1.0}, "of four windows"
    assert trained()[-1].held_out is None
    for more, told in (
        ({"held_out_groups": [9]}, "trains on no group 9; there are 2, 3, 4"),
        ({"held_out_groups": [2, 3, 4]}, "leaves no group"),
        ({"held_out_groups": [2], "held_out": 0.1}, "exclude each other"),
        ({"augment": ["flip"]}, "augment is for images"),
    ):
        with pytest.raises(UserError, match=told):
            trained(**more)


def test_the_shipped_suites_are_read():
    from pathlib import Path

    for path in sorted((Path(__file__).parent.parent / "suites").glob("*har*.toml")):
        suite = read_suite(path)
        assert suite.task == "activity"
        assert not suite.matrix or (len(suite.matrix["fault"]), len(suite.matrix["level"])) == (19, 5)


def test_a_window_is_drawn_under_each_fault_with_where_accuracy_went(tmp_path, rbms):
    from PIL import Image

    assert run(rbms, tmp_path, CARD.replace(":listens", ":mistakes")).code == 0
    (path,) = (tmp_path / "results").rglob("listens.json")
    suite, drawn = tmp_path / "own" / "own.toml", tmp_path / "drawn.png"
    told = json.loads(rbms("show", path, "--signals", drawn, "--suite", suite, "--json").out)
    with Image.open(drawn) as picture:
        size = picture.size
        colours = {colour for _, colour in picture.getcolors(1 << 24)}

    assert told["cells"] == ["clean", "bias-5", "noise-5"]
    assert told["size"] == list(size)
    assert size[0] > 3 * 300
    assert {(0, 114, 178), (230, 159, 0), (0, 158, 115)} <= colours  # the three axes
    one = rbms("show", path, "--signals", drawn, "--suite", suite, "--ids", "7", "--cells", "clean")
    assert (one.code, one.out.strip()) == (0, str(drawn))
    for words, said in (
        (("--ids", "7,8"), "--signals draws one window, and 2 are named"),
        (("--cells", "blur-1"), "no cell"),
        (("--images", "a.png"), "--images and --signals draw one sheet each"),
    ):
        refused = rbms("show", path, "--signals", drawn, "--suite", suite, *words)
        assert refused.code == 2
        assert said in refused.err, refused.err
