"""Each attention block against another's code or the formula of its paper, and how it starts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.models import create_attention
from tests.models import literal
from tests.models.probes import C, block_of, maps


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
