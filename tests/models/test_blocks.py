"""One contract over every attention block, and each one's number of parameters."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.models import create_attention
from robustbench_ms.models.attention import ATTENTIONS
from tests.models.probes import C, block_of, maps

NAMES = sorted(ATTENTIONS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(7, 9), (1, 1), (20, 30)])
def test_it_keeps_shape_and_type_and_is_finite(name, size):
    block = block_of(name)
    for train in (True, False):
        x = maps(2, C, *size)
        with torch.set_grad_enabled(train):
            y = block.train(train)(x)

        assert y.shape == x.shape
        assert y.dtype == x.dtype
        assert torch.isfinite(y).all()
        assert torch.equal(x, maps(2, C, *size)), "the input was changed"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(7, 9), (24, 24)])
def test_no_answer_depends_on_the_batch_in_eval_mode(name, size):
    block, x = block_of(name).eval(), maps(9, C, *size)
    with torch.no_grad():
        whole = block(x)
        alone = torch.cat([block(sample[None]) for sample in x])

    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(7, 9), (24, 24)])
def test_gradients_reach_every_parameter_and_the_input(name, size):
    """Away from the start, where shuffle attention's weights are zero and a ReLU may sleep.

    In eval mode, because a bias before a batch norm moves nothing while the norm takes the batch's mean.
    """
    block, x = block_of(name).double().eval(), maps(8, C, *size).double().requires_grad_()
    torch.manual_seed(1)
    with torch.no_grad():
        for p in block.parameters():
            p.add_(torch.randn_like(p), alpha=0.3)
    (block(x) * maps(8, C, *size, seed=2)).sum().backward()

    assert x.grad.abs().max() > 0
    without = {n for n, p in block.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12}
    # A constant added to all logits of GC's softmax over the pixels changes nothing.
    assert without == ({"conv_attn.bias"} if name == "gc" else set())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(7, 9), (24, 24)])
def test_half_precision_is_near_single(name, dtype, size):
    block, x = block_of(name).eval(), maps(3, C, *size)
    with torch.no_grad():
        exact = block(x)
        rough = block.to(dtype)(x.to(dtype))

    assert rough.dtype == dtype
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gradients", [False, True])
def test_autocast(name, gradients):
    block, x = block_of(name).eval(), maps(3, C, 24, 24)
    exact = block(x)
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(gradients):
        rough = block(x)

    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(7, 9), (24, 24)])
def test_channels_last_gives_the_same(name, size):
    block, x = block_of(name).eval(), maps(3, C, *size)
    last = x.to(memory_format=torch.channels_last)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(
                copy.deepcopy(block).to(memory_format=torch.channels_last)(last),
                block(x),
                rtol=1e-5,
                atol=1e-5,
            )


@pytest.mark.parametrize("name", NAMES)
def test_it_compiles_without_a_break(name):
    torch.compiler.reset()
    block, x = block_of(name).eval(), maps(2, C, 24, 24)
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(compiled(x), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # inductor's own use of torch.jit
@pytest.mark.parametrize("name", NAMES)
def test_inductor_gives_the_same(name):
    torch.compiler.reset()
    block, x = block_of(name).eval(), maps(2, C, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(block, fullgraph=True)(x), block(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_exports_with_any_batch(name):
    block, x = block_of(name).eval(), maps(3, C, 24, 24)
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(block, (x,), dynamic_shapes=({0: batch},))
    other = maps(7, C, 24, 24, seed=3)

    torch.testing.assert_close(program.module()(other), block(other), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_it_copies_and_travels(name):
    block, x = block_of(name).eval(), maps(2, C, 7, 9)
    file = io.BytesIO()
    torch.save(block, file)
    file.seek(0)

    assert torch.equal(copy.deepcopy(block)(x), block(x))
    assert torch.equal(torch.load(file, weights_only=False)(x), block(x))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_built_where_and_as_told(name):
    block = block_of(name, device="meta", dtype=torch.float64)

    assert all(p.is_meta and p.dtype == torch.float64 for p in block.parameters())
    with torch.device("meta"):
        assert all(p.is_meta for p in block_of(name).parameters())


def _eca_kernel(channels):
    return {64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}[channels]


FORMULAS = {
    "se": lambda c: 2 * c * c // 16 + c // 16 + c,
    "cbam": lambda c: 2 * c * c // 16 + c // 16 + c + 98 + 2,
    "eca": _eca_kernel,
    "coord": lambda c: 3 * c * max(8, c // 32) + 3 * max(8, c // 32) + 2 * c,
    "sa": lambda c: 3 * c // 64,
    "nam": lambda c: 2 * c,
    "simam": lambda c: 0,
    "ge": lambda c: 0,
    "triplet": lambda c: 300,
    "gc": lambda c: 2 * c * (c // 16) + 3 * (c // 16) + 2 * c + 1,
    "ela": lambda c: 9 * c,
    "ema": lambda c: 10 * (c // 32) ** 2 + 4 * (c // 32),
    "bam": lambda c: 2 * c * (d := c // 16) + 3 * d + c + c * d + 3 * d + 2 * (9 * d * d + 3 * d) + d + 1,
}


@pytest.mark.parametrize("name", sorted(FORMULAS))
@pytest.mark.parametrize("channels", [64, 128, 256, 512, 1024, 2048])
def test_the_number_of_parameters_is_the_papers(name, channels):
    if name == "sa" and channels < 128:
        pytest.skip("SA's 64 groups need 128 channels")
    block = create_attention(name, channels, device="meta")

    assert sum(p.numel() for p in block.parameters()) == FORMULAS[name](channels)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(C,), (2, C), (2, C, 5), (2, C, 5, 5, 5)], ids=str)
def test_an_input_of_the_wrong_rank_is_refused(name, shape):
    with pytest.raises(UserError, match=r"takes an input of shape \(B, C, H, W\), not"):
        block_of(name)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("name", "channels", "arguments", "message"),
    [
        ("emma", 64, {}, "no attention named 'emma'; did you mean 'ema'?"),
        ("zzz", 64, {}, "no attention named 'zzz'; known: bam, cbam, coord"),
        ("ema", 64, {"facter": 8}, "attention 'ema' takes no argument 'facter'; did you mean 'factor'?"),
        ("se", 64, {"device_": 3}, "takes no argument 'device_'"),
        (
            "ema",
            48,
            {},
            "factor=32 does not divide 48 channels; factor may be 1, 2, 3, 4, 6, 8, 12, 16, 24, 48",
        ),
        ("ema", 0, {}, "channels must be an integer of at least 1, not 0"),
        ("se", 8, {}, "reduction=16 is larger than the 8 channels; at most 8"),
        ("cbam", 8, {}, "reduction=16 is larger than the 8 channels"),
        ("gc", 8, {}, "reduction=16 is larger than the 8 channels"),
        ("bam", 8, {}, "reduction=16 is larger than the 8 channels"),
        ("sk", 8, {}, "reduction=16 is larger than the 8 channels"),
        ("se", 64, {"reduction": 0}, "reduction must be an integer of at least 1, not 0"),
        ("cbam", 64, {"kernel_size": 6}, "kernel_size must be odd, not 6; 5 and 7 are near"),
        ("triplet", 64, {"kernel_size": 4}, "kernel_size must be odd, not 4"),
        ("ela", 64, {"kernel_size": 8}, "kernel_size must be odd, not 8"),
        ("ela", 12, {}, "groups=16 does not divide 12 channels; groups may be 1, 2, 3, 4, 6, 12"),
        ("gc", 64, {"fusion": "ad"}, "no fusion named 'ad'; did you mean 'add'?"),
        ("sk", 48, {"groups": 32, "split_input": False}, "groups=32 does not divide 48 channels"),
        ("sk", 64, {"groups": 64}, "groups=64 does not divide 32 channels"),
        ("sk", 64, {"hidden": 0}, "hidden must be an integer of at least 1, not 0"),
        ("sa", 64, {}, "groups=64: twice that does not divide 64 channels; groups may be 1, 2, 4, 8, 16, 32"),
        ("sa", 63, {}, "shuffle attention needs an even number"),
        ("sk", 63, {}, "two paths"),
        ("ge", 64, {"extent": 3}, "extent must be 0"),
        ("simam", 64, {"regularizer": 0}, "regularizer must be a number above 0"),
        ("bam", 64, {"dilation": 0}, "dilation must be an integer of at least 1"),
    ],
)
def test_what_a_block_cannot_be_is_refused(name, channels, arguments, message):
    with pytest.raises(UserError) as caught:
        create_attention(name, channels, **arguments)
    assert message in str(caught.value)


def test_an_unknown_attention_is_an_unknown_name():
    with pytest.raises(UnknownName):
        create_attention("cbma", 64)
