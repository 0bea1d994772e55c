"""Where attention stands in the CIFAR ResNets, in slots that are taken, and in the cards that cite its authors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError
from robustbench_ms.models import attention_blocks, backbone, insert, resnet_cifar
from robustbench_ms.subjects.loading import build_module


@pytest.fixture(autouse=True)
def weightless():
    """Places need no numbers."""
    with torch.device("meta"):
        yield


def test_simams_own_place_is_before_the_last_norm():
    """Yang et al.'s networks: norm(simam(conv(x))), where the slot is simam(norm(conv(x)))."""
    with torch.device("cpu"):
        torch.manual_seed(0)
        model = resnet_cifar(8, 8, attention="simam", position="layer*.*.conv2", regularizer=0.1).eval()
        block, x = model.layer1[0], torch.randn(2, 8, 9, 9)
        seen = []
        block.bn2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        block(x)
        y = nn.functional.conv2d(block.bn1(block.conv1(x)).relu(), block.conv2.weight, padding=1)
        d = (y - y.mean((2, 3), keepdim=True)) ** 2
        gate = torch.sigmoid(d / (4 * (d.sum((2, 3), keepdim=True) / 80 + 0.1)) + 0.5)

        torch.testing.assert_close(seen[0], y * gate)


@pytest.mark.parametrize(
    ("attention", "position", "places"),
    [
        ("simam", None, [f"layer{s}.{b}.attention" for s in (1, 2, 3) for b in (0, 1)]),
        ("simam", "slot", [f"layer{s}.{b}.attention" for s in (1, 2, 3) for b in (0, 1)]),
        ("simam", "residual", [f"layer{s}.{b}.bn2.attention" for s in (1, 2, 3) for b in (0, 1)]),
        ("simam", "stage", [f"layer{s}.attention" for s in (1, 2, 3)]),
        ("simam", "between", [f"layer{s}.attention" for s in (1, 2)]),
        ("bam", None, [f"layer{s}.attention" for s in (1, 2)]),
        ("bam", "slot", [f"layer{s}.{b}.attention" for s in (1, 2, 3) for b in (0, 1)]),
        ("simam", ["layer1.*.conv2", "layer3.1.bn1"], ["layer1.0.conv2", "layer1.1.conv2", "layer3.1.bn1"]),
    ],
    ids=str,
)
def test_a_cifar_resnet_takes_every_position(attention, position, places):
    model = resnet_cifar(14, 16, attention=attention, position=position).eval()
    plain = set(resnet_cifar(14, 16).state_dict())

    assert [n.removesuffix(".attention") for n in attention_blocks(model)] == [
        n.removesuffix(".attention") for n in places
    ]
    assert plain <= set(model.state_dict())
    assert model(torch.empty(2, 3, 32, 32)).shape == (2, 10)


def test_the_slot_is_where_residual_puts_it():
    with torch.device("cpu"):
        torch.manual_seed(0)
        slot = resnet_cifar(8, 8, attention="se", reduction=4).eval()
        residual = resnet_cifar(8, 8, attention="se", position="residual", reduction=4).eval()
        state = {n.replace(".attention.", ".bn2.attention."): t for n, t in slot.state_dict().items()}
        residual.load_state_dict(state)
        x = torch.randn(2, 3, 16, 16)

        torch.testing.assert_close(residual(x), slot(x))


def test_a_cifar_resnets_slot_is_filled_and_a_taken_one_replaced():
    empty = insert(resnet_cifar(14, 16), "ema", position="slot", factor=4)
    names = list(empty.state_dict())
    assert names == list(resnet_cifar(14, 16, attention="ema", factor=4).state_dict())

    taken = insert(empty, "se", position="slot")
    assert list(taken.state_dict()) == list(resnet_cifar(14, 16, attention="se").state_dict())
    assert {type(b).__name__ for b in attention_blocks(taken).values()} == {"SEModule"}


def test_a_slot_of_timms_that_we_took_is_replaced_and_other_places_stay():
    model = backbone("timm:resnet18", attention="se")
    insert(model, "se", "layer1.0.bn1")
    insert(model, "eca", "slot")
    kinds = {name: type(block).__name__ for name, block in attention_blocks(model).items()}

    assert kinds.pop("layer1.0.bn1.attention") == "SEModule"
    assert len(kinds) == 8
    assert set(kinds.values()) == {"EcaModule"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "se", "position": "layr1"}, "CifarResNet is named 'layr1'; did you mean 'layer1'"),
        ({"attention": "se", "position": "slots"}, "did you mean 'slot'"),
        ({"attention": "se", "position": "layer*.*.conv3"}, "no module of CifarResNet is named"),
        ({"attention": "se", "position": ["layer1", 3]}, "position must be a name or a list of names"),
        ({"position": "slot"}, "position: given without an attention to put there"),
        ({"attention": "sa", "position": "stage"}, "position 'layer1': groups=64: twice that does not"),
    ],
    ids=str,
)
def test_a_position_that_a_cifar_resnet_does_not_have_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        resnet_cifar(**arguments)


def _blocks_of(name):
    card = find_card(name)
    return attention_blocks(build_module(replace(card, untrained=True), 1000)[0])


def test_the_eca_card_has_the_published_kernels():
    kernels = {n.split(".")[0]: b.conv.kernel_size[0] for n, b in _blocks_of("imagenet-resnet50-eca").items()}

    assert kernels == {"layer1": 3, "layer2": 5, "layer3": 5, "layer4": 7}


def test_the_gc_card_adds_in_stages_2_to_4_after_the_last_norm():
    blocks = _blocks_of("imagenet-resnet50-gc")

    assert list(blocks) == [
        f"layer{s}.{b}.bn3.attention" for s, n in ((2, 4), (3, 6), (4, 3)) for b in range(n)
    ]
    assert all(b.mlp_add is not None and b.mlp_scale is None for b in blocks.values())


def test_the_simam_card_stands_before_the_norm_with_its_authors_lambda():
    blocks = _blocks_of("imagenet-resnet50-simam")

    assert len(blocks) == 16
    assert all(name.endswith(".conv2.attention") for name in blocks)
    assert {b.regularizer for b in blocks.values()} == {0.1}
