"""compat.imagecorruptions beside the package whose place it takes."""

from __future__ import annotations

import numpy as np
import pytest

import robustbench_ms.compat.imagecorruptions as ours

theirs = pytest.importorskip("imagecorruptions")
NAMES = theirs.get_corruption_names("all")
DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur", "motion_blur", "snow", "frost",
         "fog", "elastic_transform", "spatter"}  # fmt: skip


def picture(height=64, width=80):
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (3 + c)) + np.cos(columns / (5 - c)) for c in range(3)]
    return (np.stack(waves, axis=-1) * 50 + 120).astype(np.uint8)


def test_the_names_of_every_subset():
    for subset in ("common", "validation", "all", "noise", "blur", "weather", "digital"):
        assert ours.get_corruption_names(subset) == theirs.get_corruption_names(subset)
    assert ours.get_corruption_names() == theirs.get_corruption_names()
    with pytest.raises(ValueError, match="subset must be one of"):
        ours.get_corruption_names("blurs")


@pytest.mark.parametrize("name", sorted({*NAMES} - DRAWN))
def test_what_draws_nothing_is_theirs_within_a_level(name):
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    for severity in (1, 5):
        found = ours.corrupt(picture(), severity, name).astype(int)
        assert np.abs(found - theirs.corrupt(picture(), severity, name)).max() <= 1
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_what_is_drawn_is_repeated_by_numpys_seed_and_alike_on_average(name):
    np.random.seed(7)
    drawn = [ours.corrupt(picture(), 3, corruption_number=NAMES.index(name)) for _ in range(24)]
    np.random.seed(7)
    assert (ours.corrupt(picture(), 3, name) == drawn[0]).all()
    assert (drawn[0] != drawn[1]).any()
    np.random.seed(7)
    expected = np.array([theirs.corrupt(picture(), 3, name) for _ in range(24)], float)
    found = np.array(drawn, float)
    between = np.hypot(found.mean((1, 2, 3)).std(), expected.mean((1, 2, 3)).std()) / 24**0.5
    assert abs(found.mean() - expected.mean()) < 5 * between + 0.5
    change = [np.abs(many - picture()).mean() for many in (found, expected)]
    assert change[0] == pytest.approx(change[1], rel=0.15)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3)])
def test_grey_pictures_get_three_channels(shape):
    image = picture(40, 50)[..., 0]
    image = image if len(shape) == 2 else np.ascontiguousarray(np.broadcast_to(image[..., None], shape))
    before = image.copy()
    found = ours.corrupt(image, 2, "defocus_blur")
    assert (found.shape, found.dtype, found.flags.c_contiguous) == ((40, 50, 3), np.uint8, True)
    assert np.abs(found.astype(int) - theirs.corrupt(image, 2, "defocus_blur")).max() <= 1
    assert (image == before).all()


@pytest.mark.parametrize("name", ["impulse_noise", "glass_blur"])
def test_a_seed_of_its_own(name):
    first, same, other = (ours.corrupt(picture(), 2, name, seed=seed) for seed in (3, 3, 4))
    assert (first == same).all()
    assert (first != other).any()


BAD = {
    "a list": (([[1]], 1, "fog"), {}),
    "floats": ((picture() / 255, 1, "fog"), {}),
    "a batch": ((picture()[None], 1, "fog"), {}),
    "small": ((picture(31, 40), 1, "fog"), {}),
    "four channels": ((np.zeros((40, 40, 4), np.uint8), 1, "fog"), {}),
    "severity": ((picture(), 6, "fog"), {}),
    "unknown": ((picture(), 1, "fogg"), {}),
    "number": ((picture(), 1, None, 19), {}),
    "none": ((picture(), 1), {}),
    "word": ((picture(), 1, "fog"), {"seed": 1}),
    "words": ((picture(), 1, "impulse_noise"), {"speed": 1}),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_are_of_the_same_kind(case):
    words, named = BAD[case]
    with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever they raise
        theirs.corrupt(*words, **named)
    with pytest.raises(expected.type):
        ours.corrupt(*words, **named)


def test_severities_that_are_equal_to_an_integer():
    for severity in (2.0, np.int64(2), np.float32(2)):
        assert (ours.corrupt(picture(), severity, "contrast") == ours.corrupt(picture(), 2, "contrast")).all()
