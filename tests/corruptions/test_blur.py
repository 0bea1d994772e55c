"""The blurs' parts against the libraries they follow, and compiled code against the definitions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from robustbench_ms.corruptions import SIDES, corrupt, corruption_of, keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined import defocus, gaussian_blur, glass, motion
from robustbench_ms.corruptions.table import PROFILES, SEVERITIES
from tests.corruptions.textures import SHAPES, textured
from tests.oracles.agreement import compare
from tests.oracles.motion import magick_motion_blur, package_motion_blur
from tests.oracles.reference import Variant

SETTINGS = [(profile, severity) for profile in PROFILES for severity in SEVERITIES]


def sigmas() -> list[float]:
    """Every sigma that blurs."""
    found = {Variant("gaussian_blur", *setting).p for setting in SETTINGS}
    return sorted(found | {Variant("glass_blur", *setting).p[0] for setting in SETTINGS})


@pytest.mark.parametrize("sigma", sigmas())
def test_gaussian_compiled_is_the_definition(sigma):
    for shape in SHAPES:
        x = textured(shape)
        assert torch.equal(
            gaussian_blur.soften_by_loops(x, sigma), gaussian_blur.soften_by_torch(x, sigma)
        ), shape
        assert torch.equal(
            gaussian_blur.soften_exactly_by_loops(x, sigma), gaussian_blur.soften_exactly_by_torch(x, sigma)
        ), shape


@pytest.mark.parametrize("sigma", sigmas())
def test_the_exact_gaussian_has_scipys_every_bit(sigma):
    """On flat patches too, where only its rounding decides between two bytes."""
    flat = torch.arange(256, dtype=torch.uint8).view(1, 256, 1, 1).expand(1, 256, 9, 9)
    for x in (textured((1, 2, 40, 51)), flat.contiguous()):
        expected = [
            np.uint8(gaussian_filter(plane.numpy() / 255.0, sigma, mode="nearest", truncate=4.0) * 255)
            for plane in x[0]
        ]
        np.testing.assert_array_equal(
            gaussian_blur.soften_exactly_by_loops(x, sigma)[0].numpy(), np.stack(expected)
        )


def test_a_flat_image_stays_as_it_is():
    """Where the source would drop some greys by one on its own rounding, ours keeps them."""
    flat = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(256, 1, 48, 48).contiguous()
    for name in ("gaussian_blur", "zoom_blur"):
        for severity in SEVERITIES:
            assert torch.equal(corrupt(flat, name, severity), flat), name
    for severity in SEVERITIES:  # 48 pixels: the line never leaves the image
        assert torch.equal(corrupt(flat, "motion_blur", severity), flat)


# Glass


def visited(x: np.ndarray, words: np.ndarray, reach: int) -> np.ndarray:
    """One pixel after the other, as the source's loops say, on (H, W)."""
    x, (height, width) = x.copy(), x.shape
    for drawn in words:
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                pair = int(drawn[h, w]) * (2 * reach) ** 2 >> 16
                x[h, w] = x[h + pair // (2 * reach) - reach, w + pair % (2 * reach) - reach]
    return x


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from((1, 3)),
    st.integers(0, 99),
)
@example(1, 1, 4, 2, 3, 0)
def test_glass_follows_chains_as_the_loops_do(height, width, reach, rounds, channels, seed):
    images = textured((2, channels, height, width), seed)
    setting = Setting("any-size", 1, (1.0, reach, rounds))
    keys = keyed.keys("glass_blur", 1, seed, torch.arange(2))
    words = glass.draw(keys, tuple(images.shape), setting, keyed.words)
    expected = np.stack(
        [[visited(plane, words[n].numpy(), reach) for plane in images[n].numpy()] for n in range(2)]
    )
    np.testing.assert_array_equal(glass.move_by_torch(images, words, reach).numpy(), expected)
    sequential = glass.move_compiled(images, words.to(torch.uint16).flatten(1).numpy(), setting)
    np.testing.assert_array_equal(sequential.numpy(), expected)


@pytest.mark.parametrize("reach", [1, 2, 3, 4, 5])
def test_glass_offsets_are_even(reach):
    dx, dy = glass.offsets(torch.arange(65536, dtype=torch.int32), reach)
    counts = np.histogram2d(dx.numpy(), dy.numpy(), bins=2 * reach, range=[(-reach, reach)] * 2)[0]
    assert counts.min() > 0
    assert counts.max() - counts.min() <= 1
    assert (int(dx.min()), int(dx.max())) == (int(dy.min()), int(dy.max())) == (-reach, reach - 1)


# Motion


@pytest.mark.parametrize(("profile", "severity"), SETTINGS)
def test_motion_compiled_is_the_definition(profile, severity):
    package = profile == "any-size"
    random = torch.Generator().manual_seed(severity)
    for shape in SHAPES:
        images = textured(shape)
        degrees = 90 * torch.rand(shape[0], dtype=torch.float64, generator=random) - 45
        lines = motion.taps(
            degrees, *Variant("motion_blur", profile, severity).p, shape[2:] if package else None
        )
        ours = motion.move_compiled(images, lines, package=package)
        assert torch.equal(ours, motion.move_by_torch(images, lines, package=package)), shape


