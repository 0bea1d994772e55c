"""Whether records and finished cells are what was written: their digests, and their values made again from the arrays.

Nothing is measured, changed or set aside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from robustbench_ms.catalog.registry import measures_of
from robustbench_ms.errors import BadFile, UnknownName, UserError, suggest
from robustbench_ms.evaluation.cells import FinishedCell, is_old, load_truth, read_cell
from robustbench_ms.records.faults import array_faults
from robustbench_ms.records.profile import Profile
from robustbench_ms.records.reader import read
from robustbench_ms.records.record import Measurement, Record
from robustbench_ms.records.samples import Samples, samples_path
from robustbench_ms.specs.places import PROFILES_FOLDER
from robustbench_ms.tasks.measure import Mean, OfSums, Rule, Whole, cell_values, numbers_of, replicate_stderr
from robustbench_ms.tasks.outcomes import Absent
from robustbench_ms.tasks.scores import mean_with_stderr

__all__ = ["Checked", "check"]

_SAME = 1e-9
"""Relative: another release of numpy may sum in another order."""


@dataclass(frozen=True)
class Checked:
    """What became of one record, or of one folder of cells."""

    path: Path
    cells: int
    """Finished ones."""
    faults: tuple[str, ...]
    """One sentence each, which names the place."""
    notes: tuple[str, ...]
    """What could not be checked, or is not read."""
    what: str = "cells"
    """What is counted: the rows of a profile."""


def check(paths: Sequence[Path]) -> Iterator[Checked]:
    """Check records and profiles (.json), folders of them, and folders of cells or the caches that they lie in.

    Of a folder of results all that are in its suites' folders. UserError for what is none of them.
    """
    for path in paths:
        if path.is_dir():
            folder = path / "cells" if (path / "cells").is_dir() else path
            if records := _records(folder):
                yield from map(_record, records)
            else:
                yield _folder(folder)
        elif not path.exists():
            near = sorted(p.name for p in path.parent.glob("*")) if path.parent.is_dir() else []
            raise UserError(f"{path}: no such file or folder{suggest(path.name, near)}")
        elif path.name.endswith(".correct.npz"):
            beside = path.name.removesuffix(".correct.npz") + ".json"
            raise UserError(f"{path} holds the arrays of a record; give the record, {beside}")
        elif path.suffix != ".json":
            raise UserError(f"{path} is neither a record (.json) nor a folder of finished cells")
        else:
            yield _record(path)


def _records(folder: Path) -> list[Path]:
    """The records and profiles of a folder; where it has none itself, of the suites' and devices' folders in it."""
    below = [*folder.glob("*/*.json")]
    if folder.name != PROFILES_FOLDER:
        below += folder.glob(f"{PROFILES_FOLDER}/*/*.json")
    return sorted(folder.glob("*.json")) or sorted(
        path for path in below if not path.relative_to(folder).parts[0].startswith(".")
    )


def _record(path: Path) -> Checked:
    faults, notes = [], []
    record: Record | Profile | None = None
    try:
        record = read(path)
        if isinstance(record, Profile):
            return Checked(path, len(record.rows), (), (), "rows")
        if record.digest is None:
            notes.append(
                f"{path}: carries no digest, as a record of format 1: damage that no value shows is not found"
            )
        samples = record.arrays_beside()
        faults += [f"{path}: {m.key}: {fault}" for m in record.measurements for fault in _protocol(record, m)]
        if samples is not None:
            faults += [f"{path}: {fault}" for fault in _of_arrays(record, samples)]
        elif record.arrays is not None:
            faults.append(f"{path}: the arrays beside it ({samples_path(path).name}) are missing")
        else:
            notes.append(f"{path}: there are no arrays beside it, so that no value can be made again")
    except BadFile as error:
        faults.append(str(error))
    finished = sum(m.error is None for m in record.measurements) if isinstance(record, Record) else 0
    return Checked(path, finished, tuple(faults), tuple(notes))


def _protocol(record: Record, cell: Measurement) -> Iterator[str]:
    yield from _digest_of({**record.suite["protocol"], **cell.condition}, cell.protocol)


def _digest_of(question: Mapping[str, Any], protocol: str) -> Iterator[str]:
    from robustbench_ms.subjects.identity import digest  # torch

    try:
        found = digest(question)
    except ValueError:  # NaN, which no question has
        found = ""
    if found != protocol:
        yield f"its protocol is {protocol}, which is not the digest of its readable fields"


def _of_arrays(record: Record, samples: Samples) -> Iterator[str]:
    """What the arrays beside a record say otherwise than it does: means, and the standard errors of bits."""
    faults = list(array_faults(record, samples))
    yield from faults
    cells = {m.key: m for m in record.measurements}
    for scorer in measures_of(record.task):
        if faults or any(record.measures.get(name, scorer.number) != scorer.number for name in scorer.names):
            continue
        if scorer.kept == "sums":
            yield from _of_sums(cells, samples, cast("OfSums", scorer))
        if not isinstance(scorer, Mean) or scorer.kept != "bits":
            continue
        bits = samples.bits(scorer.array("bits"), samples.keys)
        for key, row in () if bits is None else zip(samples.keys, bits, strict=True):
            if scorer.name in cells[key].values:
                mean, stderr = mean_with_stderr(row, samples.groups)
                again = {scorer.name: {"mean": mean, "stderr": stderr}}
                yield from _apart(key, "bits", {scorer.name: cells[key].values[scorer.name]}, again)


def _of_sums(cells: Mapping[str, Measurement], samples: Samples, scorer: OfSums) -> Iterator[str]:
    """Whether a measure's sums give what the cells say."""
    (name,) = scorer.names
    for key in samples.keys:
        sums = samples.sums(name, [key])
        if sums is not None and name in cells[key].values:
            found = scorer.of_sums(sums[0])
            # Of samples that stand or fall together the sums do not know the error.
            stderr = math.nan if samples.groups is not None else found.stderr
            told = {name: cells[key].values[name]}
            yield from _apart(key, "sums", told, {name: {"mean": found.mean, "stderr": stderr}})


