"""DMSCA: the equations as read, what follows from them, and its six switches."""

from __future__ import annotations

import itertools

import pytest
import torch

from robustbench_ms.errors import UserError
from robustbench_ms.models import DMSCA, resnet50
from robustbench_ms.models.costs import costs
from tests.models import literal

PARTS = ("gce", "tca", "msce", "dii", "dff", "aa")
# Below and above the size where the plain steps are taken.
SIZES = [(7, 9), (40, 30), (1, 1), (1, 300)]


def random_dmsca(channels=64, *, seed=0, scale=0.2, **arguments):
    torch.manual_seed(seed)
    block = DMSCA(channels, **arguments)
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.normal_(0, scale)
    return block


def maps(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gradients", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels_last"])
def test_it_equals_the_literal_equations(size, gradients, last):
    block, x = random_dmsca().double(), maps(3, 64, *size, dtype=torch.float64)
    shown = x.to(memory_format=torch.channels_last) if last else x

    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(block(shown), literal.dmsca(block, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("train", [False, True])
def test_strips_of_channels_equal_the_literal_equations(size, train):
    block, x = random_dmsca(strips="channels").double(), maps(3, 64, *size, dtype=torch.float64)
    for norm in (block.dii.norm_h, block.dii.norm_w):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    block.train(train)

    assert not block.folded
    torch.testing.assert_close(block(x), literal.dmsca(block, x), rtol=1e-12, atol=1e-12)


def test_strips_of_channels_fit_both_published_costs():
    """+11.3 % parameters and +2.4 % multiply-adds of ResNet-50; the default fits neither."""
    with torch.device("meta"):
        plain = costs(resnet50())
        maps_, channels = (costs(resnet50(attention="dmsca", strips=s)) for s in ("maps", "channels"))

    def grown(found, key):
        return 100 * (found[key] / plain[key] - 1)

    assert grown(channels, "parameters") == pytest.approx(11.27, abs=0.005)
    assert grown(channels, "macs") == pytest.approx(2.41, abs=0.005)
    assert channels["macs_run"] == channels["macs"]
    assert grown(maps_, "parameters") == pytest.approx(10.09, abs=0.005)
    assert grown(maps_, "macs") == pytest.approx(0.52, abs=0.005)


@pytest.mark.parametrize("off", [*itertools.combinations(PARTS, 1), *itertools.combinations(PARTS, 2), PARTS])
@pytest.mark.parametrize("arguments", [{}, {"bias": False, "channel_gate": "softmax", "kernel_sizes": [5]}])
def test_the_folded_path_equals_the_steps_whatever_is_off(off, arguments):
    block = random_dmsca(**arguments, **dict.fromkeys(off, False)).double()
    x = maps(3, 64, 20, 21, dtype=torch.float64)

    expected = block._stepwise(x)

    torch.testing.assert_close(block._folded(x), expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(block._folded(x), expected, rtol=1e-12, atol=1e-12)


def test_gradients_equal_those_of_the_equations():
    x = maps(4, 64, 16, 16, dtype=torch.float64)
    found = []
    for forward in (lambda block, x: block(x), literal.dmsca):
        block, shown = random_dmsca().double(), x.clone().requires_grad_()
        (forward(block, shown) * maps(*x.shape, seed=2, dtype=torch.float64)).sum().backward()
        found.append({"x": shown.grad, **{name: p.grad for name, p in block.named_parameters()}})

    assert all(g is not None and g.abs().max() > 0 for g in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("size", SIZES)
def test_it_never_enlarges(size):
    x = maps(2, 64, *size)

    assert (random_dmsca(scale=1)(x).abs() <= x.abs()).all()


def test_the_temperature_softens_and_sharpens():
    block, x = random_dmsca(), maps(2, 64, 8, 8)
    f = block.gce(x)

    with torch.no_grad():
        block.tca.log_tau.fill_(20)
        torch.testing.assert_close(block.tca(f), torch.full_like(f, 0.5), atol=1e-6, rtol=0)
        block.tca.log_tau.fill_(-20)
        torch.testing.assert_close(block.tca(f), (f > 0).float(), atol=1e-6, rtol=0)


def test_the_fusion_lies_between_what_it_fuses():
    block, x = random_dmsca(aa=False, scale=1).double(), maps(2, 64, 20, 20, dtype=torch.float64)
    xc = x * block.channel_gate(x)
    xs = x * block._spatial_gate(torch.stack([x.mean(1), x.amax(1)], 1), x)
    y = block(x)

    assert (y >= torch.minimum(xc, xs) - 1e-12).all()
    assert (y <= torch.maximum(xc, xs) + 1e-12).all()


@pytest.mark.parametrize("size", SIZES)
def test_without_last_weights_it_quarters(size):
    block, x = random_dmsca(), maps(2, 64, *size)
    for layer in (block.gce.fc2, block.mix, block.dff, block.aa):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)

    torch.testing.assert_close(block(x), x / 4, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("turn", ["flip rows", "flip columns", "transpose"])
@pytest.mark.parametrize("size", [(9, 12), (40, 30)])
def test_symmetric_kernels_turn_with_the_picture(turn, size):
    block, x = random_dmsca(), maps(2, 64, *size)
    with torch.no_grad():
        for conv in block.msce.convs:
            conv.weight.copy_(sum(w + w.transpose(2, 3) for w in _flips(conv.weight)) / 8)
        block.dii.conv_h.weight.add_(block.dii.conv_h.weight.flip(2))
        block.dii.conv_w.load_state_dict(block.dii.conv_h.state_dict())
    turned = {
        "flip rows": lambda t: t.flip(2),
        "flip columns": lambda t: t.flip(3),
        "transpose": lambda t: t.transpose(2, 3),
    }[turn]

    torch.testing.assert_close(block(turned(x)), turned(block(x)), rtol=1e-5, atol=1e-6)


def _flips(w):
    return w, w.flip(2), w.flip(3), w.flip(2, 3)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_switches_off_and_was_there_for_something(part):
    x = maps(2, 64, 8, 8)
    whole, without = random_dmsca(), random_dmsca(**{part: False})
    without.load_state_dict(whole.state_dict(), strict=False) if part not in {"msce", "dii"} else None
    names = {name.partition(".")[0] for name, _ in without.named_parameters()}

    assert part not in names
    assert not torch.allclose(whole(x), without(x))


def test_without_spatial_attention_the_spatial_branch_is_the_input():
    x = maps(2, 64, 8, 8)
    block = random_dmsca(msce=False, dii=False, aa=False, dff=False)

    torch.testing.assert_close(block(x), (x * block.channel_gate(x) + x) / 2)


def test_without_any_part_it_is_the_identity():
    x = maps(2, 64, 30, 30)

    assert torch.equal(random_dmsca(**dict.fromkeys(PARTS, False))(x), x)


@pytest.mark.parametrize(("channels", "count"), [(64, 979), (256, 9439), (512, 35_055)])
def test_the_number_of_parameters(channels, count):
    h = max(channels // 16, 4)
    formula = 2 * channels * h + h + channels + 1 + 169 + 30 + 5 + (2 * channels + 1) + (channels + 1)

    assert sum(p.numel() for p in DMSCA(channels, device="meta").parameters()) == count == formula


@pytest.mark.parametrize(
    "arguments",
    [
        {"channel_gate": "softmax"},
        {"order": "sequential"},
        {"fusion": "element"},
        {"interaction": "sum"},
        {"strips": "channels"},
        {"strips": "channels", "interaction": "sum"},
        {"strips": "channels", "strip_kernel": 3},
        {"strips": "channels", "bias": False},
        {"strips": "channels", "order": "sequential"},
        {"act": "gelu"},
        {"bias": False},
        {"least_hidden": 8},
        {"strip_kernel": 3},
        {"kernel_sizes": [3]},
        {"tau": 2.0},
        {"reduction": 8},
    ],
    ids=str,
)
def test_each_reading_is_an_argument_that_matters(arguments):
    torch.manual_seed(0)
    plain = DMSCA(64)
    torch.manual_seed(0)
    other = DMSCA(64, **arguments)
    x = maps(2, 64, 8, 8)

    assert other(x).shape == x.shape
    assert not torch.allclose(plain(x), other(x), atol=1e-7)


def test_a_fixed_temperature_is_no_trained_parameter():
    assert not DMSCA(64, learn_tau=False).tca.log_tau.requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": [3, 4]}, "kernel_sizes must be odd, not 4; 3 and 5 are near"),
        ({"kernel_sizes": []}, "kernel_sizes must be a list of odd sizes"),
        ({"kernel_sizes": 3}, "kernel_sizes must be a list of odd sizes"),
        ({"strip_kernel": 6}, "strip_kernel must be odd, not 6"),
        ({"reduction": 65}, "reduction=65 is larger than the 64 channels"),
        ({"tau": 0}, "tau must be a number above 0, not 0"),
        ({"act": "relux"}, "no activation named 'relux'; did you mean 'relu'"),
        ({"channel_gate": "softmx"}, "did you mean 'softmax'"),
        ({"order": "serial"}, "no order named 'serial'"),
        ({"fusion": "pixels"}, "did you mean 'pixel'"),
        ({"strips": "channel"}, "no strips named 'channel'; did you mean 'channels'"),
        ({"interaction": "products"}, "did you mean 'product'"),
    ],
    ids=str,
)
def test_what_it_cannot_be_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        DMSCA(64, **arguments)
