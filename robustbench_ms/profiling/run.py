"""From cards and a grid of settings to profiles: all models of a setting are timed in one set of turns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from robustbench_ms.errors import Misbehaved, UserError
from robustbench_ms.evaluation.collect import described_card
from robustbench_ms.evaluation.environment import describe_environment
from robustbench_ms.evaluation.events import Event, Note
from robustbench_ms.profiling.accuracy import kept_accuracy
from robustbench_ms.profiling.energy import joules_per_call
from robustbench_ms.profiling.loop import Stopwatch, WarmUp, calls_of, in_turns, warm_up
from robustbench_ms.profiling.machine import Others, device_name
from robustbench_ms.profiling.memory import peak_bytes
from robustbench_ms.profiling.subject import Setting, Subject, load, reason, yardstick
from robustbench_ms.records.profile import Profile, Row, read_profile, slug, write_profile
from robustbench_ms.records.record import Environment
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import PROFILES_FOLDER, Places
from robustbench_ms.specs.suite import Suite
from robustbench_ms.statistics.timings import BLOCKS
from robustbench_ms.subjects.devices import find_device, lost_devices, out_of_memory
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.identity import exact_arithmetic

__all__ = ["Bench", "ProfileDone", "Timed", "profile"]

_MACHINE = "yardstick"
"""The yardstick's name among the runs of a set of turns."""
_MODELS = 250
"""Compiled at once; torch's own limit of all code together is 256."""


@dataclass(frozen=True)
class ProfileDone:
    """A card's profile is in its place."""

    profile: Profile
    """With the rows of earlier profiles that it keeps."""
    path: Path
    made: tuple[tuple[Any, ...], ...]
    """The keys of the rows that were measured now."""


@dataclass(frozen=True)
class Timed:
    """What became of one model in one setting."""

    name: str
    row: Row


def profile(
    cards: Sequence[Card],
    settings: Sequence[Setting],
    places: Places,
    *,
    device: str | None = None,
    threads: int | None = None,
    blocks: int = BLOCKS,
    suite: Suite | None = None,
) -> Iterator[Event | Timed | ProfileDone]:
    """Time cards in every setting and write a profile each; a suite tells what other precisions cost in accuracy.

    UserError before anything is timed where a card cannot be built, two have one name, or results cannot be written.
    """
    names = [card.group for card in cards]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"model {twice[0]} is given twice; a profile is of a name")
    if blocks < 2:
        raise UserError(f"--blocks must be 2 or more, not {blocks}; percentiles and ratios need {BLOCKS}")
    with Bench(find_device(device), places, threads) as bench:
        name = device_name(bench.environment)
        folder = places.writable(places.results / PROFILES_FOLDER / slug(name), "results")
        old = {card.group: _old(folder / _file(card)) for card in cards}
        subjects = [bench.load(card) for card in cards]
        cards_of = {subject.name: card for subject, card in zip(subjects, cards, strict=True)}
        rows: dict[str, dict[tuple[Any, ...], Row]] = {subject.name: {} for subject in subjects}
        done: list[ProfileDone] = []
        replaced: dict[Path, int] = {}
        for setting in settings:
            for precision, some in _by_precision(subjects, setting).items():
                for event in bench.time(some, replace(setting, precision=precision), blocks):
                    if isinstance(event, Timed):
                        row = event.row
                        try:
                            row = kept_accuracy(row, cards_of[event.name], suite, places, bench.device)
                        except UserError as error:  # its times stand all the same
                            yield Note(f"model {event.name}: {error}")
                        rows[event.name][row.key] = row
                    yield event
            done = []
            for subject, card in zip(subjects, cards, strict=True):  # what is measured outlives a stop
                told = {**described_card(subject.model), "name": subject.name}
                made = tuple(rows[subject.name].values())
                found = Profile(name, told, subject.costs, (bench.environment,), made)
                path = folder / _file(card)
                before = old[card.group]
                if before is not None:
                    found, gone = found.joined(before)
                    replaced[path] = len(gone)
                write_profile(found, path)
                done.append(ProfileDone(replace(found, path=path), path, tuple(row.key for row in made)))
        for path, count in replaced.items():
            if count:
                yield Note(f"{path}: {count} of its rows {'is' if count == 1 else 'are'} replaced")
        yield from done


def _by_precision(subjects: Sequence[Subject], setting: Setting) -> dict[str, list[Subject]]:
    """The models by the precision that the setting or else their cards give them: the yardstick has the same."""
    found: dict[str, list[Subject]] = {}
    for subject in subjects:
        found.setdefault(setting.precision or subject.model.card.precision, []).append(subject)
    return found


def _file(card: Card) -> str:
    return f"{replace(card, name=card.group).file_name}.json"


def _old(path: Path) -> Profile | None:
    return read_profile(path) if path.exists() else None