def _folder(folder: Path) -> Checked:
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise UserError(f"{folder}: there are neither finished cells nor records in it")
    faults: list[str] = []
    notes: dict[str, None] = {}
    old = 0
    for path in paths:
        try:
            cell = read_cell(path)
        except FileNotFoundError:  # set aside meanwhile
            continue
        except BadFile as error:
            if is_old(path):
                old += 1
            else:
                faults.append(str(error))
            continue
        faults += [f"{path}: {fault}" for fault in _digest_of(cell.question, path.stem.partition("-")[0])]
        try:
            again, without = _values_again(folder, cell)
        except UnknownName as error:
            notes[f"{folder}: values that cannot be made again: {error}"] = None
            continue
        except (KeyError, ValueError) as error:
            faults.append(f"{path}: its outcomes are none of its task's ({type(error).__name__}: {error})")
            continue
        if without:
            names = ", ".join(without)
            notes[
                f"{folder}: what is true of the data is not in the cache, so {names} cannot be made again"
            ] = None
        today = numbers_of(measures_of(str(cell.question.get("task"))))
        if raised := [name for name in cell.values if cell.measures.get(name) != today.get(name)]:
            names = ", ".join(raised)
            notes[f"{folder}: {names} of other numbers of their measures are not made again"] = None
        told = {name: value for name, value in cell.values.items() if name not in {*without, *raised}}
        again = {name: value for name, value in again.items() if name not in raised}
        faults += _apart(str(path), "outcomes", told, again)
    if old:
        notes[f"{folder}: {old} finished cells are of an older form, which is not read"] = None
    if aside := len(list(folder.glob("*.broken"))):
        notes[f"{folder}: {aside} damaged cells were set aside (.broken)"] = None
    return Checked(folder, len(paths) - old, tuple(faults), tuple(notes))


def _values_again(
    folder: Path, cell: FinishedCell
) -> tuple[Mapping[str, Mapping[str, float]], tuple[str, ...]]:
    """{measure: {mean, stderr}} of a cell's outcomes by the task's own measures, and those that cannot be made again.

    The error of a function of the whole set is that of the replicates that the cell kept. UnknownName for a strange
    task.
    """
    truth = load_truth(folder.parent / "truths", str(cell.question.get("data")), cell.n)
    again: dict[str, dict[str, float]] = {}
    without: list[str] = []
    for scorer in measures_of(str(cell.question.get("task"))):
        rule: Rule | None = getattr(scorer, "rule", None)
        try:
            if isinstance(scorer, Whole):
                found = scorer.values(cell.outcomes, truth, np.ones((1, cell.n)))
                values = {k: {"mean": float(v[0])} for k, v in found.items() if not isinstance(v, Absent)}
            else:
                groups = cell.kept.get("groups")
                values = cell_values([scorer], cell.outcomes, truth, np.arange(cell.n), groups)[0]
        except Exception:
            if truth is not None or rule is None:
                raise
            without += scorer.names
            continue
        # Replicates are keyed by the samples' ids, which a cell does not hold.
        again |= {
            k: v if rule is None else {**v, "stderr": _stderr(cell, k, rule)} for k, v in values.items()
        }
    return again, tuple(without)


def _stderr(cell: FinishedCell, name: str, rule: Rule) -> float:
    """The standard error of the replicates that a cell kept of a measure; its own where it kept none."""
    told, kept = cell.values.get(name, {}).get("stderr", math.nan), cell.kept.get(f"{name}/replicates")
    if kept is None:
        return told
    exact = replicate_stderr(kept.astype(np.float64), rule)
    # The cell's own is of replicates that were not rounded yet.
    return told if math.isclose(told, exact, rel_tol=1e-3, abs_tol=1e-6) else exact


def _apart(
    where: str, what: str, told: Mapping[str, Mapping[str, float]], again: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    """A sentence for each value that is another when it is made again."""
    for name in dict.fromkeys([*told, *again]):
        if name not in told or name not in again:
            yield f"{where}: {name} {'is missing' if name in again else 'is nothing that its outcomes have'}"
            continue
        for part, word in (("mean", name), ("stderr", f"the standard error of {name}")):
            mine, found = told[name][part], again[name][part]
            neither = math.isnan(mine) and math.isnan(found)
            if not neither and not math.isclose(mine, found, rel_tol=_SAME, abs_tol=1e-12):
                yield f"{where}: {word} is {mine:.9g}, and its {what} say {found:.9g}"
