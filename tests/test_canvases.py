"""Canvases against timm's own evaluation transforms, and what is read of timm's configurations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models._registry import _model_pretrained_cfgs

from robustbench_ms.datasets.canvases import drawn
from robustbench_ms.errors import UserError
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.subjects.inputs import of_timm, way_of
from robustbench_ms.subjects.loading import build_module

SIZES = [(90, 60), (61, 83), (64, 64), (200, 31), (24, 40)]
"""Width and height: lying, standing, square, very wide, smaller than the canvas."""


def pictures():
    for i, (width, height) in enumerate(SIZES):
        noise = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
        yield Image.fromarray(noise)


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("crop", [0.875, 0.9, 1.0, 1.05])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_canvas_is_what_timm_shows(mode, crop, interpolation):
    known = {
        "input_size": (3, 48, 48), "crop_pct": crop, "crop_mode": mode, "interpolation": interpolation,
        "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
    }  # fmt: skip
    config = resolve_data_config(pretrained_cfg=known, use_test_size=True)
    oracle = create_transform(**config, is_training=False, normalize=False)
    canvas = way_of(of_timm(known, tested=True), "model").canvas

    for picture in pictures():
        assert np.array_equal(drawn(picture, canvas), oracle(picture).numpy()), (picture.size, canvas)


def test_every_square_configuration_of_timm_is_read_as_timm_reads_it():
    """By configuration alone: the sides, the mode, the fill and the interpolation of its transform."""
    told, refused = set(), 0
    for config in _model_pretrained_cfgs.values():
        known = config.to_dict()
        wanted = resolve_data_config(pretrained_cfg=known, use_test_size=True)
        size = wanted["input_size"]
        if size[1] != size[2]:
            refused += 1
            with pytest.raises(UserError, match="give --size"):
                of_timm(known, tested=True)
            continue
        canvas = way_of(of_timm(known, tested=True), "model").canvas
        fill = tuple(round(255 * v) for v in wanted["mean"]) if wanted["crop_mode"] == "border" else (0, 0, 0)
        short = math.floor(size[1] / wanted["crop_pct"])
        assert canvas == Canvas(short, size[1], wanted["interpolation"], wanted["crop_mode"], fill)
        told.add(canvas.mode)
    assert told == {"center", "squash", "border"}
    assert refused < 20


def test_a_stored_picture_is_left_as_it_is():
    (picture, *_) = pictures()

    assert np.array_equal(drawn(picture, None), np.asarray(picture).transpose(2, 0, 1))


def timm_card(**said):
    """A network with a test size and a test crop of its own."""
    return Card("tested", "timm:test_vit", untrained=True, input=Input(assumed=True, **said))


def test_a_network_is_shown_its_test_size_on_its_own_canvas_and_its_input_size_on_anothers(monkeypatch):
    import timm

    real = timm.create_model

    def made(*args, **kwargs):
        module = real(*args, **kwargs)
        module.pretrained_cfg |= {
            "test_input_size": (3, 192, 192),
            "test_crop_pct": 1.0,
            "crop_mode": "squash",
        }
        return module

    monkeypatch.setattr(timm, "create_model", made)
    _, own = build_module(timm_card(), 10, tested=True)
    _, other = build_module(timm_card(), 10)
    _, asked = build_module(timm_card(size=96), 10, tested=True)

    assert (own.input.size, own.input.crop, own.input.crop_mode) == (192, 1.0, "squash")
    assert (other.input.size, other.input.crop_mode) == (160, "center")
    assert asked.input.size == 96


WANTED = Input(size=224, fit="crop", crop=0.875, interpolation="bicubic")
CUT = Canvas(256, 224)


def test_on_a_canvas_that_is_cut_already_a_crop_is_dropped():
    way = way_of(WANTED, CUT)

    assert way.left == Input(size=224, interpolation="bicubic")
    assert way.canvas is None
    assert way.notes == (
        "the canvas (256 -> 224, bilinear) is shown as it is, its own crop of 0.875 dropped",
    )
    assert "enlarged 224 -> 384" in way_of(Input(size=384, fit="crop"), CUT).notes[0]
    assert "reduced 224 -> 160" in way_of(Input(size=160), CUT).notes[0]


def test_a_second_crop_is_taken_where_it_is_asked_for():
    way = way_of(Input(size=224, fit="crop", crop=0.875, recrop=True), CUT)

    assert (way.left.fit, way.left.crop, way.left.recrop) == ("crop", 0.875, None)
    assert "cropped once more (0.875)" in way.notes[0]


def test_on_stored_images_nothing_changes():
    assert way_of(WANTED, "stored").left == WANTED
    assert way_of(WANTED, "stored").notes == ()
    assert way_of(Input(size=224, fit="crop", crop=0.875, recrop=False), "stored").left.fit == "resize"


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Input(), "give --size"),
        (Input(size=32, recrop=False), "--size canvas is for suites with one canvas"),
        (Input(size=32, fit="letterbox"), "letterbox"),
    ],
)
def test_what_is_no_way_to_a_canvas_is_refused(wanted, told):
    with pytest.raises(UserError, match=told):
        way_of(wanted, "model")


def test_border_is_for_a_canvas_of_ones_own():
    with pytest.raises(UserError, match="'border'"):
        way_of(Input(size=32, fit="crop", crop_mode="border"), "stored")


def test_a_border_has_the_colour_that_becomes_zero_in_whatever_range():
    for low, high in ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)):
        mean = tuple(low + (high - low) * share for share in (0.2, 0.4, 0.6))
        shown = Input(size=32, fit="crop", crop_mode="border", range=(low, high), mean=mean)
        assert way_of(shown, "model").canvas.fill == (51, 102, 153)


def test_a_record_says_of_an_input_only_what_says_something():
    assert "crop_mode" not in Input().described
    assert "recrop" not in Input().described
    assert Input(crop_mode="squash").described["crop_mode"] == "squash"
    assert "crop_mode" not in repr(Input(crop_mode="squash"))  # a part of subjects
