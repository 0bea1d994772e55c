"""Oracles of the four noises."""

from __future__ import annotations

import numpy as np

from tests.oracles.reference import Oracle, Variant

__all__ = ["ORACLES"]


def _finish(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 1) * 255


def gaussian_noise(image: np.ndarray, variant: Variant, *, z: np.ndarray) -> np.ndarray:
    """`z`: standard normals, of the image's shape."""
    return _finish(image / 255.0 + variant.p * z)


def speckle_noise(image: np.ndarray, variant: Variant, *, z: np.ndarray) -> np.ndarray:
    """`z`: standard normals, of the image's shape."""
    x = image / 255.0
    return _finish(x + x * (variant.p * z))


def shot_noise(image: np.ndarray, variant: Variant, *, counts: np.ndarray) -> np.ndarray:
    """`counts`: photons counted, of the image's shape; Poisson with mean x * p."""
    return _finish(counts / float(variant.p))


def impulse_noise(
    image: np.ndarray, variant: Variant, *, flipped: np.ndarray, salted: np.ndarray
) -> np.ndarray:
    """`flipped`: which values are replaced; `salted`: by white rather than black. Both of the image's shape."""
    x = image / 255.0
    x[flipped & salted] = 1
    x[flipped & ~salted] = 0
    return _finish(x)


def _normals(rng, shape, variant, image):
    return {"z": rng.standard_normal(shape)}


def _counts(rng, shape, variant, image):
    return {"counts": rng.poisson(image / 255.0 * variant.p)}


def _flips(rng, shape, variant, image):
    return {"flipped": rng.random(shape) <= variant.p, "salted": rng.random(shape) <= 0.5}


ORACLES = {
    "gaussian_noise": Oracle(gaussian_noise, _normals),
    "shot_noise": Oracle(shot_noise, _counts),
    "impulse_noise": Oracle(impulse_noise, _flips),
    "speckle_noise": Oracle(speckle_noise, _normals),
}
