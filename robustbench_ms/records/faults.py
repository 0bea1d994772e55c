"""What is wrong with a record's values: those that none can have, and those that the arrays beside it say otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.catalog.registry import measures_of, rows_of
from robustbench_ms.errors import UnknownName
from robustbench_ms.records.terms import Terms
from robustbench_ms.specs.metrics import Metric

if TYPE_CHECKING:
    from robustbench_ms.records.record import Measurement, Record
    from robustbench_ms.records.samples import Samples
    from robustbench_ms.tasks.measure import OfSums, Scorer

__all__ = ["array_faults", "value_faults"]

_ROUNDING = 1e-6
"""By so much a mean of float32 scores may lie outside of its range."""
_SAME = 1e-9
"""Relative: another release of numpy may sum in another order."""


def value_faults(record: Record) -> Iterator[str]:
    """A sentence for each value that no cell can have, and for each that is lacking without a reason.

    Of a task that is not known here, the ranges are not either. Numbers are finite, or nan where null stood.
    """
    try:
        rows, scorers = rows_of(record.task).measured, measures_of(record.task)
    except UnknownName:
        rows, scorers = {}, ()
    yes_or_no = {name for one in scorers if one.answers for name in one.names}
    for cell in record.measurements:
        if cell.error is not None:
            continue
        for name in record.measures:
            if name not in cell.values and name not in cell.absent:
                yield f"{cell.key}: {name} has no value, and no reason is given"
        for name, value in cell.values.items():
            yield from _value(cell, name, value, rows.get(name), answers=name in yes_or_no)


def _value(
    cell: Measurement, name: str, value: Mapping[str, float], row: Metric | None, *, answers: bool
) -> Iterator[str]:
    mean, stderr = value["mean"], value["stderr"]
    old = cell.environment is None
    if math.isnan(mean):  # of scores that were not finite, which format 1 kept
        if not old or answers:
            yield f"{cell.key}: {name} is null, and a value that is not there is absent with its reason"
    elif row is not None and mean < row.low - _ROUNDING:
        yield f"{cell.key}: {name} is {mean:.9g}, and the least that it can be is {row.low:g}"
    elif row is not None and mean > row.high + _ROUNDING:
        meant = f"; did you mean {mean / row.scale:.9g}?" if row.low <= mean / row.scale <= row.high else ""
        yield f"{cell.key}: {name} is {mean:.9g}, and the largest that it can be is {row.high:g}{meant}"
    if stderr < 0:
        yield f"{cell.key}: the standard error of {name} is {stderr:.9g}, which is below 0"
    elif math.isnan(stderr) and old and cell.n > 1 and not math.isnan(mean):
        yield f"{cell.key}: the standard error of {name} is null, and there are {cell.n} samples"


def array_faults(record: Record, samples: Samples) -> Iterator[str]:
    """A sentence for each mean that is not that of what was kept of its samples: bits to the last, scores in float16.

    A measure whose number was raised since is left out: what its arrays hold is another's.
    """
    done = {cell.key: cell for cell in record.measurements if cell.error is None}
    if tuple(done) != samples.keys:
        yield "the arrays beside it are of other cells"
        return
    groups: dict[str, tuple[str, ...]] | None = None
    for scorer in measures_of(record.task):
        array = getattr(scorer, "array", None)
        name = scorer.names[0]
        if record.measures.get(name, scorer.number) != scorer.number:
            continue
        if scorer.kept == "sums":
            yield from _of_sums(done, samples, cast("OfSums", scorer))
        if (counts := samples.tables.get(f"{name}/counts")) is not None:
            yield from _of_counts(done, samples, counts)
        if array is None:
            continue
        if scorer.kept == "bits":
            yield from _of_bits(done, samples, scorer)
        elif scorer.kept == "scores" and samples.scores:
            if groups is None:
                terms = Terms.of(record)
                groups = {group: terms.keys(group) for group in ("clean", *terms.groups)}
            for group, keys in groups.items():
                cells = [done[key] for key in keys if key in done]
                told = [cell.values[name]["mean"] for cell in cells if name in cell.values]
                yield from _of_scores(f"the mean {name} of its {group} cells", told, samples, array(group))


def _of_bits(done: Mapping[str, Measurement], samples: Samples, scorer: Scorer) -> Iterator[str]:
    name = scorer.names[0]
    bits = samples.bits(scorer.array("bits"), samples.keys)  # type: ignore[attr-defined]
    if bits is None:
        return
    n = bits.shape[1]
    for cell, count in zip(done.values(), np.count_nonzero(bits, axis=1).tolist(), strict=True):
        if cell.n != n:
            yield f"{cell.key}: n is {cell.n}, and there are {n} bits"
        elif name in cell.values and not abs(cell.values[name]["mean"] - count / n) <= 1e-12:
            told = cell.values[name]["mean"]
            yield f"{cell.key}: {name} is {told:.9g}, and its bits say {count / n:.9g} ({count} of {n})"


def _of_counts(done: Mapping[str, Measurement], samples: Samples, counts: NDArray[np.int64]) -> Iterator[str]:
    """Answers that are counted by label (cells, labels, answers): as many as there are, as many right as its bits."""
    for i, (key, cell) in enumerate(done.items()):
        total, right = int(counts[i].sum()), int(np.trace(counts[i]))
        if total != cell.n:
            yield f"{key}: n is {cell.n}, and {total} answers are counted by label"
        elif samples.correct.shape[1] and right != np.count_nonzero(samples.correct[i]):
            yield f"{key}: its bits say {np.count_nonzero(samples.correct[i])} right, and {right} are counted by label"


def _of_sums(done: Mapping[str, Measurement], samples: Samples, scorer: OfSums) -> Iterator[str]:
    name = scorer.names[0]
    for key, cell in done.items():
        sums = samples.sums(name, [key])
        if sums is not None and name in cell.values:
            told, found = cell.values[name]["mean"], scorer.of_sums(sums[0]).mean
            if not abs(found - told) <= _SAME:
                yield f"{key}: {name} is {told:.9g}, and its sums say {found:.9g}"


def _of_scores(what: str, told: list[float], samples: Samples, array: str) -> Iterator[str]:
    row = np.asarray(samples.scores.get(array, ()), dtype=np.float64)
    if not told or not row.size or not np.isfinite(row).all():
        return
    # Each was rounded to float16's 11 digits, or below its smallest normal number to a multiple of 2**-24.
    room = float(np.maximum(np.abs(row) * 2.0**-11, 2.0**-25).mean()) + _SAME
    if not abs(float(row.mean()) - float(np.mean(told))) <= room:
        yield f"{what} is {np.mean(told):.6g}, and the scores beside it say {row.mean():.6g}"
