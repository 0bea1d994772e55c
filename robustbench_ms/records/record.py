"""Records: all the cells of one card on one suite with their provenance; the unit that people commit.

A record has a digest over everything in it but itself, and in `arrays` one over the arrays beside it, so that the first
covers both. It is the same however the JSON is laid out and its numbers are spelled. It finds damage, a pair of files
of two runs and careless edits; it finds no forger, who computes it anew.

The format's history:
2  task, measures, arrays, digest; the suite's matrix, groups, limit and seed; `environments` in place of `environment`,
   and of each measurement which of them it was made in, and what is absent and why
1  the first: format, suite, card, subject, health, environment, started, measurements
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing
from robustbench_ms.records.canonical import arrays_digest, content_digest
from robustbench_ms.records.command import command_of
from robustbench_ms.records.faults import array_faults, value_faults
from robustbench_ms.records.samples import (
    Samples,
    packed,
    read_samples,
    samples_path,
    together,
    write_samples,
)
from robustbench_ms.records.shape import read_json, refuse_shape, why_unread
from robustbench_ms.records.upgrades import UPGRADES

__all__ = [
    "FORMAT",
    "Environment",
    "Measurement",
    "Record",
    "read_record",
    "records_in",
    "write_record",
]

FORMAT = 2
_WITH_DIGEST = 2
"""The first format that has one."""


@dataclass(frozen=True)
class Measurement:
    """One finished cell."""

    key: str
    """"clean", or "corruption=fog,severity=3"."""
    protocol: str
    """Digest of the question; cells are comparable where it is equal."""
    condition: Mapping[str, Any]
    """The readable fields of the protocol that belong to this cell alone."""
    values: Mapping[str, Mapping[str, float]]
    """{metric: {mean, stderr}}; accuracies are fractions."""
    n: int
    seconds: Mapping[str, float]
    """Of data, corruption, model, scoring and waiting apart; what k models share 1/k each where waiting is told."""
    error: str | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    """{measure: why it has no value in this cell}."""
    environment: int | None = 0
    """Which of the record's environments it was made in; None in a record of format 1, which did not say: its one
    environment is of the run that assembled it."""


@dataclass(frozen=True)
class Environment:
    """What a number was made with; holds no path, host or user name."""

    version: str
    commit: str | None
    dirty: bool | None
    python: str
    torch: str
    cuda: str | None
    device: str
    cpu: str
    os: str
    packages: Mapping[str, str]
    threads: int | None = None
    """Of a worker on a CPU, where its answers' last bits depend on it; None where that was not kept."""


