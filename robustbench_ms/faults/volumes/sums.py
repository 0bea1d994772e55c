"""Sums and products of matrices whose bits hang on no order, no library and no device."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["along", "folded", "mean_of", "sd_of"]


def folded(x: Tensor) -> Tensor:
    """The sum over the first axis, (n, ...) -> (...): the second half is added to the first, again and again."""
    while len(x) > 1:
        half = len(x) // 2
        made = x[:half] + x[half : 2 * half]
        if len(x) % 2:
            made[0] += x[-1]
        x = made
    return x[0]


def mean_of(x: Tensor) -> Tensor:
    """The mean of each channel of a volume (C, D, H, W), float64 (C, 1, 1, 1)."""
    flat = x.double().flatten(1).T
    return (folded(flat) / len(flat)).view(-1, 1, 1, 1)


def sd_of(x: Tensor) -> Tensor:
    """The population standard deviation of each channel, float64 (C, 1, 1, 1)."""
    away = x.double() - mean_of(x)
    return mean_of(away * away).sqrt()


_BITS, _MATRIX_BITS = 22, 30
"""Together with none left over below 2^53, to which float64 holds every whole number."""


def along(x: Tensor, matrix: NDArray[np.float64], axis: int) -> Tensor:
    """A matrix (M, N) applied along an axis of N of a float32 tensor: float32, M in place of N.

    Both are taken as whole numbers of a power of two, the samples to 22 bits of the largest and the matrix to 30 of its
    largest row: every sum is below 2^53 and so exact in float64, in whatever order a library adds. What that costs is
    half of 2^-22 of the largest sample, as much as float32 itself costs it.
    """
    largest = float(x.abs().amax())
    rows = float(np.abs(matrix).sum(axis=1).max())
    if largest == 0.0 or rows == 0.0:
        return torch.zeros(
            [matrix.shape[0] if k == axis else n for k, n in enumerate(x.shape)], device=x.device
        )
    # frexp: both are below 2 to that power. A rounded row may gain half a step an entry, for which a bit is kept.
    up, matrix_up = _BITS - math.frexp(largest)[1], _MATRIX_BITS - math.frexp(rows)[1]
    whole = x.double().mul_(2.0**up).round_()
    left = torch.from_numpy(np.rint(matrix * 2.0**matrix_up)).to(x.device)
    if axis == x.ndim - 1:  # nothing need be turned round
        return (whole @ left.T).mul_(2.0 ** -(up + matrix_up)).float()
    whole = whole.movedim(axis, 0)
    made = left @ whole.reshape(whole.shape[0], -1)
    made = made.mul_(2.0 ** -(up + matrix_up)).float()
    return made.view(-1, *whole.shape[1:]).movedim(0, axis).contiguous()
