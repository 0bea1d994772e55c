"""The networks: what is published of each, and what follows from its reading."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from robustbench_ms import models
from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError
from robustbench_ms.models import (
    LGSA,
    MSFD,
    AMSRANet,
    BasicBlock,
    resnet_cifar,
)
from robustbench_ms.subjects.weights import load_into
from tests.models.probes import INPUTS, count, har, maps

DATA = Path(os.environ.get("RBMS_DATA", "/nonexistent"))


def test_names_are_found_when_asked_for_and_misspelt_ones_are_told():
    assert set(models.__all__) <= set(dir(models))
    assert all(callable(getattr(models, name)) for name in models.__all__)
    with pytest.raises(AttributeError, match=r"no 'resnet_ciphar'; did you mean 'resnet_cifar'\?"):
        _ = models.resnet_ciphar


def test_no_module_takes_the_name_of_what_it_holds():
    """Importing it would put the module where the name was."""
    modules = {path.stem for path in Path(models.__file__).parent.glob("*.py")}

    assert not modules & set(models.__all__)


# CIFAR ResNets


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        ({"depth": 20}, 269_722),
        ({"depth": 32}, 464_154),
        ({"depth": 56}, 853_018),
        ({"depth": 110}, 1_727_962),
        ({"depth": 20, "shortcut": "B"}, 272_474),
        ({"depth": 56, "shortcut": "B"}, 855_770),
        ({"depth": 110, "shortcut": "B"}, 1_730_714),
        ({"depth": 20, "shortcut": "B", "attention": "se"}, 274_847),
        ({"depth": 20, "shortcut": "B", "attention": "se", "reduction": 16}, 274_847),
        ({"depth": 56, "shortcut": "B", "attention": "se"}, 862_889),
        ({"depth": 110, "shortcut": "B", "attention": "se"}, 1_744_952),
        ({"depth": 20, "attention": "ema", "factor": 8}, 269_722 + 3 * (48 + 176 + 672)),
    ],
    ids=str,
)
def test_parameters_of_cifar_resnets_are_the_published_ones(arguments, parameters):
    with torch.device("meta"):
        assert count(resnet_cifar(**arguments)) == parameters


@pytest.mark.parametrize(
    ("depth", "file", "right"), [(20, "resnet20-12fca82f.th", 9173), (32, "resnet32-d509ac18.th", 9263)]
)
def test_published_weights_load_name_by_name(depth, file, right, request):
    path = DATA / "weights" / file
    if not path.is_file():
        pytest.skip(f"{file} is not in the data folder")
    model = resnet_cifar(depth).eval()
    load_into(model, path)
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    ours = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    assert {name.removeprefix("module.") for name in state} == ours

    images = DATA / "cifar10" / "test_images.npy"
    if not images.is_file():
        pytest.skip("the test images of CIFAR-10 are not in the data folder")
    shown = torch.from_numpy(np.load(images)[:500]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        answers = model((shown - mean) / std).argmax(1).numpy()

    # Of all 10,000 test images 9173 and 9263 are right; the committed records hold that.
    labels = np.load(DATA / "cifar10" / "test_labels.npy")[:500]
    assert (answers == labels).mean() == pytest.approx(right / 10_000, abs=0.03)


def test_option_a_pads_with_zeros_on_both_sides():
    block, x = BasicBlock(4, 8, 2), maps(2, 4, 7, 6)
    shortcut = block.shortcut(x)

    assert torch.equal(shortcut[:, 2:6], x[:, :, ::2, ::2])
    assert (shortcut[:, :2] == 0).all()
    assert (shortcut[:, 6:] == 0).all()
    assert block(x).shape == (2, 8, 4, 3)


def test_attention_stands_after_the_last_norm_and_before_the_addition():
    model = resnet_cifar(8, 8, attention="simam").eval()
    block, x = model.layer1[0], maps(2, 8, 9, 9)
    branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    d = (branch - branch.mean((2, 3), keepdim=True)) ** 2
    gate = torch.sigmoid(d / (4 * (d.sum((2, 3), keepdim=True) / 80 + 1e-4)) + 0.5)

    torch.testing.assert_close(block(x), F.relu(x + branch * gate))


def test_attention_keeps_the_start_of_its_paper():
    torch.manual_seed(0)
    sa = resnet_cifar(8, 16, attention="sa", groups=4).layer1[0].attention

    assert (sa.channel_weight == 0).all()
    assert (sa.channel_bias == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 21}, "depth must be 6n [+] 2, not 21; 20 and 26 are near"),
        ({"depth": 2}, "depth must be an integer of at least 8, not 2"),
        ({"width": 0}, "width must be an integer of at least 1"),
        ({"classes": 1.5}, "classes must be an integer"),
        ({"shortcut": "C"}, "shortcut: no shortcut named 'C'"),
        ({"attention": "cbm"}, "no attention named 'cbm'; did you mean 'cbam'"),
        ({"attention": "ema"}, "factor=32 does not divide 16 channels; factor may be 1, 2, 4, 8, 16"),
        ({"factor": 8}, "factor: given without an attention to use it"),
    ],
    ids=str,
)
def test_what_a_cifar_resnet_cannot_be_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        resnet_cifar(**arguments)


# AMSRA-Net


def test_amsra_net_is_the_documented_reading():
    with torch.device("meta"):
        assert count(AMSRANet()) == 4_733_246
        assert count(AMSRANet(multi_scale=False)) == 6_038_846
        assert count(AMSRANet(kernel_sizes=(3, 3, 3, 3))) == 3_688_766
        assert count(AMSRANet(kernel_sizes=(5, 5, 5, 5))) == 5_081_406
        assert count(AMSRANet()) < count(models.resnet18(10, stem="cifar")) == 11_173_962


def test_the_single_scale_cards_stand_on_both_sides_of_the_net():
    """One has fewer parameters and one more, so that a fall of both is not one of size."""
    sizes = {k: find_card(f"amsra-net-single-scale-{k}").args["kernel_sizes"] for k in (3, 5)}

    assert {k: list(s) for k, s in sizes.items()} == {k: [k] * 4 for k in (3, 5)}
    with torch.device("meta"):
        assert (
            count(AMSRANet(kernel_sizes=sizes[3]))
            < count(AMSRANet())
            < count(AMSRANet(kernel_sizes=sizes[5]))
        )


@pytest.mark.parametrize("name", ["se", "cbam", "coord", "dmsca"])
def test_resnet20s_cards_write_their_reduction(name):
    """Sixteen leaves one hidden unit of 16 channels; it stays the default, as SE-20's published count has it."""
    assert find_card(f"resnet20-{name}").args["reduction"] == 4


