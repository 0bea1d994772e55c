"""What of the training split is held out: the same samples for everybody, and never shown."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.training import loop
from robustbench_ms.subjects.training.split import held_out_rows, training_split
from robustbench_ms.subjects.weights import load_into
from tests.running import pixels
from tests.test_training import card_of, dropping, trained


def test_the_held_out_share_is_never_shown_and_judges_the_weights_that_are_kept(
    tmp_path, monkeypatch, places
):
    shown = []

    def watching(images, *rest, **more):
        shown.append(images.clone())
        return images

    monkeypatch.setattr(loop, "augment", watching)
    card = card_of(held_out=0.25, store="half", average=0.5, batch_size=50)
    epochs = trained(card, tmp_path / "net.safetensors", places)

    data = training_split("digits", places).open("stored")
    out = held_out_rows("digits", data.ids, data.labels, 0.25)
    images = torch.from_numpy(pixels(data))
    whole = {image.numpy().tobytes() for batch in shown for image in batch}
    kept = {image.numpy().tobytes() for image in images[torch.from_numpy(~out)]}
    assert whole <= kept
    assert not whole & ({image.numpy().tobytes() for image in images[torch.from_numpy(out)]} - kept)
    model = dropping().eval()
    load_into(model, tmp_path / "net.safetensors")
    with torch.no_grad():
        answers = model((images[torch.from_numpy(out)] / 255 - 0.3) / 0.35).argmax(1)
    right = (answers == torch.from_numpy(data.labels[out])).float().mean()
    assert epochs[-1].held_out == pytest.approx(
        float(right), abs=2 / out.sum()
    )  # half precision may turn one


def test_the_same_samples_are_held_out_whatever_their_order():
    ids, labels = np.arange(1000), np.arange(1000) % 7
    out = held_out_rows("cifar10", ids, labels, 0.1)
    order = np.random.default_rng(0).permutation(1000)

    assert [int((labels[out] == k).sum()) for k in range(7)] == [
        round(0.1 * (labels == k).sum()) for k in range(7)
    ]
    assert np.array_equal(held_out_rows("cifar10", ids[order], labels[order], 0.1), out[order])
    assert set(ids[out]) <= set(ids[held_out_rows("cifar10", ids, labels, 0.3)])
    assert not np.array_equal(held_out_rows("cifar100", ids, labels, 0.1), out)
    assert not held_out_rows("cifar10", ids, labels, 0.0).any()


def test_of_cifar10_five_thousand_are_held_out(real_data):
    real_data("cifar10/train_images.npy")
    data = training_split("cifar10", Places.find()).open("stored")
    out = held_out_rows("cifar10", data.ids, data.labels, 0.1)

    assert np.bincount(data.labels[out]).tolist() == [500] * 10
