"""Two records side by side: whether they answer the same question, and how much one loses against the other.

Loss is counted so that above 0 is worse, whatever the metric's direction. Where both records keep a bit a sample and
cell, the same samples are compared; where one does not, a weaker test of two independent means is made, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.corruptions.table import COMMON, SEVERITIES
from robustbench_ms.errors import BadFile
from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.summary import CORRUPTED, SUMMARIES, mce, relative_mce, summarise
from robustbench_ms.specs.metrics import METRICS
from robustbench_ms.statistics.differences import (
    CORRELATION,
    Difference,
    Resampled,
    Student,
    of_counts,
    paired,
)
from robustbench_ms.statistics.intervals import bootstrap_means, holm

__all__ = ["CellLoss", "Comparison", "Loss", "Side"]

_SCORES = {
    "clean_nll": "nll_clean",
    "clean_brier": "brier_clean",
    "mean_corruption_nll": "nll_corrupted",
    "mean_corruption_brier": "brier_corrupted",
}
"""Which of a record's per-sample scores a summary is the mean of."""


@dataclass(frozen=True)
class Side:
    """A record with its per-sample arrays, read once."""

    record: Record
    samples: Samples | None
    cells: Mapping[str, Measurement]
    """Every measurement, those that ended in an error too."""

    @classmethod
    def of(cls, record: Record) -> Side:
        """Read the arrays beside a record; BadFile where they are not those of its answers."""
        samples = record.samples()
        cells = {m.key: m for m in record.measurements}
        if samples is not None:
            for key, row in zip(samples.keys, samples.correct, strict=True):
                cell = cells.get(key)
                told = math.nan if cell is None or cell.error else cell.values["accuracy"]["mean"]
                if cell is None or cell.n != row.size or abs(float(row.mean()) - told) > 1e-9:
                    raise BadFile(
                        f"{record.path or record.name}: the bits beside it are not those of its answers ({key})"
                    )
        return cls(record, samples, cells)

    def value(self, metric: str, keys: Sequence[str]) -> float:
        """The metric over the cells; Incomparable where it has no meaning on this data (mCE off ImageNet)."""
        if metric not in SUMMARIES:
            return fmean(self.cells[key].values[metric]["mean"] for key in keys)
        if metric in {"mce", "relative_mce"}:
            return summarise(self.record, (metric,))[metric].mean
        return SUMMARIES[metric][1](self.cells, None).mean

    def protocol(self, key: str) -> dict[str, Any]:
        """The readable fields of one cell's protocol."""
        return {**self.record.suite["protocol"], **self.cells[key].condition}

    def rows(self, keys: Sequence[str]) -> NDArray[np.int8] | None:
        """Right (1) or wrong (0), (cells, n); None where they are not kept."""
        if self.samples is None or any(key not in self.samples.keys for key in keys):
            return None
        where = {key: i for i, key in enumerate(self.samples.keys)}
        rows: NDArray[np.int8] = self.samples.correct[[where[key] for key in keys]].view(np.int8)
        return rows

    def goodness(self, metric: str, keys: Sequence[str]) -> tuple[NDArray[np.float64], bool] | None:
        """Per sample (n,), what the metric is the mean of, turned so that more is better; and whether it is of answers.

        None where the metric is no such mean (a ratio, a calibration error) or its samples are not kept.
        """
        weights = answer_weights(metric, tuple(keys))
        if weights is not None:
            rows = self.rows(tuple(weights))
            return None if rows is None else (_weighted(rows, np.array(list(weights.values()))), True)
        of_clean = metric in {"nll", "brier"} and tuple(keys) == ("clean",)
        name = _SCORES.get(metric, f"{metric}_clean" if of_clean else "")
        row = None if self.samples is None else self.samples.scores.get(name)
        if row is None or not np.isfinite(row).all():
            return None
        return -row.astype(np.float64), False


@dataclass(frozen=True)
class Loss:
    """How much of one number the candidate loses."""

    difference: Difference
    changed: int | None
    """Answers that are right in one record and wrong in the other; None where that is not known or not the matter."""
    paired: bool


