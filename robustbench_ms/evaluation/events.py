"""What a run tells while it goes; the command line draws it, `rbms.run(..., on_event=)` passes it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustbench_ms.records.record import Record

__all__ = [
    "BatchDone",
    "CellDone",
    "CellStarted",
    "CellsFound",
    "Event",
    "Note",
    "Opening",
    "Planned",
    "Probed",
    "RecordDone",
    "Trouble",
]


@dataclass(frozen=True)
class Probed:
    """A model was loaded and asked the probe, by the first worker that did."""

    card: str
    subject: str
    """The digest of who it is, of which its answers to the probe are a part."""
    cells: str
    """Under what its finished cells are kept."""
    weights: str | None
    """SHA-256 of its file of weights; None without one."""
    threads: int | None
    """Of the CPU that answered; None on another device."""


@dataclass(frozen=True)
class Opening:
    """Data are digested, or decoded into a file of canvases."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Planned:
    """The models are loaded and the cache is asked: what is left to do."""

    cells: int
    """Cells in all, one a card and condition."""
    reused: int
    """Cells that are finished already."""
    answers: int
    """Samples to answer, one a card and image."""


@dataclass(frozen=True)
class CellsFound:
    """Cells turned out to be finished, here before or by another worker since."""

    key: str
    cards: tuple[str, ...]
    answers: int


@dataclass(frozen=True)
class CellStarted:
    """A condition begins, for the cards that lack it."""

    key: str
    cards: tuple[str, ...]


@dataclass(frozen=True)
class BatchDone:
    """Some samples were answered."""

    key: str
    answers: int


@dataclass(frozen=True)
class CellDone:
    """One card finished one condition."""

    key: str
    card: str
    values: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Note:
    """Something to know: what was assumed, a batch that was halved, a warning of the health probe."""

    message: str


@dataclass(frozen=True)
class Trouble:
    """A card was stopped, or one of its cells came to nothing; the rest of the plan runs."""

    card: str
    message: str
    stopped: bool = True
    """False where its other cells go on."""


@dataclass(frozen=True)
class RecordDone:
    """A card's record is in its place."""

    record: Record
    path: Path
    written: bool
    """False where the file held these answers already."""
    replaced: str | None = None
    """Whose record it took the place of, and how to keep both; None where it was the same subject's or none."""


Event = (
    Opening | Probed | Planned | CellsFound | CellStarted | BatchDone | CellDone | Note | Trouble | RecordDone
)
