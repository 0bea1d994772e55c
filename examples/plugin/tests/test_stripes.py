"""What this package promises beside the contract, which `rbms check rbms-stripes` holds it to."""

from __future__ import annotations

import torch
from rbms_stripes.data import picture
from rbms_stripes.film import dust, fade
from rbms_stripes.nets import differences

from robustbench_ms.corruptions.corruption import Setting


def batch():
    images = [torch.from_numpy(picture(i)).permute(2, 0, 1) for i in range(8)]
    return torch.stack(images).contiguous()


def test_the_network_sees_the_direction():
    assert differences()(batch() / 255).argmax(1).tolist() == [0, 1, 2, 3] * 2


def test_dust_is_white_where_the_word_is_small_and_nothing_else_changes():
    images, words = batch(), torch.zeros((8, 1024), dtype=torch.int32)
    words[:, 1:] = 65_535

    found = dust(images, words, Setting("any-size", 1, 0.05))

    assert (found[:, :, 0, 0] == 255).all()
    assert torch.equal(found[:, :, 1:], images[:, :, 1:])


def test_fading_goes_to_grey():
    assert (fade(batch(), None, Setting("any-size", 3, 256)) == 200).all()
    assert torch.equal(fade(batch(), None, Setting("any-size", 1, 0)), batch())
