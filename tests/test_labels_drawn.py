"""Labelled pictures as they are kept small and drawn: the truth, the colours of classes, answers with true edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.datasets.protocol import IGNORED, MAP
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.protocol import Shown
from robustbench_ms.tasks.segmentation.drawing import DRAWING
from robustbench_ms.tasks.segmentation.seen import SIDE, read, written

NAMES = ("ground", "cat", "dog")
ZOOM = 20
DARK, BLACK, WHITE, GREY = (58, 62, 70), (0, 0, 0), (255, 255, 255), (150, 150, 150)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 700))
def test_small_maps_are_kept_as_they_are(seed, classes):
    random = np.random.default_rng(seed)
    maps = [random.integers(0, classes, random.integers(1, SIDE, 2)).astype(np.int16) for _ in range(3)]
    kept = written(maps)
    assert all(np.array_equal(read(bytes(one)), true) for one, true in zip(kept, maps, strict=True))


def test_large_maps_are_made_small_without_new_classes():
    large = np.zeros((300, 500), np.int16)
    large[:, 250:] = 7
    (kept,) = written([large])
    small = read(bytes(kept))
    assert small.shape == (77, SIDE)
    assert np.array_equal(small, np.where(np.arange(SIDE) < SIDE // 2, 0, 7)[None].repeat(77, 0))
    assert len(kept) < 400


def shown(true, said, right, names=NAMES):
    pixels = np.full((len(true) * ZOOM, true.shape[1] * ZOOM, 3), 200, np.uint8)
    columns = {"seen": written([said.astype(np.int16)]), "intersection": np.array([[right, 0, 0]], np.uint32)}
    return Shown(pixels, ZOOM, {"classes": 3}, Outcomes(columns), names, 0.3, {MAP: true.astype(np.uint8)})


@pytest.fixture
def one():
    true = np.zeros((20, 20))
    true[2:8, 2:8], true[12:18, 12:18], true[19] = 1, 2, IGNORED
    said = np.where(true == IGNORED, 3, true)  # 3 of 3 classes: none of them
    said[12:18, 12:18] = 0  # the dog is not seen
    return shown(true, said, 344)


def at(picture, y, x):
    """The colour in the midst of a pixel of the map, which begins where the picture ends."""
    return tuple(np.asarray(picture)[20 * ZOOM + int((y + 0.5) * ZOOM), int((x + 0.5) * ZOOM)])


def test_an_answer_stands_under_its_picture_with_the_edges_of_the_truth(one):
    drawn = DRAWING.draw(one)
    assert np.asarray(drawn)[5, 5].tolist() == [200] * 3
    cat = at(drawn, 3, 3)
    assert cat not in {DARK, BLACK, WHITE}
    assert at(drawn, 15, 15) == DARK
    assert at(drawn, 19, 5) == BLACK
    assert tuple(np.asarray(drawn)[(20 + 12) * ZOOM - 1, 15 * ZOOM]) == WHITE, "the dog's upper edge"
    true = DRAWING.truth([one])
    assert true.size == drawn.size
    assert at(true, 3, 3) == cat
    assert at(true, 13, 13) not in {DARK, cat}
    assert at(true, 19, 5) == GREY
    assert "light lines" in DRAWING.legend(0.3)


def test_the_key_has_what_is_true_or_answered_and_no_more(one):
    def colours(row):
        key = np.asarray(DRAWING.truth(row))[: 20 * ZOOM, :20]
        return {tuple(c) for c in np.unique(key.reshape(-1, 3), axis=0).tolist()} - {WHITE}

    empty = shown(np.zeros((20, 20)), np.zeros((20, 20)), 400)
    assert colours([empty]) == {DARK}
    assert colours([empty, one]) == {DARK, at(DRAWING.draw(one), 3, 3), BLACK}
    assert len(colours([one])) == 5, "ground, cat, dog, what is ignored and what is none of these"


def test_many_classes_end_with_how_many_more_there_are():
    many = np.arange(150).repeat(4).reshape(20, 30)
    row = shown(many, many, 600, names=())
    row = Shown(row.pixels, ZOOM, {"classes": 150}, row.answer, (), 0.3, row.maps)
    assert DRAWING.truth([row]).size == DRAWING.draw(row).size
