"""Efficient multi-scale attention (EMA): Ouyang et al., ICASSP 2023, arXiv 2305.13563.

The channels fall into G groups (the paper's factor) that share all weights; c = C / G. For one group g:

    (h, w) = split(conv1x1([mean_W g; mean_H g]))           one 1x1 convolution over both strips
    x1 = norm(g * sigmoid(h) * sigmoid(w))                  GroupNorm(c, c): each channel by itself
    x2 = conv3x3(g)
    m = softmax(mean(x1)) . x2 + softmax(mean(x2)) . x1     each branch weighs the other's channels
    out = g * sigmoid(m)

`EMA.forward` gives the same numbers with fewer passes over the map, because three of these steps are
constant or linear:

- A channel normalised by itself has the mean of its bias, so softmax(mean(x1)) = softmax(gn.bias),
  whatever the input.
- That fixed mixture of conv3x3's c output channels is one output channel of mixed weights: 9c products a
  pixel instead of 9c^2.
- The mean of a zero-padded 3x3 convolution is linear in nine sums: of the whole map, of its last and
  first row and column, and of its corners. Row and column sums are there already, for the strips.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.models.arguments import dividing, few, natural, rank

__all__ = ["EMA"]


def _scale(x: Tensor, gate: Tensor) -> Tensor:
    # Split as it lies in memory: the answer keeps the input's layout, channels last included.
    B, _, H, W = x.shape
    groups = gate.shape[0] // B
    return (x.view(B, groups, -1, H, W) * gate.view(B, groups, 1, H, W)).flatten(1, 2)


class EMA(nn.Module):
    """Efficient multi-scale attention: (B, channels, H, W) -> the same shape, each value scaled by (0, 1).

    `factor` is the number of groups and must divide `channels`. The paper's is 32; a network that starts
    with 16 channels takes 8. 10 c^2 + 4 c parameters with c = channels / factor, under the names of the
    published module, so that its checkpoints load. Any H, W >= 1.

    `cross_spatial` false is the ablation of the last product as we read it: m is the sum of the two
    branches' channel means, with the same parameters.

    With the attribute `folded` set to False, as it is without `cross_spatial`, `forward` takes the
    equations one by one: the same numbers, more work.
    """

    def __init__(
        self,
        channels: int,
        factor: int = 32,
        *,
        cross_spatial: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = natural("channels", channels)
        self.cross_spatial = self.folded = cross_spatial
        self.factor = dividing("factor", factor, channels)
        c = channels // factor
        self.conv1x1 = nn.Conv2d(c, c, 1, device=device, dtype=dtype)
        self.conv3x3 = nn.Conv2d(c, c, 3, padding=1, device=device, dtype=dtype)
        self.gn = nn.GroupNorm(c, c, device=device, dtype=dtype)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, factor={self.factor}"

    def forward(self, x: Tensor) -> Tensor:
        rank("EMA", x, "(B, C, H, W)")
        B, C, H, W = x.shape
        if self.channels != C:
            raise UserError(f"EMA was built for {self.channels} channels, not for {C}")
        g = x.reshape(B * self.factor, -1, H, W)
        if not self.folded or few(x) or self._not_worth_folding(g):
            return _scale(x, self._stepwise(g).sigmoid())
        exact = torch.promote_types(g.dtype, torch.float32)  # of sums; half precision would overflow
        rows, columns = g.sum(3, dtype=exact), g.sum(2, dtype=exact)  # (BG, c, H), (BG, c, W)

        strips = torch.cat([rows / W, columns / H], 2).to(g.dtype)
        strips = F.conv1d(strips, self.conv1x1.weight.squeeze(3), self.conv1x1.bias).sigmoid()
        h, w = (s.unsqueeze(d) for s, d in zip(strips.split_with_sizes([H, W], 2), (3, 2), strict=True))

        q1 = self.gn.bias.softmax(0)  # (c)
        q2 = self._mean_of_conv3x3(g, rows, columns).softmax(1)  # (BG, c)
        m = self._mixed_conv3x3(g, q1)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            x1 = self._norm(g * h * w)
            m = m + torch.bmm(q2.unsqueeze(1), x1.flatten(2)).view(-1, 1, H, W)
            return _scale(x, m.sigmoid())

        # Without gradients one map is enough. The norm needs none: centred in place, its scale goes into q2.
        # Centred before it is squared, because the difference of two large sums would lose the variance.
        a = g * h
        mean = (a.sum(2, dtype=exact) * w.squeeze(2)).sum(2) / (H * W)
        centred = torch.addcmul(-mean.to(g.dtype)[:, :, None, None], a, w, out=a).flatten(2)
        variance = torch.linalg.vector_norm(centred, dim=2, dtype=exact).square() / (H * W)
        weight = q2 * self.gn.weight * (variance + self.gn.eps).rsqrt()
        m += torch.bmm(weight.to(g.dtype).unsqueeze(1), centred).view(-1, 1, H, W)
        m += (q2 * self.gn.bias).sum(1).to(g.dtype)[:, None, None, None]
        if x.is_contiguous() and m.dtype == a.dtype:
            return torch.mul(g, m.sigmoid_(), out=a).view(B, C, H, W)
        return _scale(x, m.sigmoid_())

    @staticmethod
    def _not_worth_folding(g: Tensor) -> bool:
        """On the CPU, gradients through the folded steps cost what few channels save in the 3x3 convolution."""
        eager = torch.is_grad_enabled() and not torch.compiler.is_compiling()
        return eager and g.device.type == "cpu" and g.shape[1] < 16

    def _stepwise(self, g: Tensor) -> Tensor:
        """The map m as the equations read: (BG, c, H, W) -> (BG, 1, H, W)."""
        H, W = g.shape[2:]
        strips = self.conv1x1(
            torch.cat([g.mean(3, keepdim=True), g.mean(2, keepdim=True).transpose(2, 3)], 2)
        )
        h, w = strips.sigmoid().split_with_sizes([H, W], 2)
        x1, x2 = self._norm(g * h * w.transpose(2, 3)), self.conv3x3(g)
        m: Tensor
        if not self.cross_spatial:
            m = x1.mean(1, keepdim=True) + x2.mean(1, keepdim=True)
            return m
        q1, q2 = (x.mean((2, 3)).softmax(1).unsqueeze(1) for x in (x1, x2))
        m = q1 @ x2.flatten(2) + q2 @ x1.flatten(2)
        return m.view(-1, 1, H, W)

    def _norm(self, t: Tensor) -> Tensor:
        # Not gn(t), which refuses a single value, as a last map of one pixel with batch 1 may be.
        return torch.group_norm(t, self.gn.num_groups, self.gn.weight, self.gn.bias, self.gn.eps)

    def _mean_of_conv3x3(self, g: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The spatial mean of conv3x3(g), (BG, c), from sums: a tap that looks up never sees the last row."""
        kernel = self.conv3x3.weight
        corners = [g[:, :, y, x, None] for y in (-1, 0) for x in (-1, 0)]
        edges = [e for sums in (rows, columns) for e in (sums[:, :, -1:], sums[:, :, :1])]
        seen = torch.cat([rows.sum(2, keepdim=True), *edges, *corners], 2) / (
            rows.shape[2] * columns.shape[2]
        )
        weight = torch.cat(
            [
                kernel.sum((2, 3)).unsqueeze(2),
                -kernel[:, :, ::2].sum(3),
                -kernel[:, :, :, ::2].sum(2),
                kernel[:, :, ::2, ::2].flatten(2),
            ],
            2,
        )
        return F.linear(seen.flatten(1).to(kernel.dtype), weight.flatten(1), self.conv3x3.bias)

    def _mixed_conv3x3(self, g: Tensor, q1: Tensor) -> Tensor:
        """q1 . conv3x3(g): (BG, c, H, W) -> (BG, 1, H, W)."""
        H, W = g.shape[2:]
        kernel = torch.tensordot(q1, self.conv3x3.weight, 1)  # (c, 3, 3)
        assert self.conv3x3.bias is not None
        bias = (q1 * self.conv3x3.bias).sum()
        if g.device.type != "cpu" or torch.compiler.is_compiling():
            return F.conv2d(g, kernel.unsqueeze(0), bias.unsqueeze(0), padding=1)
        # A convolution with one output channel starves the CPU: nine weighted sums of channels are one
        # matrix product, and adding them up, each shifted by its tap, touches 9 / c of the memory.
        if torch.is_grad_enabled():
            if H * W <= 64:  # fold goes sample by sample
                return F.conv2d(g, kernel.unsqueeze(0), bias.unsqueeze(0), padding=1)
            taps = torch.matmul(kernel.flatten(1).flip(1).t(), g.flatten(2))
            return F.fold(taps, (H, W), 3, padding=1) + bias
        taps = torch.matmul(kernel.flatten(1).t(), g.flatten(2)).view(-1, 3, 3, H, W)
        # What a tap sees beyond the left or right edge is nothing; then whole maps can be shifted at once.
        taps[:, :, 0, :, -1] = 0
        taps[:, :, 2, :, 0] = 0
        left, across, right = taps.flatten(3).unbind(2)
        across[..., 1:] += left[..., :-1]
        across[..., :-1] += right[..., 1:]
        above, down, below = (across[:, k : k + 1] for k in range(3))
        down[..., W:] += above[..., :-W]
        down[..., :-W] += below[..., W:]
        return down.view(-1, 1, H, W) + bias
