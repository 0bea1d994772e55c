"""Where workers meet: who answers as whom, which cell is whose, what is finished and what failed.

Cells lie in the cache and outlive the run; pins, failures and marks end with it. One process keeps them in memory,
several in files under the run's token.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from robustbench_ms.evaluation.cells import FinishedCell, load_cell, save_cell
from robustbench_ms.evaluation.claims import Claims
from robustbench_ms.files import replacing
from robustbench_ms.records.record import Environment
from robustbench_ms.specs.places import Places

__all__ = ["DIED", "CacheStore", "Claimed", "Report", "SharedStore", "Store"]

DIED = "its process died"
"""Of a card during whose probe, or one of whose cells, two workers of a run have died."""


@dataclass(frozen=True)
class Report:
    """What a worker found of a card before its first cell."""

    card: Mapping[str, Any]
    """As a record has it, its input completed."""
    subject: str
    """Its digest."""
    fields: Mapping[str, Any]
    """What the digest is made of."""
    cells: str
    """Under what its finished cells are kept."""
    warnings: tuple[str, ...]
    nondeterministic: bool
    environment: Environment
    trouble: str | None = None
    """Why it was stopped at the probe; the rest is then empty."""


@dataclass(frozen=True)
class Claimed:
    """What became of the cells that a worker wanted, by card."""

    ours: tuple[str, ...] = ()
    """They lack the cell, and it is for this worker to measure."""
    done: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    """Another worker or run is at it, or it waits for its turn to be measured alone."""
    notes: tuple[str, ...] = ()


class Store(Protocol):
    """What a worker asks; with a queue each is a question to the parent."""

    def pin(self, card: str, report: Report) -> Report:
        """The report that holds for the run: the first one."""

    def pinned(self, card: str) -> Report | None:
        """The report that holds so far."""

    def pin_data(self, what: str, digest: str) -> str:
        """The digest that holds for a condition's data: the first one."""

    def claim(self, protocol: str, wanted: Mapping[str, str], key: str) -> Claimed:
        """Ask for the cells of a question: {card: subject}. Failed cards are left out."""

    def finished(self, protocol: str, subject: str) -> tuple[bool, str | None]:
        """Whether there is the cell; and what was wrong with it, where it had to be set aside."""

    def keep(self, protocol: str, subject: str, cell: FinishedCell) -> None:
        """A finished cell goes into the cache, and its claim ends."""

    def fail(self, card: str, key: str, message: str) -> None:
        """A card's cell ended in an error: it is stopped for this run, and its claims end."""

    def failed(self, card: str) -> tuple[str, str] | None:
        """The cell at which a card was stopped in this run, and why."""

    def spoil(self, protocol: str, subject: str, card: str, key: str, message: str) -> None:
        """A card's cell came to nothing: nobody measures it again in this run, its claim ends, and the card goes on."""

    def spoilt(self, card: str, key: str) -> str | None:
        """Why a card's cell came to nothing in this run."""

    def release(self, *, lost: bool = False) -> None:
        """All claims of this process end; where its device was lost, what was begun stays marked as by a death."""

    def begin_probe(self, card: str, stage: str) -> int | None:
        """How many workers of this run have died at a card's "load" or "probe"; None while another one is at it.

        After two deaths at one stage the card is stopped for this run.
        """

    def end_probe(self, card: str, stage: str) -> None:
        """It did not kill this worker."""


