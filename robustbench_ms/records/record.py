"""Records: all the cells of one card on one suite with their provenance; the unit that people commit.

The format's history:
1  the first: format, suite, card, subject, health, environment, started, measurements
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_ms.errors import BadFile
from robustbench_ms.files import replacing
from robustbench_ms.records.samples import Samples, read_samples, samples_path, write_samples

__all__ = [
    "FORMAT",
    "Environment",
    "Measurement",
    "Record",
    "read_record",
    "records_in",
    "write_record",
]

FORMAT = 1
_UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""One step a version: _UPGRADES[1] makes a record of format 2 out of one of format 1."""


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
    """Wall time of data, corruption, model and scoring apart."""
    error: str | None = None


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
    """name, and the fields of the protocol that all cells share."""
    card: Mapping[str, Any]
    """name, build, args, input, weights with their digest, published figures."""
    subject: Mapping[str, Any]
    """digest, and the fields it is made of: who answered."""
    health: Mapping[str, Any]
    """What the probe found: warnings, whether answers repeat."""
    environment: Environment
    started: str
    """UTC, ISO 8601."""
    measurements: tuple[Measurement, ...]
    format: int = FORMAT
    path: Path | None = field(default=None, compare=False)

    def cell(self, key: str) -> Measurement | None:
        """The finished cell under `key`; None where it is absent or ended in an error."""
        return next((m for m in self.measurements if m.key == key and m.error is None), None)

    @property
    def name(self) -> str:
        """The card's name: "resnet20", or "resnet20-ema@0" for one seed of several."""
        return str(self.card["name"])

    @property
    def task(self) -> str:
        """Whose measures its values are; records that do not say it are of classification."""
        return str(self.suite["protocol"].get("task", "classification"))

    @property
    def group(self) -> str:
        """The card whose replicate this is."""
        return self.name.partition("@")[0]

    def answers(self) -> dict[str, Any]:
        """Everything but when, how fast and on what it was measured; equal for a run that was killed and resumed."""
        told = _as_json(self)
        for key in ("started", "environment"):
            del told[key]
        for measurement in told["measurements"]:
            del measurement["seconds"]
        return told

    def samples(self) -> Samples | None:
        """The per-sample arrays beside the record; None where the file is absent."""
        return None if self.path is None else read_samples(samples_path(self.path))


def write_record(record: Record, samples: Samples, path: Path) -> bool:
    """Write `<card>.json` and `<card>.correct.npz`; False, and nothing touched, where they hold these answers already.

    Each file is written beside its place and renamed; the record comes last, so that what it points to is there.
    """
    told = _as_json(record)
    beside = samples_path(path)
    if path.exists() and _same(path, beside, record, samples):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    write_samples(samples, beside)
    with replacing(path) as part:
        part.write_text(_dumps(told), encoding="utf-8")
    return True


def read_record(path: Path) -> Record:
    """The record in a file; older formats are upgraded, newer ones refused, damaged ones named."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path}: not a record: not valid JSON ({error})") from error
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise BadFile(f"{path}: not a record: it has no format number")
    if told["format"] > FORMAT:
        raise BadFile(
            f"{path}: a record of format {told['format']}, newer than this version reads ({FORMAT}); "
            "update robustbench_ms"
        )
    while told["format"] < FORMAT:
        upgrade = _UPGRADES.get(told["format"])
        if upgrade is None:
            raise BadFile(
                f"{path}: no record has format {told['format']}; the oldest is {min(_UPGRADES, default=FORMAT)}"
            )
        told = upgrade(told)
    try:
        return _from_json(told, path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BadFile(f"{path}: not a whole record: {type(error).__name__}: {error}") from error


def records_in(folder: Path) -> list[Record]:
    """The records of one suite, by name; an empty list where the folder is absent."""
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def _same(path: Path, beside: Path, record: Record, samples: Samples) -> bool:
    try:
        old, kept = read_record(path), read_samples(beside)
    except BadFile:
        return False
    return (
        kept is not None
        and _dumps(old.answers()) == _dumps(record.answers())
        and kept.keys == samples.keys
        and np.array_equal(kept.correct, samples.correct)
        and kept.scores.keys() == samples.scores.keys()
        and all(np.array_equal(kept.scores[k], samples.scores[k], equal_nan=True) for k in kept.scores)
        and kept.tables.keys() == samples.tables.keys()
        and all(np.array_equal(kept.tables[k], samples.tables[k], equal_nan=True) for k in kept.tables)
    )


_FIELDS = ("format", "suite", "card", "subject", "health", "environment", "started", "measurements")


def _as_json(record: Record) -> dict[str, Any]:
    told = asdict(record)
    return {key: told[key] for key in _FIELDS}


def _dumps(told: Mapping[str, Any]) -> str:
    """One line a measurement, so that a changed cell is one changed line of a diff."""
    rows = told["measurements"]
    head = json.dumps({**told, "measurements": []}, indent=1, default=_number, allow_nan=False)
    body = ",\n".join("  " + json.dumps(_finite(row), default=_number, allow_nan=False) for row in rows)
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


_SHAPE: tuple[tuple[str, str, type | tuple[type, ...]], ...] = (
    ("suite", "name", str),
    ("suite", "summary", list),
    ("suite", "protocol", dict),
    ("card", "name", str),
    ("card", "weights", (dict, type(None))),
    ("subject", "digest", str),
    ("health", "warnings", list),
)
"""What readers rely on."""


def _from_json(told: dict[str, Any], path: Path) -> Record:
    for key in ("suite", "card", "subject", "health", "environment"):
        if not isinstance(told[key], dict):
            raise TypeError(f"{key} is no table")
    for key, inner, kind in _SHAPE:
        if not isinstance(told[key][inner], kind):
            raise TypeError(f"{key}.{inner} is a {type(told[key][inner]).__name__}")
    columns = told["suite"]["summary"]
    if not columns or not all(isinstance(column, str) for column in columns):
        raise TypeError("suite.summary is no list of words")
    measurements = tuple(_measurement(row) for row in told["measurements"])
    keys = [m.key for m in measurements]
    if len(set(keys)) < len(keys):
        raise ValueError("a cell stands in it twice")
    return Record(
        suite=told["suite"],
        card=told["card"],
        subject=told["subject"],
        health=told["health"],
        environment=Environment(**told["environment"]),
        started=str(told["started"]),
        measurements=measurements,
        path=path,
    )


def _float(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, (str, bool)):
        raise TypeError(f"a value is a number or null, not {value!r}")
    return float(value)


def _measurement(row: dict[str, Any]) -> Measurement:
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
    return Measurement(
        row["key"], row["protocol"], dict(row["condition"]), values, n, dict(row["seconds"]), error
    )
