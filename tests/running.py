"""Runs of small suites, for the tests of the loop."""

from __future__ import annotations

import numpy as np
import torch

from robustbench_ms.catalog.registry import index_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite

KEYS = ["clean"] + [f"corruption={c},severity={s}" for c in ("brightness", "contrast") for s in (1, 3)]


def opened(suite, places=None, condition=()):
    """The data that a suite shows under a condition, uncorrupted unless they come so."""
    return index_of(suite.source(), places, condition).open(suite.canvas)


def pixels(data, start=0, stop=None):
    """Samples start..stop of opened data, uint8 (N, C, H, W) as an array."""
    rows = np.arange(data.facts.n)[start:stop]
    return data.load(rows, torch.device("cpu")).samples.numpy()


def card_of(model, name=None):
    return Card(name or type(model).__name__, build=model)


def measure(path, cards, places, **options):
    return list(run(read_suite(path), cards, places, Settings(**options)))


def only(events, kind):
    return [event for event in events if isinstance(event, kind)]


def suite_of(dataset, **facts):
    return Suite(
        name="mine", task="classification", dataset=dataset, classes=facts.pop("classes", 10), **facts
    )
