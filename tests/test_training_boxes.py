"""Trainings that learn boxes: by the same loop, the same weights stopped or not, and what means nothing to them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.datasets.protocol import limited
from robustbench_ms.errors import UserError
from robustbench_ms.models.detectors.tiny_fcos import tiny_fcos
from robustbench_ms.specs.card import Card, Input, Output
from robustbench_ms.subjects.detectors import first_label, of_library
from robustbench_ms.subjects.loading import build_module
from robustbench_ms.subjects.training import loop, read_recipe, train
from robustbench_ms.subjects.training.split import training_split
from robustbench_ms.subjects.training.targets import Boxes
from robustbench_ms.subjects.weights import file_digest, load_into

RECIPE = {
    "dataset": "quick-scenes", "epochs": 2, "batch_size": 4, "optimizer": "adamw", "lr": 5e-4,
    "schedule": "one-cycle", "warmup_epochs": 1,
}  # fmt: skip


def card_of(**recipe):
    target = "robustbench_ms.models.detectors.tiny_fcos:tiny_fcos"
    return Card(
        "boxed", target, tasks=("detection",), args={"width": 4}, input=Input(), recipe=RECIPE | recipe
    )


def trained(output, places):
    return train(card_of(), output, places, device="cpu")


def test_a_seed_gives_its_weights_stopped_or_not(tmp_path, places, monkeypatch):
    seen = []

    def few(dataset, where, wants):
        seen.append(limited(training_split(dataset, where, wants), 8))
        return seen[-1]

    monkeypatch.setattr(loop, "training_split", few)
    whole = list(trained(tmp_path / "whole.safetensors", places))
    for _ in itertools.islice(trained(tmp_path / "stopped.safetensors", places), 1):
        pass
    resumed = list(trained(tmp_path / "stopped.safetensors", places))

    assert set(seen[0].ids) <= set(range(1000))
    assert [e.number for e in whole] == [1, 2]
    assert [(e.number, e.loss, e.held_out) for e in resumed] == [(2, whole[1].loss, None)]
    assert whole[1].loss < whole[0].loss
    assert file_digest(tmp_path / "whole.safetensors") == file_digest(tmp_path / "stopped.safetensors")
    load_into(tiny_fcos(width=4), tmp_path / "whole.safetensors")


def test_a_network_that_takes_images_alone_is_told(tmp_path, places):
    card = Card("net", "robustbench_ms.models:resnet_cifar", args={"depth": 8}, recipe=RECIPE)
    with pytest.raises(
        UserError, match=r"card net: quick-scenes has boxes to learn, and .* takes images alone"
    ):
        list(train(card, tmp_path / "net.safetensors", places, device="cpu"))


def test_crowds_and_what_is_to_be_ignored_are_no_objects_to_learn():
    one = {
        "boxes": np.arange(16, dtype=np.float32).reshape(4, 4),
        "labels": np.arange(4),
        "crowd": np.array([True, False, False, False]),
        "ignore": np.array([False, False, True, False]),
    }
    (none, chosen) = Boxes([one, {k: v[:1] for k, v in one.items()}], torch.device("cpu"))[
        torch.tensor([1, 0])
    ]

    assert none["boxes"].shape == (0, 4)
    assert chosen["labels"].tolist() == [1, 3]
    assert chosen["boxes"].tolist() == one["boxes"][[1, 3]].tolist()
    (after,) = Boxes([one], torch.device("cpu"), first=1)[torch.tensor([0])]
    assert after["labels"].tolist() == [2, 4], "behind a background"


def test_labels_that_no_training_hands_out_are_refused(tmp_path, places):
    card = replace(card_of(), output=Output(score=0.001, labels="coco-91"))

    with pytest.raises(UserError, match=r"boxes are learnt by \[output\] labels = 'data' or "):
        list(train(card, tmp_path / "w.safetensors", places, device="cpu"))


def test_a_detector_whose_class_0_is_the_background_learns_labels_from_1_or_is_refused():
    """torchvision's own says so itself; of another that card's labels must."""
    card = Card("own", "torchvision:ssdlite320_mobilenet_v3_large", ("detection",), untrained=True)
    made, completed = build_module(card, 3)
    assert first_label(completed, made) == 1
    with pytest.raises(UserError, match=r"card boxed: class 0 of SSD is the background.*'background\+data'"):
        first_label(card_of(), made)
    assert first_label(replace(card_of(), output=Output(labels="background+data")), made) == 1
    assert first_label(card_of(), tiny_fcos(width=4)) == 0


def test_the_labels_that_are_learnt_are_those_of_the_completed_card(tmp_path, places, monkeypatch):
    monkeypatch.setattr(loop, "training_split", lambda *_: limited(training_split("quick-scenes", places), 8))
    seen = []
    monkeypatch.setattr(
        loop,
        "build_module",
        lambda *_: (tiny_fcos(classes=11, width=4), of_library(card_of(), pretrained=False)),
    )
    monkeypatch.setattr(
        loop, "Boxes", lambda labels, device, first: seen.append(first) or Boxes(labels, device, first)
    )
    next(iter(trained(tmp_path / "w.safetensors", places)))

    assert seen == [1]


@pytest.mark.parametrize(
    ("key", "value"),
    {"label_smoothing": 0.1, "augment": ["flip"], "mixup": 0.2, "cutmix": 1.0, "held_out": 0.1}.items(),
)
def test_what_belongs_to_labels_is_refused(key, value):
    told = f"card boxed: \\[recipe\\]: {key} belongs to data with a label a sample, not to quick-scenes"
    with pytest.raises(UserError, match=told):
        read_recipe(card_of(**{key: value}))
