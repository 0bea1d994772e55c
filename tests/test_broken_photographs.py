"""Photographs that cannot be shown: named, skipped, refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from robustbench_ms.datasets.photographs import broken, index_photographs
from robustbench_ms.errors import BadFile
from tests import photographs
from tests.photographs import CANVAS, cards, measured, opened, samples, suite_on


@pytest.fixture(autouse=True)
def pictures():
    return photographs.eight()


def broken_listing():
    files = {f"{row}.jpg": photographs.picture(row, kind="JPEG") for row in range(5)}
    files["1.jpg"] = files["1.jpg"][:-200]
    files["3.jpg"] = files["3.jpg"][:-200]
    return photographs.listing_of(files=photographs.InMemory(files))


def test_broken_pictures_are_named_and_can_be_skipped(places):
    listing = broken_listing()
    index = index_photographs(listing, places)

    assert [(i, name) for i, name, _ in broken(index)] == [(2, "1.jpg"), (4, "3.jpg")]
    with pytest.raises(
        BadFile, match=r"2 pictures cannot be shown: 1\.jpg is cut off .*; 3\.jpg .*skip = \[2, 4\]$"
    ):
        index.open(CANVAS, places.cache / "canvases")
    with pytest.raises(BadFile, match=r"2 pictures .*not all were looked at.*skip = \[2, 4\]$"):
        samples(index.open(CANVAS))
    assert not list((places.cache / "canvases").glob("*.building"))

    skipped = index_photographs(replace(listing, skip=frozenset({2, 4})), places)
    data = skipped.open(CANVAS)
    assert data.facts.ids.tolist() == [1, 3, 5]
    assert data.facts.told["skip"] == [2, 4]
    assert len(samples(data)) == 3


def test_a_broken_picture_stops_a_run_with_one_sentence(places):
    photographs.shown(broken_listing())

    with pytest.raises(BadFile, match=r"skip = \[2, 4\]"):
        measured(suite_on(CANVAS), cards(0.9), places)


def test_what_is_no_picture_is_found_when_it_is_digested(places):
    files = photographs.InMemory({"1.png": photographs.picture(1), "notes.png": b"words", "gone.png": None})
    with pytest.raises(
        BadFile, match=r"2 pictures .*notes\.png is no picture .*gone\.png is missing.*\[2, 3\]"
    ):
        opened(photographs.listing_of(files=files), places)


def test_a_decompression_bomb_is_a_sentence(places, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(BadFile, match=r"0\.png .*decompression bomb"):
        opened(photographs.listing_of(1), places)


@pytest.mark.parametrize("keep", [True, False])
def test_a_picture_that_changes_while_it_is_read_is_a_sentence(pictures, places, keep):
    index = index_photographs(pictures, places)
    data = index.open(CANVAS)
    pictures.files.files["2.png"] = photographs.picture(7)
    with pytest.raises(BadFile, match=r"2\.png has changed since it was digested; start the run again"):
        index.open(CANVAS, places.cache / "canvases") if keep else samples(data)
