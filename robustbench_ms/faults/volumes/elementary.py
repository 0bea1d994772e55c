"""Functions whose bits are the same on every machine: + - * / of float64 in a fixed order, and a square root.

A library's own exp, sin and log differ in the last bit from one to the next. All take and give numpy's float64, or
torch's, as they use no more than operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cosine", "direction", "exponential", "sine", "turned"]

Array = NDArray[np.float64]

_ROUND = 1.5 * 2.0**52
"""Added and taken away it leaves the nearest whole number, ties to even, of what is below 2^51."""
_TAU = 6.283185307179586
_LOG2E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693147180369123816490, 1.90821492927058770002e-10
_TERMS = 15


def cosine(turns: Any) -> Any:
    """The cosine of an angle in full turns: its series, within 1e-14."""
    x = turns - ((turns + _ROUND) - _ROUND)
    square, total = (x * _TAU) * (x * _TAU), 1.0
    for term in range(_TERMS, 0, -1):
        total = 1.0 - total * square / ((2 * term) * (2 * term - 1))
    return total


def sine(turns: Any) -> Any:
    """The sine of an angle in full turns: its series, within 1e-14."""
    x = turns - ((turns + _ROUND) - _ROUND)
    square, total = (x * _TAU) * (x * _TAU), 1.0
    for term in range(_TERMS, 0, -1):
        total = 1.0 - total * square / ((2 * term) * (2 * term + 1))
    return total * (x * _TAU)


def exponential(x: Array) -> Array:
    """e^x of numpy's float64 within -700..700, relatively within 1e-15: x = k ln 2 + r and the series of e^r."""
    k = (x * _LOG2E + _ROUND) - _ROUND
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    total = np.ones_like(r)
    for term in range(_TERMS, 0, -1):
        total = total * r / term + 1.0
    return np.ldexp(total, k.astype(np.int64))


def direction(first: float, second: float) -> Array:
    """A unit vector (3,) of two numbers in [0, 1): uniform where they are."""
    up = 2.0 * first - 1.0
    across = float(np.sqrt(1.0 - up * up))
    return np.array([up, across * float(cosine(second)), across * float(sine(second))])


def turned(axis: Array, turns: float) -> Array:
    """The matrix (3, 3) that turns about a unit vector, by Rodrigues' formula."""
    c, s = float(cosine(turns)), float(sine(turns))
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) * c + cross * s + (axis[:, None] * axis[None, :]) * (1.0 - c)
