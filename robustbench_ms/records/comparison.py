"""Two records side by side: whether they answer the same question, and how much one loses against the other.

Loss is counted so that above 0 is worse, whatever the metric's direction. Where both records keep a bit a sample and
cell, the same samples are compared; where one does not, a weaker test of two independent means is made, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.records.samples import Samples, packed, samples_path
from robustbench_ms.records.summary import (
    Goodness,
    goodness,
    jackknifed,
    sample_means,
    without_each_group,
)
from robustbench_ms.records.terms import Quantity, Terms
from robustbench_ms.records.values import value_of, weights_of
from robustbench_ms.statistics.bounded import CORRELATION, Bounded, bounded, of_counts
from robustbench_ms.statistics.differences import Difference, of_drops, of_replicates
from robustbench_ms.statistics.intervals import FEWEST_GROUPS, gathered, holm

__all__ = ["CellLoss", "Comparison", "Lack", "Loss", "Side", "loss_between"]

Who = Literal["candidate", "reference"]


@dataclass(frozen=True)
class Side:
    """A record with its per-sample arrays, read once."""

    record: Record
    samples: Samples | None
    cells: Mapping[str, Measurement]
    """Every measurement, those that ended in an error too."""
    terms: Terms

    @classmethod
    def of(cls, record: Record) -> Side:
        """Read the arrays beside a record; BadFile where they are not those of its answers."""
        return cls(record, record.samples(), {m.key: m for m in record.measurements}, Terms.of(record))

    @property
    def named(self) -> list[str]:
        """Its cells, and those of its matrix that it lacks, where it says its matrix."""
        return list(
            dict.fromkeys([*self.cells, *(self.terms.every if "matrix" in self.record.suite else ())])
        )

    def value(self, quantity: Quantity) -> float:
        """The number, of cells that the record has; nan where it has no value."""
        cells = {key: self.cells[key].values[quantity.of]["mean"] for key in quantity.cells}
        return float(value_of(quantity, cells))

    def protocol(self, key: str) -> dict[str, Any]:
        """The readable fields of one cell's protocol."""
        return {**self.record.suite["protocol"], **self.cells[key].condition}

    def bits(self, measure: str, keys: Sequence[str]) -> NDArray[np.int8] | None:
        """Yes (1) or no (0), (cells, n); None where the measure keeps none, or they are not there."""
        scorer = self.terms.scorers[measure]
        array = getattr(scorer, "array", None)
        if self.samples is None or scorer.kept != "bits" or array is None:
            return None
        found = self.samples.bits(array("bits"), keys)
        return None if found is None else found.view(np.int8)

    def goodness(self, quantity: Quantity) -> Goodness | None:
        """What the number is the mean of, sample by sample; None where it is no mean or they are not kept."""
        return goodness(quantity, self.terms.scorers[quantity.of], self.samples)

    def drops(self, quantity: Quantity) -> NDArray[np.float64] | None:
        """Each sample's mean under corruption and its clean value (2, n), of a drop or ratio; None if not kept."""
        scorer = self.terms.scorers[quantity.of]
        rows = [
            sample_means(self.samples, scorer, over, keys)
            for over, keys in ((quantity.over, quantity.keys), ("clean", quantity.beside))
        ]
        found = [row for row in rows if row is not None]
        return np.stack(found) if quantity.how in {"drop", "ratio"} and len(found) == 2 else None

    def replicates(self, quantity: Quantity) -> NDArray[np.float64] | None:
        """The number under each weighting of the samples, (R,); None where they are not kept in all cells.

        Of the worst of several means: without each group of the samples, which tells it in tables too.
        """
        if quantity.how == "worst" and self.samples is not None:
            return without_each_group(quantity, self.terms.scorers[quantity.of], self.samples)
        rows = None if self.samples is None else self.samples.replicates(quantity.of, quantity.cells)
        return None if rows is None else value_of(quantity, dict(zip(quantity.cells, rows, strict=True)))

    def told_by(self, quantity: Quantity) -> list[NDArray[Any] | None]:
        """What a test of the number takes, the closest first: bits, each sample's part of it, or replicates."""
        good = self.goodness(quantity)
        each = None if good is None else good.values
        drops = self.drops(quantity) if quantity.beside else None
        return [self.bits(quantity.of, quantity.cells), each, drops, self.replicates(quantity)]


