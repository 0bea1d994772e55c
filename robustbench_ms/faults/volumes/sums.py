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
    flat = x.flatten(1).T
    half = len(flat) // 2
    first = flat[:half].double().add_(flat[half : 2 * half])  # as `folded` begins, with half of it made wider
    if len(flat) % 2:
        first[:1] += flat[-1]
    return (folded(first) / len(flat)).view(-1, 1, 1, 1)


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

    The samples may be several pieces of M one after the other. Where the matrix of each is of two blocks twice, (a, b)
    over (b, a), as what turns around a side is, sums and differences of halves take half of the products, and are as
    exact.
    """
    largest = max(abs(value) for value in torch.stack(torch.aminmax(x)).tolist())
    rows = float(np.abs(matrix).sum(axis=1).max())
    if largest == 0.0 or rows == 0.0:
        return torch.zeros(
            [matrix.shape[0] if k == axis else n for k, n in enumerate(x.shape)], device=x.device
        )
    # frexp: both are below 2 to that power. A rounded row may gain half a step an entry, for which a bit is kept.
    up, matrix_up = _BITS - math.frexp(largest)[1], _MATRIX_BITS - math.frexp(rows)[1]
    whole = x.double().mul_(2.0**up).round_()
    left = np.rint(matrix * 2.0**matrix_up)
    blocks = _blocks(left)
    last = axis == x.ndim - 1  # then nothing need be turned round
    if not last:
        whole = whole.movedim(axis, -1)
    if blocks is None:
        made = whole @ torch.from_numpy(left).to(x.device).T
    else:
        pairs = whole.reshape(*whole.shape[:-1], -1, 2, len(left) // 2)
        first, second = pairs[..., 0, :], pairs[..., 1, :]
        sums, differences = (
            part.flatten(-2) @ torch.from_numpy(block).to(x.device).T
            for part, block in zip((first + second, first - second), blocks, strict=True)
        )
        made = torch.cat([sums + differences, sums.sub_(differences)], dim=-1)
        up += 1
    made = made.mul_(2.0 ** -(up + matrix_up)).float()
    return made if last else made.movedim(-1, axis).contiguous()


def _blocks(left: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Of whole numbers (M, k M), k times two blocks twice, the sums and differences of the blocks, (M / 2, k M / 2).

    None of another matrix, and of one whose sums could be above 2^53 then.
    """
    side, half = len(left), len(left) // 2
    if side % 2 or left.shape[1] % side or np.abs(left).sum(axis=1).max() > 2.0**_MATRIX_BITS:
        return None
    pieces = left.reshape(2, half, -1, 2, half)
    a, b = pieces[0, :, :, 0], pieces[0, :, :, 1]
    if not (np.array_equal(a, pieces[1, :, :, 1]) and np.array_equal(b, pieces[1, :, :, 0])):
        return None
    return (a + b).reshape(half, -1), (a - b).reshape(half, -1)
