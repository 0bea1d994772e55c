"""The cache of finished cells, which is also the journal: one file each, written beside and renamed.

A run that was killed finds here what it had finished; two runs at once, and later a cluster, need nothing else.

A file `<protocol>-<subject>.npz` holds a header of JSON (`cell`) and arrays: a sample's columns under their names
("nll"), tables of items as "table/owner" and "table/column", what a record will keep as "kept/NAME". The header says
what was asked, who answered and with what, and has one digest over itself and the arrays, checked on reading: damage,
an edited number, a missing array and a file in another's place are found, and the cell is measured again.

The format's history:
2  the header, with its digest
1  `told` {values, n, seconds} and the columns; not read any more, see `old_cells`
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing
from robustbench_ms.records.canonical import arrays_digest, content_digest
from robustbench_ms.records.record import Environment
from robustbench_ms.tasks.outcomes import Items, Outcomes

__all__ = [
    "FORMAT",
    "CellFacts",
    "FinishedCell",
    "cell_facts",
    "cell_path",
    "is_old",
    "keep_truth",
    "load_cell",
    "load_truth",
    "old_cells",
    "read_cell",
    "save_cell",
]

FORMAT = 2
_HEADER, _OLD_HEADER = "cell", "told"
_OWNER = "owner"
_KEPT = "kept"


@dataclass(frozen=True)
class FinishedCell:
    """What one card answered under one condition."""

    values: Mapping[str, Mapping[str, float]]
    """{measure: {mean, stderr}}; a mean is a number, an error may be NaN where there is none."""
    outcomes: Outcomes
    """Of its n samples."""
    n: int
    seconds: Mapping[str, float]
    absent: Mapping[str, str] = field(default_factory=dict)
    """{measure: why it has no value here}."""
    kept: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """What the record will keep beside its bits ("ap/replicates", "ece/sums"); "groups" (n,) where there are some."""
    question: Mapping[str, Any] = field(default_factory=dict)
    """The readable fields that the protocol is the digest of."""
    weights: str | None = None
    """SHA-256 of the card's file of weights; None without one."""
    environment: Environment | None = None
    """What it was measured with."""
    measures: Mapping[str, int] = field(default_factory=dict)
    """{measure: its number then}, of those in `values` and `absent`."""


@dataclass(frozen=True)
class CellFacts:
    """What can be known of a cell without its arrays, and so without its digest: probably so."""

    protocol: str
    subject: str
    question: Mapping[str, Any]
    weights: str | None
    threads: int | None
    """Of the CPU that answered; None on another device."""
    n: int


def save_cell(folder: Path, protocol: str, subject: str, cell: FinishedCell) -> None:
    """Keep a finished cell; UserError where the cache is full or cannot be written.

    ValueError for what is no cell: a mean that is no number, a name that is taken.
    """
    arrays = _arrays(cell)
    told = {
        "format": FORMAT,
        "protocol": protocol,
        "subject": subject,
        "environment": None if cell.environment is None else asdict(cell.environment),
        "question": dict(cell.question),
        "weights": cell.weights,
        "values": {name: _told(name, value) for name, value in cell.values.items()},
        "absent": dict(cell.absent),
        "measures": dict(cell.measures),
        "n": cell.n,
        "seconds": dict(cell.seconds),
        "samples": sorted(cell.outcomes.samples),
        "items": {table: sorted(items.columns) for table, items in cell.outcomes.items.items()},
        "kept": sorted(cell.kept),
        "arrays": arrays_digest(arrays),
    }
    # As it will be read: what JSON has no word for is spelled as in the protocol's digest.
    told = json.loads(json.dumps(told, default=list, allow_nan=False))
    told["digest"] = content_digest(told)
    path = cell_path(folder, protocol, subject)
    members: dict[str, Any] = {_HEADER: np.array(json.dumps(told)), **arrays}
    try:
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **members)
    except OSError as error:
        raise UserError(
            f"the finished cell {path} could not be written ({error.strerror or error}); what was finished before is "
            "kept, and the same command goes on when there is room"
        ) from error


