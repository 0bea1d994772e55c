"""Every corruption against its oracle on real photographs, fed with the very words it drew.

Pooled over the photographs of one corruption, profile and severity: at most one grey level off, in at most
1 % of the values. Where the oracle's exact value lies within 1e-6 of an integer, truncation in the source
is a coin toss, and either neighbour is right (counted apart). What is called is `corrupt`, so that a fused
path is compared wherever it is the one that ships.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from robustbench_ms.corruptions import corrupt, corruption_of, dispatch
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.keyed import keys
from robustbench_ms.corruptions.table import NAMES, PROFILES, SEVERITIES, parameters
from tests.corruptions.injection import READERS, shot_counts
from tests.oracles.agreement import Agreement, compare
from tests.oracles.photographs import cifar, imagenet, photographs, rectangle
from tests.oracles.reference import SIZES, Variant, oracles
from tests.oracles.weather import frost_photograph

SHAPES = ((97, 131), (64, 200), (40, 33))
"""Sizes for any-size: neither square nor even; the last is smaller than the longest streaks."""

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _agreement(
    images: list[np.ndarray], name: str, profile: str, severity: int, device: str = "cpu"
) -> Agreement:
    """Over images of one shape, uint8 (H, W, 3), drawn with their indices as ids."""
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(device)
    seed, ids = 5, torch.arange(len(images), device=device) + 100
    ours = (
        corrupt(batch, name, severity, profile=profile, seed=seed, ids=ids).permute(0, 2, 3, 1).cpu().numpy()
    )
    oracle, variant = oracles()[name], Variant(name, profile, severity)
    draw = corruption_of(name).draw
    words = None
    if draw is not None:
        setting = Setting(profile, severity, parameters(name, profile, severity))
        key, maker = keys(name, severity, seed, ids), dispatch.words_on(batch.device)
        words = draw(key, tuple(batch.shape), setting, maker).cpu().numpy()
    total = Agreement()
    for index, image in enumerate(images):
        draws = {}
        if name == "shot_noise":
            counts = shot_counts(words[index], image.transpose(2, 0, 1), variant)
            draws = {"counts": counts.transpose(1, 2, 0)}
        elif words is not None:
            draws = READERS[name](words[index], image.shape[:2], variant)
        total += compare(ours[index], oracle.apply(image, variant, **draws))
    return total


def _few(profile: str) -> list[list[np.ndarray]]:
    """A few photographs, in groups of one shape."""
    if profile == "any-size":
        return [[rectangle(*shape, index)] for index, shape in enumerate(SHAPES)]
    return [photographs(SIZES[profile], 4 if SIZES[profile] < 100 else 2)]


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_parity(name, profile, severity):
    total = sum((_agreement(group, name, profile, severity) for group in _few(profile)), Agreement())
    assert total.fits, f"{name} {profile} {severity}: {total}"


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_parity_on_cuda(name, profile):
    for severity in SEVERITIES:
        groups = (_agreement(group, name, profile, severity, "cuda") for group in _few(profile))
        total = sum(groups, Agreement())
        assert total.fits, f"{name} {profile} {severity}: {total}"


def _grey(name: str, severity: int) -> tuple[np.ndarray, np.ndarray, Variant, dict]:
    """A photograph in grey (64, 64), what becomes of it, and the oracle's variant and draws."""
    image, profile, ids = photographs(64, 1)[0][..., 1].copy(), "imagenet-64", torch.tensor([41])
    batch = torch.from_numpy(image)[None, None]
    ours = corrupt(batch, name, severity, profile=profile, seed=5, ids=ids)[0, 0].numpy()
    variant, draw = Variant(name, profile, severity), corruption_of(name).draw
    if draw is None:
        return image, ours, variant, {}
    setting = Setting(profile, severity, parameters(name, profile, severity))
    key, maker = keys(name, severity, 5, ids), dispatch.words_on(batch.device)
    words = draw(key, tuple(batch.shape), setting, maker).numpy()[0]
    if name == "shot_noise":
        return image, ours, variant, {"counts": shot_counts(words, image[None], variant).transpose(1, 2, 0)}
    return image, ours, variant, READERS[name](words, image.shape, variant)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"frost", "spatter"}])
def test_a_grey_image_is_the_first_of_three_equal_channels(name):
    image, ours, variant, draws = _grey(name, 4)
    for key, draw in draws.items():
        if isinstance(draw, np.ndarray) and draw.shape == (64, 64, 1):
            draws[key] = draw.repeat(3, axis=-1)
    coloured = oracles()[name].apply(np.repeat(image[..., None], 3, axis=-1), variant, **draws)
    agreement = compare(ours, coloured[..., 0])
    assert agreement.fits, agreement


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_grey_image_takes_the_luminance_of_ice_and_of_water_and_mud(severity):
    image, ours, variant, draws = _grey("frost", severity)
    crop = frost_photograph(draws["index"], variant.profile, 64, 64)
    crop = crop[draws["top"] : draws["top"] + 64, draws["left"] : draws["left"] + 64]
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    of_image, of_frost = variant.p
    agreement = compare(ours, np.clip(of_image * image.astype(float) + of_frost * grey, 0, 255))
    assert agreement.fits, agreement

    image, ours, variant, draws = _grey("spatter", severity)
    liquid = oracles()["spatter"].apply(np.zeros((64, 64, 3), np.uint8), variant, **draws)
    mud = variant.p[-1]
    covered = mud * liquid[..., 0] / 63
    agreement = compare(ours, np.clip(image * (1 - covered) + liquid @ [0.299, 0.587, 0.114], 0, 255))
    assert agreement.fits, agreement


def _many(profile: str) -> list[list[np.ndarray]]:
    """Five hundred images of the real data (any-size and 299: a hundred), in batches of one shape."""
    if profile == "cifar":
        data = cifar()
        if data is None:
            pytest.skip("RBMS_DATA has no cifar10")
        images = [np.array(image) for image in data[0][::20]]
    else:
        side, count = (SIZES.get(profile, 160), 100 if profile in {"any-size", "imagenet-299"} else 500)
        found = imagenet(side, count)
        if found is None:
            pytest.skip("RBMS_DATA has no imagenet-val-500")
        images = found
        if profile == "any-size":
            # Odd and even, wide and tall: whole rows and columns cut away.
            images = [image[: 160 - index % 37, : 160 - index % 5 * 11] for index, image in enumerate(images)]
            images += [rectangle(480, 640, index) for index in range(3)]
            return [[np.ascontiguousarray(image)] for image in images]
    return [images[start : start + 50] for start in range(0, len(images), 50)]


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_parity_over_the_data_sets(name, profile):
    for severity in SEVERITIES:
        total = sum((_agreement(group, name, profile, severity) for group in _many(profile)), Agreement())
        assert total.fits, f"{name} {profile} {severity}: {total}"
