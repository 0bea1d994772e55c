"""The oracles of any-size against the installed imagecorruptions package itself, fed with the same draws."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.util import random_noise

from tests.oracles.agreement import Agreement, compare
from tests.oracles.blur import swap_pixels
from tests.oracles.photographs import rectangle
from tests.oracles.reference import Variant, oracles

imagecorruptions = pytest.importorskip("imagecorruptions")

SHAPES = ((64, 64), (96, 131), (131, 96))


def _feed(monkeypatch, name, variant, draws):
    """Make the package's next random numbers be `draws`."""
    module = imagecorruptions.corruptions
    if "z" in draws:
        monkeypatch.setattr(np.random, "normal", lambda size, loc=0.0, scale=1.0: loc + scale * draws["z"])
    if "angle" in draws:
        monkeypatch.setattr(np.random, "uniform", lambda low, high: draws["angle"])
    if "counts" in draws:
        monkeypatch.setattr(np.random, "poisson", lambda lam: draws["counts"])
    if "wobbles" in draws:
        supply = iter(draws["wobbles"])
        monkeypatch.setattr(np.random, "uniform", lambda low, high, shape: high * next(supply))
    if name == "elastic_transform":
        fields = iter([draws["u"], draws["v"]])
        monkeypatch.setattr(np.random, "uniform", lambda low, high, size: high * next(fields))
    if name == "frost":
        numbers = iter([draws["index"], draws["top"], draws["left"]])
        monkeypatch.setattr(np.random, "randint", lambda *bounds: next(numbers))
    if name == "glass_blur":

        def shuffle(rows, columns, x, c, seed):
            swap_pixels(x, c[1], draws["moves"])
            return x

        monkeypatch.setattr(module, "_shuffle_pixels_njit_glass_blur", shuffle)


@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("name", sorted(set(oracles()) - {"impulse_noise"}))
def test_the_package_answers_the_same(name, severity, monkeypatch):
    total = Agreement()
    for index, (height, width) in enumerate(SHAPES):
        image = rectangle(height, width, index)
        oracle, variant = oracles()[name], Variant(name, "any-size", severity)
        rng = np.random.default_rng([severity, index])
        draws = oracle.draw(rng, image.shape, variant, image) if oracle.draw else {}
        exact = oracle.apply(image, variant, **draws)
        with monkeypatch.context() as patch:
            _feed(patch, name, variant, draws)
            theirs = imagecorruptions.corrupt(image, severity, name)
        total += compare(theirs, exact)
    # The package computes snow, fog, zoom, spatter and elastic partly in float32.
    assert total.worst <= 1, total
    assert total.share <= 1e-3, total


def test_the_package_swaps_as_the_oracle_does():
    """The package's own compiled loop with its own draws: a copy, in this order."""
    shuffle = imagecorruptions.corruptions._shuffle_pixels_njit_glass_blur
    image, seed = rectangle(40, 33, 1), 7
    for parameters in ((0.7, 1, 2), (1.1, 3, 2)):
        _, delta, rounds = parameters
        moves = _numba_moves(seed, delta, (rounds, 40 - 2 * delta, 33 - 2 * delta))
        ours = image.copy()
        swap_pixels(ours, delta, moves)
        theirs = shuffle(40, 33, image.copy(), parameters, seed)
        assert np.array_equal(ours, theirs)
        plain = image.copy()
        swap_pixels.py_func(plain, delta, moves)
        assert np.array_equal(plain, theirs)


def _numba_moves(seed, delta, size):
    """The moves that numba's generator, seeded so, would make: recorded by shuffling an image of its indices."""
    from numba import njit

    @njit
    def record(seed, delta, rounds, rows, columns):
        np.random.seed(seed)
        moves = np.empty((rounds, rows, columns, 2), dtype=np.int64)
        for i in range(rounds):
            for h in range(rows):
                for w in range(columns):
                    moves[i, h, w] = np.random.randint(-delta, delta, size=(2,))
        return moves

    return record(seed, delta, *size)


@pytest.mark.parametrize("severity", range(1, 6))
def test_impulses_are_those_of_random_noise(severity):
    """scikit-image draws the flips, then their colours, from one generator."""
    image = rectangle(64, 80)
    oracle, variant = oracles()["impulse_noise"], Variant("impulse_noise", "any-size", severity)
    draws = oracle.draw(np.random.default_rng(3), image.shape, variant, image)
    theirs = random_noise(image / 255.0, "s&p", 3, amount=variant.p) * 255
    assert np.array_equal(oracle.apply(image, variant, **draws), np.clip(theirs, 0, 255))