@pytest.mark.parametrize(
    "arguments", [{}, {"lgsa": False}, {"multi_scale": False}, {"width": 12, "in_channels": 1}]
)
@pytest.mark.parametrize("size", [(32, 32), (7, 9), (1, 1)])
def test_amsra_net_answers_logits_and_its_ablations_are_arguments(arguments, size):
    torch.manual_seed(0)
    model = AMSRANet(**{"width": 8, **arguments})
    model(maps(3, arguments.get("in_channels", 3), *size)).sum().backward()
    parts = {type(part) for part in model.modules()}

    assert model.eval()(maps(1, arguments.get("in_channels", 3), *size)).shape == (1, 10)
    assert (LGSA in parts) == arguments.get("lgsa", True)
    assert [len(m.convs) for m in model.modules() if isinstance(m, MSFD)] == [
        4 if arguments.get("multi_scale", True) else 1
    ] * 4


def test_lgsa_starts_as_the_identity_and_its_rows_are_distributions():
    block, x = LGSA(16), maps(2, 16, 12, 9)

    assert torch.equal(block(x), x)
    weights = block.weights(x)
    assert weights.shape == (2, 108, 64)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 108))
    assert (weights >= 0).all()


def test_lgsa_is_its_definition():
    block, x = LGSA(16), maps(2, 16, 5, 6)
    with torch.no_grad():
        block.gamma.fill_(0.7)
    q, k, v = (conv(x).flatten(2) for conv in (block.query, block.key, block.value))
    seen = F.scaled_dot_product_attention(q.mT, k.mT, v.mT).mT.view_as(x)

    torch.testing.assert_close(block(x), x + 0.7 * seen * block.gate(x).sigmoid(), rtol=1e-5, atol=1e-6)