@dataclass(frozen=True)
class Record:
    """One card on one suite."""

    suite: Mapping[str, Any]
    """name, summary, and in `protocol` the fields that all cells share; matrix {axis: [values]}, groups
    {group: {axis, values}}, limit and seed; `alike`, by what differences are told where samples are alike,
    and `classes`, their names, where answers are counted by them."""
    card: Mapping[str, Any]
    """name, build, args, input, weights with their digest, published figures."""
    subject: Mapping[str, Any]
    """digest, and the fields it is made of: who answered."""
    health: Mapping[str, Any]
    """What the probe found: warnings, whether answers repeat."""
    environments: tuple[Environment, ...]
    """The distinct ones of its cells, in the cells' order; one at least."""
    started: str
    """UTC, ISO 8601."""
    measurements: tuple[Measurement, ...]
    task: str = "classification"
    measures: Mapping[str, int] = field(default_factory=dict)
    """{measure: the number of what computed it}, raised when a value's meaning changes."""
    format: int = FORMAT
    path: Path | None = field(default=None, compare=False)
    digest: str | None = field(default=None, compare=False)
    """As it stands in its file; None in memory, and in a file of format 1."""
    arrays: str | None = field(default=None, compare=False)
    """The digest of the arrays beside its file."""

    def cell(self, key: str) -> Measurement | None:
        """The finished cell under `key`; None where it is absent or ended in an error."""
        return next((m for m in self.measurements if m.key == key and m.error is None), None)

    @property
    def name(self) -> str:
        """The card's name: "resnet20", or "resnet20-ema@0" for one seed of several."""
        return str(self.card["name"])

    @property
    def group(self) -> str:
        """The card whose replicate this is."""
        return self.name.partition("@")[0]

    @property
    def environment(self) -> Environment:
        """That of its first cell."""
        return self.environments[0]

    def made_with(self, name: str) -> str:
        """A field of its environments, for people: "2.11", or "2.11 and 2.12" where its cells differ."""
        return " and ".join(dict.fromkeys(str(getattr(one, name)) for one in self.environments))

    @property
    def command(self) -> str:
        """What measures it again, for people."""
        return command_of(self.suite, self.card)

    def answers(self) -> dict[str, Any]:
        """What was answered to what by whom, and not when, how fast and on what; what format 1 had of it.

        Equal for a run that was killed and resumed, and for a record of format 1 that the same answers would make, so
        that neither is rewritten.
        """
        told = _as_json(self)
        answers = {key: told[key] for key in ("format", "suite", "card", "subject", "health", "measurements")}
        for key in ("matrix", "groups", "limit", "seed"):
            answers["suite"].pop(key, None)
        for measurement in answers["measurements"]:
            for key in ("seconds", "absent", "environment"):
                del measurement[key]
        return answers

    def samples(self) -> Samples | None:
        """The per-sample arrays beside the record; None where the file is absent.

        BadFile where it is another's, or where a mean of the record's is not that of what was kept of its samples.
        """
        found = self.arrays_beside()
        for fault in () if found is None else array_faults(self, found):
            raise BadFile(f"{self.path}: {fault}; {_again(self.command)}")
        return found

    def arrays_beside(self) -> Samples | None:
        """The same before the record's means are held to them."""
        if self.path is None:
            return None
        beside = samples_path(self.path)
        found = read_samples(beside)
        if found is not None and self.arrays is not None and self.arrays != arrays_digest(packed(found)):
            raise BadFile(
                f"{self.path}: the arrays beside it ({beside.name}) are not those of its answers; "
                f"{_again(self.command)}"
            )
        return found


