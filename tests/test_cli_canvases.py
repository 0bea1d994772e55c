"""What the command line says of canvases: their room, their files, a model's own crop, the time that is left."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from robustbench_ms.catalog.model_options import ModelOptions
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.cli import drawing
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import BatchDone, Opening, Planned
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Input

SUITE = """\
dataset = "imagenet"
canvas = {short = 256, crop = 224, interpolation = "bicubic"}
profile = "imagenet"
[matrix]
corruption = ["fog"]
severity = [1, 2]
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SUITE)
    return path


def test_a_suite_has_its_canvas_from_its_file(suite):
    assert read_suite(suite).canvas == Canvas(256, 224, "bicubic")
    suite.write_text(
        SUITE.replace('canvas = {short = 256, crop = 224, interpolation = "bicubic"}', 'canvas = "model"')
    )
    with pytest.raises(UserError, match="profile must be 'any-size', not 'imagenet'"):
        read_suite(suite)


def test_a_plan_tells_pictures_and_room(suite, rbms):
    found = rbms("plan", suite)
    assert "150,000 pictures are shown to each model; canvas 256 -> 224, bicubic: 7.53 GB" in found.out

    found = json.loads(rbms("plan", suite, "--limit", "500", "--json").out)
    assert found["canvas"] == {"short": 256, "crop": 224, "interpolation": "bicubic"}
    assert found["canvas_bytes"] == 500 * 3 * 224 * 224


def changed(**said):
    (card,) = ModelOptions(**said).cards(["digits-resnet8@0"])
    return card.input


def test_a_fit_and_a_crop_are_asked_for():
    assert changed(crop=0.875).recrop
    assert (changed(fit="crop", crop=0.9).fit, changed(crop=0.9).crop) == ("crop", 0.9)
    assert replace(changed(fit="resize", size="64"), recrop=None) == replace(changed(), size=64)
    assert changed(size="canvas").recrop is False


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"size": "canvass"}, "a side in pixels or 'canvas'"),
        ({"size": "canvas", "crop": 0.9}, "--fit and --crop ask for one"),
        ({"fit": "corp"}, "did you mean 'crop'"),
        ({"fit": "crop"}, "needs --crop"),
        ({"fit": "resize", "crop": 0.9}, "--crop goes with --fit crop"),
        ({"crop": 1.5}, "above 0 and at most 1"),
    ],
)
def test_a_wrong_fit_is_a_sentence(said, told):
    with pytest.raises(UserError, match=told):
        changed(**said)


def test_the_cache_is_listed_and_dropped_and_nothing_else(tmp_path, rbms):
    cache = tmp_path / "cache"
    name = "0123456789abcdef-0123456789abcdef"
    for path, size in (("canvases/%s.npy", 2000), ("canvases/%s.npy.building", 5), ("cells/%s.npz", 70)):
        file = cache / (path % name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
    (cache / "canvases" / "mine.npy").write_bytes(b"not ours")

    found = json.loads(rbms("cache", "--cache", cache, "--json").out)
    assert {kind: (row["files"], row["bytes"]) for kind, row in found.items()} == {
        "cells": (1, 70), "canvases": (2, 2005), "truths": (0, 0), "digests": (0, 0),
        "leaderboards": (0, 0),
    }  # fmt: skip

    assert "2 files" not in rbms("cache", "--cache", cache, "--drop", "canvases").out
    assert [path.name for path in (cache / "canvases").iterdir()] == ["mine.npy"]
    assert (cache / "cells" / f"{name}.npz").exists()
    assert "did you mean 'canvases'" in rbms("cache", "--drop", "canvasses", "--cache", cache).err


def test_the_time_that_is_left_is_told_from_a_hundred_batches_on(capsys, monkeypatch):
    clock = iter(range(0, 10**6, 36))  # 36 s between two looks
    monkeypatch.setattr(drawing.time, "monotonic", lambda: next(clock))
    events = [Opening("digesting", 0, 9), Opening("digesting", 9, 9), Planned(4, 0, 400)]
    events += [BatchDone("clean", 1) for _ in range(101)]

    assert list(drawing.draw(events, title="mine")) == events
    told = capsys.readouterr().err
    assert told.count("digesting") == 1
    assert told.count("left") == 1
    assert "mine: about " in told
    assert " h " in told


def test_a_record_of_an_input_without_more_to_say_stays_as_it_was():
    assert list(Input().described) == [
        "size", "fit", "crop", "interpolation", "range", "mean", "std", "channels", "assumed",
    ]  # fmt: skip
