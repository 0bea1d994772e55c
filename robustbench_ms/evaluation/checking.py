"""Whether records and finished cells are what was written: their digests, and their values made again from the arrays.

Nothing is measured, changed or set aside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.errors import BadFile, UnknownName, UserError, suggest
from robustbench_ms.evaluation.cells import is_old, read_cell
from robustbench_ms.records.record import Measurement, Record, read_record
from robustbench_ms.records.samples import Samples, samples_path
from robustbench_ms.specs.suite import Suite
from robustbench_ms.tasks.outcomes import Outcomes
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


def check(paths: Sequence[Path]) -> Iterator[Checked]:
    """Check records (.json), folders of records, and folders of cells or the caches that they lie in.

    UserError for what is none of them.
    """
    for path in paths:
        if path.is_dir():
            folder = path / "cells" if (path / "cells").is_dir() else path
            records = sorted(folder.glob("*.json"))
            if records:
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


def _record(path: Path) -> Checked:
    faults, notes, record = [], [], None
    try:
        record = read_record(path)
        if record.digest is None:
            notes.append(
                f"{path}: carries no digest, as a record of format 1: damage that no value shows is not found"
            )
        samples = record.samples()
        faults += [f"{path}: {m.key}: {fault}" for m in record.measurements for fault in _protocol(record, m)]
        if samples is not None:
            faults += [f"{path}: {fault}" for fault in _of_arrays(record, samples)]
        elif record.arrays is not None:
            faults.append(f"{path}: the arrays beside it ({samples_path(path).name}) are missing")
        else:
            notes.append(f"{path}: there are no arrays beside it, so that no value can be made again")
    except BadFile as error:
        faults.append(str(error))
    finished = sum(m.error is None for m in record.measurements) if record else 0
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
    """What the bits and the scores beside a record say otherwise than it does."""
    done = [m for m in record.measurements if m.error is None]
    if tuple(m.key for m in done) != samples.keys:
        yield "the arrays beside it are of other cells"
        return
    for m, bits in zip(done, samples.correct, strict=True):
        if m.n != bits.size:
            yield f"{m.key}: n is {m.n}, and there are {bits.size} bits"
        elif "accuracy" in m.values and bits.size:
            mean, stderr = mean_with_stderr(bits)
            yield from _apart(
                m.key,
                "bits",
                {"accuracy": m.values["accuracy"]},
                {"accuracy": {"mean": mean, "stderr": stderr}},
            )
    groups = {
        "clean": [m for m in done if m.key == "clean"],
        "corrupted": [m for m in done if _fields(record, m).get("corruption") in COMMON],
    }
    for name, scores in samples.scores.items():
        measure, _, group = name.rpartition("_")
        told = [m.values[measure]["mean"] for m in groups.get(group, ()) if measure in m.values]
        row = np.asarray(scores, dtype=np.float64)
        if not told or not np.isfinite(row).all():
            continue
        # Each was rounded to float16's 11 digits, or below its smallest normal number to a multiple of 2**-24.
        room = float(np.maximum(np.abs(row) * 2.0**-11, 2.0**-25).mean()) + _SAME
        if not abs(float(row.mean()) - float(np.mean(told))) <= room:
            yield (
                f"the mean {measure} of its {group} cells is {np.mean(told):.6g}, and the scores beside it say "
                f"{row.mean():.6g}"
            )


def _fields(record: Record, cell: Measurement) -> dict[str, Any]:
    return {**record.suite["protocol"], **cell.condition}


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
            again = _values_again(cell.question, cell.outcomes)
        except UnknownName as error:
            notes[f"{folder}: values that cannot be made again: {error}"] = None
            continue
        except (KeyError, ValueError) as error:
            faults.append(f"{path}: its outcomes are none of its task's ({type(error).__name__}: {error})")
            continue
        faults += _apart(str(path), "outcomes", cell.values, again)
    if old:
        notes[f"{folder}: {old} finished cells are of an older form, which is not read"] = None
    if aside := len(list(folder.glob("*.broken"))):
        notes[f"{folder}: {aside} damaged cells were set aside (.broken)"] = None
    return Checked(folder, len(paths) - old, tuple(faults), tuple(notes))


def _values_again(question: Mapping[str, Any], outcomes: Outcomes) -> Mapping[str, Mapping[str, float]]:
    """{measure: {mean, stderr}} of a cell's outcomes, by the task's own measures; UnknownName for a strange task."""
    from robustbench_ms.catalog.registry import task_of  # and through it what the task imports

    suite = Suite(name="", task=str(question.get("task")), dataset=str(question.get("dataset")))
    return task_of(suite).score(outcomes.samples)


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
