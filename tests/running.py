"""Runs of small suites, for the tests of the loop."""

from __future__ import annotations

from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.suite import Suite

KEYS = ["clean"] + [f"corruption={c},severity={s}" for c in ("brightness", "contrast") for s in (1, 3)]


def card_of(model, name=None):
    return Card(name or type(model).__name__, build=model)


def measure(path, cards, places, **options):
    return list(run(read_suite(path), cards, places, **options))


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def suite_of(dataset, **facts):
    return Suite(
        name="mine", task="classification", dataset=dataset, classes=facts.pop("classes", 10), **facts
    )
