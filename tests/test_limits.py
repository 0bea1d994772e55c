"""What so many images can tell: tolerances of a suite's own rules on fewer, and the losses that a gate notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.gating.limits import NOTICED, TOLERATED, noticed, noticed_lines
from robustbench_ms.gating.run import rules_of
from robustbench_ms.statistics.bounded import of_counts
from tests import ap_simulation


@pytest.mark.parametrize("rows", [ap_simulation.rows_of_page(), ap_simulation.worst_of_page()])
def test_the_tables_are_those_of_the_simulation_rounded_up(rows):
    known = {n: found for (n, classes), found in rows.items() if classes == 80 and n >= 30}
    for name, table in NOTICED.items() if "P" in next(iter(known.values())) else [("AP", TOLERATED["AP"])]:
        assert table.keys() == known.keys()
        for n, loss in table.items():
            assert known[n][name] - 0.05 <= 100 * loss <= known[n][name] + 0.5


@pytest.mark.parametrize(
    ("limit", "told"),
    [(None, "any:AP=10pp"), (300, "any:AP=10pp"), (78, "any:AP={30}pp"), (29, "warn:any:AP=10pp")],
)
def test_ap_on_fewer_images_has_a_table_of_its_own(limit, told):
    rule = rules_of(find_suite("coco-c").limited(limit))[-1]

    assert str(rule) == told.replace("{30}", f"{100 * TOLERATED['AP'][30]:g}")
    assert bool(rule.note) == (told != "any:AP=10pp")


def test_what_no_simulation_knows_is_a_warning():
    suite = replace(find_suite("visdrone-c").limited(100), gate=("any:VD_AP=10pp",))

    (rule,) = rules_of(suite)

    assert (rule.warn, rule.tolerance) == (True, 0.1)
    assert rule.note == ("a warning, because no simulation says what 100 images show of VD_AP in many cells")


def test_a_plan_says_what_its_images_notice(rbms):
    found = rbms("plan", "coco-mini-c", "--json").json()
    assert found["noticed"] == {"mPC": NOTICED["mPC"][79], "P": NOTICED["P"][79]}
    text = rbms("plan", "coco-mini-c").out
    assert (
        "A gate on 79 images notices a loss of 1.6 pp of mPC and 3.8 pp of P beyond what is tolerated" in text
    )
    assert rbms("plan", "coco-c", "--limit", 29, "--json").json()["noticed"] == {}
    assert "29 images say too little for a gate" in rbms("plan", "coco-c", "--limit", 29).out
    assert rbms("plan", "quick", "--json").json()["noticed"].keys() == {"clean_accuracy"}


def test_a_loss_of_answers_is_noticed_four_times_in_five_or_oftener():
    suite = find_suite("quick")
    loss = noticed(suite, 597)["clean_accuracy"]
    random = np.random.default_rng(0)
    shares = [0.05 + loss / 2, 0.05 - loss / 2]
    found = [of_counts(*random.multinomial(597, [*shares, 0.9])[:2], 597).p_above(0.0) for _ in range(300)]

    assert 0.75 < np.mean(np.array(found) <= 0.05) < 0.97  # the bound is on the safe side
    assert noticed(suite, None) == {}
    assert noticed_lines(suite, 597)[0].startswith("A gate on 597 images notices a loss of ")
