"""The corruptions' own draws are distributed as the sources' are.

Each image is corrupted once by us and K times by its oracle with numpy's draws. If both draw alike, our
statistic's rank among the K + 1 is uniform over 0..K, whatever its distribution (Talts et al., "Validating
Bayesian inference algorithms with simulation-based calibration", 2018): a shifted mean fills the outer
ranks of one side, a wrong spread the outer or the inner ones, a shared draw gives itself away by ranks that
move together. Judged by chi-square over 500 images. All seeds are fixed: a result here never changes by
chance.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2, chisquare, poisson

from robustbench_ms.corruptions import corrupt, corruption_of
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined.noise import shot_table
from robustbench_ms.corruptions.keyed import keys, words
from robustbench_ms.corruptions.table import NAMES, PROFILES, SEVERITIES
from tests.oracles.agreement import TOSS
from tests.oracles.photographs import crops, imagenet
from tests.oracles.reference import SIZES, Variant, oracles, render, truncate

RANDOM = [name for name in NAMES if oracles()[name].draw]
IMAGES = 500


def test_the_same_corruptions_are_random_on_both_sides():
    assert [name for name in NAMES if corruption_of(name).draw] == RANDOM


def _statistics(images: np.ndarray, clean: np.ndarray) -> dict[str, np.ndarray]:
    """Of each image, uint8 (N, H, W, 3): mean, variance, error against the clean one, its power in four bands."""
    x, residual = images.astype(np.float64), images.astype(np.float64) - clean
    found = {
        "mean": x.mean((1, 2, 3)),
        "variance": x.var((1, 2, 3)),
        "error": (residual**2).mean((1, 2, 3)),
        "green minus red": (x[..., 1] - x[..., 0]).mean((1, 2)),
    }
    power = np.abs(np.fft.rfft2(residual.mean(-1))) ** 2
    rows, columns = np.fft.fftfreq(x.shape[1])[:, None], np.fft.rfftfreq(x.shape[2])
    radius = np.hypot(rows, columns)
    for low, high in ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 1.0)):
        found[f"power {low}..{high}"] = power[:, (radius > low) & (radius <= high)].sum(-1)
    # Directions: an error in an angle's or an axis's sign leaves the rings as they are.
    found["power across"] = power[:, (np.abs(rows) < columns) & (radius > 0)].sum(-1) / power.sum(
        (1, 2)
    ).clip(1)
    found["power aslant"] = power[:, (rows > 0) & (columns > 0)].sum(-1) / power.sum((1, 2)).clip(1)
    return found


def _ranks(ours: np.ndarray, theirs: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Of each of ours among theirs; ties are broken at random."""
    below = sum((other < ours).astype(int) for other in theirs)
    equal = sum((other == ours).astype(int) for other in theirs)
    return below + rng.integers(0, equal + 1)


def _drawn(name: str, image: np.ndarray, profile: str, severity: int, rng: np.random.Generator) -> np.ndarray:
    """`render`; what the package's motion blur leaves within `TOSS` of an integer is cut off as ours is.

    There the last bit of float64 decides for every flat patch of one grey, at whatever angle: of 256 greys up to 171
    come out a level lower, and that moves an image's mean further than the angle does.
    """
    if (name, profile) != ("motion_blur", "any-size"):
        return render(name, image, profile, severity, rng)
    oracle, variant = oracles()[name], Variant(name, profile, severity)
    return truncate(oracle.apply(image, variant, **oracle.draw(rng, image.shape, variant, image)) + TOSS)


def _check(name: str, profile: str, severity: int, images: list[np.ndarray], runs: int) -> None:
    clean = np.stack(images)
    batch = torch.from_numpy(clean).permute(0, 3, 1, 2).contiguous()
    corrupted = corrupt(batch, name, severity, profile=profile, seed=11, ids=range(len(images)))
    ours = _statistics(corrupted.permute(0, 2, 3, 1).numpy(), clean)
    rng = np.random.default_rng([3, NAMES.index(name), PROFILES.index(profile), severity])
    theirs = [
        _statistics(np.stack([_drawn(name, image, profile, severity, rng) for image in images]), clean)
        for _ in range(runs)
    ]
    for statistic, values in ours.items():
        ranks = _ranks(values, [run[statistic] for run in theirs], rng)
        counts = np.bincount(ranks, minlength=runs + 1)
        p = chisquare(counts).pvalue
        assert p > 1e-4, f"{name} {profile} {severity}, {statistic}: ranks {counts.tolist()}, p {p:.1e}"


