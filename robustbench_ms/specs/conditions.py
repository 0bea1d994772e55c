"""Enumerate before anything runs: the cells of a suite for some cards; pure, and known without data or model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from robustbench_ms.specs.card import Card
from robustbench_ms.specs.suite import Suite

__all__ = ["CLEAN", "Cell", "Condition", "conditions", "file_name", "plan"]

Condition = tuple[tuple[str, Any], ...]
"""Axis and value pairs in the suite's order; the empty one is the uncorrupted cell."""

CLEAN: Condition = ()


@dataclass(frozen=True)
class Cell:
    """One card under one condition of one suite: the unit of work, of caching and of resuming."""

    suite: Suite
    card: Card
    condition: Condition

    @property
    def key(self) -> str:
        """The readable name: "corruption=fog,severity=3", or "clean"."""
        return key(self.condition)


def key(condition: Condition) -> str:
    """The readable name of a condition."""
    return ",".join(f"{axis}={value}" for axis, value in condition) or "clean"


def file_name(condition: Condition) -> str:
    """What a condition's file or folder is called where people make them: "clean", "fog-3"."""
    return "-".join(str(value) for _, value in condition) or "clean"


def conditions(suite: Suite) -> list[Condition]:
    """Every condition of a suite: the cells beside the product first, then the product in its own order."""
    product = itertools.product(*([(axis, v) for v in values] for axis, values in suite.matrix.items()))
    return [CLEAN for _ in suite.also] + ([tuple(c) for c in product] if suite.matrix else [])


def plan(suite: Suite, cards: Iterable[Card]) -> Iterator[Cell]:
    """The cells in the order in which they run: condition > card, a card with several seeds once a seed."""
    subjects = [replicate for card in cards for replicate in card.replicates()]
    return (Cell(suite, card, condition) for condition in conditions(suite) for card in subjects)
