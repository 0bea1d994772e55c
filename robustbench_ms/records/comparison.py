"""Two records side by side: whether they answer the same question, and how much one loses against the other.

Loss is counted so that above 0 is worse, whatever the metric's direction. Where both records keep a bit a sample and
cell, the same samples are compared; where one does not, a weaker test of two independent means is made, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.summary import sample_means, value_of, weights_of
from robustbench_ms.records.terms import Quantity, Terms
from robustbench_ms.statistics.differences import (
    CORRELATION,
    Difference,
    Resampled,
    Student,
    of_counts,
    of_replicates,
    paired,
)
from robustbench_ms.statistics.intervals import bootstrap_means, holm

__all__ = ["CellLoss", "Comparison", "Loss", "Side"]


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

    def goodness(self, quantity: Quantity) -> tuple[NDArray[np.float64], bool] | None:
        """Per sample (n,), what the number is the mean of, turned so that more is better; and whether it is of answers.

        None where the number is no such mean (a ratio, a calibration error) or its samples are not kept.
        """
        weights = weights_of(quantity)
        if weights is None:
            return None
        rows = self.bits(quantity.of, tuple(weights))
        if rows is not None:
            return _weighted(rows, np.array(list(weights.values()))), True
        if quantity.how not in {"mean", "complement"}:
            return None
        scorer = self.terms.scorers[quantity.of]
        row = sample_means(self.samples, scorer, quantity.over, quantity.keys)
        return None if row is None else (row if sum(weights.values()) > 0 else -row, False)

    def replicates(self, quantity: Quantity) -> NDArray[np.float64] | None:
        """The number under each weighting of the samples, (R,); None where they are not kept in all cells."""
        rows = None if self.samples is None else self.samples.replicates(quantity.of, quantity.cells)
        return None if rows is None else value_of(quantity, dict(zip(quantity.cells, rows, strict=True)))


@dataclass(frozen=True)
class Loss:
    """How much of one number the candidate loses."""

    difference: Difference
    changed: int | None
    """Answers that are right in one record and wrong in the other; None where that is not known or not the matter."""
    paired: bool


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

    def quantity(self, metric: str, keys: Sequence[str] = ()) -> Quantity:
        """A number of both: a summary over the cells that either needs, or what is measured over `keys`."""
        found = self.terms.quantity(metric, keys)
        if metric in self.terms.rows.measured or self.reference.record.task != self.candidate.record.task:
            return found
        other = self.reference.terms.quantity(metric)
        return replace(found, keys=tuple(dict.fromkeys([*found.keys, *other.keys])))

    def absent(self, quantity: Quantity) -> list[str]:
        """A sentence for each cell, of those that both finished, in which the measure of a number has no value."""
        return [
            f"the {who}'s {quantity.of} has no value in {key}"
            for key in quantity.cells
            for who, side in (("candidate", self.candidate), ("reference", self.reference))
            if quantity.of not in side.cells[key].values
        ]

    def common(self) -> list[str]:
        """The cells that both finished under one protocol, in the candidate's order."""
        return [key for key in self.candidate.cells if not self.missing([key]) and not self.differing([key])]

    def missing(self, keys: Sequence[str]) -> list[str]:
        """A sentence for each cell that one of them lacks or that ended in an error."""
        told = []
        for key in keys:
            for who, side in (("candidate", self.candidate), ("reference", self.reference)):
                cell = side.cells.get(key)
                if cell is None:
                    told.append(f"the {who} lacks {key}")
                elif cell.error is not None:
                    told.append(f"the {who}'s {key} ended in an error ({cell.error})")
        return told

    def differing(self, keys: Sequence[str]) -> list[str]:
        """A phrase for each field in which the protocols of these cells differ; empty where they are comparable."""
        told: dict[str, str] = {}
        for key in keys:
            if self.candidate.cells[key].protocol == self.reference.cells[key].protocol:
                continue
            mine, theirs = self.candidate.protocol(key), self.reference.protocol(key)
            fields = [name for name in sorted({*mine, *theirs}) if mine.get(name) != theirs.get(name)]
            for name in fields or ["protocol"]:
                told.setdefault(name, f"{name} is {_short(mine.get(name))}, not {_short(theirs.get(name))}")
        return list(told.values())

    def loss(self, quantity: Quantity) -> Loss:
        """The loss in a number whose cells both have under one protocol, with a value of its measure in each."""
        exact = -quantity.row.sign * (self.candidate.value(quantity) - self.reference.value(quantity))
        mine, theirs = self.candidate.goodness(quantity), self.reference.goodness(quantity)
        if mine is not None and theirs is not None:
            losses, answers = theirs[0] - mine[0], mine[1]
            if not answers:
                # The scores are kept in half precision, their means in the record are whole.
                found = paired(losses, answers=False)
                changed = None if found.stderr or exact else 0
                return Loss(replace(found, mean=exact), changed, paired=True)
            weights = weights_of(quantity) or {}
            changes = self._changes(quantity.of, tuple(weights))
            assert changes is not None  # goodness came of the same bits
            found = paired(losses, answers=True, step=_step(list(weights.values())))
            return Loss(found, int(np.count_nonzero(changes)), paired=True)
        whole = self._by_replicates(quantity, exact) or self._ratio(quantity, exact)
        return whole or self._unpaired(quantity, exact)

    def cells(self) -> list[CellLoss]:
        """Where the first metric was lost, cell by cell, over the cells in common that have a value of it."""
        name = self.terms.rows.first.name
        wanted = [self.terms.quantity(name, [key]) for key in self.common()]
        wanted = [quantity for quantity in wanted if not self.absent(quantity)]
        if not wanted or self.terms.untested.get(name):
            return []
        keys = [quantity.keys[0] for quantity in wanted]
        changes = self._changes(name, keys)
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
        rule = getattr(self.terms.scorers[quantity.of], "rule", "")
        losses = -quantity.row.sign * (mine - theirs)
        n = self.candidate.cells[quantity.cells[0]].n
        found = of_replicates(exact, losses, n, jackknife=rule == "jackknife")
        return Loss(found, 0 if exact == 0 and not losses.any() else None, paired=True)

    def _ratio(self, quantity: Quantity, exact: float) -> Loss | None:
        if quantity.how != "drop":
            return None
        scorer = self.terms.scorers[quantity.of]
        rows = [
            row
            for side in (self.candidate, self.reference)
            for over, keys in ((quantity.over, quantity.keys), ("clean", quantity.beside))
            if (row := sample_means(side.samples, scorer, over, keys)) is not None
        ]
        if len(rows) < 4:
            return None
        draws = np.maximum(bootstrap_means(np.stack(rows)), 1e-12)
        spread = draws[:, 2] / draws[:, 3] - draws[:, 0] / draws[:, 1]
        changes = self._changes(quantity.of, quantity.cells)
        return Loss(
            Resampled(exact, float(spread.std(ddof=1)), rows[0].size, -quantity.row.sign * spread),
            None if changes is None else int(np.count_nonzero(changes)),
            paired=True,
        )

    def _unpaired(self, quantity: Quantity, exact: float) -> Loss:
        """Two independent means; the cells of one model taken to err together, which is the widest they can."""
        spreads = []
        for side in (self.candidate, self.reference):
            cells = {key: side.cells[key].values[quantity.of] for key in quantity.cells}
            slopes = _slopes(quantity, {key: cell["mean"] for key, cell in cells.items()})
            spreads.append(sum(abs(s) * _known(cells[key]["stderr"]) for key, s in slopes.items()))
        n = min(self.candidate.cells[key].n for key in quantity.cells)
        lacking = [
            who
            for who, side in (("candidate", self.candidate), ("reference", self.reference))
            if side.samples is None
        ]
        why = f"the {' and the '.join(lacking)} kept no bits" if lacking else "not kept sample by sample"
        found = Student(exact, math.hypot(*spreads), n, max(1, n - 1), f"weaker, unpaired test ({why})")
        return Loss(found, None, paired=False)


def _step(weights: Sequence[float]) -> float:
    """How much of an image's mean over cells moves where it does: all of it in one cell, a part in many."""
    whole = sum(map(abs, weights))
    return (CORRELATION + (1 - CORRELATION) * sum(w * w for w in weights) / whole**2) * whole


def _weighted(rows: NDArray[np.int8], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.all(weights == weights[0]):
        return np.asarray(rows.sum(axis=0, dtype=np.int64) * weights[0], dtype=np.float64)
    return np.asarray(weights @ rows, dtype=np.float64)


def _slopes(quantity: Quantity, values: Mapping[str, float]) -> Mapping[str, float]:
    """By how much each cell's value moves a number, but for the sign."""
    weights = weights_of(quantity)
    if weights is not None:
        return weights
    clean = values[quantity.beside[0]]
    mean, count = fmean(values[key] for key in quantity.keys), len(quantity.keys)
    return {**dict.fromkeys(quantity.keys, 1 / (count * clean)), quantity.beside[0]: mean / clean**2}


def _known(stderr: float) -> float:
    return stderr if math.isfinite(stderr) else 0.0


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 32 else str(value)
