"""Attention in other people's networks: where it goes, what it counts, what is refused."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
import torchvision
from torch import nn

from robustbench_ms.errors import UserError
from robustbench_ms.models import (
    attention_blocks,
    backbone,
    insert,
    resnet18,
    resnet50,
    resnet101,
)
from robustbench_ms.models.costs import parameters
from robustbench_ms.models.tracing import last_norms, meta_copy


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(autouse=True)
def weightless():
    """No numbers are needed to count, and a ResNet-101 of numbers takes seconds to draw."""
    with torch.device("meta"):
        yield


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        ({}, 25_557_032),
        ({"attention": "se"}, 28_088_024),
        ({"attention": "se", "bias": False}, 28_071_976),
        ({"attention": "cbam"}, 28_089_624),
        ({"attention": "cbam", "bias": False}, 28_073_576),
        ({"attention": "bam"}, 25_915_099),
        ({"attention": "coord"}, 27_474_864),
        ({"attention": "gc"}, 28_105_032),
        ({"attention": "gc", "reduction": 8}, 30_622_808),
        ({"attention": "eca"}, 25_557_032 + 86),
        ({"attention": "eca", "gamma": 1, "beta": -5}, 25_557_032 + 80),
        ({"attention": "sa"}, 25_557_740),
        ({"attention": "nam"}, 25_557_032 + 30_208),
        ({"attention": "triplet"}, 25_557_032 + 16 * 300),
        ({"attention": "simam"}, 25_557_032),
        ({"attention": "ge"}, 25_557_032),
        ({"attention": "ema"}, 25_755_400),
        ({"attention": "ema", "factor": 32}, 25_755_400),
        ({"attention": "ema", "factor": 16}, 25_557_032 + 789_696),
        ({"attention": "ema", "factor": 8}, 28_708_264),
        ({"attention": "dmsca"}, 28_136_648),
    ],
    ids=str,
)
def test_parameters_of_resnet50_are_the_published_ones(arguments, total):
    assert count(resnet50(**arguments)) == total


@pytest.mark.parametrize(
    ("build", "arguments", "full", "conv_linear"),
    [
        (resnet50, {}, 23_705_252, None),
        (resnet50, {"attention": "ema"}, 23_903_620, 23_849_556),
        (resnet50, {"attention": "coord"}, 25_623_084, 25_569_020),
        (resnet50, {"attention": "cbam"}, 26_237_844, None),
        (resnet50, {"attention": "bam"}, 24_063_319, None),
        (resnet50, {"attention": "nam"}, 23_735_460, None),
        (resnet101, {}, 42_697_380, None),
        (resnet101, {"attention": "ema"}, 43_072_004, 42_964_628),
        (resnet101, {"attention": "coord"}, 46_322_828, 46_215_452),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_cifar_100_rows_of_the_ema_paper(build, arguments, full, conv_linear):
    """Its own rows and CA's count convolutions and linear layers alone, the others everything."""
    found = parameters(build(100, stem="cifar", **arguments))

    assert found["parameters"] == full
    assert conv_linear in {None, found["conv_linear_parameters"]}


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        ({}, 11_689_512),
        ({"attention": "se"}, 11_778_592),
        ({"attention": "cbam"}, 11_779_392),
        ({"attention": "ema"}, 11_689_512 + 7_040),
        ({"attention": "ema", "factor": 8}, 11_689_512 + 109_760),
    ],
    ids=str,
)
def test_parameters_of_resnet18_are_the_published_ones(arguments, total):
    assert count(resnet18(**arguments)) == total


