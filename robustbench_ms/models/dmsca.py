"""DMSCA, dynamic multi-scale channel and spatial attention: Zong et al., Sci Rep 16, 8044 (2026).

doi 10.1038/s41598-026-37546-3. Six parts, which carry the article's names:

    GCE  f = MLP(mean_HW X + max_HW X)                        global context
    TCA  Mc = sigmoid(f / tau),  Xc = X * Mc                  channel attention with a learned temperature
    MSCE s_k = conv_kxk([mean_C X; max_C X]), k = 3, 5, 7     multi-scale spatial context
    DII  D = sigmoid(conv(rows)) x sigmoid(conv(columns))     directional interaction of the same two maps
         Ms = sigmoid(conv1x1([s_3; s_5; s_7; D])),  Xs = X * Ms
    DFF  G = sigmoid(conv1x1([Xc; Xs])),  Y = G * Xc + (1 - G) * Xs      pixel-wise fusion
    AA   out = Y * sigmoid(conv1x1(Y))                        adaptive activation

No code of the authors is public, and the text leaves details open. See DMSCA for what is a reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_ms.errors import UserError, choose
from robustbench_ms.models.arguments import few, natural, odd, positive, rank, reduced

__all__ = ["DMSCA"]

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class GlobalContext(nn.Module):
    """GCE: mean and maximum of each channel, added, through a two-layer perceptron; (B, C, H, W) -> (B, C)."""

    def __init__(self, channels: int, hidden: int, activation: str, *, bias: bool, factory: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden, bias=bias, **factory)
        self.act = _ACTIVATIONS[activation]()
        self.fc2 = nn.Linear(hidden, channels, bias=bias, **factory)

    def forward(self, x: Tensor) -> Tensor:
        f: Tensor = self.fc2(self.act(self.fc1(x.mean((2, 3)) + x.amax((2, 3)))))
        return f


class TemperatureGate(nn.Module):
    """TCA: sigmoid(f / tau) or, as a distribution of mean 1, C softmax(f / tau); tau = exp(log_tau) > 0."""

    def __init__(
        self, tau: float, gate: Literal["sigmoid", "softmax"], *, learned: bool, factory: Any
    ) -> None:
        super().__init__()
        log_tau = torch.tensor(tau, **factory).log()
        self.log_tau = nn.Parameter(log_tau, requires_grad=learned)
        self.gate = gate

    def forward(self, f: Tensor) -> Tensor:
        f = f * (-self.log_tau).exp()
        return f.sigmoid() if self.gate == "sigmoid" else f.softmax(1) * f.shape[1]


class MultiScaleContext(nn.Module):
    """MSCE: parallel k x k convolutions of the two maps; (B, 2, H, W) -> (B, len(kernel_sizes), H, W)."""

    def __init__(self, kernel_sizes: Sequence[int], *, bias: bool, factory: Any) -> None:
        super().__init__()
        self.kernel_sizes = tuple(kernel_sizes)
        self.convs = nn.ModuleList(
            nn.Conv2d(2, 1, k, padding=k // 2, bias=bias, **factory) for k in kernel_sizes
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([conv(maps) for conv in self.convs], 1)


class DirectionalInteraction(nn.Module):
    """DII: a convolution along the row means and one along the column means, crossed; (B, 2, H, W) -> (B, 1, H, W)."""

    def __init__(
        self, kernel_size: int, interaction: Literal["product", "sum"], *, bias: bool, factory: Any
    ) -> None:
        super().__init__()
        pad = kernel_size // 2
        self.conv_h = nn.Conv1d(2, 1, kernel_size, padding=pad, bias=bias, **factory)
        self.conv_w = nn.Conv1d(2, 1, kernel_size, padding=pad, bias=bias, **factory)
        self.interaction = interaction

    def forward(self, maps: Tensor) -> Tensor:
        h = self.conv_h(maps.mean(3)).unsqueeze(3)
        w = self.conv_w(maps.mean(2)).unsqueeze(2)
        crossed: Tensor = h.sigmoid() * w.sigmoid() if self.interaction == "product" else (h + w).sigmoid()
        return crossed


class ChannelStrips(nn.Module):
    """DII on all channels: each convolved along its columns and along its rows, normalised and crossed, then averaged.

    (B, C, H, W) -> (B, 1, H, W).
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        interaction: Literal["product", "sum"],
        *,
        bias: bool,
        factory: Any,
    ) -> None:
        super().__init__()
        k, pad = kernel_size, kernel_size // 2
        self.conv_h = nn.Conv2d(
            channels, channels, (k, 1), padding=(pad, 0), groups=channels, bias=bias, **factory
        )
        self.conv_w = nn.Conv2d(
            channels, channels, (1, k), padding=(0, pad), groups=channels, bias=bias, **factory
        )
        self.norm_h = nn.BatchNorm2d(channels, **factory)
        self.norm_w = nn.BatchNorm2d(channels, **factory)
        self.interaction = interaction

    def forward(self, x: Tensor) -> Tensor:
        h, w = self.norm_h(self.conv_h(x)), self.norm_w(self.conv_w(x))
        crossed: Tensor = h.sigmoid() * w.sigmoid() if self.interaction == "product" else (h + w).sigmoid()
        return crossed.mean(1, keepdim=True)


