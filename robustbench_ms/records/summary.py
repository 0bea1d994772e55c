"""Numbers over cells, with their intervals, computed on reading and never stored.

Every number states the cells that it needs and refuses a partial set, naming what is missing. Intervals are over
the test's samples: each sample's own mean over the cells is one value, so that cells of the same samples do not count
as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import Incomparable
from robustbench_ms.records.normalised import Incomplete
from robustbench_ms.records.record import Record
from robustbench_ms.records.samples import Samples
from robustbench_ms.records.terms import Quantity, Terms
from robustbench_ms.records.values import value_of, weights_of
from robustbench_ms.statistics.bounded import bounded, mean_between
from robustbench_ms.statistics.differences import Difference, of_replicates
from robustbench_ms.statistics.intervals import (
    FEWEST_GROUPS,
    Interval,
    Z,
    gathered,
    group_interval,
    ratio_interval,
    replicates_interval,
)

if TYPE_CHECKING:
    from robustbench_ms.tasks.measure import OfSums, Scorer

__all__ = [
    "Goodness", "Incomplete", "absent_in", "by_chance", "goodness", "interval_of", "jackknifed", "refuse_absent",
    "sample_means", "shortfall", "summarise", "told_absent", "without_each_group",
]  # fmt: skip

Cells = Mapping[str, Mapping[str, float]]
"""{key: {mean, stderr}} of one measured metric."""


def summarise(record: Record, names: tuple[str, ...], samples: Samples | None = None) -> dict[str, Interval]:
    """The named summaries of a record with their 95 % intervals; Incomplete where cells or values are missing.

    `samples` are its own, where they have been read.
    """
    samples, terms = record.samples() if samples is None else samples, Terms.of(record)
    return {name: _one(record, terms, name, samples) for name in names}


def _one(record: Record, terms: Terms, name: str, samples: Samples | None) -> Interval:
    needs = terms.needs(name)
    found = {m.key: m for m in record.measurements if m.error is None}
    missing = [key for key in needs if key not in found]
    if missing:
        shown = "; ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise Incomplete(
            f"{record.name}: {name} needs {len(needs)} cells, and {len(missing)} are missing: {shown}"
        )
    if not needs:
        raise Incomplete(f"{record.name}: {name} has no cell in its suite")
    try:
        quantity = terms.quantity(name)
        refuse_absent(quantity, {key: found[key].values for key in needs})
        cells = {key: found[key].values[quantity.of] for key in needs}
        return interval_of(quantity, terms.scorers[quantity.of], cells, found[needs[0]].n, samples)
    except (Incomplete, Incomparable) as error:
        raise type(error)(f"{record.name}: {error}") from error


def refuse_absent(quantity: Quantity, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Incomplete where the measure of a quantity is not among a cell's values {key: {metric: ...}}."""
    if absent := absent_in(quantity, values):
        raise Incomplete(f"{quantity.row.name}: {told_absent(quantity, absent)}")


