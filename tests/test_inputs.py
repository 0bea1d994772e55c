"""What is said of a model's input on the command line, and what a run says of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm import create_model

from robustbench_ms.catalog.model_options import ModelOptions
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.specs.card import Input
from robustbench_ms.subjects.inputs import way_of
from robustbench_ms.subjects.loading import build_module, load_model

CPU = torch.device("cpu")
SAID = {"mean": "0.5,0.4,0.3", "std": "0.25"}


def card_of(spelling, **said):
    (card,) = ModelOptions(**said).cards([spelling])
    return card


@pytest.mark.parametrize("spelling", ["timm:test_resnet", "torchvision:resnet18"])
def test_mean_and_std_are_changed_alone(spelling, tmp_path):
    weights = tmp_path / "w.pt"
    weights.touch()
    _, library = build_module(card_of(spelling, weights=weights), 10)
    _, changed = build_module(card_of(spelling, weights=weights, **SAID), 10)

    assert (changed.input.mean, changed.input.std) == ((0.5, 0.4, 0.3), (0.25,))
    ours, theirs = changed.input.described, library.input.described
    for name in ("size", "fit", "crop", "interpolation", "range", "channels", "assumed"):
        assert ours[name] == theirs[name], name
    assert ours["size"] in {160, 224}
    assert "normalised" not in ours


def test_what_nobody_else_knows_is_as_it_was(places):
    card = card_of("tests.fakes:build", **SAID)

    shown = load_model(card, index(), device=CPU, places=places).card.input

    assert shown == Input(mean=(0.5, 0.4, 0.3), std=(0.25,))
    assert card_of("digits-resnet8@0", **SAID).input.mean == (0.5, 0.4, 0.3)


def index(side=32):
    return Index(np.arange(8), Images(3, side, side), 10, asked="", opener=None)


@pytest.mark.parametrize("said", [{"size": "32"}, {"size": "32", **SAID}])
def test_a_timm_network_trained_at_32_sees_its_pictures_whole(said, places, tmp_path):
    """Its configuration is of ImageNet, crop 0.875 or so: at 32 px nothing of 32 x 32 pictures may be cut."""
    torch.manual_seed(3)
    network = create_model("test_resnet", num_classes=10).eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    known = network.pretrained_cfg
    mean, std = ((0.5, 0.4, 0.3), (0.25,) * 3) if "mean" in said else (known["mean"], known["std"])
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (mean, std))

    model = load_model(
        card_of("timm:test_resnet", weights=tmp_path / "w.pt", **said), index(), device=CPU, places=places
    )

    assert known["crop_pct"] < 1
    with torch.no_grad():
        answers = model.forward(model.prepare(pictures)[0])
        assert torch.allclose(answers, network((pictures / 255 - mean) / std), atol=1e-5)
    assert "enlarged" not in model.notes[0]


def test_on_stored_samples_of_its_own_size_nothing_is_cut_unless_it_is_asked_for():
    wanted = Input(size=32, fit="crop", crop=0.875)

    assert way_of(wanted, "stored", (32, 32)).left == Input(size=32)
    assert way_of(wanted, "stored", (36, 36)).left == wanted
    asked = card_of("tests.fakes:build", size="32", crop=0.875).input
    assert way_of(asked, "stored", (32, 32)).left.crop == 0.875


def test_every_run_says_each_models_input_in_one_line_of_its_first_seed(tiny, rbms):
    seeds = ("-m", "digits-resnet8@0", "-m", "digits-resnet8@1")
    found = rbms("run", tiny, "-m", "tests.fakes:build", *seeds, "--limit", 20)
    lines = [line for line in found.err.splitlines() if "RGB in 0..1" in line]
    assert [line.count("model tests.fakes:build: nobody said") for line in lines[:1]] == [1]
    assert "model digits-resnet8@0: its input: RGB in 0..1, mean" in lines[1]
    assert len(lines) == 2

    found = rbms("run", tiny, "-m", "tests.fakes:build", "--size", 224, "--limit", 20, "--name", "large")
    assert "224 px (resize), assumed; enlarged 32 -> 224 (--size 32 shows them as they are)\n" in found.err


def test_the_precision_is_said(tiny, rbms):
    assert card_of("tests.fakes:build", precision="bf16").precision == "bf16"
    found = rbms("run", tiny, "-m", "tests.fakes:build", "--precision", "bf61")
    assert found.code == 2
    assert "did you mean 'bf16'?" in found.err
