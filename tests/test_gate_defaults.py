"""The rules that suites come with, against what so many images can tell."""

from __future__ import annotations

import pytest

from robustbench_ms.catalog.find import find_suite, suite_names
from robustbench_ms.catalog.registry import size_of
from robustbench_ms.gating.run import rules_of
from robustbench_ms.specs.conditions import conditions
from robustbench_ms.statistics.bounded import CORRELATION
from robustbench_ms.tasks.classification.rows import ROWS
from robustbench_ms.tasks.detection.rows import ROWS as DETECTION
from tests.judging import parse_rules, planned_detectable
from tests.records import CORRUPTED

MISSED = {
    "coco": {"P": 2.3}, "visdrone": {"P": 2.3}, "coco-c": {"P": 2.3, "mPC": 1.0}, "visdrone-c": {"P": 2.3, "mPC": 1.0},
    "coco-mini-c": {"P": 3.8, "mPC": 1.6},
}  # fmt: skip
"""Points that the suite's images can miss at most: results/ap-simulation.md at 300 images, or at 79."""


@pytest.mark.parametrize("name", MISSED)
def test_default_rules_of_detection_tolerate_what_the_simulation_found(name):
    suite = find_suite(name)
    rules = {str(rule.target): rule.tolerance for rule in rules_of(suite)}

    any_cell = dict(DETECTION["AP"].any_cell)[79 if name == "coco-mini-c" else 300]
    assert any_cell <= rules.pop("any:AP", any_cell) <= 1.5 * any_cell
    assert rules.keys() == MISSED[name].keys()
    for metric, points in MISSED[name].items():
        assert points <= 100 * rules[metric] <= 1.5 * points


@pytest.mark.parametrize(
    "name", [name for name in suite_names() if find_suite(name).task == "classification"]
)
def test_default_rules_tolerate_more_than_their_suite_can_miss(name):
    """With a tenth of the answers changed, a loss as large as the tolerance is noticed four times in five."""
    suite = find_suite(name)
    rules = parse_rules(suite.gate)
    size = size_of(suite.source())
    cells = len(conditions(suite)) - 1

    assert rules
    assert any(rule.any for rule in rules) == bool(suite.matrix)
    for rule in rules:
        assert rule.cell is None
        if rule.any:
            assert (
                rule.tolerance >= max((n, wanted) for n, wanted in ROWS["accuracy"].any_cell if n <= size)[1]
            )
            continue
        wide = rule.row.over == ("common",)
        assert rule.metric in ({"mean_corruption_accuracy"} if wide else {"clean_accuracy"})
        smallest = planned_detectable(
            size,
            changed=0.1,
            cells=min(cells, len(CORRUPTED)) if wide else 1,
            correlation=CORRELATION if wide else 1.0,
            alpha=0.05 / len(rules),
        )
        assert rule.tolerance > smallest
        assert rule.tolerance < 2 * smallest, "a tolerance far above what can be seen protects nothing"
