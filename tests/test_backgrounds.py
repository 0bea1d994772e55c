"""Backgrounds swapped: the digit's pixels stay, levels show more of one ground, and an id alone decides the bytes."""

import dataclasses

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.registry import perturbation_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets import scenes
from robustbench_ms.datasets.scenes import GROUNDS, ONE, index_scenes, scene, swapped
from robustbench_ms.datasets.swaps import BACKGROUNDS
from robustbench_ms.errors import UserError
from robustbench_ms.specs.source import Source
from tests.sources import ROOT

SOME = [*range(3000, 3014)]


@pytest.fixture(scope="module")
def made():
    return {i: scene("test", i, ONE) for i in SOME}


def found_in(part, names):
    """The photographs of which a picture (128, 128, 3) is a crop, seen by its first row."""
    rows = []
    for name in names:
        ground = scenes._ground(name)
        windows = np.lib.stride_tricks.sliding_window_view(ground, (1, 128, 3))[:, :, 0, 0]
        for top, left in np.argwhere((windows[: len(ground) - 127] == part[0]).all(axis=(2, 3))):
            if np.array_equal(ground[top : top + 128, left : left + 128], part):
                rows.append(name)
    return rows


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_digit_stays_and_a_higher_level_shows_more_of_the_same_ground(made, background):
    for i, one in made.items():
        digit, last = one.owner > 0, None
        whole = swapped(one, "test", i, background, 5)
        for level, kept in zip((1, 2, 3, 4, 5), (16, 8, 4, 2, 0), strict=True):
            shown = swapped(one, "test", i, background, level)
            rows, columns = np.nonzero(digit)
            near = np.zeros_like(digit)
            for row, column in zip(rows, columns, strict=True):
                near[max(0, row - kept) : row + kept + 1, max(0, column - kept) : column + kept + 1] = True

            assert np.array_equal(shown[near], one.image[near])
            assert np.array_equal(shown[~near], whole[~near])
            assert last is None or (near <= last).all()
            last = near
        assert np.array_equal(last, digit)


def test_each_ground_is_a_crop_of_the_photographs_that_its_name_says(made, monkeypatch):
    """With the digit taken away, so that all of the ground is seen."""
    monkeypatch.setattr(scenes, "_near", lambda where, within: np.zeros_like(where))
    for i in SOME[:3]:
        one = made[i]
        others = [name for name in GROUNDS["test"] if name != one.ground]
        assert one.ground in found_in(swapped(one, "test", i, "same", 5), [one.ground])
        assert found_in(swapped(one, "test", i, "other", 5), others)
        assert found_in(swapped(one, "test", i, "seen", 5), GROUNDS["train"])
        assert len(np.unique(swapped(one, "test", i, "plain", 5).reshape(-1, 3), axis=0)) == 1
        assert not np.array_equal(swapped(one, "test", i, "same", 5), one.image)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_a_digit_is_as_far_from_its_new_ground_as_from_its_own(made, background, monkeypatch):
    """Nearly always: where no crop of 64 is, the farthest is taken."""
    monkeypatch.setattr(scenes, "_near", lambda where, within: np.zeros_like(where))
    luma = np.array([0.299, 0.587, 0.114])
    apart = []
    for i, one in made.items():
        digit, ground = (
            part[one.owner > 0].astype(float) for part in (one.image, swapped(one, "test", i, background, 5))
        )
        apart.append(abs(((digit - ground) @ luma).mean()))

    assert np.mean(np.array(apart) >= 60 - 1e-6) >= 0.9


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_no_batch_no_order_and_no_limit_changes_a_byte(background):
    suite = read_suite(ROOT / "suites" / "quick-backgrounds.toml")
    data = index_scenes(Source("quick-scenes-one", "test", wants=("label",)), None, ()).open("stored")
    change = perturbation_of(suite, data.facts)
    at, device = (("background", background), ("level", 3)), torch.device("cpu")
    rows = np.array([7, 299, 0, 150])
    whole = change(data.load(rows, device), at)
    turned = change(data.load(rows[::-1].copy(), device), at)
    single = [change(data.load(rows[k : k + 1], device), at).samples for k in range(4)]
    seeded = perturbation_of(dataclasses.replace(suite, seed=1), data.facts)(data.load(rows, device), at)

    assert whole.condition == at
    assert whole.samples.dtype == torch.uint8
    assert torch.equal(turned.samples.flip(0), whole.samples)
    assert torch.equal(torch.cat(single), whole.samples)
    assert not torch.equal(seeded.samples, whole.samples)
    assert torch.equal(whole.targets, data.load(rows, device).targets)


def test_the_shipped_suite_shows_all_and_other_data_are_refused():
    suite = read_suite(ROOT / "suites" / "quick-backgrounds.toml")
    at = (("background", "seen"), ("level", 2))

    assert suite.matrix == {"background": BACKGROUNDS, "level": (1, 2, 3, 4, 5)}
    perturbation_of(suite, None).check(at)
    assert perturbation_of(suite, None).question(at) == {"background_protocol": 1, "seed": 0}
    with pytest.raises(
        UserError, match="backgrounds are swapped of quick-scenes-one alone, not of quick-scenes"
    ):
        perturbation_of(dataclasses.replace(suite, dataset="quick-scenes"), None).check(at)