@dataclass(frozen=True)
class CellLoss:
    """One cell's accuracy."""

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

    def loss(self, metric: str, keys: Sequence[str]) -> Loss:
        """The loss in a metric over the cells that it needs, which both have under one protocol."""
        sign = -1 if METRICS[metric].better == "higher" else 1
        exact = sign * (self.candidate.value(metric, keys) - self.reference.value(metric, keys))
        mine, theirs = self.candidate.goodness(metric, keys), self.reference.goodness(metric, keys)
        if mine is not None and theirs is not None:
            losses, answers = theirs[0] - mine[0], mine[1]
            if not answers:
                # The scores are kept in half precision, their means in the record are whole.
                found = paired(losses, answers=False)
                changed = None if found.stderr or exact else 0
                return Loss(replace(found, mean=exact), changed, paired=True)
            weights = answer_weights(metric, tuple(keys)) or {}
            changes = self._changes(tuple(weights))
            assert changes is not None  # goodness came of the same bits
            found = paired(losses, answers=True, step=_step(list(weights.values())))
            return Loss(found, int(np.count_nonzero(changes)), paired=True)
        if metric == "relative_drop":
            ratio = self._ratio(exact)
            if ratio is not None:
                return ratio
        return self._unpaired(metric, keys, exact)

    def cells(self) -> list[CellLoss]:
        """Where accuracy was lost, cell by cell, over the cells in common."""
        keys = [key for key in self.common() if "accuracy" in self.candidate.cells[key].values]
        if not keys:
            return []
        changes = self._changes(keys)
        if changes is None:
            found = [self.loss("accuracy", [key]).difference for key in keys]
        else:
            worse, better = (changes > 0).sum(axis=1), (changes < 0).sum(axis=1)
            n = changes.shape[1]
            found = [of_counts(int(w), int(b), n) for w, b in zip(worse, better, strict=True)]
        lost, differs = holm([d.p_above(0.0) for d in found]), holm([d.p_differs for d in found])
        return [
            CellLoss(
                key, self.reference.value("accuracy", [key]), self.candidate.value("accuracy", [key]), *tested
            )
            for key, tested in zip(keys, zip(found, lost, differs, strict=True), strict=True)
        ]

    def _changes(self, keys: Sequence[str]) -> NDArray[np.int8] | None:
        """1 where an answer turned wrong, -1 where it turned right (cells, n); None where bits are missing."""
        mine, theirs = self.candidate.rows(keys), self.reference.rows(keys)
        return None if mine is None or theirs is None else theirs - mine

    def _ratio(self, exact: float) -> Loss | None:
        parts = [(side.rows(CORRUPTED), side.rows(["clean"])) for side in (self.candidate, self.reference)]
        rows = [row.mean(axis=0) for part in parts for row in part if row is not None]
        if len(rows) < 4:
            return None
        draws = np.maximum(bootstrap_means(np.stack(rows)), 1e-12)
        spread = draws[:, 2] / draws[:, 3] - draws[:, 0] / draws[:, 1]
        changes = self._changes(("clean", *CORRUPTED))
        return Loss(
            Resampled(exact, float(spread.std(ddof=1)), rows[0].size, spread),
            None if changes is None else int(np.count_nonzero(changes)),
            paired=True,
        )

    def _unpaired(self, metric: str, keys: Sequence[str], exact: float) -> Loss:
        """Two independent means; the cells of one model taken to err together, which is the widest they can."""
        spreads = []
        for side in (self.candidate, self.reference):
            name, slopes = _slopes(metric, keys, side)
            spreads.append(
                sum(abs(s) * _known(side.cells[key].values[name]["stderr"]) for key, s in slopes.items())
            )
        n = min(self.candidate.cells[key].n for key in keys)
        lacking = [
            who
            for who, side in (("candidate", self.candidate), ("reference", self.reference))
            if side.samples is None
        ]
        why = f"the {' and the '.join(lacking)} kept no bits" if lacking else "not kept sample by sample"
        found = Student(exact, math.hypot(*spreads), n, max(1, n - 1), f"weaker, unpaired test ({why})")
        return Loss(found, None, paired=False)


def answer_weights(metric: str, keys: tuple[str, ...]) -> Mapping[str, float] | None:
    """How much one right answer of each cell adds to an accuracy or takes from an error; None for other metrics."""
    if metric in {"accuracy", "clean_accuracy", "mean_corruption_accuracy", "mean_corruption_error"}:
        return dict.fromkeys(keys, 1 / len(keys))
    return _mce_weights(metric) if metric in {"mce", "relative_mce"} else None


@cache
def _mce_weights(metric: str) -> Mapping[str, float]:
    """Both are linear in the errors, so that the value of one error alone is its weight."""
    none = dict.fromkeys(COMMON, [0.0] * len(SEVERITIES))
    weights = {}
    for name in COMMON:
        for i, severity in enumerate(SEVERITIES):
            one = {**none, name: [float(j == i) for j in range(len(SEVERITIES))]}
            weights[f"corruption={name},severity={severity}"] = (
                mce(one) if metric == "mce" else relative_mce(one, 0.0)
            )
    if metric == "relative_mce":
        weights["clean"] = relative_mce(none, 1.0)
    return weights


def _step(weights: Sequence[float]) -> float:
    """How much of an image's mean over cells moves where it does: all of it in one cell, a part in many."""
    whole = sum(map(abs, weights))
    return (CORRELATION + (1 - CORRELATION) * sum(w * w for w in weights) / whole**2) * whole


def _weighted(rows: NDArray[np.int8], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if np.all(weights == weights[0]):
        return np.asarray(rows.sum(axis=0, dtype=np.int64) * weights[0], dtype=np.float64)
    return np.asarray(weights @ rows, dtype=np.float64)


def _slopes(metric: str, keys: Sequence[str], side: Side) -> tuple[str, Mapping[str, float]]:
    """The measured metric behind a summary, and by how much each cell's value moves it."""
    weights = answer_weights(metric, tuple(keys))
    if weights is not None:
        return "accuracy", weights
    if metric == "relative_drop":
        clean = side.value("accuracy", ["clean"])
        corrupted = side.value("accuracy", CORRUPTED)
        return "accuracy", {**dict.fromkeys(CORRUPTED, 1 / (75 * clean)), "clean": corrupted / clean**2}
    name = metric.removeprefix("clean_").removeprefix("mean_corruption_")
    return name, dict.fromkeys(keys, 1 / len(keys))


def _known(stderr: float) -> float:
    return stderr if math.isfinite(stderr) else 0.0


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 32 else str(value)