BACKBONES = [
    ("timm:resnet18", None, 8),
    ("timm:resnet18", "residual", 8),
    ("timm:resnet50d", "residual", 16),
    ("timm:seresnet50", "slot", 16),
    ("timm:wide_resnet50_2", "between", 3),
    ("timm:resnetrs50", "slot", 16),
    ("timm:gernet_s", "slot", 14),
    ("timm:mobilenetv2_100", "residual", 10),
    ("timm:mobilenetv2_100", "blocks.*.*.bn2", 17),
    ("timm:mobilenetv3_large_100", "slot", 15),
    ("timm:efficientnet_b0", "slot", 16),
    ("timm:regnetx_004", "residual", 22),
    ("timm:regnety_004", "slot", 16),
    ("timm:regnety_004", "stage", 4),
    ("timm:convnext_tiny", "stage", 4),
    ("timm:densenet121", "stage", 4),
    ("timm:repvgg_a0", "stage", 4),
    ("timm:dla34", "residual", 12),
    ("torchvision:resnet50", "residual", 16),
    ("torchvision:resnet18", "stage", 4),
    ("torchvision:mobilenet_v2", "residual", 10),
    ("torchvision:mnasnet1_0", "residual", 10),
    ("torchvision:efficientnet_b0", "slot", 16),
    ("torchvision:shufflenet_v2_x1_0", "stage", 3),
    ("torchvision:squeezenet1_0", ["features.9", "features.12"], 2),
    ("torchvision:vgg16_bn", "features.23", 1),
]


RENAMED = {("timm:regnety_004", "stage"), ("timm:densenet121", "stage")}


@pytest.mark.parametrize(("name", "position", "places"), BACKBONES, ids=str)
def test_it_goes_into_many_backbones(name, position, places):
    plain = backbone(name)
    model = backbone(name, attention="simam", position=position)
    blocks = [part for part in model.modules() if type(part).__name__ == "SimAM"]

    assert len(blocks) == places
    calls = []
    for block in blocks:
        block.register_forward_hook(lambda block, *_: calls.append(id(block)))
    assert model.eval()(torch.empty(2, 3, 64, 64)).shape == (2, 1000)
    assert sorted(calls) == sorted(map(id, blocks))
    if position not in (None, "slot") and (name, str(position)) not in RENAMED:
        assert set(model.state_dict()) == set(plain.state_dict())


def test_timms_slot_is_the_place_before_the_addition():
    """timm knows its own slot; the traced pass must find the same place, and the same answer."""
    with torch.device("cpu"):
        torch.manual_seed(0)
        slotted = backbone("timm:resnet18", 10, attention="se", position="slot").eval()
        found = backbone("timm:resnet18", 10, attention="se", position="residual").eval()
        for norm in (m for m in slotted.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.ones_(norm.weight)  # timm starts the last one at zero, where nothing could be seen
        state = slotted.state_dict()
        found.load_state_dict({k.replace(".se.", ".bn2.attention."): v for k, v in state.items()})
        x = torch.randn(2, 3, 64, 64)

        torch.testing.assert_close(found(x), slotted(x))


def test_the_branch_is_told_from_its_shortcut():
    """Both end in a norm where the size changes; only the branch's is meant."""
    names = last_norms(meta_copy(torchvision.models.resnet50(weights=None)), (3, 224, 224))

    assert names == [
        f"layer{s}.{b}.bn3" for s, n in zip((1, 2, 3, 4), (3, 4, 6, 3), strict=True) for b in range(n)
    ]


def test_the_networks_own_parameters_keep_their_names():
    with torch.device("cpu"):
        weights = timm.create_model("resnet18").state_dict()
        for position in ("slot", "residual", "stage", "layer3"):
            model = backbone("timm:resnet18", attention="ema", position=position)
            missing = model.load_state_dict(weights, strict=False)

            assert not missing.unexpected_keys
            assert all(".se." in n or ".attention." in n for n in missing.missing_keys)


def test_an_inserted_network_copies_and_trains():
    with torch.device("cpu"):
        torch.manual_seed(0)
        model = backbone("torchvision:resnet18", 10, attention="ema", position="residual", factor=8)
        blocks = attention_blocks(model)
        assert next(iter(blocks)) == "layer1.0.bn2.attention"
        assert len(blocks) == 8
        twin = copy.deepcopy(model).eval()
        x = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(twin(x), copy.deepcopy(model).eval()(x))
        nn.init.zeros_(attention_blocks(twin)["layer4.1.bn2.attention"].conv1x1.weight)
        assert attention_blocks(model)["layer4.1.bn2.attention"].conv1x1.weight.abs().max() > 0
        model(x).sum().backward()

        assert all(p.grad is not None for p in model.parameters())


def test_it_exports_and_compiles_where_it_hangs_on_a_norm():
    with torch.device("cpu"):
        torch.manual_seed(0)
        torch.compiler.reset()
        model = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1]).eval()
        insert(model, "eca", "residual")
        x = torch.randn(2, 3, 32, 32)
        program = torch.export.export(model, (x,))

        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)


