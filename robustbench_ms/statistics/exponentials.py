"""P(a_1 G_1 + ... + a_n G_n >= 0) of independent standard exponentials G_i, as exact as doubles allow, in numpy alone.

Terms of equal coefficients are one gamma variable. Davies (Applied Statistics 29, 1980, algorithm AS 155) inverts the
characteristic function along the imaginary axis by the midpoint rule, which needs millions of points where few terms
are left and is exact only absolutely. Here the same integrand is taken along the vertical line through its saddlepoint,
where it falls off fastest and does not swing (Helstrom, IEEE Trans. Aerospace and Electronic Systems 14, 1978), at
points spread by a hyperbolic sine: some fifty points do, and the smallest probability keeps its leading digits.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["positive_sum"]

Floats = NDArray[np.float64]

_STEP = 0.2
"""The first step of the trapezoidal rule, halved until two results agree: each halving squares the relative error."""
_AGREE = 1e-7
_NOTHING = 1e-100
"""Of the largest coefficient: what smaller ones could change is far below what a double can tell."""
_BLOCK = 16
_MOST = 100_000
_ENOUGH = -40.0
"""Points whose integrand is below exp of this are left out."""


def positive_sum(coefficients: Floats, counts: Floats) -> float:
    """P(S >= 0), S the sum over j of coefficients[j] times a gamma variable of shape counts[j] > 0; (J,) each.

    Coefficients of 0 count for nothing: 1 where none is below 0, else 0 where none is above. Counts need not be whole.
    The relative error is some 1e-12 below one half; above, the complement's is.
    """
    size = np.abs(coefficients)
    moves = size > _NOTHING * size.max(initial=0.0)
    a, k = coefficients[moves], counts[moves]
    if not (a < 0).any():
        return 1.0
    if not (a > 0).any():
        return 0.0
    a = a / size.max()
    return _tail(a, k) if k @ a <= 0 else 1 - _tail(-a, k)


def _tail(a: Floats, k: Floats) -> float:
    """The same where the expectation is 0 or below."""
    c = _saddlepoint(a, k)
    # Tilted by c the sum is one of gammas again, of scales b; the factor 1 / s of the inversion is one of shape 1.
    b, shapes = np.append(a / (1 - a * c), -1 / c), np.append(k, 1.0)
    width = 1 / math.sqrt(float(shapes @ b**2))  # of the integrand at its top
    log_top = -float(k @ np.log1p(-a * c)) - math.log(c)

    def integrand(u: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """At y = width sinh(u), over its value at 0; and the logarithm of its modulus."""
        angles = np.outer(width * np.sinh(u), b)
        logs = -0.5 * (np.log1p(angles**2) @ shapes)
        return np.exp(logs) * np.cosh(u) * np.cos(np.arctan(angles) @ shapes), logs + u

    step, blocks, total = _STEP, 0, -0.5  # the trapezoidal rule takes half of the first point, which is 1
    while True:
        values, logs = integrand(step * np.arange(blocks * _BLOCK, (blocks + 1) * _BLOCK))
        total, blocks = total + float(values.sum()), blocks + 1
        if logs[-1] < _ENOUGH:
            break
    count = blocks * _BLOCK
    while count < _MOST:
        between = float(integrand(step * (np.arange(count) + 0.5))[0].sum())
        finer = (total + between) / 2
        agree = abs(finer - total) <= _AGREE * abs(finer)
        step, count, total = step / 2, 2 * count, total + between
        if agree:
            break
    return min(1.0, max(0.0, math.exp(log_top) * width * step * total / math.pi))


def _saddlepoint(a: Floats, k: Floats) -> float:
    """Where exp(K(c)) / c is least between 0 and the first pole 1 / max(a), K the cumulant function; by Newton's steps.

    Its logarithm is convex there, so that a step out of what is left of the interval is replaced by a halving.
    """
    low, high = 0.0, 1 / float(a.max())
    c = high / 2
    for _ in range(200):
        b = a / (1 - a * c)
        slope = float(k @ b) - 1 / c
        low, high = (c, high) if slope < 0 else (low, c)
        step = c - slope / (float(k @ b**2) + 1 / (c * c))
        after = step if low < step < high else (low + high) / 2
        if abs(after - c) <= 1e-6 * c or not low < after < high:
            break
        c = after
    return c