def load_cell(folder: Path, protocol: str, subject: str) -> tuple[FinishedCell | None, str | None]:
    """The finished cell, or None; and what was wrong with its file, which is set aside and measured again.

    Where it cannot be set aside, in a cache that cannot be written, it is passed over. A cell of the old form is none.
    """
    path = cell_path(folder, protocol, subject)
    try:
        return read_cell(path), None
    except (FileNotFoundError, NotADirectoryError):
        return None, None
    except BadFile as error:
        if is_old(path):
            return None, None
        told = str(error).removeprefix(f"{path}: ")
    aside = path.with_suffix(".broken")
    try:
        path.replace(aside)
    except OSError as error:
        return (
            None,
            f"the finished cell {path.name} was {told}; it cannot be set aside ({error.strerror}) and is passed over",
        )
    return None, f"the finished cell {path.name} was {told}; set aside as {aside.name}, measured again"


def read_cell(path: Path) -> FinishedCell:
    """The cell in a file, whole and in its place; FileNotFoundError, or BadFile that says what is wrong with it."""
    try:
        # Opened here: numpy leaves a file open whose archive is damaged.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            told = _header(file)
            arrays = {name: file[name] for name in file.files if name != _HEADER}
        _check_arrays(told, arrays)
        digest = told.pop("digest")
        if told["arrays"] != arrays_digest(arrays) or digest != content_digest(told):
            raise ValueError("its digest does not fit: it was changed")  # noqa: TRY301 - as any other damage
        if f"{told['protocol']}-{told['subject']}" != path.stem:
            raise ValueError(  # noqa: TRY301
                f"it is another's: of protocol {told['protocol']} and subject {told['subject']}"
            )
        return _cell(told, arrays)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except Exception as error:  # a damaged zip raises half a dozen kinds
        raise BadFile(f"{path}: damaged ({error})") from error


def cell_facts(path: Path) -> CellFacts | None:
    """The facts in a cell's header, arrays unread and the digest unchecked; None where it is no cell of this form."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            told = _header(file)
        return CellFacts(
            str(told["protocol"]),
            str(told["subject"]),
            dict(told["question"]),
            told["weights"],
            (told["environment"] or {}).get("threads"),
            int(told["n"]),
        )
    except Exception:  # noqa: BLE001 - a damaged zip raises half a dozen kinds
        return None


def old_cells(folder: Path) -> int:
    """How many finished cells of the old form, which is not read, lie in a folder; 0 where it is absent."""
    return sum(is_old(path) for path in folder.glob("*.npz"))


def is_old(path: Path) -> bool:
    """Whether a file is a cell of the old form, by the name of its archive's first member."""
    try:
        with path.open("rb") as file:
            return file.read(64)[30:].startswith(f"{_OLD_HEADER}.npy".encode())
    except OSError:
        return False


def cell_path(folder: Path, protocol: str, subject: str) -> Path:
    """Where the cell of a protocol and a subject lies in a folder of cells."""
    return folder / f"{protocol}-{subject}.npz"


def keep_truth(folder: Path, digest: str, n: int, truth: Outcomes) -> None:
    """Keep what is true of n samples of data, once; where that cannot be written, `rbms check` does without."""
    path = folder / f"{digest[:32]}-{n}.npz"
    if path.exists():
        return
    arrays = _tables(truth)
    columns = {table: sorted(items.columns) for table, items in truth.items.items()}
    told = {"samples": sorted(truth.samples), "items": columns, "arrays": arrays_digest(arrays)}
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        members: dict[str, Any] = {_HEADER: np.array(json.dumps(told)), **arrays}
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, **members)


def load_truth(folder: Path, digest: str, n: int) -> Outcomes | None:
    """What is true of data of that digest, of which n samples are shown; None where it was not kept, or not whole."""
    try:
        with (folder / f"{digest[:32]}-{n}.npz").open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            told = json.loads(str(file[_HEADER]))
            arrays = {name: file[name] for name in file.files if name != _HEADER}
        return _outcomes(told, arrays) if told["arrays"] == arrays_digest(arrays) else None
    except Exception:  # noqa: BLE001 - a damaged zip raises half a dozen kinds
        return None


