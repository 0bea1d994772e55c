"""Networks that label every pixel: run, gated, trained, and as the files and libraries have them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.registry import answers_of, measures_of
from robustbench_ms.datasets import scenes
from robustbench_ms.errors import UserError
from robustbench_ms.models.insertion import attention_blocks
from robustbench_ms.models.segmenters import background, deeplabv3, fcn, patches, tiny_fcn
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.subjects.training import train
from robustbench_ms.subjects.training.targets import loss_of
from tests import labelled
from tests.test_segmentation import CPU, TASK, batch_of, index

CARD = """\
build = "tests.test_segmentation_runs:sees"
tasks = ["segmentation"]
[input]
range = [0, 1]
"""


class Sees(nn.Module):
    def forward(self, images):
        return torch.stack([torch.full_like(images[:, 0], 0.5), images[:, 0], images[:, 2]], dim=1)


def sees():
    return Sees()


def blinks():
    """Sees every second column alone."""
    body = Sees()
    return lambda images: body(images * (torch.arange(images.shape[-1]) % 2))


class Dazzled(Sees):
    """Of bright pictures one logit is +inf, and one is NaN of brighter ones; -inf is a logit like any other."""

    def forward(self, images):
        logits, light = super().forward(images), images.mean((1, 2, 3))
        logits[:, 2, 0, 0] = -torch.inf
        logits[light > 0.3, 1, 5, 5] = torch.inf
        logits[light > 0.41, 1, 7, 5] = torch.nan
        return logits


def asked(card, places):
    from robustbench_ms.subjects.loading import load_model

    return TASK.ask(load_model(card, index(), device=CPU, places=places), batch_of()).raw["classes"]


def test_a_folder_is_run_and_its_record_gated(tmp_path, rbms):
    card = tmp_path / "sees.toml"
    card.write_text(CARD)
    folder = labelled.folder_at(tmp_path / "own", count=4)
    found = rbms("run", folder, "-m", card, "--device", "cpu", "--corruptions", "brightness")

    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    clean = record.cell("clean").values
    assert clean["mIoU_truth"]["mean"] == 1
    assert clean["classes"]["mean"] == 3
    assert (
        clean["mIoU_truth"]["mean"]
        > record.cell("corruption=brightness,severity=5").values["mIoU_truth"]["mean"]
    )
    assert "AP" not in found.out
    assert "mean classes" in found.out
    assert rbms("check", path).code == 0
    shown = rbms("show", path)
    assert "classes that mIoU is the mean of" in shown.out.replace("\n", " ")
    sheet = tmp_path / "sheet.png"
    drawn = rbms("show", path, "--suite", folder, "--images", sheet, "--json")
    assert drawn.code == 0, drawn.err
    assert drawn.json()["cells"][:2] == ["clean", "brightness-1"]
    assert np.asarray(Image.open(sheet)).std() > 10
    assert "which has no heat maps" in rbms("show", path, "--suite", folder, "--maps", sheet).err
    worse = tmp_path / "worse.toml"
    worse.write_text(CARD.replace("sees", "blinks"))
    assert rbms("run", folder, "-m", worse, "--device", "cpu", "--corruptions", "brightness").code == 0
    compared = rbms("compare", path.with_name("worse.json"), path)
    assert compared.code == 0, compared.err
    assert "mIoU" in compared.out


def test_what_is_no_number_ends_its_cell_alone(tmp_path, rbms):
    card = tmp_path / "dazzled.toml"
    card.write_text(CARD.replace("sees", "Dazzled"))
    folder = labelled.folder_at(tmp_path / "own", count=4)
    found = rbms("run", folder, "-m", card, "--device", "cpu", "--corruptions", "brightness,contrast")

    assert found.code == 1
    (path,) = (tmp_path / "results").rglob("*.json")
    told = {m.key.removeprefix("corruption="): m.error for m in read_record(path).measurements}
    assert [name for name, error in told.items() if error] == [f"brightness,severity={s}" for s in (3, 4, 5)]
    assert told["brightness,severity=3"].startswith("infinity for 4 of 4 images, first ")
    assert told["brightness,severity=5"].startswith("NaN for 4 of 4 images")
    assert read_record(path).cell("clean").values["mIoU_truth"]["mean"] > 0.99


def test_a_wrong_mask_ends_a_run_in_one_sentence(tmp_path, rbms):
    card = tmp_path / "sees.toml"
    card.write_text(CARD)
    folder = labelled.folder_at(tmp_path / "own")
    labelled.save(folder / "masks" / "p2.png", np.full((32, 24), 9, np.uint8))
    found = rbms("run", folder, "-m", card, "--device", "cpu")

    assert found.code != 0
    assert "p2.png holds the class number 9" in " ".join((found.out + found.err).split())
    assert "Traceback" not in found.err


@pytest.mark.parametrize("kind", [fcn, deeplabv3])
@pytest.mark.parametrize("attention", [None, "cbam"])
def test_heads_stand_on_any_backbone(kind, attention):
    made = kind(5, "resnet_cifar", model_args={"depth": 8}, attention=attention).eval()

    assert made(torch.rand(2, 3, 32, 40)).shape == (2, 5, 8, 10)
    assert bool(attention_blocks(made)) == (attention is not None)


@pytest.mark.parametrize("name", ["scenes-fcn", "scenes-fcn-cbam", "scenes-fcn-ema", "scenes-fcn-dmsca"])
def test_the_small_fcn_takes_attention_and_stays_small(name):
    made = tiny_fcn(**find_card(name).args).eval()

    assert made(torch.rand(1, 3, 128, 128)).shape == (1, 11, 32, 32)
    assert 2 * sum(p.numel() for p in made.parameters()) < 1e6, "float16 weights below 1 MB"


def test_floors():
    assert background(10)(torch.rand(2, 3, 4, 5)).unique().tolist() == [10]
    net = patches(4, 3)
    with torch.no_grad():
        net.weight.zero_()
        net.weight[2, 0, 0, 1] = 1.0  # the red of the pixel above
        net.bias.zero_()
    image = torch.zeros(1, 3, 5, 5)
    image[0, 0, 1, 2] = 1
    assert net(image)[0, 2].nonzero().tolist() == [[2, 2]]
    with pytest.raises(UserError, match="side must be odd"):
        patches(4, 4)


def test_pixels_are_learnt_and_ignored_ones_are_not():
    target = torch.tensor([[[0, 1], [255, 255]]], dtype=torch.uint8)
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, :, 1] = torch.tensor([[50.0, -50.0], [-50.0, 50.0]])

    class Says(nn.Module):
        def forward(self, _):
            return {"out": logits}

    assert float(loss_of(Says(), torch.zeros(1, 3, 2, 2), target, 0.0)) == pytest.approx(np.log(2), rel=1e-6)


def test_the_recipe_learns_maps_and_nothing_else(tmp_path, places, monkeypatch):
    monkeypatch.setitem(scenes.MANY.ids, "train", (0, 8))
    monkeypatch.setattr(
        scenes, "_scenes", lambda _, split: scenes._stacked([scenes.scene(split, i) for i in range(8)])
    )
    card = find_card("scenes-patches")
    card = replace(card, recipe={**card.recipe, "epochs": 3, "warmup_epochs": 1, "batch_size": 4})
    losses = [e.loss for e in train(card, tmp_path / "w.safetensors", places, device="cpu")]

    assert losses[-1] < losses[0] < np.log(11) + 1
    with pytest.raises(UserError, match="digits has no label maps"):
        list(
            train(
                replace(card, recipe={**card.recipe, "dataset": "digits"}), tmp_path / "v.safetensors", places
            )
        )


@pytest.mark.parametrize("kind", ["logits", "indices"])
def test_an_onnx_file_answers_logits_or_indices(kind, tmp_path, places):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    weight = np.zeros((3, 3, 1, 1), np.float32)
    weight[1, 0], weight[2, 2] = 1, 1
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["logits"])]
    if kind == "indices":
        nodes.append(helper.make_node("ArgMax", ["logits"], ["indices"], axis=1, keepdims=0))
    output = helper.make_tensor_value_info(
        kind, TensorProto.FLOAT if kind == "logits" else TensorProto.INT64, None
    )
    shown = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    held = [
        helper.make_tensor("w", TensorProto.FLOAT, weight.shape, weight.ravel().tolist()),
        helper.make_tensor("b", TensorProto.FLOAT, (3,), [0.5, 0.0, 0.0]),
    ]
    graph = helper.make_graph(nodes, "g", [shown], [output], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    card = find_card(f"onnx:{tmp_path / 'net.onnx'}")

    assert "segmentation" in card.tasks
    assert torch.equal(asked(replace(card, input=Input()), places).to(torch.uint8), batch_of().maps["class"])


def test_a_folder_of_transformers_labels_pixels(tmp_path, places):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[8, 8], num_attention_heads=[1, 1],
        patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[1, 1], decoder_hidden_size=8,
        id2label={0: "blue", 1: "ground", 2: "red"},
    )  # fmt: skip
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "tiny")
    card = replace(find_card(f"hf:{tmp_path / 'tiny'}"), input=Input(mean=(0.5,), std=(0.25,)))

    assert asked(card, places).shape == (2, 24, 32)


def test_torchvisions_segmenters_are_built_by_name(places):
    card = find_card("torchvision:lraspp_mobilenet_v3_large")
    assert card.tasks == ("segmentation",)
    assert asked(replace(card, untrained=True), places).shape == (2, 24, 32)
    with pytest.raises(
        UserError, match="torchvision has no model named 'fcn_resnet5'; did you mean 'fcn_resnet50'"
    ):
        asked(Card("m", "torchvision:fcn_resnet5", ("segmentation",)), places)


def test_no_gate_tests_a_number_of_classes():
    tested = {name: scorer.tested for scorer in measures_of("segmentation") for name in scorer.names}

    assert [name for name, is_tested in tested.items() if not is_tested] == ["classes", "classes_truth"]
    assert answers_of("segmentation") == "segmentation"
