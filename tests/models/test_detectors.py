"""torchvision's detectors: on backbones with attention, and as the library has them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.errors import UserError
from robustbench_ms.models.detectors import faster_rcnn, fcos, retinanet
from robustbench_ms.models.insertion import attention_blocks
from robustbench_ms.specs.card import Card, Input, Output
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import identify
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.tasks.detection.task import Detection
from tests.boxes.data import index_boxes

CPU = torch.device("cpu")
SMALL = {"min_size": 64, "max_size": 96, "channels": 32}
CIFAR = {"attention": "ema", "attention_args": {"factor": 4}, "model_args": {"depth": 8, "width": 8}}
KINDS = {"faster_rcnn": faster_rcnn, "fcos": fcos, "retinanet": retinanet}
HERE = "robustbench_ms.models.detectors"


def card_of(kind, **fields):
    few = {"rpn_post_nms_top_n_test": 40} if kind == "faster_rcnn" else {}
    args = {"classes": 2, "backbone": "resnet_cifar", "model_args": {"depth": 8, "width": 8}, **SMALL, **few}
    made = Card(
        kind, f"{HERE}:{kind}", tasks=("detection",), args=args, untrained=True,
        output=Output(score=0.001, labels="background+data"),
    )  # fmt: skip
    return replace(made, **fields)


def loaded(card, places):
    return load_model(card, index_boxes(None, None, ()), device=CPU, places=places)


def task(**options):
    return Detection(Suite("s", "detection", "boxes", options=options))


def batch(rows=(0, 2)):
    return index_boxes(None, None, ()).open("stored").load(np.array(rows), CPU)


@pytest.mark.parametrize(
    ("kind", "backbone", "arguments"),
    [
        ("fcos", "timm:resnet18", {"attention": "cbam"}),
        ("fcos", "torchvision:resnet18", {"attention": "se", "position": "stage"}),
        *((kind, "resnet_cifar", CIFAR) for kind in KINDS),
    ],
)
def test_a_step_of_training_reaches_the_attention(kind, backbone, arguments):
    torch.manual_seed(0)
    model = KINDS[kind](2, backbone, **SMALL, **arguments).train()
    shown = batch()
    targets = [
        {"boxes": torch.from_numpy(one["boxes"]), "labels": torch.from_numpy(one["labels"]) + 1}
        for one in shown.targets
    ]

    losses = model([one.float() / 255 for one in shown.samples], targets)
    sum(losses.values()).backward()

    assert attention_blocks(model)
    assert len(attention_blocks(model)) == len(attention_blocks(model.backbone.body.net))
    grads = [p.grad for block in attention_blocks(model).values() for p in block.parameters()]
    assert grads
    assert all(grad is not None and bool(torch.isfinite(grad).all()) for grad in grads)


def test_levels_have_the_backbones_strides_and_channels():
    body = fcos(2, "timm:resnet18", **SMALL).backbone
    assert body.strides == [8, 16, 32, 64, 128]
    assert body.body.channels == [128, 256, 512]
    maps = body(torch.zeros(1, 3, 128, 64))
    assert [tuple(m.shape[2:]) for m in maps.values()] == [(16, 8), (8, 4), (4, 2), (2, 1), (1, 1)]
    swin = fcos(
        2, "timm:swin_tiny_patch4_window7_224", model_args={"strict_img_size": False}, **SMALL
    ).backbone
    assert swin.body.channels == [192, 384, 768]  # its maps have their channels last


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_asked_in_the_pictures_pixels_and_the_datas_classes(kind, places):
    model = loaded(card_of(kind), places)
    shown = batch()

    rows = task().ask(model, shown).raw

    height, width = shown.samples.shape[-2:]
    for row in rows:
        assert len(row["scores"]) <= 100
        assert set(row["labels"].tolist()) <= {0, 1}
        assert bool((row["boxes"] >= 0).all())
        assert bool((row["boxes"][:, 2] <= width).all() and (row["boxes"][:, 3] <= height).all())
    who = identify(model, task(), index_boxes(None, None, ()).open("stored").facts, 8)
    assert not who.nondeterministic


@pytest.mark.parametrize("kind", KINDS)
def test_the_cards_threshold_and_maximum_are_the_models(kind, places):
    model = loaded(card_of(kind, output=Output(score=0.02, maximum=7, labels="background+data")), places)

    part = getattr(model.module, "roi_heads", model.module)

    assert (part.score_thresh, part.detections_per_img) == (0.02, 7)


@pytest.mark.parametrize(
    "shown",
    [Input(size=64), Input(range=(0, 255)), Input(mean=(0.5,), std=(0.2,)), Input(channels="BGR")],
    ids=["size", "range", "mean", "BGR"],
)
def test_their_own_transform_is_the_only_preparation(shown, places):
    with pytest.raises(UserError, match="its own transform prepares the samples"):
        loaded(card_of("fcos", input=shown), places)


@pytest.mark.parametrize("name", ["ssdlite320_mobilenet_v3_large", "maskrcnn_resnet50_fpn"])
def test_the_librarys_detectors_are_taken_as_they_come(name, places):
    iou = "segm" if name.startswith("mask") else "bbox"
    card = replace(find_card(f"torchvision:{name}"), untrained=True)
    if iou == "segm":
        card = replace(card, args={"min_size": 64, "max_size": 64})
    model = loaded(card, places)
    shown = batch((0,))
    asked = task(iou=iou)

    found = asked.outcomes(asked.ask(model, shown), shown).items["detections"].columns

    assert model.card.output.labels == "background+data"
    assert not model.card.input.assumed
    assert set(found["label"].tolist()) <= {0, 1}
    assert ("rle" in found) == (iou == "segm")


def test_what_they_cannot_be_made_of_is_one_sentence(places):
    for change, says in (
        (
            {"backbone": "resnet18"},
            "backbone must be timm:NAME, torchvision:NAME or resnet_cifar, not 'resnet18'",
        ),
        ({"mini_size": 64}, "torchvision's FCOS: no argument named 'mini_size'; did you mean 'min_size'?"),
        ({"channels": 48}, "channels must be a multiple of 32, not 48"),
        ({"levels": 0}, "levels must be an integer of at least 1"),
    ):
        card = card_of("fcos")
        with pytest.raises(UserError) as error:
            loaded(replace(card, args={**card.args, **change}), places)
        assert says in str(error.value)
    with pytest.raises(UserError, match=r"no model named 'fasterrcnn_resnet5'; did you mean"):
        loaded(find_card("torchvision:fasterrcnn_resnet5"), places)
