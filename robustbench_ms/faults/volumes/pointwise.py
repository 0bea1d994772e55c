"""Artefacts that change each voxel where it is: a bias field, gamma, noise, and a spike in k-space.

All take and give a scaled volume, float32 (C, D, H, W), what was drawn for it, and the level, 1 to 5.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.corruptions.cpu.compile import spread
from robustbench_ms.faults.volumes.draws import Draws
from robustbench_ms.faults.volumes.elementary import cosine, sine
from robustbench_ms.faults.volumes.fused import biased, waved
from robustbench_ms.faults.volumes.sums import mean_of, sd_of
from robustbench_ms.faults.volumes.table import STRENGTHS

__all__ = ["bias_field", "gamma_down", "gamma_up", "rician_noise", "spike"]

_ORDER = 3
_FASTEST, _SLOWEST = 10.0, 1.5
"""Cycles a side of a spike."""


def bias_field(x: Tensor, draws: Draws, level: int) -> Tensor:
    """X times the exponential of a cubic in the three axes, each -1 to 1: Van Leemput et al. 1999, as TorchIO has it.

    Its 19 coefficients are U(-c, c). The constant one is left out, as it is a mere gain.
    """
    drawn = iter(STRENGTHS["bias_field"][level - 1] * draws.signed(19))
    deep, down, across = (_coordinates(side) for side in x.shape[1:])
    # A polynomial in the first axis, whose coefficients are planes of the other two.
    planes = [np.zeros((len(down), len(across))) for _ in range(_ORDER + 1)]
    for i in range(_ORDER + 1):
        for j in range(_ORDER + 1 - i):
            for k in range(_ORDER + 1 - i - j):
                if i + j + k:
                    planes[i] += next(drawn) * (_power(down, j)[:, None] * _power(across, k)[None, :])
    first, coefficients = deep.astype(np.float32), np.stack(planes).astype(np.float32)
    if x.device.type == "cpu":
        made = torch.empty_like(x, memory_format=torch.contiguous_format)
        spread(biased, x.shape[1], x.contiguous().numpy(), first, coefficients, made.numpy())
        return made
    return biased_by_torch(
        x, torch.from_numpy(first).to(x.device), torch.from_numpy(coefficients).to(x.device)
    )


def biased_by_torch(x: Tensor, first: Tensor, planes: Tensor) -> Tensor:
    """`fused.biased` in torch's operations, on any device."""
    first = first[:, None, None]
    return x * _exponential(((planes[3] * first + planes[2]) * first + planes[1]) * first + planes[0])


def gamma_up(x: Tensor, draws: Draws, level: int) -> Tensor:
    """sign(x) |x|^g, g above 1: what is dark gets darker."""
    del draws
    return _power_of(x, STRENGTHS["gamma_up"][level - 1])


def gamma_down(x: Tensor, draws: Draws, level: int) -> Tensor:
    """sign(x) |x|^g, g below 1: what is dark gets lighter."""
    del draws
    return _power_of(x, STRENGTHS["gamma_down"][level - 1])


def rician_noise(x: Tensor, draws: Draws, level: int) -> Tensor:
    """sqrt((x + a)^2 + b^2), a and b normal: c standard deviations of the volume (Gudbjartsson and Patz 1995)."""
    sd = (sd_of(x) * STRENGTHS["rician_noise"][level - 1]).float()
    real, imaginary = (draws.normal(tuple(x.shape), x.device, number) * sd for number in (0, 1))
    real = x + real
    return (real * real + imaginary * imaginary).sqrt_()


def spike(x: Tensor, draws: Draws, level: int) -> Tensor:
    """X + c mean(x) cos: one bright point of k-space, at a keyed direction and 1.5 to 10 cycles a side.

    Its place is rounded to whole cycles, which k-space is made of, and to less than half the side of each axis.
    """
    speed = _SLOWEST + (_FASTEST - _SLOWEST) * float(draws.uniform(1, 1)[0])
    turns = []
    for side, part in zip(x.shape[1:], draws.direction(), strict=True):
        cycles = min(max(np.rint(speed * part), -(side // 2)), side // 2)
        turns.append(np.arange(side) * cycles / side)
    angles, ends = np.concatenate(turns), np.cumsum(x.shape[1:])[:2]
    (c0, c1, c2), (s0, s1, s2) = (np.split(of(angles).astype(np.float32), ends) for of in (cosine, sine))
    both = c1[:, None] * c2 - s1[:, None] * s2  # cos(a + b), a plane
    other = s1[:, None] * c2 + c1[:, None] * s2
    size = (mean_of(x) * STRENGTHS["spike"][level - 1]).float()
    if x.device.type == "cpu":
        made = torch.empty_like(x, memory_format=torch.contiguous_format)
        shown = x.contiguous().numpy()
        spread(waved, x.shape[1], shown, size.flatten().numpy(), c0, s0, both, other, made.numpy())
        return made
    return waved_by_torch(x, size, *(torch.from_numpy(one).to(x.device) for one in (c0, s0, both, other)))


def waved_by_torch(
    x: Tensor, size: Tensor, cosines: Tensor, sines: Tensor, both: Tensor, other: Tensor
) -> Tensor:
    """`fused.waved` in torch's operations, on any device."""
    return x + size * (cosines[:, None, None] * both - sines[:, None, None] * other)


def _coordinates(side: int) -> NDArray[np.float64]:
    """-1 to 1 from the first voxel to the last; 0 of a single one."""
    half = (side - 1) / 2
    found: NDArray[np.float64] = (np.arange(side, dtype=np.float64) - half) / (half or 1.0)
    return found


def _power(x: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    made = np.ones_like(x)
    for _ in range(times):
        made = made * x
    return made


def _exponential(x: Tensor) -> Tensor:
    """e^x of float32 within -80..80: by Cody and Waite's two parts of ln 2 and seven terms, relatively within 3e-7."""
    x = x.clamp(-80.0, 80.0)
    k = (x * 1.4426950408889634).round_()
    r = (x - k * 0.693359375) - k * -2.12194440e-4
    total = torch.ones_like(r)
    for term in range(7, 0, -1):
        total = (total * r).mul_(1.0 / term).add_(1.0)
    return total * ((k.to(torch.int32) + 127) << 23).view(torch.float32)


def _logarithm(x: Tensor) -> Tensor:
    """Ln x of float32 above 0: x = 2^e m, m within sqrt(1/2)..sqrt(2), and the series of 2 artanh((m - 1)/(m + 1))."""
    m, e = torch.frexp(x)
    low = m < 0.7071067811865476
    m, e = torch.where(low, m + m, m), (e - low.to(e.dtype)).float()
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    total = torch.full_like(s, 1.0 / 11.0)
    for odd in (9, 7, 5, 3, 1):
        total = (total * square).add_(1.0 / odd)
    return (s + s) * total + (e * -2.12194440e-4 + e * 0.693359375)


def _power_of(x: Tensor, exponent: float) -> Tensor:
    size = x.abs()
    made = _exponential(_logarithm(size.clamp(min=1e-30)) * exponent)
    return torch.where(size > 1e-30, made.copysign(x), torch.zeros_like(x))