def test_a_slice_of_msfds_input_reaches_its_own_slice_alone_before_the_mixing():
    block, x = MSFD(16).eval(), maps(1, 16, 9, 9)
    seen = []
    block.mix.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    block(x)
    for i in range(4):
        changed = x.clone()
        changed[:, 4 * i : 4 * i + 4] += 1
        block(changed)
        different = (seen[-1] != seen[0]).any(dim=(0, 2, 3)).view(4, 4).any(1)
        assert different.tolist() == [j == i for j in range(4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 6}, "the number of kernel_sizes=4 does not divide 6 channels"),
        ({"kernel_sizes": [1, 2]}, "kernel_sizes must be odd, not 2"),
        ({"reduction": 128}, "reduction=128 is larger than the 64 channels"),
        ({"pool": 0}, "pool must be an integer of at least 1"),
        ({"classes": 0}, "classes must be an integer of at least 1"),
    ],
    ids=str,
)
def test_what_amsra_net_cannot_be_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        AMSRANet(**arguments)


# CCT


@pytest.mark.parametrize(
    ("build", "arguments", "parameters"),
    [
        ("cct_7", {}, 3_760_139),
        ("cct_7", {"classes": 100}, 3_783_269),
        ("cct_7", {"convolutions": 2}, 3_853_259),
        ("cct_6", {}, 3_233_803),
        ("cct_6", {"convolutions": 2}, 3_326_923),
        ("cct_4", {"convolutions": 2}, 482_123),
        ("cct_2", {"convolutions": 2}, 283_723),
    ],
)
def test_parameters_of_cct_are_the_published_ones(build, arguments, parameters):
    pytest.importorskip("vit_pytorch", reason="the extra `cct` is not installed")

    assert count(getattr(models, build)(**arguments)) == parameters


def test_cct_takes_the_size_that_it_was_built_for():
    pytest.importorskip("vit_pytorch", reason="the extra `cct` is not installed")
    model = models.cct_2().eval()

    assert model(maps(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(UserError, match=r"size: this CCT was built for 32 x 32, not for \(28, 28\)"):
        model(maps(2, 3, 28, 28))
    with pytest.raises(UserError, match="takes an input of shape"):
        model(maps(3, 32, 32))


def test_without_vit_pytorch_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "vit_pytorch"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "vit_pytorch", None)

    with pytest.raises(UserError, match=r"CCT needs the package vit-pytorch.*robustbench-ms\[cct\]"):
        models.cct_7()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"kernel_size": 1}, "kernel_size must be at least 3"),
        ({"embedding": "learned"}, "embedding: no embedding named 'learned'; did you mean 'learnable'"),
        ({"size": 0}, "size must be an integer of at least 1"),
    ],
)
def test_what_cct_cannot_be_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        models.cct_2(**arguments)


# Every network of ours


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (lambda: resnet_cifar(8, 8, attention="ema", factor=4), (3, 32, 32)),
        (lambda: AMSRANet(width=8), (3, 32, 32)),
        (har, INPUTS[1]),
        (lambda: har(2), INPUTS[2]),
    ],
    ids=["ema", "amsra", "har-1d", "har-2d"],
)
def test_networks_export_and_do_not_mix_their_samples(model, shape):
    torch.manual_seed(0)
    model, x = model().eval(), maps(4, *shape)
    with torch.no_grad():
        whole, alone = model(x), torch.cat([model(sample[None]) for sample in x])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    program = torch.export.export(
        model, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=64)},)
    )

    torch.testing.assert_close(program.module()(x[:3]), whole[:3], rtol=1e-4, atol=1e-5)
