"""What records and the cache hold already, known without building a model or opening data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robustbench_ms.specs.canvas import told
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.conditions import conditions, key
from robustbench_ms.specs.suite import Suite

__all__ = ["measured", "probably_finished"]


def measured(card: Card, folder: Path) -> set[str] | None:
    """The keys of the cells that a folder of records holds for a card's weights; None where it declares none.

    By the digest of the weights' file alone: whether the code around them is still the same, only a run can know.
    """
    declared = card.weights[0].sha256 if card.weights else None
    if declared is None:
        return None
    path = folder / f"{card.file_name}.json"
    if not path.exists():
        return set()
    from robustbench_ms.records.record import read_record  # numpy, only where there is a record

    record = read_record(path)
    weights = record.card.get("weights") or {}
    return (
        {m.key for m in record.measurements if m.error is None}
        if weights.get("sha256") == declared
        else set()
    )


def probably_finished(cards: Iterable[Card], suite: Suite, folder: Path) -> dict[str, set[str]]:
    """The keys of the suite's cells that lie finished in a folder of the cache, by card, for the cards' weights.

    By the digest of the weights' file, and by the question as far as the suite says it: whether data, corruptions and
    code are still the same, only a run can know. A card that declares no digest is left out.
    """
    declared: dict[str, list[str]] = {}
    found: dict[str, set[str]] = {}
    for card in cards:
        if card.weights and card.weights[0].sha256:
            declared.setdefault(card.weights[0].sha256, []).append(card.name)
            found[card.name] = set()
    if not found or not folder.is_dir():
        return found
    from robustbench_ms.evaluation.cells import cell_facts  # numpy, only where there are cells

    wanted = {key(condition): dict(condition) for condition in conditions(suite)}
    for path in folder.glob("*.npz"):
        facts = cell_facts(path)
        if facts is None or facts.weights not in declared:
            continue
        question = facts.question
        asked = {name for name, condition in wanted.items() if _asks(suite, condition, question)}
        for name in declared[facts.weights]:
            found[name] |= asked
    return found


def _asks(suite: Suite, condition: Mapping[str, Any], question: Mapping[str, Any]) -> bool:
    """Whether a cell's question is, as far as the suite says it, the suite's under a condition."""
    facts = vars(suite) | {"canvas": told(suite.canvas)}
    said = {name: value for name, value in facts.items() if name in question} | dict(condition)
    axes = {name for name in suite.matrix if name in question}
    return axes == condition.keys() and all(question[name] == value for name, value in said.items())
