"""Which records are seeds of one card, and which of them are counted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Group", "Grouped", "Measured", "grouped"]


class Measured(Protocol):
    """A record, or what is kept of one."""

    @property
    def name(self) -> str:
        """The card's."""

    @property
    def group(self) -> str:
        """The card whose replicate it is."""

    @property
    def card(self) -> Mapping[str, Any]:
        """As a record has it."""

    @property
    def subject(self) -> Mapping[str, Any]:
        """As a record has it."""


One = TypeVar("One", bound=Measured)
_NO_WEIGHTS = hashlib.sha256().hexdigest()
"""Of a module without any, whose seeds are told apart by their answers alone."""


@dataclass(frozen=True)
class Group(Generic[One]):
    """The seeds of one card."""

    name: str
    """The card's; the records' own where only one has it, or where records of that name are several cards."""
    records: tuple[One, ...]

    @property
    def untrained(self) -> bool:
        """Whether their weights are random, on purpose or as was found when they were built."""
        return any(record.card.get("untrained") for record in self.records)


@dataclass(frozen=True)
class Grouped(Generic[One]):
    """Records by card."""

    groups: tuple[Group[One], ...]
    repeated: tuple[str, ...]
    """A sentence for each record that is left out, because another of its name is the same model."""
    apart: tuple[str, ...]
    """A sentence for each name under which several cards were measured, which says in what they differ."""


def grouped(records: Iterable[One]) -> Grouped[One]:
    """Records that answered one question, by the card whose seeds they are.

    Seeds of one card share the name before @, build, args, input and precision, and all of them are trained or none.
    Of two with one subject digest, which a file of weights under two seeds gives, the first by name counts alone. Those
    of one file of weights that answer otherwise, on another device or after an edit, are no two seeds either: each has
    a row, in which no weights stand twice.
    """
    named: dict[str, list[One]] = {}
    for record in sorted(records, key=lambda record: (len(record.name), record.name)):
        named.setdefault(record.group, []).append(record)
    groups: list[Group[One]] = []
    repeated, apart = [], []
    for name, found in named.items():
        subjects: dict[tuple[str, str | None], One] = {}
        for record in found:
            digest, cells = record.subject["digest"], record.subject.get("cells")
            first = subjects.setdefault((digest, cells), record)
            if first is not record:
                repeated.append(
                    f"{record.name}: the same model as {first.name}, its weights and answers are equal"
                )
        cards: dict[tuple[str, int], list[One]] = {}
        counted: dict[tuple[str, object], int] = {}
        for record in subjects.values():
            facts, weights = repr(_facts(record)), record.subject.get("weights")
            before = 0 if weights in {None, _NO_WEIGHTS} else counted.get((facts, weights), 0)
            counted[facts, weights] = before + 1
            cards.setdefault((facts, before), []).append(record)
        rows = [
            Group(name if len(cards) == 1 < len(row) else ", ".join(one.name for one in row), tuple(row))
            for row in cards.values()
        ]
        groups += rows
        if len(rows) > 1:
            apart.append(f"{_listed([row.name for row in rows])} are no seeds of one card: {_apart(rows)}.")
    return Grouped(tuple(groups), tuple(repeated), tuple(apart))


def _facts(record: Measured) -> dict[str, Any]:
    """What seeds of one card share, by names for people, sorted."""
    card = record.card
    found: dict[str, Any] = {"build": card.get("build"), "precision": card.get("precision")}
    for table in ("args", "input"):
        told: Mapping[str, Any] = card.get(table) or {}
        # What was assumed of the input and what was said of it come to the same pixels.
        found |= {f"{table}.{name}": value for name, value in told.items() if name != "assumed"}
    found["untrained"] = bool(card.get("untrained"))
    return dict(sorted(found.items()))


def _apart(rows: Iterable[Group[One]]) -> str:
    """In what cards differ: "args.depth is 20 and 32"; or that it is in the answers of the same weights alone."""
    facts = [_facts(row.records[0]) for row in rows]
    told = []
    for name in dict.fromkeys(name for one in facts for name in one):
        values = [str(one.get(name, "not given")) for one in facts]
        if len(set(values)) > 1:
            told.append(f"{name} is {_listed(values)}")
    return "; ".join(told) or "weights are the same, and answer otherwise (another device, or an edit)"


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