@dataclass
class CacheStore:
    """The store of one process, over the cells of a cache."""

    folder: Path
    claims: Claims
    pins: dict[str, Report] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    failures: dict[str, tuple[str, str]] = field(default_factory=dict)
    """{card: (key of its cell, message)}."""
    spoils: dict[tuple[str, str], str] = field(default_factory=dict)
    """{(card, key of its cell): message}."""
    held: dict[tuple[str, str], str] = field(default_factory=dict)
    """Claims: {(protocol, subject): its mark}."""
    checked: bool = False
    """Whether the folder was found to be writable."""

    def pin(self, card: str, report: Report) -> Report:
        return self.pins.setdefault(card, report)

    def pinned(self, card: str) -> Report | None:
        return self.pins.get(card)

    def pin_data(self, what: str, digest: str) -> str:
        return self.data.setdefault(what, digest)

    def failed(self, card: str) -> tuple[str, str] | None:
        """The cell at which a card was stopped in this run, and why."""
        return self.failures.get(card)

    def claim(self, protocol: str, wanted: Mapping[str, str], key: str) -> Claimed:
        ours, done, busy, died, notes = [], [], [], [], []
        for card, subject in wanted.items():
            if self.failed(card) or self.spoilt(card, key) is not None:
                continue
            claimed = self.claims.claim(protocol, subject)
            # Looked for after the claim: who had it may have finished the cell in between.
            cell, damage = load_cell(self.folder, protocol, subject)
            notes += [damage] if damage else []
            if cell is not None:
                done.append(card)
                if claimed:
                    self.claims.release(protocol, subject)
            elif not claimed:
                busy.append(card)
            else:
                mark = f"{card} {key}"
                self.held[protocol, subject] = mark
                deaths = self._deaths(mark)
                if deaths > 1:
                    self.fail(card, key, DIED)
                    self._release(protocol, subject)
                elif deaths:
                    died.append(card)
                else:
                    ours.append(card)
        # Who was there when a worker died is measured alone, so that a second death tells whose fault it was.
        if died and not ours:
            ours.append(died.pop(0))
        for card in died:
            self.held.pop((protocol, wanted[card]))
            self.claims.release(protocol, wanted[card])
        if ours:
            self._writable()
        for card in ours:
            self._begin(self.held[protocol, wanted[card]])
        return Claimed(tuple(ours), tuple(done), (*busy, *died), tuple(notes))

    def _writable(self) -> None:
        """UserError where what is missing could not be kept: a cache that cannot be written is still read."""
        if not self.checked:
            Places.writable(self.folder, "cache")
            self.checked = True

    def finished(self, protocol: str, subject: str) -> tuple[bool, str | None]:
        cell, damage = load_cell(self.folder, protocol, subject)
        return cell is not None, damage

    def keep(self, protocol: str, subject: str, cell: FinishedCell) -> None:
        save_cell(self.folder, protocol, subject, cell)
        self._release(protocol, subject)

    def fail(self, card: str, key: str, message: str) -> None:
        self.failures.setdefault(card, (key, message))

    def spoil(self, protocol: str, subject: str, card: str, key: str, message: str) -> None:
        self.spoils.setdefault((card, key), message)
        self._release(protocol, subject)

    def spoilt(self, card: str, key: str) -> str | None:
        return self.spoils.get((card, key))

    def _release(self, protocol: str, subject: str) -> None:
        mark = self.held.pop((protocol, subject), None)
        if mark is not None:
            self._end(mark)
            self.claims.release(protocol, subject)

    def release(self, *, lost: bool = False) -> None:
        for protocol, subject in list(self.held):
            if lost:
                self.held.pop((protocol, subject))
                self.claims.release(protocol, subject)
            else:
                self._release(protocol, subject)

    def close(self) -> None:
        """The run has ended."""

    def begin_probe(self, card: str, stage: str) -> int | None:
        del card, stage  # a death in this process ends the run
        return 0

    def end_probe(self, card: str, stage: str) -> None:
        del card, stage

    def _deaths(self, what: str) -> int:
        """How often a process of this run has died at it."""
        del what
        return 0

    def _begin(self, what: str) -> None:
        """Mark what could kill the process."""
        del what

    def _end(self, what: str) -> None:
        del what


class SharedStore(CacheStore):
    """The store of several processes on one machine: pins, failures and marks are files in a folder of the run."""

    def __init__(self, folder: Path, claims: Claims, run: Path) -> None:
        super().__init__(folder, claims)
        self.run = run

    @staticmethod
    def fresh(cache: Path) -> Path:
        """A new folder for a run, under a token that no other run has; elsewhere where the cache cannot be written."""
        run = cache / "runs" / secrets.token_hex(8)
        try:
            run.mkdir(parents=True)
        except OSError:
            run = Path(tempfile.mkdtemp(prefix="rbms-run-"))
        for name in ("pins", "data", "failures", "begun"):
            (run / name).mkdir()
        return run

    def close(self) -> None:
        """The run has ended: nothing of it is needed any more."""
        shutil.rmtree(self.run, ignore_errors=True)

    def pin(self, card: str, report: Report) -> Report:
        _once(self.run / "pins" / _named(card), asdict(report))
        return self.pinned(card) or report

    def pinned(self, card: str) -> Report | None:
        told = _read(self.run / "pins" / _named(card))
        if told is None:
            return None
        environment = Environment(**told.pop("environment"))
        return Report(**{**told, "warnings": tuple(told["warnings"]), "environment": environment})

    def pin_data(self, what: str, digest: str) -> str:
        path = self.run / "data" / _named(what)
        _once(path, digest)
        return str(_read(path))

    def failed(self, card: str) -> tuple[str, str] | None:
        told = _read(self.run / "failures" / _named(card))
        return None if told is None else (str(told[0]), str(told[1]))

    def fail(self, card: str, key: str, message: str) -> None:
        _once(self.run / "failures" / _named(card), [key, message])

    def spoil(self, protocol: str, subject: str, card: str, key: str, message: str) -> None:
        _once(self.run / "failures" / _named(f"{card}\n{key}"), message)
        self._release(protocol, subject)

    def spoilt(self, card: str, key: str) -> str | None:
        told = _read(self.run / "failures" / _named(f"{card}\n{key}"))
        return None if told is None else str(told)

    def begin_probe(self, card: str, stage: str) -> int | None:
        if not self.claims.claim(self.run.name, card):
            return None
        deaths = self._deaths(f"{stage} {card}")
        if deaths > 1:
            self.fail(card, stage, DIED)
        self._begin(f"{stage} {card}")
        return deaths

    def end_probe(self, card: str, stage: str) -> None:
        self._end(f"{stage} {card}")
        self.claims.release(self.run.name, card)

    # Only who holds the claim touches a mark.

    def _deaths(self, what: str) -> int:
        return int(_read(self.run / "begun" / _named(what)) or 0)

    def _begin(self, what: str) -> None:
        _write(self.run / "begun" / _named(what), self._deaths(what) + 1)

    def _end(self, what: str) -> None:
        (self.run / "begun" / _named(what)).unlink(missing_ok=True)


def _named(what: str) -> str:
    return hashlib.sha256(what.encode()).hexdigest()[:32]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _write(path: Path, value: Any) -> None:
    with replacing(path) as part:
        part.write_text(json.dumps(value), encoding="utf-8")


def _once(path: Path, value: Any) -> None:
    """Write a whole file, unless there is one."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    part.write_text(json.dumps(value), encoding="utf-8")
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    finally:
        part.unlink()