class DMSCA(nn.Module):
    """Dynamic multi-scale channel and spatial attention: (B, channels, H, W) -> the same shape.

    From the article: the sum of mean and maximum before one shared perceptron, `reduction` 16,
    `kernel_sizes` 3, 5 and 7, a learned temperature that starts at `tau` 1.0, a fusion gate for each
    pixel, and an activation of one 1x1 convolution. What it leaves open, as we read it, each an argument:

    - `least_hidden` 4: the perceptron's hidden width is max(channels // reduction, 4);
    - `act` "relu" between its layers ("gelu", "silu"), and `bias` in every layer;
    - `channel_gate` "sigmoid": each channel by itself ("softmax": channels compete, with mean 1);
    - tau is kept as its logarithm, so that it stays positive; `learn_tau` false fixes it;
    - `strip_kernel` 7: rows and columns each go through one convolution of that length;
    - `interaction` "product" of their two sigmoids (the sigmoid of their "sum");
    - `strips` "maps": rows and columns of the same two maps as MSCE's ("channels": see below);
    - `order` "parallel": the spatial branch sees X ("sequential": Xc, as CBAM does);
    - `fusion` "pixel": one gate a pixel, a convex combination ("element": one for each channel too).

    With bias, h = hidden and K = kernel_sizes it has 2Ch + h + C + 1 + sum_K(2k^2 + 1) + 30 + (|K| + 2) +
    (2C + 1) + (C + 1) parameters: 979 at 64 channels, 9,439 at 256, 35,055 at 512. After the last norm of
    every block of ResNet-50 that is +10.1 % parameters and +0.5 % MACs; the article reports +11.3 % and
    +2.4 %, so its module has parts that the text does not show. One guess fits both figures (+11.27 % and
    +2.41 %): `strips` "channels", which convolves all channels of X, each by itself, `strip_kernel` x 1 and
    1 x `strip_kernel` with a batch norm each, crosses the two and averages over the channels. It is no more
    than a guess, never the default, and `folded` is off with it.

    The six parts switch off for ablations. gce: the channel's mean takes the perceptron's place. tca: no
    channel attention, Xc = X, and gce with it. msce, dii: that map is left out; without both there is no
    spatial attention, Xs = X. dff: the plain average of Xc and Xs. aa: Y as it is.

    A product of gates and linear maps is one product: for the defaults `forward` reads X four times and
    never forms Xc, Xs, their concatenation or Y. With the attribute `folded` set to False it takes the
    equations one by one: the same numbers, more work.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        kernel_sizes: Sequence[int] = (3, 5, 7),
        tau: float = 1.0,
        *,
        least_hidden: int = 4,
        act: str = "relu",
        bias: bool = True,
        channel_gate: Literal["sigmoid", "softmax"] = "sigmoid",
        learn_tau: bool = True,
        strip_kernel: int = 7,
        interaction: Literal["product", "sum"] = "product",
        strips: Literal["maps", "channels"] = "maps",
        order: Literal["parallel", "sequential"] = "parallel",
        fusion: Literal["pixel", "element"] = "pixel",
        gce: bool = True,
        tca: bool = True,
        msce: bool = True,
        dii: bool = True,
        dff: bool = True,
        aa: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = natural("channels", channels)
        hidden = reduced("reduction", reduction, channels, natural("least_hidden", least_hidden))
        if not isinstance(kernel_sizes, Sequence) or not kernel_sizes:
            raise UserError(f"kernel_sizes must be a list of odd sizes, not {kernel_sizes!r}")
        sizes = [odd("kernel_sizes", k) for k in kernel_sizes]
        positive("tau", tau)
        odd("strip_kernel", strip_kernel)
        choose(act, _ACTIVATIONS, "activation", "act")
        choose(channel_gate, ("sigmoid", "softmax"), "gate", "channel_gate")
        choose(interaction, ("product", "sum"), "interaction", "interaction")
        choose(strips, ("maps", "channels"), "strips", "strips")
        choose(order, ("parallel", "sequential"), "order", "order")
        choose(fusion, ("pixel", "element"), "fusion", "fusion")
        self.order = order
        self.strips = strips
        self.folded = order == "parallel" and fusion == "pixel" and strips == "maps"
        factory = {"device": device, "dtype": dtype}

        gates = channels if fusion == "element" else 1
        self.gce = GlobalContext(channels, hidden, act, bias=bias, factory=factory) if gce and tca else None
        self.tca = TemperatureGate(tau, channel_gate, learned=learn_tau, factory=factory) if tca else None
        self.msce = MultiScaleContext(sizes, bias=bias, factory=factory) if msce else None
        self.dii: DirectionalInteraction | ChannelStrips | None = None
        if dii and strips == "maps":
            self.dii = DirectionalInteraction(strip_kernel, interaction, bias=bias, factory=factory)
        elif dii:
            self.dii = ChannelStrips(channels, strip_kernel, interaction, bias=bias, factory=factory)
        maps = len(sizes) * msce + dii
        self.mix = nn.Conv2d(maps, 1, 1, bias=bias, device=device, dtype=dtype) if maps else None
        self.dff = nn.Conv2d(2 * channels, gates, 1, bias=bias, device=device, dtype=dtype) if dff else None
        self.aa = nn.Conv2d(channels, 1, 1, bias=bias, device=device, dtype=dtype) if aa else None

    def forward(self, x: Tensor) -> Tensor:
        rank("DMSCA", x, "(B, C, H, W)")
        if x.shape[1] != self.channels:
            raise UserError(f"DMSCA was built for {self.channels} channels, not for {x.shape[1]}")
        if self.folded and not few(x):
            return self._folded(x)
        return self._stepwise(x)

    def channel_gate(self, x: Tensor) -> Tensor | None:
        """Mc, (B, C, 1, 1); None with tca off."""
        if self.tca is None:
            return None
        f = x.mean((2, 3)) if self.gce is None else self.gce(x)
        gate: Tensor = self.tca(f)
        return gate.unsqueeze(2).unsqueeze(3)

    def _stepwise(self, x: Tensor) -> Tensor:
        channel = self.channel_gate(x)
        xc = x if channel is None else x * channel
        seen = xc if self.order == "sequential" else x
        spatial = self._spatial_gate(torch.stack([seen.mean(1), seen.amax(1)], 1), seen)
        xs = seen if spatial is None else seen * spatial
        gate = 0.5 if self.dff is None else self.dff(torch.cat([xc, xs], 1)).sigmoid()
        y: Tensor = gate * xc + (1 - gate) * xs
        return y if self.aa is None else y * self.aa(y).sigmoid()

    def _spatial_gate(self, maps: Tensor, seen: Tensor, *, merged: bool = False) -> Tensor | None:
        """Ms, (B, 1, H, W), from what the branch has `seen` and its mean and maximum; None with msce and dii off.

        Nothing stands between the parallel convolutions and their 1x1 mixture, so merged they are one.
        """
        directed = seen if self.strips == "channels" else maps
        if self.mix is None:
            return None
        if not merged or self.msce is None:
            context = [] if self.msce is None else [self.msce(maps)]
            context += [] if self.dii is None else [self.dii(directed)]
            gate: Tensor = self.mix(torch.cat(context, 1)).sigmoid()
            return gate
        weight, offset = self.mix.weight.flatten(), _bias(self.mix)  # one weight for each map
        side = max(self.msce.kernel_sizes)
        kernels = []
        for conv, share in zip(self.msce.convs, weight, strict=False):
            assert isinstance(conv, nn.Conv2d)
            kernels.append(F.pad(conv.weight, ((side - conv.kernel_size[0]) // 2,) * 4) * share)
            offset = offset + _bias(conv) * share
        logit = F.conv2d(maps, torch.stack(kernels).sum(0), padding=side // 2) + offset
        if self.dii is not None:
            logit = logit + self.dii(directed) * weight[-1]
        return logit.sigmoid()

    def _folded(self, x: Tensor) -> Tensor:
        """What _stepwise answers, from sums over the channels that one matrix product gives.

        With scalars a pixel G, Ms and vectors a channel Mc: Y = X * (G Mc + (1 - G) Ms), so both 1x1
        convolutions need only sum_c u_c Mc_c X_c and sum_c u_c X_c.
        """
        B, C, H, W = x.shape
        channel = self.channel_gate(x)
        mc = x.new_ones(B, C) if channel is None else channel.flatten(1)
        rows = [x.new_full((B, C), 1 / C)]
        for conv in (self.dff, self.aa):
            if conv is not None:
                weight = conv.weight.view(-1, C)  # DFF's: for Xc, then for Xs
                rows += [weight[0] * mc, weight[-1].expand(B, C)]
        sums = torch.bmm(torch.stack(rows, 1), x.flatten(2)).view(B, -1, 1, H, W).unbind(1)

        spatial = self._spatial_gate(torch.cat([sums[0], x.amax(1, keepdim=True)], 1), x, merged=True)
        ms = x.new_ones(B, 1, H, W) if spatial is None else spatial
        g = torch.zeros_like(ms) if self.dff is None else sums[1] + ms * sums[2] + _bias(self.dff)
        g = g.sigmoid()
        on_channel, on_pixel = g, (1 - g) * ms
        if self.aa is not None:
            alpha = (on_channel * sums[-2] + on_pixel * sums[-1] + _bias(self.aa)).sigmoid()
            on_channel, on_pixel = on_channel * alpha, on_pixel * alpha
        mc = mc[:, :, None, None]
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return x * torch.addcmul(on_pixel, on_channel, mc)
        scale = torch.addcmul(on_pixel, on_channel, mc, out=torch.empty_like(x))
        return scale.mul_(x)


def _bias(conv: nn.Conv2d) -> Tensor | float:
    return 0.0 if conv.bias is None else conv.bias
