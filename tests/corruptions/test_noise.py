"""The noises' bytes: the distribution of each grey level, from key to byte."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, chisquare, norm

from robustbench_ms.corruptions import corrupt
from robustbench_ms.corruptions.defined.noise import shot_table
from robustbench_ms.corruptions.table import PROFILES, SEVERITIES
from robustbench_ms.errors import UserError
from tests.oracles.reference import Variant

LEVELS = (0, 1, 77, 128, 254, 255)


def drawn(name: str, level: int, severity: int) -> np.ndarray:
    """A quarter of a million bytes that one grey level became."""
    images = torch.full((4, 1, 256, 256), level, dtype=torch.uint8)
    return corrupt(images, name, severity, seed=level).numpy().ravel()


def judge(found: np.ndarray, cumulative: np.ndarray) -> float:
    """Chi-square p of bytes whose probability to be below k + 1 is cumulative[k]; rare levels are pooled."""
    expected = np.diff(cumulative, prepend=0.0) * len(found)
    counts = np.bincount(found, minlength=256)
    pooled = expected < 10
    observed = np.append(counts[~pooled], counts[pooled].sum())
    wanted = np.append(expected[~pooled], expected[pooled].sum())
    assert counts[expected < 1e-9].sum() == 0, "bytes that cannot be"
    kept = wanted > 0
    return 1.0 if kept.sum() < 2 else float(chisquare(observed[kept], wanted[kept]).pvalue)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_noise_is_normal(level, severity):
    sigma = 255 * Variant("gaussian_noise", "any-size", severity).p
    below = norm.cdf((np.arange(1, 257) - level) / sigma)  # the bytes are cut off, not rounded
    below[255] = 1
    # 16-bit words reach 4.33 sigma; the share beyond is 1.5e-5 and lies in the last levels.
    reach = level + sigma * 4.33
    below[np.arange(1, 257) > reach] = 1
    below[np.arange(1, 257) < level - sigma * 4.33] = 0
    assert judge(drawn("gaussian_noise", level, severity), below) > 1e-4


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("level", LEVELS)
def test_speckle_noise_is_normal_times_the_value(level, severity):
    found = drawn("speckle_noise", level, severity)
    if level == 0:
        assert not found.any()
        return
    sigma = level * Variant("speckle_noise", "any-size", severity).p
    below = norm.cdf((np.arange(1, 257) - level) / sigma)
    below[255] = 1
    below[np.arange(1, 257) > level + sigma * 4.33] = 1
    below[np.arange(1, 257) < level - sigma * 4.33] = 0
    assert judge(found, below) > 1e-4


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_is_half_white_and_half_black(severity):
    amount = Variant("impulse_noise", "any-size", severity).p
    found = drawn("impulse_noise", 128, severity)
    assert set(np.unique(found)) == {0, 128, 255}
    for byte in (0, 255):
        count = (found == byte).sum()
        assert 1e-4 < binom.cdf(count, len(found), amount / 2) < 1 - 1e-4


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_channels_and_pixels_are_drawn_apart(name):
    images = torch.full((3, 3, 128, 128), 120, dtype=torch.uint8)
    noise = corrupt(images, name, 3).double().flatten(2)
    noise -= noise.mean()
    power = noise.square().mean()
    limit = 5 / np.sqrt(noise.numel())
    pairs = ((noise[:, 0], noise[:, 1]), (noise[0], noise[1]), (noise[..., 1:], noise[..., :-1]))
    for one, other in pairs:
        assert abs(float((one * other).mean() / power)) < limit * np.sqrt(noise.numel() / one.numel())


def test_shot_noise_keeps_black_and_its_greys():
    assert not drawn("shot_noise", 0, 5).any()
    for severity in SEVERITIES:
        photons = Variant("shot_noise", "any-size", severity).p
        possible = (np.minimum(np.arange(photons + 1) / photons, 1) * 255).astype(int)
        assert set(np.unique(drawn("shot_noise", 200, severity))) <= set(possible)


def test_every_strength_has_a_table_that_fits_its_words():
    """Bins and threshold share the 32 bits of a word, and the place in the table has 16."""
    for profile in PROFILES:
        for severity in SEVERITIES:
            bins, table = shot_table(Variant("shot_noise", profile, severity).p)
            assert bins <= 256
            assert bins & (bins - 1) == 0
            assert table.shape == (256, bins)


def test_a_mistake_is_ours_to_say():
    with pytest.raises(UserError):
        corrupt(torch.zeros(1, 4, 8, 8, dtype=torch.uint8), "gaussian_noise", 1)
