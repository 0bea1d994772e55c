"""Sums and products of matrices whose bits hang on no order, no library and no device."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_ms.faults.volumes.fused import folded_rows

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
    if x.device.type == "cpu" and x.dtype == torch.float32:
        given = x.flatten(1)
        held, made = (
            torch.empty(len(x), given.shape[1] // 2 + 1, dtype=torch.float64),
            torch.empty(len(x)).double(),
        )
        folded_rows(0, len(x), given.numpy(), held.numpy(), made.numpy())
        return (made / given.shape[1]).view(-1, 1, 1, 1)
    flat = x.double().flatten(1).T
    return (folded(flat) / len(flat)).view(-1, 1, 1, 1)


def sd_of(x: Tensor) -> Tensor:
    """The population standard deviation of each channel, float64 (C, 1, 1, 1)."""
    away = x.double() - mean_of(x)
    return mean_of(away * away).sqrt()


_BITS, _MATRIX_BITS = 22, 30
"""Together with none left over below 2^53, to which float64 holds every whole number."""
_CACHED = 1 << 17
"""Samples that are multiplied at once on a CPU: what a processor's cache holds of them as float64."""


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
    left = np.rint(matrix * 2.0**matrix_up)
    blocks = _blocks(left)
    factors = [torch.from_numpy(one).to(x.device).T for one in ((left,) if blocks is None else blocks)]
    rows_of = x.movedim(axis, -1)
    lines = rows_of.reshape(-1, x.shape[axis])
    made = lines.new_empty(len(lines), len(left))
    step = _CACHED // lines.shape[1] + 1 if x.device.type == "cpu" else len(lines)
    for start in range(0, len(lines), step):
        whole = lines[start : start + step].double().mul_(2.0**up).round_()
        if blocks is None:
            made[start : start + step] = (whole @ factors[0]).mul_(2.0 ** -(up + matrix_up))
            continue
        first, second = whole.view(len(whole), -1, 2, len(left) // 2).unbind(2)
        sums = (first + second).flatten(1) @ factors[0]
        differences = (first - second).flatten(1) @ factors[1]
        halves = (sums + differences, sums.sub_(differences))
        torch.cat(
            [half.mul_(2.0 ** -(up + matrix_up + 1)).float() for half in halves],
            1,
            out=made[start : start + step],
        )
    return made.view(*rows_of.shape[:-1], len(left)).movedim(-1, axis).contiguous()


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