class Lack(NamedTuple):
    """A cell that one of two records has no number of."""

    who: Who
    key: str
    told: str
    """A sentence."""


@dataclass(frozen=True)
class Loss:
    """How much of one number the candidate loses."""

    difference: Difference
    changed: int | None
    """Answers that are right in one record and wrong in the other; None where that is not known or not the matter."""


@dataclass(frozen=True)
class CellLoss:
    """One cell's value of the metric by which cells are told."""

    key: str
    reference: float
    candidate: float
    difference: Difference
    p_lost: float
    """That it is worse, one-sided, Holm-adjusted over the cells."""
    p_differs: float
    """That it is another, two-sided, Holm-adjusted over the cells."""


@dataclass(frozen=True)
class Comparison:
    """A candidate against a reference."""

    candidate: Side
    reference: Side

    @classmethod
    def of(cls, candidate: Record, reference: Record) -> Comparison:
        """Both with their arrays."""
        return cls(Side.of(candidate), Side.of(reference))

    @property
    def terms(self) -> Terms:
        """Those in which both are read: records of two tasks have no cell in common."""
        return self.candidate.terms

    @property
    def _sides(self) -> tuple[tuple[Who, Side], ...]:
        return ("candidate", self.candidate), ("reference", self.reference)

    def quantity(self, metric: str, keys: Sequence[str] = ()) -> Quantity:
        """A number of both: a summary over the cells that either needs, or what is measured over `keys`."""
        found = self.terms.quantity(metric, keys)
        if metric in self.terms.rows.measured or self.reference.record.task != self.candidate.record.task:
            return found
        other = self.reference.terms.quantity(metric)
        return replace(found, keys=tuple(dict.fromkeys([*found.keys, *other.keys])))

    def absent(self, quantity: Quantity) -> list[Lack]:
        """The cells, of those that both finished, in which the measure of a number has no value."""
        return [
            Lack(who, key, f"the {who}'s {quantity.of} has no value in {key}")
            for key in quantity.cells
            for who, side in self._sides
            if quantity.of not in side.cells[key].values
        ]

    def common(self) -> list[str]:
        """The cells that both finished under one protocol, in the candidate's order."""
        return [key for key in self.candidate.cells if not self.missing([key]) and not self.differing([key])]

    def missing(self, keys: Sequence[str]) -> list[Lack]:
        """The cells that one of them lacks or that ended in an error."""
        told = []
        for key in keys:
            for who, side in self._sides:
                cell = side.cells.get(key)
                if cell is None:
                    told.append(Lack(who, key, f"the {who} lacks {key}"))
                elif cell.error is not None:
                    told.append(Lack(who, key, f"the {who}'s {key} ended in an error ({cell.error})"))
        return told

    def differing(self, keys: Sequence[str]) -> list[str]:
        """A phrase for each field in which the protocols of these cells differ; empty where they are comparable."""
        told: dict[str, str] = {}
        for key in keys:
            if self.candidate.cells[key].protocol == self.reference.cells[key].protocol:
                continue
            mine, theirs = self.candidate.protocol(key), self.reference.protocol(key)
            for name, phrase in _fields(mine, theirs, ["protocol"]).items():
                told.setdefault(name, phrase)
        return list(told.values())

    @cached_property
    def apart(self) -> list[str]:
        """The same of what every cell is asked; empty where a cell of both is asked alike."""
        mine, theirs = (side.record.suite["protocol"] for _, side in self._sides)
        return [] if self.common() else list(_fields(mine, theirs).values())

    @property
    def one_network(self) -> bool:
        """Whether both have one subject's digest."""
        mine, theirs = (side.record.subject["digest"] for _, side in self._sides)
        return bool(mine == theirs)

    @cached_property
    def same(self) -> bool:
        """Whether one network gave the same answers in all cells in common: equal bits, tables and scores."""
        keys = self.common()
        if not keys or not self.one_network:
            return False
        mine, theirs = (None if side.samples is None else side.samples.among(keys) for _, side in self._sides)
        if mine is None or theirs is None:
            return False
        one, other = packed(mine), packed(theirs)
        names = (one.keys() | other.keys()) - self._averaged_beyond(keys)
        return all(k in one and k in other and np.array_equal(one[k], other[k]) for k in names)

    def _averaged_beyond(self, keys: Sequence[str]) -> set[str]:
        """The names of the scores that are averaged over other cells too."""
        return {
            array(group)
            for _, side in self._sides
            for group in ("clean", *side.terms.groups)
            if {*side.terms.keys(group)} & {*side.cells} - {*keys}
            for scorer in side.terms.scorers.values()
            if scorer.kept == "scores" and (array := getattr(scorer, "array", None)) is not None
        }

    def equal(self, quantity: Quantity) -> bool:
        """Whether one network gave all that a number is told by alike in its cells, whatever else differs."""
        if not self.one_network:
            return False
        mine, theirs = (side.told_by(quantity) for _, side in self._sides)
        pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a is not None and b is not None]
        return bool(pairs) and np.array_equal(*pairs[0])

    def unkept(self, quantity: Quantity) -> list[str]:
        """Why a loss cannot be tested: a sentence for each record that does not keep what a test takes."""
        scorer = self.terms.scorers[quantity.of]
        told = []
        for who, side in self._sides:
            if side.goodness(quantity) is not None or side.replicates(quantity) is not None:
                continue
            if quantity.how in {"drop", "ratio"} and side.drops(quantity) is not None:
                continue
            if side.samples is None:
                path = side.record.path
                beside = f" ({samples_path(path)})" if path else ""
                told.append(f"the arrays beside the {who}{beside} are not there")
            elif quantity.how == "worst":
                told.append(
                    f"{quantity.row.name} is no mean over samples, and the {who} keeps no groups of them "
                    f"(subjects; {FEWEST_GROUPS} at least) by which it is told from another"
                )
            elif scorer.kept == "bits":
                told.append(f"the {who} keeps no bits of {quantity.of}")
            else:
                told.append(f"no record keeps {quantity.of} sample by sample for {quantity.keys[0]}")
        sides = [side.samples for _, side in self._sides if side.samples is not None]
        kept = [samples.each for samples in sides]
        if any(samples.alike is not None and len(set(samples.alike.tolist())) < 2 for samples in sides):
            told = [f"one {kept[0]} says nothing of a difference"]
        elif not told and len({*kept}) > 1:
            told = [f"the candidate tells differences by {kept[0]}s, and the reference by {kept[1]}s"]
        return list(dict.fromkeys(told))

    def loss(self, quantity: Quantity) -> Loss:
        """The loss in a number whose cells both have under one protocol, with a value of its measure in each.

        ValueError where `unkept` says that it cannot be tested.
        """
        exact = -quantity.row.sign * (self.candidate.value(quantity) - self.reference.value(quantity))
        mine, theirs = self.candidate.goodness(quantity), self.reference.goodness(quantity)
        if mine is not None and theirs is not None:
            weights = weights_of(quantity) or {}
            changes = self._changes(quantity.of, tuple(weights))
            step = 0.0 if changes is None or mine.each != "image" else _step(list(weights.values()))
            found = loss_between(mine, theirs, step=step)
            if changes is not None:
                return Loss(found, int(np.count_nonzero(changes)))
            # The scores are kept in half precision, their means in the record are whole.
            return Loss(replace(found, mean=exact), None)
        whole = self._by_replicates(quantity, exact) or self._drop(quantity, exact)
        if whole is None:
            raise ValueError("; ".join(self.unkept(quantity)))
        return whole

    def cells(self) -> list[CellLoss]:
        """Where the first metric was lost, cell by cell, over the cells in common that have a value of it."""
        name = self.terms.rows.first.name
        wanted = [self.terms.quantity(name, [key]) for key in self.common()]
        wanted = [quantity for quantity in wanted if not self.absent(quantity)]
        if not wanted or self.terms.untested.get(name) or self.unkept(wanted[0]):
            return []
        keys = [quantity.keys[0] for quantity in wanted]
        samples = self.candidate.samples
        changes = None if samples is None or samples.alike is not None else self._changes(name, keys)
        if changes is None:
            found = [self.loss(quantity).difference for quantity in wanted]
        else:
            # A bit that went is a loss where more is better.
            changes = changes * wanted[0].row.sign
            worse, better = (changes > 0).sum(axis=1), (changes < 0).sum(axis=1)
            n = changes.shape[1]
            found = [of_counts(int(w), int(b), n) for w, b in zip(worse, better, strict=True)]
        lost, differs = holm([d.p_above(0.0) for d in found]), holm([d.p_differs for d in found])
        return [
            CellLoss(
                quantity.keys[0], self.reference.value(quantity), self.candidate.value(quantity), *tested
            )
            for quantity, tested in zip(wanted, zip(found, lost, differs, strict=True), strict=True)
        ]

    def _changes(self, measure: str, keys: Sequence[str]) -> NDArray[np.int8] | None:
        """1 where a yes turned into a no, -1 where a no into a yes (cells, n); None where bits are missing."""
        mine, theirs = self.candidate.bits(measure, keys), self.reference.bits(measure, keys)
        return None if mine is None or theirs is None else theirs - mine

    def _by_replicates(self, quantity: Quantity, exact: float) -> Loss | None:
        """Both records' replicates are of the same weightings: their differences are those of the number."""
        mine, theirs = self.candidate.replicates(quantity), self.reference.replicates(quantity)
        if mine is None or theirs is None or mine.shape != theirs.shape:
            return None
        losses = -quantity.row.sign * (mine - theirs)
        n = self.candidate.cells[quantity.cells[0]].n
        found = of_replicates(
            exact, losses, n, jackknife=jackknifed(quantity, self.terms.scorers[quantity.of])
        )
        samples = self.candidate.samples
        if samples is not None and samples.groups is not None:  # one is left out at a time
            found = replace(found, n=np.unique(samples.groups).size, each="group")
        return Loss(found, 0 if exact == 0 and not losses.any() else None)

    def _drop(self, quantity: Quantity, exact: float) -> Loss | None:
        mine, theirs = self.candidate.drops(quantity), self.reference.drops(quantity)
        if mine is None or theirs is None:
            return None
        changes = self._changes(quantity.of, quantity.cells)
        (low, high), each = quantity.ends, "image"
        samples = self.candidate.samples
        if samples is not None and (runs := samples.alike) is not None:
            (mine, short, long), (theirs, _, _) = gathered(mine, runs), gathered(theirs, runs)
            low, high, each = min(low * short, low * long), max(high * short, high * long), samples.each
        found = of_drops(mine, theirs, exact, (low, high), each=each)
        return Loss(found, None if changes is None else int(np.count_nonzero(changes)))


def loss_between(good: Goodness, reference: Goodness, *, step: float = 0.0) -> Bounded:
    """The loss of what is good about a number against a reference's, on the same samples; `step` as of `bounded`."""
    losses = reference.values - good.values
    span = reference.high - reference.low
    if math.isfinite(span):
        return bounded(losses, -span, span, step=step, each=good.each)
    most = 2 * float(np.abs(losses).max())
    return bounded(losses, -most, most, supposed=True, each=good.each)


def _step(weights: Sequence[float]) -> float:
    """How much of an image's mean over cells moves where it does: all of it in one cell, a part in many."""
    whole = sum(map(abs, weights))
    return (CORRELATION + (1 - CORRELATION) * sum(w * w for w in weights) / whole**2) * whole


def _fields(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], otherwise: Sequence[str] = ()
) -> dict[str, str]:
    """A phrase for each field that differs, or for others where none does."""
    names = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
    return {
        name: f"{name} is {_short(mine.get(name))}, not {_short(theirs.get(name))}"
        for name in names or otherwise
    }


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 32 else str(value)
