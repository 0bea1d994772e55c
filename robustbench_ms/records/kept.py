"""What was worked out of the records of a folder, kept in the cache by their digests.

A file holds the entries of a folder's records and the tests of each two models. It is of one release of this code, is
read whole or not at all, and may be deleted: a file that is damaged, of other code or not there only takes time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from robustbench_ms.catalog.registry import measures_of
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.files import replacing
from robustbench_ms.records.entry import Entry, bytes_digest, entry_of
from robustbench_ms.records.ranking import Progress, silent
from robustbench_ms.records.record import read_record
from robustbench_ms.statistics.intervals import Interval
from robustbench_ms.statistics.ranks import Bounds

__all__ = ["FOLDER", "Kept", "entries_in"]

FOLDER = "leaderboards"
"""Of the cache."""
_MADE_BY = ("catalog", "datasets", "records", "specs", "statistics", "tasks")
"""The rooms whose code a summary or a test may hang on; of others what the registry's tables are made of."""
_TABLES = ("corruptions/table.py", "faults/table.py", "faults/pictures/table.py", "faults/volumes/table.py")


class Kept:
    """Entries by the digest of their records, and tests of pairs by those of the models."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is kept in `path`; None keeps nothing."""
        self._path = path
        self._old: Mapping[str, Mapping[str, Any]] = {}
        self._old_models: list[str] = []
        self._old_tests = _nothing(0)
        self._entries: dict[str, Entry] = {}
        self._tests: list[tuple[Sequence[str], Bounds]] = []
        self._changed = False
        # Half a zip, bytes that are no JSON, a table of another shape: whatever is wrong with it, it is made again.
        with contextlib.suppress(Exception):
            self._read()

    @classmethod
    def of(cls, folder: Path, cache: Path) -> Kept:
        """Of the records in one folder."""
        name = hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
        return cls(cache / FOLDER / f"{name}.npz")

    def entry(self, digest: str, path: Path) -> Entry | None:
        """That of a record, which lies in `path`; None where it is not kept, or of other numbers of its measures."""
        told = self._old.get(digest)
        if told is None or told["measures"] != _numbers(told["task"]):
            return None
        values = {name: Interval(*ends) for name, ends in told["values"].items()}
        rows = {name: tuple(told[name]) for name in ("columns", "lacks", "warnings", "devices")}
        self._entries[digest] = found = Entry(**{**told, **rows, "values": values, "source": path})
        return found

    def add(self, entry: Entry) -> None:
        """Keep another."""
        self._entries[entry.digest] = entry
        self._changed = True

    def tests(self, models: Sequence[str]) -> Bounds:
        """See `ranking.KeptTests`."""
        places = {name: i for i, name in enumerate(self._old_models)}
        where = np.array([places.get(name, -1) for name in models], dtype=np.intp)
        known = where >= 0
        found = _nothing(len(models))
        for old, new in zip(self._old_tests, found, strict=True):
            new[np.ix_(known, known)] = old[np.ix_(where[known], where[known])]
        return found

    def keep(self, models: Sequence[str], found: Bounds) -> None:
        """See `ranking.KeptTests`; once a table, which have no model in common."""
        pairs = zip(self.tests(models), found, strict=True)
        self._changed |= not all(np.array_equal(old, new, equal_nan=True) for old, new in pairs)
        self._tests.append((models, found))

    def save(self) -> None:
        """Write all of it, where it is not what stands there; a cache that cannot be written is left as it is."""
        if self._path is None or not (self._changed or self._entries.keys() != self._old.keys()):
            return
        names = [name for models, _ in self._tests for name in models]
        tests, begin = _nothing(len(names)), 0
        for models, found in self._tests:
            part = slice(begin, begin := begin + len(models))
            for whole, one in zip(tests, found, strict=True):
                whole[part, part] = one
        rows = {digest: _plain(one) for digest, one in self._entries.items()}
        told = json.dumps({"made_by": _made_by(), "entries": rows, "models": names})
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self._path) as half, half.open("wb") as file:
                np.savez(file, told=np.frombuffer(told.encode(), np.uint8), **tests._asdict())

    def _read(self) -> None:
        if self._path is None:
            return
        with self._path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            told = json.loads(file["told"].tobytes())
            tests = Bounds(*(file[name] for name in Bounds._fields))
        if told["made_by"] == _made_by() and all(t.shape == (len(told["models"]),) * 2 for t in tests):
            self._old, self._old_models, self._old_tests = told["entries"], told["models"], tests


def entries_in(folder: Path, kept: Kept, progress: Progress = silent) -> tuple[list[Entry], list[str]]:
    """Of the records of one suite, by name, and a sentence for each that has a column without a meaning for it.

    Nothing where the folder is absent. BadFile where a record is damaged, newer or none.
    """
    found, left_out = [], []
    paths = sorted(folder.glob("*.json"))
    for done, path in enumerate(paths):
        digest = bytes_digest(path)
        entry = kept.entry(digest, path)
        if entry is None:
            progress("records", done, len(paths))
            record = read_record(path)
            try:
                entry = replace(entry_of(record, digest), source=path)
                if bytes_digest(path) == digest:
                    kept.add(entry)
                else:  # a run has put another there meanwhile: neither it nor its tests are those of this digest
                    entry = replace(entry, digest="")
            except BadFile:
                raise
            except UserError as error:
                left_out.append(str(error))
                continue
        found.append(entry)
    return found, left_out


def _nothing(models: int) -> Bounds:
    return Bounds(*(np.full((models, models), np.nan) for _ in Bounds._fields))


def _plain(entry: Entry) -> dict[str, Any]:
    told = asdict(replace(entry, evidence=None, source=Path()))
    return {name: value for name, value in told.items() if name not in {"evidence", "source"}}


@cache
def _numbers(task: str) -> dict[str, int] | None:
    """Of the measures of a task; None where it is not known."""
    try:
        return {name: scorer.number for scorer in measures_of(task) for name in scorer.names}
    except UserError:
        return None


@cache
def _made_by() -> str:
    """A digest of the code that summaries and tests are made by."""
    found = hashlib.sha256(f"{np.__version__} {version('scipy')}".encode())
    package = Path(__file__).parents[1]
    for path in _code(package):
        found.update(path.read_bytes())
    return found.hexdigest()


def _code(package: Path) -> list[Path]:
    code = [path for room in _MADE_BY for path in sorted((package / room).rglob("*"))]
    return [path for path in code if path.suffix in {".py", ".toml"}] + [package / name for name in _TABLES]
