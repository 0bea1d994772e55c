"""The contract of an installed package: all that it announces, each by its own, and a run of each suite in small."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from robustbench_ms.catalog.cards import read_card
from robustbench_ms.catalog.packages import folders, said
from robustbench_ms.catalog.registry import (
    PerturbationInfo,
    TaskInfo,
    answers_of,
    index_of,
    measures_of,
    rows_of,
    task_of,
)  # fmt: skip
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.catalog.targets import load
from robustbench_ms.contracts.announced import Row, refusals, rows
from robustbench_ms.contracts.cards import hold_card
from robustbench_ms.contracts.code import code_of
from robustbench_ms.contracts.datasets import hold_dataset, opened
from robustbench_ms.contracts.findings import Findings
from robustbench_ms.contracts.perturbations import hold_perturbation, hold_with_samples
from robustbench_ms.contracts.suites import hold_suite
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.checking import check
from robustbench_ms.evaluation.events import RecordDone, Trouble
from robustbench_ms.evaluation.run import run
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite

__all__ = ["Package"]

FEW = 16
"""Samples of the run in small."""


class Package:
    """What one distribution announces."""

    def __init__(self, distribution: str) -> None:
        self.distribution = distribution
        self.find = Findings("package", distribution)
        self.rows = rows(distribution)
        for told in refusals(self.rows).get(distribution, ()):
            self.find.fault(f"package {distribution}", told)
        self.suites = dict(self._read("suites", read_suite))
        self.cards = dict(self._read("baselines", read_card))

    def _read(self, kind: str, read: Any) -> Iterator[tuple[Path, Any]]:
        homes = [f.path for f in folders() if f.distribution == self.distribution and f.path is not None]
        for path in [path for home in homes for path in sorted((home / kind).glob("*.toml"))]:
            with self.find.holding(str(path)):
                yield path, read(path)

    @property
    def code(self) -> list[str]:
        """What is run of it, before it is."""
        rows = [f"{row.group}: {row.name} ({told})" for row in self._used() if (told := _target(row.row))]
        return [*rows, *(f"card {card.name}: {code_of(card)}" for card in self.cards.values())]

    def _used(self) -> list[Row]:
        return [row for row in self.rows if row.row is not None and not row.fault]

    def hold(self, places: Places, device: str | None = None) -> Findings:
        """Hold all of it to the contract; its code is run, and nothing is written but into a folder that goes."""
        find = self.find
        for suite in self.suites.values():
            with find.holding(f"suite {suite.name}"):
                hold_suite(find, suite, places)
        here = [suite for suite in self.suites.values() if self._here(suite, places)]
        for card in self.cards.values():
            hold_card(find, card, places, next(iter(self._of(card, here)), None), device or "cpu")
        for row in self._used():
            with find.holding(f"{row.group} {row.name}"):
                self._row(row, places)
        with tempfile.TemporaryDirectory() as folder:
            for suite in here:
                cards = [card for card in self.cards.values() if self._of(card, [suite])]
                if cards:
                    apart = replace(places, results=Path(folder, "results"), cache=Path(folder))
                    _run(find, suite, cards, apart)
        find.held += [f"{len(self.suites)} suites", f"{len(self.cards)} cards", f"{len(self._used())} rows"]
        return find

    def _here(self, suite: Suite, places: Places) -> bool:
        """Whether its data can be asked about; what is wrong with them was said of the suite."""
        try:
            index_of(suite.source(task_of(suite).wants), places, ())
        except Exception as error:  # noqa: BLE001 - whatever a stranger's data set raises is told
            self.find.note(
                f"suite {suite.name}", f"no card was asked about it, as it does not open ({said(error)})"
            )
            return False
        return True

    @staticmethod
    def _of(card: Card, suites: Sequence[Suite]) -> list[Suite]:
        """The suites that the card can answer."""
        return [suite for suite in suites if answers_of(suite.task) in card.tasks]

    def _row(self, row: Row, places: Places) -> None:
        info, place = row.row, f"{row.group} {row.name}"
        if isinstance(info, DatasetInfo):
            suite = next((s for s in self.suites.values() if s.dataset == row.name), None)
            source = Source(row.name, info.splits[0], None, info.classes, {}, {}, None, info.gives, {}, ())
            if suite is not None:
                source = suite.source(task_of(suite).wants)
            hold_dataset(self.find, place, info, source, places)
        elif isinstance(info, PerturbationInfo):
            names = {axis.name for axis in info.axes}
            suite = next((s for s in self.suites.values() if {*s.matrix} == names), None)
            hold_perturbation(self.find, place, info)
            if suite is not None:
                self._of_suite(place, info, suite, places)
        elif isinstance(info, TaskInfo):
            self._task(place, row.name, info)
        elif (target := _target(info)) is not None:
            with self.find.holding(place):
                load(target)

    def _of_suite(self, place: str, info: PerturbationInfo, suite: Suite, places: Places) -> None:
        """A perturbation on the samples that a suite shows it."""
        with self.find.holding(place):
            try:
                found = opened(suite.source(task_of(suite).wants), places)
            except UserError:  # said of its data set
                return
            if found is not None:
                data = found[1]
                batch = data.load(next(iter(data.batches(data.facts.layout.values * 6))), torch.device("cpu"))
                hold_with_samples(
                    self.find,
                    f"{place}, on {suite.name}'s samples",
                    load(info.target),
                    suite,
                    data.facts,
                    batch,
                )

    def _task(self, place: str, name: str, info: TaskInfo) -> None:
        """Its rows, its scorers and the class itself; a run in small asks the rest."""
        with self.find.holding(place):
            rows_of(name)
            measures_of(name)
            load(info.task)
            if info.drawing is not None:
                load(info.drawing)
        if not any(suite.task == name for suite in self.suites.values()):
            self.find.note(place, "no suite of the package asks it, so that it was imported and not run")


def _target(row: object) -> str | None:
    """Where a row's code is."""
    if isinstance(row, str):
        return row
    return getattr(row, "target", None) or getattr(row, "task", None)


def _run(find: Findings, suite: Suite, cards: list[Card], places: Places) -> None:
    """A suite on a few samples, and of each axis its first value: measured, collected, and checked as records are."""
    place = f"suite {suite.name}, in small"
    small = replace(
        suite.limited(min(FEW, suite.limit or FEW)),
        matrix={k: v[:1] for k, v in suite.matrix.items()},
        gate=(),
    )
    with find.holding(place):
        paths = []
        for event in run(small, cards, places, Settings(device="cpu", threads=1)):
            if isinstance(event, Trouble):
                find.fault(f"{place}: card {event.card}", event.message)
            elif isinstance(event, RecordDone):
                paths.append(event.path)
        for one in check([*paths, places.cache]) if paths else ():
            for fault in one.faults:
                find.fault(place, fault)
