"""The published CIFAR-10-C itself, where some of it lies under RBMS_DATA: three test images at severity 5.

It was made in float32 and by an ImageMagick of 2018, so a few values lie one level from the formulas.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from robustbench_ms.corruptions import corrupt
from robustbench_ms.corruptions.defined.motion import move_compiled, taps
from tests.oracles.reference import Variant

DARKER = {1: 11, 4: 14, 6: 11}
"""Of each image's 3,072 values, how many the published brightness has one level below ours."""
MOVED = {1: 0, 4: 1, 6: 0}
"""How many its motion blur has one level from ours, at the angle that fits best."""


@pytest.fixture
def published(real_data):
    """A function: published("pixelate", 4) is uint8 (3, 32, 32) of test image 4; "original" is the image itself."""
    with np.load(real_data("cifar10-c-official/pixels.npz")) as file:
        found = {name: torch.from_numpy(file[name]).permute(2, 0, 1).contiguous() for name in file}
    return lambda name, number: found[f"{name}_{number}"]


@pytest.mark.parametrize("number", DARKER)
def test_the_originals_are_the_test_sets(number, published, real_data):
    images = np.load(real_data("cifar10/test_images.npy"), mmap_mode="r")
    assert torch.equal(
        published("original", number), torch.from_numpy(np.array(images[number])).permute(2, 0, 1)
    )


@pytest.mark.parametrize("number", DARKER)
def test_pixelate_is_the_published_and_brightness_but_for_some_values(number, published):
    image = published("original", number)[None]
    ours = {name: corrupt(image, name, 5, profile="cifar")[0] for name in ("pixelate", "brightness")}
    assert torch.equal(ours["pixelate"], published("pixelate", number))
    above = ours["brightness"].int() - published("brightness", number).int()
    assert sorted(above.unique().tolist()) == [0, 1]
    assert int(above.sum()) == DARKER[number]


@pytest.mark.parametrize("number", MOVED)
def test_motion_blur_is_the_published_at_its_angle(number, published):
    """The angle is not known: the best of 1,801."""
    angles = torch.linspace(-45, 45, 1801, dtype=torch.float64)
    lines = taps(angles, *Variant("motion_blur", "cifar", 5).p, None)
    images = published("original", number).expand(len(angles), -1, -1, -1).contiguous()
    away = (move_compiled(images, lines, package=False).int() - published("motion_blur", number).int()).abs()
    best = int((away > 0).flatten(1).sum(1).argmin())
    assert int(away[best].max()) <= 1
    assert int((away[best] > 0).sum()) == MOVED[number]


@pytest.mark.parametrize("number", DARKER)
def test_gaussian_noise_has_the_published_spread(number, published):
    """Where no value is clipped, and one half is cut off on the mean; to five standard errors."""
    image = published("original", number).double()
    inner = (image > 100) & (image < 155)
    noise = (published("gaussian_noise", number) - image)[inner] / 255
    sigma, n = Variant("gaussian_noise", "cifar", 5).p, int(inner.sum())
    assert abs(float(noise.mean()) + 0.5 / 255) < 5 * sigma / n**0.5
    assert abs(float(noise.std()) / sigma - 1) < 5 / (2 * n) ** 0.5
    assert norm.sf(float(noise.abs().max()) / sigma) * n > 1e-4
