"""The page of simulations of labelled volumes is that of today's code."""

from __future__ import annotations

import pytest

from robustbench_ms.tasks.voxels.measures import FEWEST
from tests.set_simulation import checks
from tests.voxel_simulation import PAGE, SETTINGS, drawn


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.n} volumes")
def test_the_page_is_fresh(setting):
    assert checks(drawn, setting) in PAGE.read_text(encoding="utf-8")


def test_the_fewest_volumes_that_a_gate_takes_are_on_the_page():
    assert FEWEST in {setting.n for setting in SETTINGS}
