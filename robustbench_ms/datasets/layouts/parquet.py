"""Pictures in parquet files, as Hugging Face's hub has them: columns image {bytes, path} and label."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.datasets.layouts.found import Codes, Found, Names, stamp
from robustbench_ms.errors import BadFile, UserError, suggest

__all__ = ["ParquetFiles", "find_in_parquet"]

_COLUMNS = ("image", "label")


@dataclass
class _Group:
    where: tuple[int, int] | None = None
    rows: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Group, ()  # a process that it is sent to reads for itself


@dataclass
class ParquetFiles:
    """Rows of parquet files; the row group that was read last is kept, as rows mostly follow each other."""

    files: tuple[Path, ...]
    names: Names
    at: NDArray[np.int64]
    """(n, 3): file, row group, row in it."""
    known: NDArray[np.int64]
    """(files, 2): size and time of change of each, when its rows were listed."""
    _kept: _Group = field(default_factory=_Group, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """The path that the row says, or its file and number."""
        return self.names[row]

    def read(self, row: int) -> bytes:
        """The picture's bytes; BadFile where the file is missing or has changed."""
        which, group, within = map(int, self.at[row])
        path = self.files[which]
        if stamp(path) != tuple(map(int, self.known[which])):
            raise BadFile(
                f"{path} changed since its pictures were listed; start again when nothing writes there"
            )
        with self._kept.lock:
            if self._kept.where != (which, group):
                with _opened(path) as file:
                    table = file.read_row_group(group, columns=["image.bytes"])
                self._kept.rows = table.column("image").combine_chunks().field("bytes")
                self._kept.where = (which, group)
            data: bytes | None = self._kept.rows[within].as_py()
        if data is None:
            raise BadFile(f"{path}: {self.names[row]} has no image bytes")
        return data

    def stamps(self) -> NDArray[np.int64]:
        """(n, 2): size and time of change (ns) of the file that each lies in."""
        stamps: NDArray[np.int64] = self.known[self.at[:, 0]]
        return stamps

    def take(self, rows: NDArray[np.int64]) -> ParquetFiles:
        """The pictures of these rows, in this order."""
        return ParquetFiles(self.files, self.names.take(rows), self.at[rows], self.known)


def find_in_parquet(files: Sequence[Path]) -> Found:
    """The pictures of parquet files; labels are class indices, called as the file's own metadata says.

    A picture is called by its `path`, or by its file and row where that is null. BadFile names a file that lacks a
    column, UserError says where pyarrow is missing.
    """
    names, codes, at, known = Names(), Codes(), bytearray(), []
    classes: tuple[str, ...] = ()
    for number, path in enumerate(files):
        known.append(stamp(path))
        with _opened(path) as file:
            _check(file, path)
            classes = _names_of(file) or classes
            row = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["image.path", "label"])
                paths = table.column("image").combine_chunks().field("path").to_pylist()
                labels = table.column("label").to_pylist()
                for within, (name, label) in enumerate(zip(paths, labels, strict=True)):
                    if label is None:
                        raise BadFile(f"{path}: row {row} has no label")
                    names.append(name or f"{path.stem}/{row}")
                    codes.append(str(label))
                    at += np.array([number, group, within], np.int64).tobytes()
                    row += 1
    where = np.frombuffer(bytes(at), np.int64).reshape(-1, 3)
    stamps = np.array(known, np.int64).reshape(-1, 2)
    found = ParquetFiles(tuple(files), names, where, stamps)
    return Found(found, tuple(codes.words), codes.array(), numbered=True, classes=classes)


def _opened(path: Path) -> Any:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(
            f"{path} needs the package pyarrow, which is not installed; pip install 'robustbench-ms[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (ArrowException, OSError) as error:
        raise BadFile(f"{path} is cut short or no parquet file ({error})".splitlines()[0]) from error


def _check(file: Any, path: Path) -> None:
    """BadFile where the columns are others."""
    import pyarrow as pa

    known = {column.name: column.type for column in file.schema_arrow}
    for wanted in _COLUMNS:
        if wanted not in known:
            raise BadFile(f"{path} has no column {wanted!r}{suggest(wanted, known)}")
    image = known["image"]
    if not pa.types.is_struct(image) or {"bytes", "path"} - {field.name for field in image}:
        raise BadFile(f"{path}: the column image must hold bytes and path, not {image}")
    if not pa.types.is_integer(known["label"]):
        raise BadFile(f"{path}: the column label must hold one whole number each, not {known['label']}")


def _names_of(file: Any) -> tuple[str, ...]:
    """What the classes are called, as Hugging Face's library notes it in the schema; () where it is not noted."""
    try:
        told = json.loads(file.schema_arrow.metadata[b"huggingface"])
        return tuple(map(str, told["info"]["features"]["label"]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()