class Bench:
    """A device on which models are timed in turns, with the yardstick among them; a context of its threads."""

    def __init__(self, device: torch.device, places: Places, threads: int | None = None) -> None:
        self.device, self.places = device, places
        self._threads = threads
        self._yardstick: Subject | None = None
        self._compiles = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        before = torch.get_num_threads()
        if self._threads is not None:
            torch.set_num_threads(self._threads)
            self._stack.callback(torch.set_num_threads, before)
        self._stack.enter_context(lost_devices())
        self._stack.enter_context(exact_arithmetic())
        self.environment: Environment = describe_environment(self.device)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def load(self, card: Card) -> Subject:
        """A card's network on the device."""
        return load(card, self.device, self.places)

    def time(
        self, subjects: Sequence[Subject], setting: Setting, blocks: int, *, whole: bool = True
    ) -> Iterator[Event | Timed]:
        """Time models in a setting; those that memory is too small for in one of half the batch.

        `whole` is more than times of calls: memory, energy, and from bytes in host memory.
        """
        if setting.compile:
            self._allow_many()
        halves = []
        ready: dict[str, _Ready] = {}
        for subject in subjects:
            try:
                ready[subject.name] = self._prepare(subject, setting)
            except UserError as error:
                if out_of_memory(error.__cause__) and setting.batch > 1:
                    halves.append(subject)
                    continue
                yield Timed(subject.name, self._row(subject, setting, error=reason(error)))
        if halves:
            half = replace(setting, batch=setting.batch // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            names = ", ".join(subject.name for subject in halves)
            yield Note(f"{names}: memory is too small for a batch of {setting.batch}; {half.batch} is tried")
            for event in self.time(halves, half, blocks, whole=whole):
                if isinstance(event, Timed):
                    facts = {**event.row.facts, "asked": setting.batch}
                    event = Timed(event.name, replace(event.row, facts=facts))  # noqa: PLW2901
                yield event
        if ready:
            yield from self._timed(ready, setting, blocks, whole=whole)

    def _allow_many(self) -> None:
        """Let torch compile every model: from the ninth of one class on it would quietly run them as they are."""
        if not self._compiles:
            import torch._dynamo.config as dynamo

            self._compiles = True
            self._stack.enter_context(dynamo.patch(recompile_limit=_MODELS, fail_on_recompile_limit_hit=True))

    def _timed(
        self, ready: dict[str, _Ready], setting: Setting, blocks: int, *, whole: bool
    ) -> Iterator[Event | Timed]:
        machine = self._machine(replace(setting, compile=False, train=False))
        runs = {_MACHINE: machine.run, **{f"of {name}": one.run for name, one in ready.items()}}
        calls = {_MACHINE: calls_of(machine.warm.seconds)}
        calls |= {f"of {name}": calls_of(one.warm.seconds) for name, one in ready.items()}
        for name, one in ready.items() if whole and not setting.train else ():
            run = one.subject.end_to_end(setting.batch)
            if run is not None:
                runs[f"to {name}"], calls[f"to {name}"] = run, calls[f"of {name}"]

        def guarded(turns: str) -> AbstractContextManager[None]:
            return contextlib.nullcontext() if turns == _MACHINE else Guard(turns.partition(" ")[2])

        with Others() as others:
            found = in_turns(runs, calls, blocks, self.device, guarded)
        for name, one in ready.items():
            errors = (found[turns].error for turns in (f"of {name}", f"to {name}") if turns in found)
            if error := next(filter(None, errors), None):
                yield Timed(name, self._row(one.subject, setting, error=reason(error)))
                continue
            facts: dict[str, Any] = {"warm_up": {"calls": one.warm.calls, "steady": one.warm.steady}}
            if others.cores is not None:
                facts["others"] = round(others.cores, 3)
            if one.compiling is not None:
                facts["compiling"] = round(one.compiling, 3)
            if whole:
                try:
                    with Guard(name):
                        memory, joules = (
                            peak_bytes(one.run, self.device),
                            joules_per_call(one.run, self.device),
                        )
                except Misbehaved as error:
                    yield Timed(name, self._row(one.subject, setting, error=reason(error)))
                    continue
                told = {
                    "memory": memory,
                    "energy": None if joules is None else round(joules / setting.batch, 6),
                }
                facts |= {key: value for key, value in told.items() if value is not None}
            mine = found[f"of {name}"]
            times = {"host": mine.host, "yardstick": found[_MACHINE].host}
            if mine.device:
                times["device"] = mine.device
            if f"to {name}" in found:
                times["end_to_end"] = found[f"to {name}"].host
            yield Timed(name, replace(self._row(one.subject, setting), times=times, facts=facts))

    def _prepare(self, subject: Subject, setting: Setting) -> _Ready:
        watch = Stopwatch(self.device)
        with Guard(subject.name):
            chosen = subject.in_setting(setting)
            run = chosen.call(setting)
            compiling = watch(run)[0] if setting.compile else None
            return _Ready(chosen, run, warm_up(run, watch), compiling)

    def _machine(self, setting: Setting) -> _Ready:
        if self._yardstick is None:
            self._yardstick = yardstick(self.device, self.places)
        try:
            return self._prepare(self._yardstick, setting)
        except Misbehaved as error:
            if not out_of_memory(error.__cause__):
                raise
            raise UserError(
                f"memory is too small for the yardstick, resnet18 at a batch of {setting.batch}"
            ) from error

    def _row(self, subject: Subject, setting: Setting, error: str | None = None) -> Row:
        return Row(
            setting.batch,
            setting.precision or subject.model.card.precision,
            setting.compile,
            torch.get_num_threads() if self.device.type == "cpu" else None,
            setting.train,
            started=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            error=error,
        )


@dataclass(frozen=True)
class _Ready:
    """A model that was called in a setting and is warm."""

    subject: Subject
    run: Any
    warm: WarmUp
    compiling: float | None
    """Seconds of the first call, which compiles."""