def test_channels_are_read_from_each_place():
    model = insert(torchvision.models.mobilenet_v2(weights=None), "ema", "residual", factor=8)

    assert [b.channels for b in attention_blocks(model).values()] == [
        24,
        32,
        32,
        64,
        64,
        64,
        96,
        96,
        160,
        160,
    ]


def test_a_network_of_another_input():
    class Grey(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3))
            self.b = nn.Linear(8 * 24 * 24, 3)

        def forward(self, x):
            return self.b(self.a(x).flatten(1))

    with pytest.raises(UserError, match=r"Grey cannot take an input of size \(1, 224, 224\): RuntimeError"):
        insert(Grey(), "se", "a", reduction=2)
    model = insert(Grey(), "se", "a", input_size=(1, 28, 28), reduction=2)

    assert model(torch.empty(2, 1, 28, 28)).shape == (2, 3)
    assert model.a.attention.fc1.in_channels == 8


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("timm:resnet50", {"attention": "emma"}, "no attention named 'emma'; did you mean 'ema'"),
        (
            "timm:resnet50",
            {"attention": "ema", "facto": 3},
            "takes no argument 'facto'; did you mean 'factor'",
        ),
        (
            "timm:resnet50",
            {"attention": "ema", "factor": 48},
            "position 'layer1.0.se': factor=48 does not divide 256",
        ),
        ("timm:resnet50", {"position": "stage"}, "position: given without an attention"),
        ("timm:resnet50", {"factor": 8}, "factor: given without an attention"),
        (
            "timm:resnet50",
            {"attention": "se", "position": "stages"},
            "no module of ResNet is named 'stages'.*'stage'",
        ),
        ("timm:resnet50", {"attention": "se", "position": "layr4"}, "did you mean 'layer4'"),
        ("timm:resnet50", {"attention": "se", "position": "fc"}, r"'fc' has an output of shape \(1, 1000\)"),
        ("timm:resnet50", {"attention": "se", "position": 3}, "position must be a name or a list of names"),
        ("timm:resnet50", {"attention": "se", "position": []}, "position must be a name or a list of names"),
        (
            "torchvision:resnet50",
            {"attention": "se"},
            "ResNet has no slots for attention; position must be 'residual'",
        ),
        (
            "torchvision:convnext_tiny",
            {"attention": "se", "position": "residual"},
            "no norm of ConvNeXt is followed by a residual addition; position may be 'stage'",
        ),
        (
            "timm:seresnet18",  # its own blocks stand between
            {"attention": "se", "position": "residual"},
            "no norm of ResNet is followed by a residual addition; position may be 'slot', 'stage'",
        ),
        ("torchvision:vgg11", {"attention": "se", "position": "stage"}, "the stages of VGG are not known"),
        ("timm:vit_tiny_patch16_224", {"attention": "se"}, "VisionTransformer has no slots"),
        ("timm:vit_tiny_patch16_224", {"attention": "se", "position": "blocks.1"}, r"shape \(1, 197, 192\)"),
        ("timm:resnt50", {}, "timm has no model named 'resnt50'; did you mean 'resnet50'"),
        ("torchvision:resnet5", {}, "torchvision has no model named 'resnet5'; did you mean"),
        ("resnet50", {}, "name must be timm:NAME or torchvision:NAME"),
        ("torchvision:resnet18", {"in_channels": 1}, "in_channels must be 3 for torchvision"),
        ("timm:resnet18", {"classes": 0}, "classes must be an integer of at least 1"),
    ],
    ids=str,
)
def test_what_cannot_be_inserted_is_refused(name, arguments, message):
    with pytest.raises(UserError, match=message):
        backbone(name, **arguments)


def test_a_stem_that_does_not_exist_is_refused():
    with pytest.raises(UserError, match="no stem named 'cifar10'; did you mean 'cifar'"):
        resnet50(stem="cifar10")