def _arrays(cell: FinishedCell) -> dict[str, NDArray[Any]]:
    """By their names in the file; ValueError where two would have one."""
    samples, tables = cell.outcomes.samples, cell.outcomes.items
    wrong = [name for name in samples if "/" in name or name in {_HEADER, _OLD_HEADER}]
    wrong += [table for table, items in tables.items() if table == _KEPT or _OWNER in items.columns]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no name for outcomes")
    found = _tables(cell.outcomes)
    return found | {f"{_KEPT}/{name}": np.asarray(rows) for name, rows in cell.kept.items()}


def _tables(outcomes: Outcomes) -> dict[str, NDArray[Any]]:
    """The arrays of outcomes by their names in a file."""
    found = {name: np.asarray(rows) for name, rows in outcomes.columns()}
    return found | {f"{table}/{_OWNER}": np.asarray(items.owner) for table, items in outcomes.items.items()}


def _outcomes(told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Outcomes:
    """The outcomes whose names a header tells."""
    items = {
        table: Items(arrays[f"{table}/{_OWNER}"], {name: arrays[f"{table}/{name}"] for name in columns})
        for table, columns in told["items"].items()
    }
    return Outcomes({name: arrays[name] for name in told["samples"]}, items)


def _told(name: str, value: Mapping[str, float]) -> dict[str, float | None]:
    mean, stderr = float(value["mean"]), float(value["stderr"])
    if not math.isfinite(mean):
        raise ValueError(f"the mean of {name} is {mean}; what has no value is absent, with its reason")
    return {"mean": mean, "stderr": stderr if math.isfinite(stderr) else None}


def _header(file: Any) -> dict[str, Any]:
    if _HEADER not in file.files:
        raise ValueError("it has no header")
    told = json.loads(str(file[_HEADER]))
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError(f"its header is of no format that this version reads ({FORMAT})")
    return told


def _check_arrays(told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """ValueError where arrays are missing, too many, or of other lengths than those that they belong to."""
    wanted = [*told["samples"], *(f"{_KEPT}/{name}" for name in told["kept"])]
    for table, columns in told["items"].items():
        wanted += [f"{table}/{name}" for name in (_OWNER, *columns)]
    if missing := sorted(set(wanted) - set(arrays)):
        raise ValueError(f"its array {missing[0]} is missing")
    if unknown := sorted(set(arrays) - set(wanted)):
        raise ValueError(f"its array {unknown[0]} is none of its own")
    uneven = any(len(arrays[name]) != told["n"] for name in told["samples"])
    for table, columns in told["items"].items():
        owner = arrays[f"{table}/{_OWNER}"]
        uneven |= any(len(arrays[f"{table}/{name}"]) != len(owner) for name in columns)
        if owner.ndim != 1 or (owner.size and (owner.min() < 0 or owner.max() >= told["n"])):
            raise ValueError(f"its table {table} has owners that are no samples")
    if uneven:
        raise ValueError("its arrays are of unequal length")


def _cell(told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> FinishedCell:
    values = {}
    for name, value in told["values"].items():
        mean, stderr = value["mean"], value["stderr"]
        if not isinstance(mean, (int, float)) or not math.isfinite(mean):
            raise ValueError(f"the mean of {name} is no number")
        values[name] = {"mean": float(mean), "stderr": math.nan if stderr is None else float(stderr)}
    return FinishedCell(
        values=values,
        outcomes=_outcomes(told, arrays),
        n=int(told["n"]),
        seconds=told["seconds"],
        absent=told["absent"],
        kept={name: arrays[f"{_KEPT}/{name}"] for name in told["kept"]},
        question=told["question"],
        weights=told["weights"],
        environment=None if told["environment"] is None else Environment(**told["environment"]),
        # The first cells of this format did not say it, when all numbers were 1.
        measures=told.get("measures", dict.fromkeys([*values, *told["absent"]], 1)),
    )
