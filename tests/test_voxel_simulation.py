"""The page of simulations of labelled volumes is that of today's code."""

from __future__ import annotations

import pytest

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.gating.run import rules_of
from robustbench_ms.tasks.voxels.measures import FEWEST
from robustbench_ms.tasks.voxels.rows import ROWS
from tests.set_simulation import checks, tolerances, tolerances_of_any
from tests.voxel_simulation import PAGE, SETTINGS, drawn


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.n} volumes")
def test_the_page_is_fresh(setting):
    assert checks(drawn, setting) in PAGE.read_text(encoding="utf-8")


def test_the_fewest_volumes_that_a_gate_takes_are_on_the_page():
    assert FEWEST in {setting.n for setting in SETTINGS}


def test_the_tables_are_those_of_the_simulation_rounded_up():
    text = PAGE.read_text(encoding="utf-8")
    names = ("clean_dice", "mean_artefact_dice")
    for found, tables in (
        (tolerances(text, names), {name: ROWS[name].noticed for name in names}),
        (tolerances_of_any(text, "any"), {"any": ROWS["dice"].any_cell}),
    ):
        for name, table in tables.items():
            assert table[0][0] == FEWEST
            for n, loss in table:
                assert found[n, 3][name] - 0.05 <= 100 * loss < found[n, 3][name] + 1


def test_the_suites_rules_tolerate_what_its_volumes_cannot_tell():
    text = PAGE.read_text(encoding="utf-8")
    mean, clean, any_cell = rules_of(find_suite("quick-volumes-segmentation"))
    wanted = tolerances(text, ("clean", "mean"))[597, 3]

    assert 100 * clean.tolerance >= wanted["clean"]
    assert 100 * mean.tolerance >= wanted["mean"]
    assert 100 * any_cell.tolerance >= tolerances_of_any(text, "any")[597, 3]["any"]
    assert str(rules_of(find_suite("quick-volumes-segmentation").limited(50))[-1]) == "any:dice=7pp"