@settings(max_examples=60, deadline=None)
@given(st.floats(-45, 45), st.sampled_from([s for p, s in SETTINGS if p == "any-size"]), st.booleans())
@example(0.0, 1, True)
@example(-45.0, 5, False)
@example(45.0, 5, True)
@example(1.75, 1, True)  # at the right edge, where pixels repeat, float32 decides for many values
def test_motion_at_any_angle(degrees, severity, package):
    """Against the oracle, at the angles where taps merge and on an image that the line leaves upwards."""
    radius, sigma = Variant("motion_blur", "any-size", severity).p
    images = torch.randint(
        0, 256, (1, 3, 24, 200), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    lines = motion.taps(
        torch.tensor([degrees], dtype=torch.float64), radius, sigma, (24, 200) if package else None
    )
    ours = motion.move_compiled(images, lines, package=package)[0].permute(1, 2, 0).numpy()
    source = package_motion_blur if package else magick_motion_blur
    agreement = compare(ours, source(images[0].permute(1, 2, 0).numpy(), radius, sigma, degrees))
    assert agreement.fits, agreement


def test_motion_weights_are_all_there():
    """Merged taps keep their weight; only the package's line that leaves the image loses some."""
    degrees = torch.linspace(-45, 45, 181, dtype=torch.float64)
    rows, columns, weights = motion.taps(degrees, 15, 8, None)
    torch.testing.assert_close(weights.sum(1), torch.ones(181), rtol=1e-6, atol=0)
    for n in range(181):
        used = weights[n] > 0
        places = set(zip(rows[n][used].tolist(), columns[n][used].tolist(), strict=True))
        assert len(places) == int(used.sum())
    assert float(motion.taps(degrees, 15, 8, (12, 12))[2].sum(1).max()) < 0.97


# Defocus


def opencv_disk(radius, alias):
    """The source's filter, float32."""
    reach, size = (8, 3) if radius <= 8 else (radius, 5)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    hard = (x**2 + y**2 <= radius**2).astype(np.float32)
    return cv2.GaussianBlur(hard / hard.sum(), (size, size), alias)


@pytest.mark.parametrize(("profile", "severity"), SETTINGS)
def test_the_disk_is_opencvs(profile, severity):
    radius, alias = Variant("defocus_blur", profile, severity).p
    disk = opencv_disk(radius, alias)
    centre = len(disk) // 2
    expected = disk[centre:, centre:]
    np.testing.assert_allclose(defocus.disk(radius, alias), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("profile", "severity"), SETTINGS)
def test_the_plan_is_the_disk(profile, severity):
    """A single white pixel shows the whole filter, corrections at the grid's edge included."""
    radius, alias = Variant("defocus_blur", profile, severity).p
    plan = defocus.plan(radius, alias)
    side = 2 * plan.reach + 1
    quadrant = np.zeros((plan.reach + 1,) * 2)
    source = defocus.disk(radius, alias)[: plan.reach + 1, : plan.reach + 1]
    quadrant[: len(source), : len(source)] = source
    whole = np.concatenate([quadrant[:0:-1], quadrant])
    whole = np.concatenate([whole[:, :0:-1], whole], axis=1)
    images = torch.zeros(1, 1, 3 * side, 3 * side, dtype=torch.uint8)
    images[0, 0, side + plan.reach, side + plan.reach] = 255
    found = defocus.sum_by_torch(images, plan)[0, 0, side : 2 * side, side : 2 * side].numpy() / 255
    np.testing.assert_allclose(found, whole, rtol=0, atol=3e-6)


@pytest.mark.parametrize(("profile", "severity"), SETTINGS)
def test_defocus_compiled_is_the_definition(profile, severity):
    plan = defocus.plan(*Variant("defocus_blur", profile, severity).p)
    for shape in SHAPES:
        images = textured(shape)
        assert torch.equal(defocus.blur_compiled(images, plan), defocus.blur_by_torch(images, plan)), shape


@given(st.integers(1, 40), st.integers(0, 60))
def test_reflected_is_numpys(size, reach):
    expected = np.pad(np.arange(size), reach, mode="reflect") if size > 1 else np.zeros(1 + 2 * reach)
    np.testing.assert_array_equal(defocus.reflected(size, reach), expected)


@pytest.mark.parametrize(("profile", "severity"), SETTINGS)
def test_white_is_clipped_or_falls_as_in_the_source(profile, severity):
    """The source truncates, so it matters whether its weights sum to a trifle more than one or less."""
    weights = opencv_disk(*Variant("defocus_blur", profile, severity).p).astype(np.float64)
    side = SIDES.get(profile, 64)
    white = torch.full((1, 1, side, side), 255, dtype=torch.uint8)
    found = corrupt(white, "defocus_blur", severity, profile=profile)
    assert int(found[0, 0, side // 2, side // 2]) == (254 if weights.sum() < 1 else 255)


@pytest.mark.parametrize("name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"])
def test_channels_are_blurred_alike(name):
    """Three equal channels stay equal, and are what the one channel becomes."""
    grey = textured((2, 1, 45, 37))
    out = corrupt(grey.expand(-1, 3, -1, -1), name, 3)
    assert torch.equal(out, corrupt(grey, name, 3).expand(-1, 3, -1, -1))
    assert corruption_of(name).smallest == 1
