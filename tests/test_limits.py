"""What so many images can tell: tolerances of a suite's own rules on fewer, and the losses that a gate notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.gating.limits import noticed
from robustbench_ms.gating.run import rules_of
from robustbench_ms.statistics.bounded import of_counts
from robustbench_ms.tasks.classification.rows import ROWS as CLASSIFICATION
from robustbench_ms.tasks.detection.measures import FEWEST
from robustbench_ms.tasks.detection.rows import VISDRONE_ROWS as ROWS
from robustbench_ms.tasks.segmentation import measures as labelling
from robustbench_ms.tasks.segmentation.rows import ROWS as LABELLING
from tests import ap_simulation, labelling_simulation
from tests.set_simulation import tolerances, tolerances_of_any


def test_the_tables_of_ap_are_those_of_the_simulation_rounded_up():
    tables = {"P": ROWS["P"].noticed, "mPC": ROWS["mPC"].noticed, "AP": ROWS["AP"].any_cell}
    text = ap_simulation.PAGE.read_text(encoding="utf-8")
    for rows in (tolerances(text, ("P", "mPC")), tolerances_of_any(text, "AP")):
        known = {n: found for (n, classes), found in rows.items() if classes == 80}
        for name in next(iter(known.values())):
            assert tables[name][0][0] == FEWEST
            for n, loss in tables[name]:
                assert known[n][name] - 0.05 <= 100 * loss < known[n][name] + 1


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (None, "any:AP=5pp"),
        (300, "any:AP=5pp"),
        (299, "any:AP=8pp"),
        (78, "any:AP=12pp"),
        (29, "warn:any:AP=5pp"),
    ],
)
def test_ap_on_fewer_images_has_a_table_of_its_own(limit, told):
    rule = rules_of(find_suite("coco-c").limited(limit))[-1]

    assert str(rule) == told
    assert bool(rule.note) == (told != "any:AP=5pp")


def test_the_tables_of_labelling_are_those_of_the_simulation_rounded_up():
    text = labelling_simulation.PAGE.read_text(encoding="utf-8")
    names = {"clean_mIoU_truth": LABELLING["clean_mIoU_truth"].noticed}
    names |= {"mean_mIoU_truth": LABELLING["mean_mIoU_truth"].noticed}
    for found, tables in (
        (tolerances(text, tuple(names)), names),
        (tolerances_of_any(text, "any"), {"any": LABELLING["mIoU_truth"].any_cell}),
    ):
        for name, table in tables.items():
            assert table[0][0] == labelling.FEWEST
            for n, loss in table:
                known = max(row[name] for (images, _), row in found.items() if images == n)
                assert known - 0.05 <= 100 * loss < known + 1


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("quick-segmentation", 11),
        ("coco-mini-segmentation", 81),
        ("voc-c", 21),
        ("cityscapes-c", 19),
        ("ade20k-c", 150),
    ],
)
def test_rules_of_labelling_tolerate_what_their_images_cannot_tell(name, classes):
    text = labelling_simulation.PAGE.read_text(encoding="utf-8")
    n = {"quick-segmentation": 300, "coco-mini-segmentation": 79, "voc-c": 1449, "cityscapes-c": 500}.get(
        name, 2000
    )
    mean, clean, any_cell = rules_of(find_suite(name))
    wanted = tolerances(text, ("clean", "mean"))[n, classes]

    assert 100 * clean.tolerance >= wanted["clean"] - 0.05
    assert 100 * mean.tolerance >= wanted["mean"] - 0.05
    assert 100 * any_cell.tolerance >= tolerances_of_any(text, "any")[n, classes]["any"] - 0.05


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (None, "any:mIoU_truth=3pp"),
        (299, "any:mIoU_truth=5pp"),
        (30, "any:mIoU_truth=10pp"),
        (29, "warn:any:mIoU_truth=3pp"),
    ],
)
def test_labelling_on_fewer_images_has_a_table_of_its_own(limit, told):
    assert str(rules_of(find_suite("quick-segmentation").limited(limit))[-1]) == told


def test_what_no_simulation_knows_is_a_warning():
    suite = replace(find_suite("visdrone-c").limited(100), gate=("any:VD_AP=10pp",))

    (rule,) = rules_of(suite)

    assert (rule.warn, rule.tolerance) == (True, 0.1)
    assert rule.note == (
        "a warning, because no simulation says what 100 images tell of VD_AP in one of many cells"
    )


def test_a_plan_says_what_its_images_notice(rbms):
    found = rbms("plan", "coco-mini-c", "--json").json()
    assert found["noticed"] == {"mPC": 0.016, "P": 0.038}
    text = rbms("plan", "coco-mini-c").out
    assert (
        "A gate on 79 images notices a loss of 1.6 pp of mPC and 3.8 pp of P beyond what is tolerated" in text
    )
    assert rbms("plan", "coco-c", "--limit", 29, "--json").json()["noticed"] == {}
    assert (
        "A gate on 29 images: what it notices is known from 30 on"
        in rbms("plan", "coco-c", "--limit", 29).out
    )
    assert rbms("plan", "quick", "--json").json()["noticed"].keys() == {"clean_accuracy"}


def noticed_share(n, loss):
    """How often a true loss is found to be above 0, where a tenth of n answers changed."""
    shares = [0.05 + loss / 2, 0.05 - loss / 2]
    drawn = np.random.default_rng(0).multinomial(n, [*shares, 0.9], 200)[:, :2]
    return np.mean([of_counts(*map(int, pair), n).p_above(0.0) <= 0.05 for pair in drawn])


def test_a_loss_of_answers_is_noticed_four_times_in_five_or_oftener():
    for n, loss in CLASSIFICATION["clean_accuracy"].noticed:
        half = round(n / 20)
        least = of_counts(half, half, n).detectable(0.05)
        assert least <= loss <= least + 0.0015
        if n in {300, 1000}:
            assert noticed_share(n, loss) > 0.8
            assert noticed_share(n, loss / 2) < 0.6


def test_columns_of_which_nothing_is_known_are_not_told():
    assert noticed(find_suite("quick"), None) == {}
    assert noticed(find_suite("quick"), 49) == {}
    assert noticed(find_suite("visdrone-c"), 300).keys() == {"mPC", "P"}
