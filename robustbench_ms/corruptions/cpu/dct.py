"""libjpeg's "slow integer" transform of 8 x 8 blocks with the quantisation between, compiled for the CPU.

The eight-value transforms are written once, for tensors (`jpeg`) and for compiled integers.

Compiled, a plane lies as 8 arrays, of the rows 0, 8, 16, ..., the rows 1, 9, 17, ... and so on, each row after
row: so eight values of a block's row stand together and the blocks follow each other without end, and every
loop runs over many blocks at a time, whatever the images' width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .compile import compiled

__all__ = ["transform_blocks", "transforms"]


def transforms(i: Callable[[Any], Any]) -> tuple[Callable[..., Any], ...]:
    """The forward transform of a row and of a column, and the inverse ones of a column and of a row.

    Each takes eight integers, or tensors of them, and returns eight. `i` narrows an expression to 32 bits:
    compiled code needs to be told, tensors stay as they are. Constants are 2^13 times the rotations' factors
    (Loeffler, Ligtenberg & Moschytz, 1989; IJG jfdctint.c, jidctint.c). Between its two passes the transform
    keeps two bits more.
    """

    def forward(a0, a1, a2, a3, a4, a5, a6, a7, up, keep, down):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        half = 1 << (down - 1)
        t0, t7, t1, t6 = i(a0 + a7), i(a0 - a7), i(a1 + a6), i(a1 - a6)
        t2, t5, t3, t4 = i(a2 + a5), i(a2 - a5), i(a3 + a4), i(a3 - a4)
        u0, u3, u1, u2 = i(t0 + t3), i(t0 - t3), i(t1 + t2), i(t1 - t2)
        b0 = i(i(((u0 + u1) << up) + keep) >> (2 - up))
        b4 = i(i(((u0 - u1) << up) + keep) >> (2 - up))
        z1 = i((u2 + u3) * 4433)
        b2 = i(i(z1 + u3 * 6270 + half) >> down)
        b6 = i(i(z1 - u2 * 15137 + half) >> down)
        z1, z2, z3, z4 = i(t4 + t7), i(t5 + t6), i(t4 + t6), i(t5 + t7)
        z5 = i((z3 + z4) * 9633)
        z1, z2 = i(z1 * -7373), i(z2 * -20995)
        z3, z4 = i(z3 * -16069 + z5), i(z4 * -3196 + z5)
        b7 = i(i(t4 * 2446 + z1 + z3 + half) >> down)
        b5 = i(i(t5 * 16819 + z2 + z4 + half) >> down)
        b3 = i(i(t6 * 25172 + z2 + z3 + half) >> down)
        b1 = i(i(t7 * 12299 + z1 + z4 + half) >> down)
        return b0, b1, b2, b3, b4, b5, b6, b7

    def inverse(b0, b1, b2, b3, b4, b5, b6, b7, down):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        half = 1 << (down - 1)
        z1 = i((b2 + b6) * 4433)
        t2, t3 = i(z1 - b6 * 15137), i(z1 + b2 * 6270)
        t0, t1 = i(((b0 + b4) << 13) + half), i(((b0 - b4) << 13) + half)
        u0, u3, u1, u2 = i(t0 + t3), i(t0 - t3), i(t1 + t2), i(t1 - t2)
        z1, z2, z3, z4 = i(b7 + b1), i(b5 + b3), i(b7 + b3), i(b5 + b1)
        z5 = i((z3 + z4) * 9633)
        z1, z2 = i(z1 * -7373), i(z2 * -20995)
        z3, z4 = i(z3 * -16069 + z5), i(z4 * -3196 + z5)
        t0, t1 = i(b7 * 2446 + z1 + z3), i(b5 * 16819 + z2 + z4)
        t2, t3 = i(b3 * 25172 + z2 + z3), i(b1 * 12299 + z1 + z4)
        return (
            i(i(u0 + t3) >> down), i(i(u1 + t2) >> down), i(i(u2 + t1) >> down), i(i(u3 + t0) >> down),
            i(i(u3 - t0) >> down), i(i(u2 - t1) >> down), i(i(u1 - t2) >> down), i(i(u0 - t3) >> down),
        )  # fmt: skip

    return forward, inverse


# numba puts these two into their callers, where their shifts become constants and the loops vector code.
_forward, _inverse = (njit(inline="always", nogil=True, error_model="numpy")(f) for f in transforms(np.int32))

_CHUNK = 128
"""Blocks that are worked on at a time: two buffers of them and their pixels stay in the first caches."""


@compiled
def _rows_forward(x: Any, to: Any, count: Any) -> None:
    """One row of each block: x (8 count) -> to[8 k chunks + j], value k of block j."""
    for j in range(count):
        b0, b1, b2, b3, b4, b5, b6, b7 = _forward(
            np.int32(x[8 * j]), np.int32(x[8 * j + 1]), np.int32(x[8 * j + 2]), np.int32(x[8 * j + 3]),
            np.int32(x[8 * j + 4]), np.int32(x[8 * j + 5]), np.int32(x[8 * j + 6]), np.int32(x[8 * j + 7]),
            2, 0, 11,
        )  # fmt: skip
        to[j], to[j + 8 * _CHUNK], to[j + 16 * _CHUNK], to[j + 24 * _CHUNK] = b0, b1, b2, b3
        to[j + 32 * _CHUNK], to[j + 40 * _CHUNK], to[j + 48 * _CHUNK], to[j + 56 * _CHUNK] = b4, b5, b6, b7


@compiled
def _columns_forward(x: Any, to: Any, count: Any) -> None:
    for j in range(count):
        b0, b1, b2, b3, b4, b5, b6, b7 = _forward(
            np.int32(x[j]), np.int32(x[j + _CHUNK]), np.int32(x[j + 2 * _CHUNK]), np.int32(x[j + 3 * _CHUNK]),
            np.int32(x[j + 4 * _CHUNK]), np.int32(x[j + 5 * _CHUNK]), np.int32(x[j + 6 * _CHUNK]),
            np.int32(x[j + 7 * _CHUNK]), 0, 2, 15,
        )  # fmt: skip
        to[j], to[j + _CHUNK], to[j + 2 * _CHUNK], to[j + 3 * _CHUNK] = b0, b1, b2, b3
        to[j + 4 * _CHUNK], to[j + 5 * _CHUNK], to[j + 6 * _CHUNK], to[j + 7 * _CHUNK] = b4, b5, b6, b7


@compiled
def _quantised(x: Any, count: Any, step: Any, share: Any) -> None:
    """Coefficients, 8 times as large as they count, to the nearest multiples of the step.

    `share` is 1 / (8 step) and a little more, so that the quotient of a multiple is not cut to one less; with
    the quotients below 2^10 and the remainders at least 1 / 2040 apart from a whole, float32 is exact enough.
    """
    half = np.int32(4 * step)
    for j in range(count):
        value = np.int32(x[j])
        whole = np.int32(np.float32(np.int32(abs(value) + half)) * share) * step
        x[j] = np.int16(-whole if value < 0 else whole)


@compiled
def _columns_inverse(x: Any, to: Any, count: Any) -> None:
    for j in range(count):
        a0, a1, a2, a3, a4, a5, a6, a7 = _inverse(
            np.int32(x[j]), np.int32(x[j + _CHUNK]), np.int32(x[j + 2 * _CHUNK]), np.int32(x[j + 3 * _CHUNK]),
            np.int32(x[j + 4 * _CHUNK]), np.int32(x[j + 5 * _CHUNK]), np.int32(x[j + 6 * _CHUNK]),
            np.int32(x[j + 7 * _CHUNK]), 11,
        )  # fmt: skip
        to[j], to[j + _CHUNK], to[j + 2 * _CHUNK], to[j + 3 * _CHUNK] = a0, a1, a2, a3
        to[j + 4 * _CHUNK], to[j + 5 * _CHUNK], to[j + 6 * _CHUNK], to[j + 7 * _CHUNK] = a4, a5, a6, a7


@compiled
def _cut(value: Any) -> Any:
    return np.int16(min(max(value, np.int32(-128)), np.int32(127)))


@compiled
def _rows_inverse(x: Any, to: Any, count: Any) -> None:
    for j in range(count):
        a0, a1, a2, a3, a4, a5, a6, a7 = _inverse(
            np.int32(x[j]), np.int32(x[j + 8 * _CHUNK]), np.int32(x[j + 16 * _CHUNK]),
            np.int32(x[j + 24 * _CHUNK]), np.int32(x[j + 32 * _CHUNK]), np.int32(x[j + 40 * _CHUNK]),
            np.int32(x[j + 48 * _CHUNK]), np.int32(x[j + 56 * _CHUNK]), 18,
        )  # fmt: skip
        to[8 * j], to[8 * j + 1], to[8 * j + 2], to[8 * j + 3] = _cut(a0), _cut(a1), _cut(a2), _cut(a3)
        to[8 * j + 4], to[8 * j + 5], to[8 * j + 6], to[8 * j + 7] = _cut(a4), _cut(a5), _cut(a6), _cut(a7)


@compiled
def transform_blocks(plane: Any, blocks: Any, steps: Any, buffers: Any) -> None:
    """Transform, quantise and transform back, in place.

    `plane` int16 (8, at least 8 * blocks) in -128..127, laid out as the module says; `steps` int32 (8, 8);
    `buffers` int16 (2, 64 * 128), whose content does not matter.
    """
    one, other = buffers[0], buffers[1]
    for start in range(0, blocks, _CHUNK):
        count = min(_CHUNK, blocks - start)
        for r in range(8):
            _rows_forward(plane[r, 8 * start : 8 * (start + count)], one[r * _CHUNK :], count)
        for k in range(8):
            row = 8 * k * _CHUNK
            _columns_forward(one[row:], other[row:], count)
            for u in range(8):
                step = steps[u, k]
                share = np.float32((1 + 2.0**-20) / (8 * step))
                _quantised(other[row + u * _CHUNK :], count, step, share)
            _columns_inverse(other[row:], one[row:], count)
        for r in range(8):
            _rows_inverse(one[r * _CHUNK :], plane[r, 8 * start : 8 * (start + count)], count)
