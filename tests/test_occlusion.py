"""Patches on pictures: what they hide, where, and that nothing but a sample's id and the seed decides it."""

import dataclasses

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.registry import perturbation_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets.shapes import Images, RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.faults.pictures.occlusion import occlude
from robustbench_ms.faults.pictures.table import PATCHES
from tests.sources import ROOT

MASK = (1 << 64) - 1


def mixed(z):
    """SplitMix64's finaliser, as Steele et al. (2014) have it."""
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


@pytest.fixture
def pictures():
    return torch.randint(
        0, 256, (40, 3, 32, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


IDS = torch.arange(40) * 7 + 3


def hidden(before, after):
    """First and last row and column of what differs, (4,)."""
    rows, columns = torch.nonzero((before != after).any(dim=0), as_tuple=True)
    return np.array([rows.min(), rows.max(), columns.min(), columns.max()])


@pytest.mark.parametrize("patch", PATCHES)
def test_a_patch_is_a_square_of_tenths_of_the_shorter_side_and_covers_the_smaller_ones(pictures, patch):
    inner = np.full((40, 4), [99, -1, 99, -1])
    for size, side in zip((1, 2, 3, 4, 5), (4, 6, 8, 10, 12), strict=True):
        shown = occlude(pictures, patch, size, ids=IDS)
        found = np.array([hidden(a, b) for a, b in zip(pictures, shown, strict=True)])

        assert ((found[:, 1] - found[:, 0]).max(), (found[:, 3] - found[:, 2]).max()) == (side - 1, side - 1)
        # an edge of it may by chance show the very bytes that it hides
        assert (found[:, [1, 3]] - found[:, [0, 2]] >= side - 2).all()
        assert (found[:, [0, 2]] <= inner[:, [0, 2]] + 1).all()
        assert (found[:, [1, 3]] >= inner[:, [1, 3]] - 1).all()
        inner = found


def test_a_patch_of_the_mean_shows_each_channels_mean_of_the_whole_picture(pictures):
    shown = occlude(pictures, "mean", 5, ids=IDS)
    for before, after in zip(pictures.numpy(), shown.numpy(), strict=True):
        top, bottom, left, right = hidden(torch.tensor(before), torch.tensor(after))
        mean = np.floor(before.reshape(3, -1).mean(axis=1) + 0.5)

        assert (after[:, top : bottom + 1, left : right + 1] == mean[:, None, None]).all()


def test_noise_is_of_all_bytes_alike_and_the_same_at_every_size(pictures):
    black = torch.zeros((200, 3, 32, 20), dtype=torch.uint8)
    small, large = (occlude(black, "noise", size, ids=torch.arange(200)) for size in (1, 5))
    values = large[large > 0].double()

    assert torch.equal(small[small > 0], large[small > 0])
    assert abs(values.mean() - 128) < 1
    assert abs(values.std() - 255 / 12**0.5) < 1
    assert not torch.equal(large[0], large[1])


def test_every_place_within_the_picture_is_as_likely():
    black = torch.full((6000, 1, 10, 10), 9, dtype=torch.uint8)
    black[:, :, 0, 0] = 8
    shown = occlude(black, "noise", 5, ids=torch.arange(6000))
    corners = torch.stack([(shown != black)[:, 0, i, j] for i in (0, -1) for j in (0, -1)])

    # of 5 x 5 places one hides each corner
    assert (abs(corners.double().mean(dim=1) - 1 / 25) < 0.01).all()


def test_the_place_is_of_the_words_of_a_sample(pictures):
    """By SplitMix64 in whole numbers of Python, which shares nothing with the keys of tensors."""
    seed, golden, apart = 5, 0x9E3779B97F4A7C15, 0x0CC1_0000_0000_0000 + 1
    base = mixed(mixed(seed) ^ apart)
    shown = occlude(pictures, "mean", 2, ids=IDS, seed=seed)
    for number, before, after in zip(IDS.tolist(), pictures, shown, strict=True):
        key = mixed(mixed(number + golden & MASK) ^ base)
        word = mixed(key + golden & MASK)
        top, left = ((word >> 32 * i & 0xFFFF_FFFF) * (n - 6 + 1) >> 32 for i, n in enumerate((32, 20)))
        found = hidden(before, after)

        assert top <= found[0] <= found[1] <= top + 5
        assert left <= found[2] <= found[3] <= left + 5


@pytest.mark.parametrize("patch", PATCHES)
def test_no_batch_and_no_order_changes_a_byte_and_nothing_is_written_into(pictures, patch):
    kept, order = pictures.clone(), torch.randperm(40, generator=torch.Generator().manual_seed(2))
    whole = occlude(pictures, patch, 3, ids=IDS)

    assert torch.equal(occlude(pictures[order], patch, 3, ids=IDS[order]), whole[order])
    assert torch.equal(
        torch.cat([occlude(pictures[i : i + 1], patch, 3, ids=IDS[i : i + 1]) for i in range(40)]), whole
    )
    assert torch.equal(pictures, kept)
    assert not torch.equal(occlude(pictures, patch, 3, ids=IDS, seed=1), whole)
    assert occlude(pictures[:0], patch, 3, ids=IDS[:0]).shape == (0, 3, 32, 20)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("patch", PATCHES)
def test_a_device_gives_the_same_bytes(pictures, patch):
    found = occlude(pictures.cuda(), patch, 4, ids=IDS)

    assert found.is_cuda
    assert torch.equal(found.cpu(), occlude(pictures, patch, 4, ids=IDS))


def test_the_shipped_suite_shows_both_patches_and_refuses_what_they_cannot_hide():
    suite = read_suite(ROOT / "suites" / "cifar10-occlusion.toml")
    facts = dataclasses.make_dataclass("Facts", ["layout"])
    at = (("patch", "noise"), ("size", 2))

    assert suite.matrix == {"patch": PATCHES, "size": (1, 2, 3, 4, 5)}
    assert perturbation_of(suite, facts(Images(3, 32, 32))).question(at) == {"patch_protocol": 1, "seed": 0}
    perturbation_of(suite, facts(Images(3, 10, 10))).check(at)
    with pytest.raises(
        UserError, match="suite cifar10-occlusion: images of 4 x 9 pixels are too small for patches"
    ):
        perturbation_of(suite, facts(Images(3, 4, 9))).check(at)
    with pytest.raises(
        UserError, match="patches are put on images of one size, and cifar10 has RaggedImages"
    ):
        perturbation_of(suite, facts(RaggedImages(3, np.array([[8, 9]])))).check(at)
