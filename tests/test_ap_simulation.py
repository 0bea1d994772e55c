"""The page of simulations is that of today's code."""

from __future__ import annotations

import pytest

from robustbench_ms.tasks.detection.measures import FEWEST
from tests.ap_simulation import PAGE, SETTINGS, drawn
from tests.set_simulation import Setting as Sets
from tests.set_simulation import checks, loss, results

SMALL = [setting for setting in SETTINGS if setting.n <= 79]


@pytest.mark.parametrize("setting", SMALL, ids=lambda s: f"{s.n} images, {s.classes} classes")
def test_the_page_is_fresh(setting):
    assert checks(drawn, setting) in PAGE.read_text(encoding="utf-8")


def test_the_fewest_images_that_a_gate_takes_are_on_the_page():
    assert FEWEST in {setting.n for setting in SETTINGS}


def test_a_gate_of_the_level_passes_what_loses_more_than_is_tolerated_no_oftener():
    rows = results(drawn, Sets(30, 10, 40, 3))
    true = rows[:, 0, 0, 0].mean() - rows[:, 2, 0, 0].mean()

    passed = [loss(one, 2, 0).upper(0.05) <= true for one in rows]

    assert sum(passed) <= 6  # of 40, with probability .05 each: more come once in 250 times