def write_record(record: Record, samples: Samples, path: Path) -> bool:
    """Write `<card>.json` and `<card>.correct.npz`; False, and nothing touched, where they hold these answers already.

    Both files are written beside their places, and renamed when both are whole; the record comes last, so that what it
    points to is there. Two writers of one path take turns by a lock of the caller's (`Claims.holding`); where they have
    none, as with two caches, they may leave the one's record beside the other's arrays, which reading them tells.

    UserError where it cannot be written, as on a full disk; what stood there stays.
    """
    beside = samples_path(path)
    if path.exists() and _same(path, record, samples):
        return False
    told = {**_as_json(record), "format": FORMAT, "arrays": arrays_digest(packed(samples))}
    # Over what will be read again: NaN is null there.
    told["digest"] = _digest(json.loads(_dumps(told)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, replacing(beside) as arrays:  # renamed in turn, the inner one first
            part.write_text(_dumps(told), encoding="utf-8")
            write_samples(samples, arrays)
    except OSError as error:
        raise UserError(
            f"the record {path} could not be written ({error.strerror or error}); what stood there is left, and the "
            "same command goes on from the finished cells"
        ) from error
    return True


def read_record(path: str | Path) -> Record:
    """The record in a file; older formats are upgraded.

    BadFile, which is a UserError, for a newer format, and for what is damaged, edited or no record.
    """
    path = Path(path)
    try:
        told = read_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: {why_unread(path, error)}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not a record: not valid JSON ({error})") from error
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise BadFile(f"{path}: not a record: it has no format number")
    if "kind" in told:
        raise BadFile(f"{path}: a {told['kind']}, and no record of cells; rbms check reads both")
    if told["format"] > FORMAT:
        raise BadFile(
            f"{path}: a record of format {told['format']}, newer than this version reads ({FORMAT}); "
            "update robustbench_ms"
        )
    if told["format"] < min(UPGRADES):
        raise BadFile(f"{path}: no record has format {told['format']}; the oldest is {min(UPGRADES)}")
    try:
        if told["format"] >= _WITH_DIGEST and told["digest"] != _digest(told):
            raise BadFile(
                f"{path}: damaged or edited, as its digest does not fit; "
                f"{_again(command_of(told['suite'], told['card']))}"
            )
        while told["format"] < FORMAT:
            told = UPGRADES[told["format"]](told)
        found = _from_json(told, path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BadFile(f"{path}: not a whole record: {type(error).__name__}: {error}") from error
    for fault in value_faults(found):
        raise BadFile(f"{path}: {fault}; {_again(found.command)}")
    return found


def records_in(folder: Path) -> list[Record]:
    """The records of one suite, by name; an empty list where the folder is absent."""
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def _same(path: Path, record: Record, samples: Samples) -> bool:
    try:
        old = read_record(path)
        kept = old.samples()
    except BadFile:
        return False
    return (
        kept is not None
        and _dumps(old.answers()) == _dumps(record.answers())
        and kept.keys == samples.keys
        and np.array_equal(kept.correct, samples.correct)
        and kept.scores.keys() == samples.scores.keys()
        and all(np.array_equal(kept.scores[k], samples.scores[k], equal_nan=True) for k in kept.scores)
        and together(kept).keys() == together(samples).keys()
        and all(np.array_equal(one, together(samples)[name]) for name, one in together(kept).items())
        and kept.tables.keys() == samples.tables.keys()
        and all(np.array_equal(kept.tables[k], samples.tables[k], equal_nan=True) for k in kept.tables)
    )


_FIELDS = (
    "format", "suite", "task", "measures", "card", "subject", "health", "environments", "started", "arrays", "digest",
    "measurements",
)  # fmt: skip


def _as_json(record: Record) -> dict[str, Any]:
    told = asdict(record)
    return {key: told[key] for key in _FIELDS}


def _digest(told: Mapping[str, Any]) -> str:
    """Of everything but itself; ValueError where there is NaN or infinity among it."""
    return content_digest({key: value for key, value in told.items() if key != "digest"})


def _again(command: str) -> str:
    return f"take it from the version control, or delete it and measure it again: {command}"


def _dumps(told: Mapping[str, Any]) -> str:
    """One line a measurement, so that a changed cell is one changed line of a diff; without spaces, a twelfth."""
    rows = told["measurements"]
    head = json.dumps({**told, "measurements": []}, indent=1, default=_number, allow_nan=False)
    compact = partial(json.dumps, separators=(",", ":"), default=_number, allow_nan=False)
    body = ",\n".join("  " + compact(_finite(row)) for row in rows)
    start = head.rindex('"measurements": []')
    return head[:start] + '"measurements": [' + (f"\n{body}\n ]" if rows else "]") + head[start + 18 :] + "\n"


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a record")


def _finite(value: Any) -> Any:
    """NaN as null: JSON has no other word for it."""
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(told: dict[str, Any], path: Path) -> Record:
    refuse_shape(told)
    environments = tuple(Environment(**row) for row in told["environments"])
    if not environments:
        raise ValueError("it has no environment")
    measurements = tuple(_measurement(row, len(environments)) for row in told["measurements"])
    keys = [m.key for m in measurements]
    if len(set(keys)) < len(keys):
        raise ValueError("a cell stands in it twice")
    return Record(
        suite=told["suite"],
        card=told["card"],
        subject=told["subject"],
        health=told["health"],
        environments=environments,
        started=str(told["started"]),
        measurements=measurements,
        task=told["task"],
        measures=told["measures"],
        path=path,
        digest=told["digest"],
        arrays=told["arrays"],
    )


def _float(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, (str, bool)):
        raise TypeError(f"a value is a number or null, not {value!r}")
    return float(value)


def _measurement(row: dict[str, Any], environments: int) -> Measurement:
    values = {}
    for name, value in row["values"].items():
        mean, stderr = value["mean"], value["stderr"]
        values[name] = {"mean": _float(mean), "stderr": _float(stderr)}
    n = row["n"]
    if type(n) is not int or n < 0 or not isinstance(row["key"], str) or not isinstance(row["protocol"], str):
        raise TypeError("a measurement needs a key, a protocol and a whole number n")
    error = row["error"]
    if error is not None and not isinstance(error, str):
        raise TypeError("a measurement's error is a sentence or null")
    where = row["environment"]
    if where is not None and (type(where) is not int or not 0 <= where < environments):
        raise TypeError("a measurement's environment is one of the record's, by its number from 0, or null")
    return Measurement(
        key=row["key"],
        protocol=row["protocol"],
        condition=dict(row["condition"]),
        values=values,
        n=n,
        seconds=dict(row["seconds"]),
        error=error,
        absent=dict(row["absent"]),
        environment=where,
    )