def absent_in(quantity: Quantity, values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The cells in which the measure of a quantity has no value."""
    return [key for key in quantity.cells if quantity.of not in values[key]]


def told_absent(quantity: Quantity, absent: Sequence[str]) -> str:
    """As "nll has no value in clean and 3 more"."""
    more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
    return f"{quantity.of} has no value in {absent[0]}{more}"


def interval_of(
    quantity: Quantity, scorer: Scorer, cells: Cells, n: int, samples: Samples | None
) -> Interval:
    """The number with its 95 % interval, nan wide where nothing tells it: of its measure's values in each cell.

    `n` samples are in each cell, and `samples` is what was kept of them. The interval of a calibration error may lie
    below the number, which chance adds to.
    """
    means = {key: cells[key]["mean"] for key in quantity.cells}
    value = value_of(quantity, means)
    if math.isnan(value):
        return Interval(value, value, value)  # nothing can be lost: the other columns still say what is wrong
    if scorer.kind != "mean":
        replicates = None if samples is None else samples.replicates(quantity.of, quantity.cells)
        if replicates is not None:
            draws = value_of(quantity, dict(zip(quantity.cells, replicates, strict=True)))
            if samples is not None and samples.groups is not None:
                return group_interval(value, draws, _ends(quantity))
            return replicates_interval(value, draws, jackknife=jackknifed(quantity, scorer))
    if samples is not None and samples.groups is not None:
        return grouped_interval(quantity, scorer, samples, value)
    if scorer.kept == "sums":
        sums = _sums(quantity, scorer, samples) if quantity.how == "mean" else None
        return _around(value, math.nan) if sums is None else Interval(value, *sums[0].interval(sums[1]))
    if quantity.how in {"drop", "ratio"}:
        return _drop_interval(quantity, scorer, samples, value)
    good = _good(quantity, scorer, cells, n, samples)
    if good is None:  # the scores of one corrupted cell are not kept
        alone = Z * cells[quantity.keys[0]]["stderr"] if len(quantity.cells) == 1 else math.nan
        return _around(value, alone)
    if good.values.size < 2:
        return _around(value, math.nan)
    found = good.interval
    ends = sorted(quantity.row.sign * (end - found.mean) for end in (found.low, found.high))
    return Interval(value, value + ends[0], value + ends[1])


def shortfall(
    quantity: Quantity, scorer: Scorer, cells: Cells, n: int, samples: Samples | None, floor: float
) -> Difference | None:
    """What a number lacks to a floor, in the stored unit, as a loss of which none is tolerated; arguments as above.

    None where nothing that is kept tells its spread.
    """
    value = value_of(quantity, {key: cells[key]["mean"] for key in quantity.cells})
    sign = quantity.row.sign
    lacks = sign * (floor - value)
    draws = None
    if samples is not None and quantity.how == "worst":
        draws = without_each_group(quantity, scorer, samples)
    elif scorer.kind != "mean" and samples is not None:
        replicates = samples.replicates(quantity.of, quantity.cells)
        if replicates is not None:
            draws = value_of(quantity, dict(zip(quantity.cells, replicates, strict=True)))
    if draws is not None:
        found = of_replicates(lacks, sign * (floor - draws), n, jackknife=jackknifed(quantity, scorer))
        if samples is not None and samples.groups is not None:
            return replace(found, n=np.unique(samples.groups).size, each="group")
        return found
    good = _good(quantity, scorer, cells, n, samples)
    if good is None or good.values.size < 2:
        return None
    whole = lacks + float(good.values.mean())
    low, high, supposed = good.ends
    return bounded(whole - good.values, whole - high, whole - low, supposed=supposed, each=good.each)


def jackknifed(quantity: Quantity, scorer: Scorer) -> bool:
    """Whether the replicates of a number are those of a jackknife; a bootstrap's draws else."""
    return quantity.how == "worst" or getattr(scorer, "rule", "") == "jackknife"


def _good(
    quantity: Quantity, scorer: Scorer, cells: Cells, n: int, samples: Samples | None
) -> Goodness | None:
    """The same as `goodness`; of the answers of one cell their number is enough."""
    good = goodness(quantity, scorer, samples)
    if good is None and len(quantity.cells) == 1 and scorer.answers:
        right = round(cells[quantity.keys[0]]["mean"] * n)
        weight = next(iter((weights_of(quantity) or {}).values()))
        return Goodness(np.where(np.arange(n) < right, weight, 0.0), min(weight, 0.0), max(weight, 0.0))
    return good


def grouped_interval(quantity: Quantity, scorer: Scorer, samples: Samples, value: float) -> Interval:
    """The interval of samples in groups (subjects): of the number with one group left out at a time."""
    left = without_each_group(quantity, scorer, samples)
    return _around(value, math.nan) if left is None else group_interval(value, left, _ends(quantity))


def without_each_group(quantity: Quantity, scorer: Scorer, samples: Samples) -> NDArray[np.float64] | None:
    """The number without each group of the samples (G,), of a measure that is a mean.

    None where that is not kept, and of fewer groups than tell an error.
    """
    array = getattr(scorer, "array", None)
    if samples.groups is None or array is None:
        return None
    rows: dict[str, NDArray[Any]] = {}
    if scorer.kept == "bits":
        bits = samples.bits(array("bits"), quantity.cells)
        rows = {} if bits is None else dict(zip(quantity.cells, bits, strict=True))
    elif quantity.how in {"mean", "complement", "drop", "ratio"}:
        # The scores that are kept are means over the group's cells: each cell stands for all of them.
        for over, keys in ((quantity.over, quantity.keys), ("clean", quantity.beside)):
            row = sample_means(samples, scorer, over, keys) if keys else None
            rows |= {} if row is None else dict.fromkeys(keys, row)
    if any(key not in rows for key in quantity.cells):
        return None
    _, which = np.unique(samples.groups, return_inverse=True)
    count = np.bincount(which)
    rest = which.size - count
    if count.size < FEWEST_GROUPS:
        return None
    left = {
        id(row): (row.sum(dtype=np.float64) - np.bincount(which, weights=row, minlength=count.size)) / rest
        for row in {id(row): row for row in rows.values()}.values()
    }
    found: NDArray[np.float64] = value_of(quantity, {key: left[id(row)] for key, row in rows.items()})
    return found


def _ends(quantity: Quantity) -> tuple[float, float]:
    """Between which the number lies: as its measure does, and a share of the clean one from 0 on."""
    if quantity.how in {"mean", "worst", "weighted"}:
        return quantity.ends
    return (0.0 if quantity.how == "ratio" else -math.inf), math.inf


def _drop_interval(quantity: Quantity, scorer: Scorer, samples: Samples | None, value: float) -> Interval:
    rows = sample_means(samples, scorer, quantity.over, quantity.keys)
    clean = sample_means(samples, scorer, "clean", quantity.beside)
    if rows is None or clean is None or rows.size < 2:
        return _around(value, math.nan)
    if samples is not None and samples.alike is not None:
        rows, clean = (gathered(row, samples.alike)[0] for row in (rows, clean))
    return _around(value, ratio_interval(rows, clean).half_width)


@dataclass(frozen=True)
class Goodness:
    """Of each sample, what a number is the mean of, but for a constant and turned so that more is better."""

    values: NDArray[np.float64]
    """(n,)."""
    low: float
    high: float
    """Between which each lies, whatever the samples; infinite where nobody can say."""
    each: str = "image"
    """What each value is of: "image", or "run" or "group" of samples that are alike."""

    def over(self, samples: Samples) -> Goodness:
        """The same of each run or group of samples that are alike: the sum over it, as a part of the mean length."""
        if samples.alike is None:
            return self
        values, short, long = gathered(self.values, samples.alike)
        low, high = min(self.low * short, self.low * long), max(self.high * short, self.high * long)
        return Goodness(values, low, high, samples.each)

    @property
    def ends(self) -> tuple[float, float, bool]:
        """Both ends, and whether one is but supposed: where there is none, twice the largest value that was seen."""
        seen = 2 * float(np.abs(self.values).max())
        low, high = (
            end if math.isfinite(end) else supposed
            for end, supposed in ((self.low, -seen), (self.high, seen))
        )
        return low, high, not math.isfinite(self.high - self.low)

    @property
    def interval(self) -> Interval:
        """Of the mean, 95 %."""
        return mean_between(self.values, *self.ends[:2])


def goodness(quantity: Quantity, scorer: Scorer, samples: Samples | None) -> Goodness | None:
    """Of each sample, or of each run where there are such; None where it is no such mean (a ratio), or is not kept."""
    weights = weights_of(quantity)
    array = getattr(scorer, "array", None)
    if samples is None or weights is None or array is None:
        return None
    each = np.array(list(weights.values()))
    ends = np.outer(each, quantity.ends)
    if scorer.kept == "bits":
        bits = samples.bits(array("bits"), tuple(weights))
        if bits is None:
            return None
        alike = bool(np.all(each == each[0]))  # sums of whole numbers are exact, and quick
        values = bits.sum(axis=0, dtype=np.int64) * each[0] if alike else each @ bits
        low, high = (float(found.sum()) for found in (ends.min(axis=1), ends.max(axis=1)))
        return Goodness(values.astype(np.float64), low, high).over(samples)
    if quantity.how not in {"mean", "complement"}:
        return None
    row = sample_means(samples, scorer, quantity.over, quantity.keys)
    if row is None:
        return None
    sign = 1.0 if each.sum() > 0 else -1.0
    low, high = sorted(sign * end for end in quantity.ends)
    return Goodness(sign * row, low, high).over(samples)


def _sums(
    quantity: Quantity, scorer: Scorer, samples: Samples | None
) -> tuple[OfSums, NDArray[np.float64]] | None:
    """A scorer that keeps sums, and those of a number's cells.

    None where not all are kept, and where samples stand or fall together: the sums take each as one of its own.
    """
    if scorer.kept != "sums" or samples is None or samples.groups is not None:
        return None
    sums = samples.sums(quantity.of, quantity.keys)
    return None if sums is None else (cast("OfSums", scorer), sums)


def by_chance(record: Record, names: Sequence[str], samples: Samples | None = None) -> dict[str, float]:
    """What a model without any such error would show, of those of the named summaries that an error adds up in (ECE).

    All must have been summarised; left out is what does not say it, or whose sums were not kept. `samples` as above.
    """
    samples, terms = record.samples() if samples is None else samples, Terms.of(record)
    found = {}
    for name in names:
        quantity = terms.quantity(name)
        sums = _sums(quantity, terms.scorers[quantity.of], samples) if quantity.how == "mean" else None
        if sums is not None:
            found[name] = sums[0].by_chance(sums[1])
    return found


def sample_means(
    samples: Samples | None, scorer: Scorer, over: str, keys: Sequence[str]
) -> NDArray[np.float64] | None:
    """Each sample's mean over the cells (n,), of a measure that is a mean; None where that is not kept.

    `over` is "clean", or the group that the cells are.
    """
    array = getattr(scorer, "array", None)
    if samples is None or array is None:
        return None
    if scorer.kept == "bits":
        bits = samples.bits(array("bits"), keys)
        return None if bits is None else bits.mean(axis=0)
    row = samples.scores.get(array(over)) if scorer.kept == "scores" and over else None
    return None if row is None or not np.isfinite(row).all() else row.astype(np.float64)


def _around(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half)