@pytest.mark.parametrize("name", RANDOM)
def test_draws_are_the_sources(name):
    _check(name, "cifar", 3, crops(32, IMAGES), 9)


@pytest.mark.slow
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", ["cifar", "imagenet-64"])
@pytest.mark.parametrize("name", RANDOM)
def test_draws_are_the_sources_at_every_severity(name, profile, severity):
    _check(name, profile, severity, crops(SIZES[profile], IMAGES), 19)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["imagenet", "any-size"])
@pytest.mark.parametrize("name", RANDOM)
def test_draws_are_the_sources_on_imagenet(name, profile):
    images = imagenet(224, IMAGES)
    if images is None:
        pytest.skip("RBMS_DATA has no imagenet-val-500")
    for severity in SEVERITIES:
        _check(name, profile, severity, images, 4)


STRENGTHS = sorted(
    {Variant("shot_noise", profile, severity).p for profile in PROFILES for severity in SEVERITIES}
)


def _grey_probabilities(photons: float, level: int) -> np.ndarray:
    """Of the 256 grey levels that Poisson counts become: what the source draws for one level of the image."""
    counts = np.arange(int(np.ceil(photons)) + 1)
    greys = (np.clip(counts / float(photons), 0, 1) * 255).astype(np.uint8)
    mass = poisson.pmf(counts, level / 255 * photons)
    mass[-1] = poisson.sf(counts[-1] - 1, level / 255 * photons)
    return np.bincount(greys, weights=mass, minlength=256)


@pytest.mark.parametrize("photons", STRENGTHS)
def test_the_table_of_shot_noise_is_poisson(photons):
    """Exactly: every outcome's probability to half a step of the 16-bit thresholds."""
    bins, table = shot_table(photons)
    entries = table.view(np.uint32)
    for level in range(256):
        entry = entries[level]
        share = (entry >> 16) / 65536
        found = np.bincount(entry & 255, weights=share, minlength=256)
        found += np.bincount((entry >> 8) & 255, weights=1 - share, minlength=256)
        assert np.abs(found / bins - _grey_probabilities(photons, level)).max() < 0.51 / 65536, level


@pytest.mark.parametrize("photons", STRENGTHS)
def test_shot_noise_of_every_level_is_poisson(photons):
    """From key to byte: chi-square of 16,384 draws at each level, and of their sum."""
    profile, severity = next(
        (p, s) for p in PROFILES for s in SEVERITIES if Variant("shot_noise", p, s).p == photons
    )
    setting, shot = Setting(profile, severity, photons), corruption_of("shot_noise")
    levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 1, 128, 128).contiguous()
    key = keys("shot_noise", severity, 2, torch.arange(256))
    drawn = shot.definition(levels, shot.draw(key, tuple(levels.shape), setting, words), setting)
    total, freedom = 0.0, 0
    for level in range(256):
        found = np.bincount(drawn[level].flatten().numpy(), minlength=256)
        expected = found.sum() * _grey_probabilities(photons, level)
        # Outcomes expected less than ten times are one outcome, with the least expected of the others.
        order = np.argsort(-expected)
        own = max(0, (expected >= 10).sum() - 1)
        groups = np.arange(own + 1)
        observed, wanted = np.add.reduceat(found[order], groups), np.add.reduceat(expected[order], groups)
        statistic = ((observed - wanted) ** 2 / wanted).sum()
        assert chi2.sf(statistic, max(1, own)) > 1e-6, (level, statistic, own)
        total, freedom = total + statistic, freedom + own
    assert 1e-4 < chi2.sf(total, freedom) < 1 - 1e-4
