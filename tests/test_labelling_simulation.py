"""The page of simulations of labelling is that of today's code."""

from __future__ import annotations

import pytest

from robustbench_ms.tasks.segmentation.measures import FEWEST
from tests.labelling_simulation import PAGE, SETTINGS, drawn
from tests.set_simulation import checks

SMALL = [setting for setting in SETTINGS if setting.n <= 500]


@pytest.mark.parametrize("setting", SMALL, ids=lambda s: f"{s.n} images, {s.classes} classes")
def test_the_page_is_fresh(setting):
    assert checks(drawn, setting) in PAGE.read_text(encoding="utf-8")


def test_the_fewest_images_that_a_gate_takes_are_on_the_page():
    assert FEWEST in {setting.n for setting in SETTINGS}
