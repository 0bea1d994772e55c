"""One contract over every attention block, and each one's own definition."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.models import create_attention
from robustbench_ms.models.attention import ATTENTIONS
from tests.models import literal

C = 64
ARGS = {"ema": {"factor": 8}, "sa": {"groups": 8}}
NAMES = sorted(ATTENTIONS)


def block_of(name, *, channels=C, seed=0, **arguments):
    torch.manual_seed(seed)
    return create_attention(name, channels, **{**ARGS.get(name, {}), **arguments})


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


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


# Definitions, each against another's code or the formula of its paper.


def test_se_is_torchvisions():
    from torchvision.ops import SqueezeExcitation

    ours, theirs, x = block_of("se"), SqueezeExcitation(C, C // 16), maps(2, C, 7, 9)
    theirs.load_state_dict(ours.state_dict())

    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)


def test_cbam_is_its_definition():
    """Woo et al., equations 2 and 3: sigmoid(MLP(mean) + MLP(max)), then sigmoid(f7x7([mean; max]))."""
    block, x = block_of("cbam").eval(), maps(2, C, 9, 11)
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.normal_(0, 0.3)
    fc1, fc2, conv = block.channel.fc1, block.channel.fc2, block.spatial.conv.conv

    def mlp(z):
        return F.linear(F.linear(z, fc1.weight.flatten(1), fc1.bias).relu(), fc2.weight.flatten(1), fc2.bias)

    y = x * torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))[:, :, None, None]
    both = torch.stack([y.mean(1), y.amax(1)], 1)
    y = y * block.spatial.conv.bn(F.conv2d(both, conv.weight, padding=3)).sigmoid()

    torch.testing.assert_close(block(x), y, rtol=1e-5, atol=1e-6)


def test_cbam_starts_as_the_official_code():
    """attention-module's ResNet: biases 0, the map's norm of scale 0 and momentum .01."""
    block, x = block_of("cbam"), maps(2, C, 9, 11)

    assert not block.channel.fc1.bias.any()
    assert not block.channel.fc2.bias.any()
    assert not block.spatial.conv.bn.weight.any()
    assert block.spatial.conv.bn.momentum == 0.01
    torch.testing.assert_close(block(x), block.channel(x) / 2, rtol=0, atol=0)
    assert block_of("cbam", bias=False).channel.fc1.bias is None


@pytest.mark.parametrize(("kernel_size", "groups"), [(7, 16), (5, 64), (3, 1)])
@pytest.mark.parametrize("size", [(7, 9), (24, 24), (1, 5)])
def test_ela_is_its_equations(kernel_size, groups, size):
    block, x = block_of("ela", kernel_size=kernel_size, groups=groups).double(), maps(2, C, *size).double()
    with torch.no_grad():
        block.norm.weight.normal_(1, 0.5)
        block.norm.bias.normal_()

    torch.testing.assert_close(block(x), literal.ela(block, x), rtol=1e-10, atol=1e-12)


def test_ela_has_576_parameters_and_turns_with_the_picture():
    """Nothing but the axis tells its two strips apart."""
    block, x = block_of("ela"), maps(2, C, 7, 9)

    assert sum(p.numel() for p in block.parameters()) == 576
    torch.testing.assert_close(block(x.mT), block(x).mT)
    with pytest.raises(UserError, match="ELA was built for 64 channels, not for 32"):
        block(maps(2, 32, 7, 9))


def _gc_equations(block, x, fusion):
    """Cao et al., figure 4(d): a softmax over the pixels, then C/r, layer norm, ReLU, C."""
    weights = block.conv_attn(x).flatten(2).softmax(2)  # (B, 1, HW)
    context = (x.flatten(2) * weights).sum(2)
    mlp = block.mlp_add if fusion == "add" else block.mlp_scale
    hidden = F.linear(context, mlp.fc1.weight.flatten(1), mlp.fc1.bias)
    hidden = F.layer_norm(hidden, hidden.shape[1:], mlp.norm.weight, mlp.norm.bias, mlp.norm.eps).relu()
    t = F.linear(hidden, mlp.fc2.weight.flatten(1), mlp.fc2.bias)[:, :, None, None]
    return x + t if fusion == "add" else x * t.sigmoid()


@pytest.mark.parametrize("fusion", ["scale", "add"])
def test_gc_is_its_definition(fusion):
    block, x = block_of("gc", fusion=fusion), maps(2, C, 7, 9)
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.normal_(0, 0.3)

    torch.testing.assert_close(block(x), _gc_equations(block, x, fusion), rtol=1e-5, atol=1e-5)


def test_gc_starts_asleep():
    x = maps(2, C, 7, 9)

    assert torch.equal(block_of("gc", fusion="add")(x), x)
    assert torch.equal(block_of("gc", fusion="scale")(x), x / 2)
    assert torch.equal(block_of("gc")(x), x / 2)


@pytest.mark.parametrize(("channels", "count"), [(64, 8_768), (128, 22_080), (256, 62_528)])
def test_sk_at_the_papers_setting_has_the_prototxts_counts(channels, count):
    """Two grouped 3x3 paths with norms, a squeeze to d with a norm, and d to C for each path."""
    hidden = max(channels // 16, 32)
    block = create_attention("sk", channels, groups=32, hidden=hidden, split_input=False, device="meta")
    formula = 2 * (9 * channels * channels // 32 + 2 * channels) + 3 * channels * hidden + 2 * hidden

    assert sum(p.numel() for p in block.parameters()) == formula == count


def test_sk_selects_between_its_paths():
    """Li et al., section 3.1: fuse by adding, squeeze, and a softmax over the paths for each channel."""
    block, x = block_of("sk", groups=32, hidden=32, split_input=False).eval(), maps(2, C, 7, 9)
    paths = torch.stack([path(x) for path in block.paths])
    z = block.attn.bn(block.attn.fc_reduce(paths.sum(0).mean((2, 3), keepdim=True))).relu()
    share = block.attn.fc_select(z).view(2, 2, C, 1, 1).softmax(1).transpose(0, 1)

    assert [path.conv.groups for path in block.paths] == [32, 32]
    assert [path.conv.dilation for path in block.paths] == [(1, 1), (2, 2)]
    torch.testing.assert_close(block(x), (paths * share).sum(0), rtol=1e-5, atol=1e-6)


def test_eca_is_its_definition():
    """Wang et al., equation 8: a convolution along the channels of the mean."""
    block, x = block_of("eca"), maps(2, C, 7, 9)
    padded = F.pad(x.mean((2, 3)), (1, 1))
    weights = padded.unfold(1, 3, 1) @ block.conv.weight.flatten()

    torch.testing.assert_close(block(x), x * weights.sigmoid()[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_simam_is_its_definition():
    """Yang et al., equation 5: the inverse of the minimal energy, one pixel at a time."""
    x, lam = maps(2, 3, 4, 5).double(), 1e-4
    found = block_of("simam", channels=3)(x)
    for b in range(2):
        for c in range(3):
            m, n = x[b, c], 20
            mu, var = m.mean(), m.var(correction=1)
            energy = 4 * (var + lam) / ((m - mu) ** 2 + 2 * var + 2 * lam)
            torch.testing.assert_close(found[b, c], m * torch.sigmoid(1 / energy), rtol=1e-10, atol=1e-12)
            assert n == m.numel()


def test_nam_is_its_definition_and_no_gradient_flows_through_the_ratio():
    block, x = block_of("nam", channels=4), maps(5, 4, 3, 3).double()
    block.double()
    with torch.no_grad():
        block.norm.weight.copy_(torch.tensor([1.0, -2.0, 0.5, 0.5]))
    normed = (x - x.mean((0, 2, 3), keepdim=True)) / (
        x.var((0, 2, 3), correction=0, keepdim=True) + 1e-5
    ).sqrt()
    share = torch.tensor([0.25, 0.5, 0.125, 0.125]).double().view(1, 4, 1, 1)
    gamma = block.norm.weight.detach().clone().view(1, 4, 1, 1).requires_grad_()
    expected = x * torch.sigmoid(normed * gamma * share)
    found = block(x)
    found.sum().backward()
    expected.sum().backward()

    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(block.norm.weight.grad, gamma.grad.flatten(), rtol=1e-8, atol=1e-10)


def test_shuffle_attention_is_its_definition():
    """Zhang and Yang, section 3: one group at a time, then the halves interleaved."""
    block, x = block_of("sa", channels=12, groups=3), maps(2, 12, 5, 4)
    with torch.no_grad():
        for tensor in block.parameters():
            tensor.normal_()
    parts = []
    for g in x.split(4, 1):
        a, b = g.split(2, 1)
        gate = block.channel_weight * a.mean((2, 3), keepdim=True) + block.channel_bias
        normed = (b - b.mean((2, 3), keepdim=True)) / (
            b.var((2, 3), correction=0, keepdim=True) + 1e-5
        ).sqrt()
        normed = normed * block.gn.weight[:, None, None] + block.gn.bias[:, None, None]
        parts += [a * gate.sigmoid(), b * (block.spatial_weight * normed + block.spatial_bias).sigmoid()]
    joined = torch.cat(parts, 1)
    shuffled = torch.cat([joined[:, [i, i + 6]] for i in range(6)], 1)

    torch.testing.assert_close(block(x), shuffled, rtol=1e-5, atol=1e-5)


def test_triplet_is_its_definition():
    """Misra et al., section 3: rotate, pool, gate, rotate back, and average the three."""
    block, x = block_of("triplet", channels=6).eval(), maps(2, 6, 5, 4)

    def gated(gate, y):
        pooled = torch.cat([y.amax(1, keepdim=True), y.mean(1, keepdim=True)], 1)
        return y * gate(pooled)

    by_height = gated(block.height, x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
    by_width = gated(block.width, x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
    expected = (by_height + by_width + gated(block.channel, x)) / 3

    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-6)


def test_bam_is_its_definition():
    """x (1 + sigmoid(channel * spatial)), with all of it gone when the last layers are zero."""
    block, x = block_of("bam").eval(), maps(2, C, 9, 9)
    gate = (block(x) / x) - 1
    channel, spatial = block.channel(x.mean((2, 3))), block.spatial(x)

    torch.testing.assert_close(gate, (channel[:, :, None, None] * spatial).sigmoid(), rtol=1e-3, atol=1e-4)
    nn.init.zeros_(block.channel[-1].weight)
    nn.init.zeros_(block.channel[-1].bias)
    torch.testing.assert_close(block(x), 1.5 * x)


def test_ge_is_its_definition():
    """Hu et al., GE-theta-minus: sigmoid of the pooled map, repeated to size; globally the channel's mean."""
    x = maps(2, 4, 8, 8)

    torch.testing.assert_close(block_of("ge", channels=4)(x), x * x.mean((2, 3), keepdim=True).sigmoid())
    pooled = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(
        block_of("ge", channels=4, extent=2)(x), x * F.interpolate(pooled, size=(8, 8)).sigmoid()
    )


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
