"""Costs against arithmetic that can be done by hand and against published figures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustbench_ms.errors import UserError
from robustbench_ms.models import AMSRANet, HybridHAR, backbone, create_attention, resnet50, resnet_cifar
from robustbench_ms.models.costs import costs


def test_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        create_attention("se", 8, reduction=4),
        nn.Flatten(),
        nn.Linear(8 * 20, 5),
    )
    se = 8 * 2 + 2 + 2 * 8 + 8

    assert costs(model, (3, 4, 5)) == {
        "input": [3, 4, 5],
        "parameters": 216 + 16 + se + 805,
        "conv_linear_parameters": 216 + se + 805,
        "macs": 216 * 20 + 16 + 16 + 800,
        "macs_run": 216 * 20 + 16 + 16 + 800,
        "activations": 160 + 2 + 8 + 5,
        "attention": {
            "blocks": 1,
            "parameters": se,
            "conv_linear_parameters": se,
            "macs": 32,
            "macs_run": 32,
            "activations": 10,
        },
    }


@pytest.mark.parametrize(
    ("arguments", "gmacs", "share"),
    [({}, 4.089, 0), ({"attention": "se"}, 4.092, 2_530_992), ({"attention": "ema"}, 5.039, 198_368)],
    ids=str,
)
def test_resnet50(arguments, gmacs, share):
    """4.11 G in the literature counts the norms and the pooling too."""
    with torch.device("meta"):
        found = costs(resnet50(**arguments))

    assert found["input"] == [3, 224, 224]
    assert found["macs"] / 1e9 == pytest.approx(gmacs, abs=0.001)
    assert found["attention"]["parameters"] == share


def test_emas_multiply_adds_as_its_equations_read_and_as_they_are_run():
    """10 c^2 weights at every pixel of every group, and four products of c; folded, 9 c + c."""
    block, C, side, G = create_attention("ema", 64, factor=8), 64, 16, 8
    c = C // G
    found = costs(block, (C, side, side))
    pixels = side * side

    assert found["macs"] == G * (c * c * 2 * side + 9 * c * c * pixels + 2 * c * pixels)
    assert found["macs_run"] == G * (c * c * 2 * side + 9 * c * pixels + c * pixels + 9 * c * c) + 9 * c * c


def test_the_model_is_left_as_it_was():
    model = resnet_cifar(8, 8, attention="ema", factor=4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    costs(model, (3, 32, 32))

    assert model.training
    assert model.layer1[0].attention.folded
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model._forward_hooks


@pytest.mark.parametrize(
    ("model", "size", "gmacs"),
    [
        (AMSRANet, (3, 32, 32), 0.245),
        (lambda: resnet_cifar(20), (3, 32, 32), 0.0405),
        (HybridHAR, (9, 128), 0.00716),
    ],
    ids=["amsra", "resnet20", "har"],
)
def test_networks(model, size, gmacs):
    assert costs(model(), size)["macs"] / 1e9 == pytest.approx(gmacs, rel=0.01)


def test_the_share_is_of_the_outermost_blocks():
    """CBAM holds two halves, and they are counted once."""
    with torch.device("meta"):
        found = costs(resnet50(attention="cbam"))["attention"]

    assert found["blocks"] == 16
    assert found["parameters"] == 28_089_624 - 25_557_032


@pytest.mark.parametrize(
    ("name", "position", "blocks", "own"),
    [
        ("timm:seresnet18", "stage", 12, 8),
        ("timm:seresnet18", "slot", 8, None),
        ("timm:seresnet18", None, 8, None),
        ("timm:resnet18", "residual", 8, None),
        ("timm:efficientnet_b0", "residual", 25, 16),
        ("torchvision:efficientnet_b0", "residual", 25, 16),
    ],
)
def test_a_backbones_own_blocks_are_told_beside_those_put_in(name, position, blocks, own):
    put = {} if position is None else {"attention": "simam", "position": position}
    with torch.device("meta"):
        found = costs(backbone(name, **put))["attention"]

    assert (found["blocks"], found.get("own")) == (blocks, own)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((3, 32), "takes an input of shape"),
        ((4, 32, 32), "cannot take an input of size"),
        ((), "input_size must be a list such as"),
        (("3", "4"), "input_size must be a list such as"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(size, message):
    with pytest.raises(UserError, match=message):
        costs(resnet_cifar(8, 8), size)


def test_a_network_without_convolutions_must_say_its_input():
    with pytest.raises(UserError, match="input_size must be given"):
        costs(HybridHAR())
