"""ELA, EMA and DMSCA as their equations read, one line an equation, on the weights of our modules.

The tests hold the shipped modules to these, and the benchmarks measure against them.
"""

from __future__ import annotations

import torch

__all__ = ["dmsca", "ela", "ema"]


def ela(block, x):
    """arXiv 2403.01123: each strip through the same convolution, channel by channel, the same norm and a sigmoid."""

    def gate(strip):
        taps = block.conv.weight.squeeze(1)  # (C, k)
        k = taps.shape[1]
        windows = torch.nn.functional.pad(strip, (k // 2, k // 2)).unfold(2, k, 1)  # (B, C, length, k)
        convolved = (windows * taps[:, None]).sum(3)
        groups = convolved.unflatten(1, (block.norm.num_groups, -1))
        centred = groups - groups.mean((2, 3), keepdim=True)
        normed = centred / (centred.square().mean((2, 3), keepdim=True) + block.norm.eps).sqrt()
        return (normed.flatten(1, 2) * block.norm.weight[:, None] + block.norm.bias[:, None]).sigmoid()

    return x * gate(x.mean(3))[:, :, :, None] * gate(x.mean(2))[:, :, None, :]


def ema(block, x):
    """arXiv 2305.13563: both branches in full, then the cross-spatial product or, without it, their means."""
    B, C, H, W = x.shape
    g = x.reshape(B * block.factor, -1, H, W)
    strips = torch.cat([g.mean(3, keepdim=True), g.mean(2, keepdim=True).transpose(2, 3)], 2)
    h, w = block.conv1x1(strips).split([H, W], 2)
    x1 = block.gn(g * h.sigmoid() * w.transpose(2, 3).sigmoid())
    x2 = block.conv3x3(g)
    if block.cross_spatial:
        q1 = x1.mean((2, 3)).softmax(1).unsqueeze(1)
        q2 = x2.mean((2, 3)).softmax(1).unsqueeze(1)
        m = torch.bmm(q1, x2.flatten(2)) + torch.bmm(q2, x1.flatten(2))
    else:
        m = (x1.mean(1) + x2.mean(1)).flatten(1).unsqueeze(1)
    return (g * m.unflatten(2, (H, W)).sigmoid()).reshape(B, C, H, W)


def dmsca(block, x):
    """doi 10.1038/s41598-026-37546-3 as DMSCA's docstring reads it, by default or with strips="channels"."""
    z = x.mean((2, 3)) + x.amax((2, 3))
    f = block.gce.fc2(block.gce.fc1(z).relu())
    xc = x * torch.sigmoid(f / block.tca.log_tau.exp())[:, :, None, None]
    maps = torch.stack([x.mean(1), x.amax(1)], 1)
    scales = [conv(maps) for conv in block.msce.convs]
    if block.strips == "maps":
        d_h = block.dii.conv_h(maps.mean(3)).sigmoid().unsqueeze(3)
        d_w = block.dii.conv_w(maps.mean(2)).sigmoid().unsqueeze(2)
        d = d_h * d_w
    else:
        down = block.dii.norm_h(_depthwise(block.dii.conv_h, x)).sigmoid()
        across = block.dii.norm_w(_depthwise(block.dii.conv_w, x)).sigmoid()
        d = (down * across).mean(1, keepdim=True)
    xs = x * block.mix(torch.cat([*scales, d], 1)).sigmoid()
    gate = block.dff(torch.cat([xc, xs], 1)).sigmoid()
    y = gate * xc + (1 - gate) * xs
    return y * block.aa(y).sigmoid()


def _depthwise(conv, x):
    """Each channel by itself: a sum of shifted copies, one a tap, and zeros beyond the edge."""
    height, width = conv.kernel_size
    padded = torch.nn.functional.pad(x, (width // 2, width // 2, height // 2, height // 2))
    total = conv.bias[:, None, None]
    for i in range(height):
        for j in range(width):
            shifted = padded[:, :, i : i + x.shape[2], j : j + x.shape[3]]
            total = total + conv.weight[:, 0, i, j, None, None] * shifted
    return total
