"""Zoom blur against SciPy, the package itself and the published code, and compiled code against the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import zoom

from robustbench_ms.corruptions import corrupt
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.defined.zoom import ZOOM, factors_of, line
from robustbench_ms.corruptions.table import SEVERITIES, parameters
from tests.corruptions.textures import SHAPES, textured
from tests.oracles.agreement import compare
from tests.oracles.photographs import crops, rectangle
from tests.oracles.reference import Variant, oracles

imagecorruptions = pytest.importorskip("imagecorruptions")

HALVES = {32: {5}, 240: {5}, 427: {2, 3, 4}, 500: {5}, 640: {4}, 375: set(), 480: set()}
"""Sides of any-size, and the severities at which a layer ends in one half, so that a factor's last bit decides."""


def test_factors_are_numpys():
    for end in np.arange(1.02, 1.6, 0.01):
        for step in (0.01, 0.02, 0.03, 0.05, 0.3):
            assert factors_of(end, step) == tuple(np.arange(1, end, step).tolist())


@pytest.mark.parametrize("side", HALVES)
def test_where_the_last_bit_of_a_factor_decides(side):
    """Which is what the sides of the next test are for."""

    def width(factor: float) -> int:
        return round(math.ceil(side / factor) * factor)

    found = {
        severity
        for severity in SEVERITIES
        for factor in factors_of(*parameters("zoom_blur", "any-size", severity))
        if width(factor) != width(round(factor, 2))
    }
    assert found == HALVES[side]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("shape", [(32, 240), (427, 48), (48, 500), (640, 33), (375, 40), (40, 480)])
def test_the_package_itself_answers_the_same(shape, severity):
    """At most one level off, in at most 1 % of the values: the package adds in float32."""
    image = rectangle(*shape)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    ours = corrupt(batch, "zoom_blur", severity)[0].permute(1, 2, 0).numpy()
    agreement = compare(ours, imagecorruptions.corrupt(image, severity, "zoom_blur"))
    assert agreement.fits, agreement


@pytest.mark.parametrize("severity", SEVERITIES)
def test_cifars_are_those_of_the_published_code(severity):
    images = crops(32, 40)
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    ours = corrupt(batch, "zoom_blur", severity, profile="cifar").permute(0, 2, 3, 1).numpy()
    variant = Variant("zoom_blur", "cifar", severity)
    exact = np.stack([oracles()["zoom_blur"].apply(image, variant) for image in images])
    agreement = compare(ours, exact)
    assert agreement.fits, agreement


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", ["any-size", "cifar"])
def test_compiled_is_the_definition(profile, severity):
    setting = Setting(profile, severity, parameters("zoom_blur", profile, severity))
    for shape in SHAPES:
        images = textured(shape)
        assert torch.equal(ZOOM.loops(images, None, setting), ZOOM.definition(images, None, setting)), shape


def test_lines_are_scipys():
    """Its positions, to the last bit, and its defect where rounding carries one beyond the last pixel."""
    factors = {
        float(factor)
        for profile in ("any-size", "cifar")
        for severity in SEVERITIES
        for factor in Variant("zoom_blur", profile, severity).p
    } - {1.0}
    random, lost = np.random.default_rng(0), set()
    for size in [*range(1, 130), 136, 150, 160, 224, 240, 299, 427, 480, 500, 640]:
        x = random.uniform(1, 2, size)
        for factor in factors:
            crop = math.ceil(size / factor)
            start = (size - crop) // 2
            expected = zoom(x[start : start + crop], factor, order=1)[:size]
            first, before, after = line(size, factor)
            found = x[first] * before + x[np.minimum(first + 1, size - 1)] * after
            expected = np.pad(expected, (0, size - len(expected)))  # where the layer ends, nothing is added
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12, err_msg=f"{size} {factor}")
            if (expected == 0).any():
                lost.add(size)
    assert {36, 160} < lost
    assert not lost & {32, 64, 224, 299}
