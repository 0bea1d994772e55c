"""The small FCOS: what it answers, what it learns by, and where its attention is."""

from __future__ import annotations

import pytest
import torch

from robustbench_ms.errors import UserError
from robustbench_ms.models import attention_blocks
from robustbench_ms.models.costs import costs
from robustbench_ms.models.detectors.tiny_fcos import tiny_fcos

BLOCKS = {
    "cbam": {"reduction": 4},
    "coord": {"reduction": 4},
    "ema": {"factor": 8},
    "dmsca": {"reduction": 4},
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return tiny_fcos()


def test_it_answers_boxes_in_the_pictures_own_pixels_best_first(network):
    pictures = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answers = network.eval()(pictures)
        listed = network([picture.clone() for picture in pictures])

    for one, other in zip(answers, listed, strict=True):
        assert 0 < len(one["boxes"]) <= 100
        assert one["boxes"].shape == (len(one["scores"]), 4)
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= 128).all()
        assert (one["scores"].diff() <= 0).all()
        assert (one["scores"] > 0.001).all()
        assert set(one["labels"].tolist()) <= set(range(10))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_it_learns_by_losses_and_of_a_picture_without_boxes_too(network):
    boxes = torch.tensor([[20.0, 30.0, 45.0, 70.0], [60.0, 60.0, 66.0, 74.0]])
    targets = [
        {"boxes": boxes, "labels": torch.tensor([3, 9])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    losses = network.train()(torch.rand(2, 3, 128, 128), targets)

    assert sorted(losses) == ["bbox_ctrness", "bbox_regression", "classification"]
    assert all(loss > 0 and loss.isfinite() for loss in losses.values())


def test_digits_of_all_sizes_have_places_that_learn_them(network):
    """A level whose range no box falls into would learn nothing, and a box that no level takes would be lost."""
    caught = []
    network.head.compute_loss, kept = (
        lambda t, h, a, matched: caught.extend(matched) or {},
        network.head.compute_loss,
    )
    sides = [(6, 14), (10, 20), (20, 35), (36, 56), (40, 56)]
    targets = [
        {"boxes": torch.tensor([[37.0, 41, 37 + w, 41 + h]]), "labels": torch.tensor([0])} for w, h in sides
    ]
    network.train()(torch.rand(len(sides), 3, 128, 128), targets)
    network.head.compute_loss = kept

    levels = [[int((part >= 0).sum()) for part in m.split([1024, 256, 64])] for m in caught]
    assert all(sum(level) > 0 for level in levels)
    assert (torch.tensor(levels).sum(0)[:2] > 0).all()


@pytest.mark.parametrize("attention", BLOCKS)
def test_attention_stands_in_each_residual_branch(attention):
    torch.manual_seed(0)
    plain = tiny_fcos()
    torch.manual_seed(0)
    model = tiny_fcos(attention=attention, **BLOCKS[attention])

    assert list(attention_blocks(model)) == [f"backbone.body.layer{k}.attention" for k in (1, 2, 3, 4)]
    with torch.inference_mode():
        model.eval()(torch.rand(1, 3, 128, 128))
    more = costs(model, model.sample_size)["parameters"] - costs(plain, plain.sample_size)["parameters"]
    assert 0 < more < 9000
    assert torch.equal(model.backbone.body.conv1.weight, plain.backbone.body.conv1.weight)


def test_its_costs_are_of_what_runs_before_boxes_are_chosen(network):
    found = costs(network, network.sample_size)

    assert found["parameters"] == sum(p.numel() for p in network.parameters()) == 433_695
    places = 32**2 + 16**2 + 8**2
    head = places * 9 * 64 * (4 * 64 + 10 + 4 + 1)
    stem = 64**2 * (27 * 16 + 2 * 9 * 16**2)
    assert found["macs"] > head + stem
    assert found["macs"] < 2 * (head + stem)


def test_what_it_cannot_be_is_told():
    with pytest.raises(UserError, match="no attention named 'cbm'; did you mean 'cbam'"):
        tiny_fcos(attention="cbm")
    with pytest.raises(UserError, match="classes must be"):
        tiny_fcos(classes=0)
