"""Photographs: digested as they lie, decoded by Pillow, shown on canvases."""

from __future__ import annotations

import pytest

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.evaluation.events import CellStarted, RecordDone
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from tests import photographs
from tests.fakes import Coarse
from tests.running import only


@pytest.fixture(autouse=True)
def pictures():
    """Eight pictures of several sizes, as the data set "photographs"."""
    DATASETS.register(
        "photographs", DatasetInfo("tests.photographs:index", "in memory", classes=10, splits=("test",))
    )
    return photographs.shown(photographs.listing_of())


def suite_on(canvas, **facts):
    facts = {"profile": "any-size", "matrix": {"corruption": ("contrast",), "severity": (1,)}} | facts
    return Suite("mine", "classification", "photographs", canvas=canvas, classes=10, **facts)


def cards(*crops, size=32):
    return [
        Card(f"crop{crop}", build=Coarse(), input=Input(size=size, fit="crop", crop=crop)) for crop in crops
    ]


def measured(suite, cards, places, **settings):
    return list(run(suite, cards, places, Settings(device="cpu", **settings)))


def test_two_crops_of_one_size_are_two_cells_where_the_canvas_is_the_models(places):
    events = measured(suite_on("model"), cards(0.875, 0.95), places)
    one, other = (done.record for done in only(events, RecordDone))

    assert one.measurements[0].protocol == other.measurements[0].protocol
    assert one.subject["outputs"] == other.subject["outputs"]
    assert one.subject["digest"] != other.subject["digest"]
    assert (one.subject["crop"], other.subject["crop"]) == (0.875, 0.95)
    assert one.suite["protocol"]["canvas"] == "model"
    assert [len(started.cards) for started in only(events, CellStarted)] == [1] * 4


def test_on_one_canvas_for_all_a_crop_is_dropped_and_the_canvas_is_the_protocols(places):
    events = measured(suite_on(Canvas(40, 32)), cards(0.875, 0.95), places)
    one, other = (done.record for done in only(events, RecordDone))

    assert one.subject == other.subject
    assert "crop" not in one.subject
    assert one.suite["protocol"]["canvas"] == {"short": 40, "crop": 32, "interpolation": "bilinear"}
    assert one.card["input"]["fit"] == "resize"
