"""EMA: the equations, and what follows from them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from robustbench_ms.errors import UserError
from robustbench_ms.models import EMA
from tests.models import literal

SIZES = [(7, 9), (16, 16), (1, 1), (1, 6), (6, 1), (2, 2), (33, 5)]


def random_ema(channels, factor, *, seed=0, dtype=torch.float32, **arguments):
    """With every parameter away from its start: unit norms and zero biases would hide mistakes."""
    torch.manual_seed(seed)
    block = EMA(channels, factor, dtype=dtype, **arguments)
    with torch.no_grad():
        block.gn.weight.normal_(1, 0.5)
        block.gn.bias.normal_()
    return block


def maps(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("channels", "factor"), [(64, 8), (256, 32), (64, 32), (16, 8), (64, 64), (64, 1)])
@pytest.mark.parametrize("gradients", [False, True], ids=["inference", "training"])
def test_it_equals_the_literal_equations(channels, factor, size, gradients):
    block, x = random_ema(channels, factor), maps(3, channels, *size)

    with torch.set_grad_enabled(gradients):
        ours, theirs = block(x), literal.ema(block, x)

    # A single pixel has no variance: the norm enlarges its rounding error 1 / sqrt(eps) = 316 times.
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-5 if size == (1, 1) else 1e-6)


@pytest.mark.parametrize("size", [(7, 9), (40, 40), (1, 6)])
def test_without_the_cross_spatial_product_the_branches_are_averaged(size):
    """The same parameters, another map, and no folding: nothing there is constant or needed only once."""
    block, x = random_ema(64, 8, dtype=torch.float64, cross_spatial=False), maps(2, 64, *size).double()
    whole = random_ema(64, 8, dtype=torch.float64)

    assert not block.folded
    assert {n: p.shape for n, p in block.named_parameters()} == {
        n: p.shape for n, p in whole.named_parameters()
    }
    torch.testing.assert_close(block(x), literal.ema(block, x), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(block(x), whole(x), atol=1e-3)


@pytest.mark.parametrize("gradients", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("size", [(32, 32), (56, 56), (8, 8), (31, 1), (1, 31)])
def test_the_folded_path_equals_the_equations_in_double_precision(size, gradients):
    """Above the size where the plain steps are taken; to 12 digits, so nothing is left out."""
    batch = 2 + 2**15 // (64 * size[0] * size[1])
    block, x = random_ema(64, 4, dtype=torch.float64), maps(batch, 64, *size, dtype=torch.float64) + 3

    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(block(x), literal.ema(block, x), rtol=1e-12, atol=1e-12)


def test_a_large_mean_does_not_cost_the_variance():
    """Sums of squares would lose five digits here; the reference is the same block in double precision."""
    block, x = random_ema(64, 8), maps(8, 64, 32, 32) + 100
    exact = literal.ema(random_ema(64, 8).double(), x.double())

    with torch.no_grad():
        ours = (block(x).double() - exact).abs().max()
        theirs = (literal.ema(block, x).double() - exact).abs().max()

    assert ours <= 3 * theirs + 1e-5


@pytest.mark.parametrize("factor", [4, 16])
def test_gradients_equal_those_of_the_equations(factor):
    """Of 16 channels a group, which are folded, and of 4, which are not on the CPU."""
    x = maps(4, 64, 16, 16, dtype=torch.float64)
    found = []
    for forward in (lambda block, x: block(x), literal.ema):
        block, shown = random_ema(64, factor, dtype=torch.float64), x.clone().requires_grad_()
        (forward(block, shown) * maps(*x.shape, seed=2, dtype=torch.float64)).sum().backward()
        found.append({"x": shown.grad, **{name: p.grad for name, p in block.named_parameters()}})

    assert all(g is not None and g.abs().max() > 0 for g in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("folded", [False, True])
def test_the_first_descriptor_does_not_depend_on_the_input(folded):
    """A channel normalised by itself has the mean of its bias: q1 = softmax(gn.bias)."""
    block, x = random_ema(64, 8), maps(2, 64, 9, 9)
    block.folded = folded
    g = x.reshape(16, 8, 9, 9)
    x1 = block.gn(g * torch.rand(16, 8, 9, 9))

    torch.testing.assert_close(x1.mean((2, 3)), block.gn.bias.expand(16, 8), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(5, 6), (40, 40)])
def test_one_gate_below_one_for_all_channels_of_a_group(size):
    x = maps(3, 64, *size)
    out = random_ema(64, 8)(x).detach()
    gate = (out / x).view(3, 8, 8, *size)

    torch.testing.assert_close(gate, gate[:, :, :1].expand_as(gate), rtol=1e-4, atol=1e-6)
    assert (out.abs() <= x.abs()).all()
    assert 0 < gate.min() <= gate.max() < 1


@pytest.mark.parametrize("size", [(5, 6), (40, 40)])
def test_zeros_stay_zeros(size):
    x = maps(2, 64, *size)
    x[:, ::3] = 0

    assert (random_ema(64, 8)(x)[:, ::3] == 0).all()


@pytest.mark.parametrize("size", [(5, 6), (40, 40)])
def test_permuting_the_groups_permutes_the_output(size):
    block, x = random_ema(64, 8), maps(2, 64, *size)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))

    def permuted(maps):
        return maps.view(2, 8, 8, *size)[:, order].reshape(2, 64, *size)

    torch.testing.assert_close(block(permuted(x)), permuted(block(x)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(5, 6), (40, 40)])
def test_without_weights_it_halves(size):
    block, x = random_ema(64, 8), maps(2, 64, *size)
    for tensor in (block.gn.weight, block.gn.bias, block.conv3x3.weight, block.conv3x3.bias):
        torch.nn.init.zeros_(tensor)

    assert torch.equal(block(x), x / 2)


@pytest.mark.parametrize(
    ("channels", "factor", "count"),
    [
        (64, 8, 672),
        (64, 32, 48),
        (64, 4, 2624),
        (256, 32, 672),
        (256, 8, 10_368),
        (512, 32, 2624),
        (512, 8, 41_216),
        (1024, 32, 10_368),
        (1024, 8, 164_352),
        (2048, 32, 41_216),
        (2048, 8, 656_384),
    ],
)
def test_the_number_of_parameters(channels, factor, count):
    c = channels // factor

    assert (
        sum(p.numel() for p in EMA(channels, factor, device="meta").parameters())
        == count
        == 10 * c * c + 4 * c
    )


def test_published_checkpoints_load():
    """The names and shapes of the published module, which has no others."""
    shapes = {name: tuple(tensor.shape) for name, tensor in EMA(64, 8).state_dict().items()}

    assert shapes == {
        "conv1x1.weight": (8, 8, 1, 1),
        "conv1x1.bias": (8,),
        "conv3x3.weight": (8, 8, 3, 3),
        "conv3x3.bias": (8,),
        "gn.weight": (8,),
        "gn.bias": (8,),
    }
    assert EMA(64).factor == 32


@settings(max_examples=25, deadline=None)
@given(
    c=st.integers(1, 5),
    groups=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    batch=st.integers(1, 3),
    last=st.booleans(),
)
def test_any_shape_and_layout(c, groups, height, width, batch, last):
    block, x = random_ema(c * groups, groups), maps(batch, c * groups, height, width)
    assume(batch * groups * height * width > 1)  # the literal's GroupNorm refuses a single value
    expected = literal.ema(block, x).detach()
    if last:
        x = x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        found = block(x)

    # A map of a single pixel, or one that is nearly constant, has a variance of rounding errors alone.
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 if height * width < 4 else 1e-5)
    assert found.stride() == x.stride() or 1 in {height * width, c * groups, batch}


def test_a_single_pixel_of_a_single_group_is_taken():
    block, x = random_ema(4, 1), maps(1, 4, 1, 1)

    torch.testing.assert_close(block(x), block(x.repeat(2, 1, 1, 1))[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [32, 5, 96])
def test_a_factor_that_does_not_divide_the_channels_is_refused(factor):
    with pytest.raises(
        UserError, match=rf"factor={factor} does not divide 48 channels; factor may be 1, 2, 3, 4"
    ):
        EMA(48, factor)


@pytest.mark.parametrize("factor", [0, -1, 2.0, True, "8"])
def test_a_factor_that_is_no_number_of_groups_is_refused(factor):
    with pytest.raises(UserError, match="factor must be an integer of at least 1"):
        EMA(64, factor)


def test_another_number_of_channels_is_refused():
    with pytest.raises(UserError, match="built for 64 channels, not for 32"):
        EMA(64, 8)(torch.zeros(1, 32, 4, 4))
