"""The per-sample arrays that lie beside a record, in `<card>.correct.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import BadFile

__all__ = ["Samples", "packed", "read_samples", "samples_path", "together", "write_samples"]


@dataclass(frozen=True)
class Samples:
    """What a record keeps of each sample; no labels."""

    keys: tuple[str, ...]
    correct: NDArray[np.bool_]
    """Classification's bits (cells, n); (cells, 0) of another task."""
    scores: Mapping[str, NDArray[np.floating[Any]]]
    """Per-sample scores (n,), of the clean cell and averaged over the cells of a group: nll_clean, nll_corrupted,
    brier_clean, brier_corrupted; of other tasks "<measure>/clean" and "<measure>/<group>"."""
    tables: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Bits of other names, as top5_accuracy/bits, bool (cells, n); "<measure>/replicates", float32 (cells, R), and
    "<measure>/sums", as ece/sums, float64 (cells, 5, 15): nan where the measure has none in a cell; "<measure>/counts",
    as macro_f1/counts, int64 (cells, labels, answers). Older records lack those that came later."""
    groups: NDArray[np.int64] | None = None
    """What stands or falls together (n,), as the subject of a window; None where each sample is one of its own."""
    runs: NDArray[np.int64] | None = None
    """Which samples follow each other so closely that they are alike (n,): windows of one stretch of activity,
    within a group; None where none do."""

    @property
    def alike(self) -> NDArray[np.int64] | None:
        """By what differences are told (n,): runs, or else groups; None where each sample is one of its own."""
        return self.groups if self.runs is None else self.runs

    @property
    def each(self) -> str:
        """What such a number is of, for people: "run", "group" or "image"."""
        return "run" if self.runs is not None else "image" if self.groups is None else "group"

    def among(self, keys: Sequence[str]) -> Samples | None:
        """The same of some cells, in that order; None where not all are there. The scores stay as they are."""
        if not {*keys} <= {*self.keys}:
            return None
        rows = [self.keys.index(key) for key in keys]
        tables = {name: table[rows] for name, table in self.tables.items()}
        return replace(self, keys=tuple(keys), correct=self.correct[rows], tables=tables)

    def row(self, key: str) -> NDArray[np.bool_]:
        """Which samples were right in one cell (n,)."""
        row: NDArray[np.bool_] = self.correct[self.keys.index(key)]
        return row

    def bits(self, name: str, keys: Sequence[str]) -> NDArray[np.bool_] | None:
        """The bits of that name ("correct", "<measure>/bits") in some cells, (cells, n); None where not kept."""
        return self._rows(self.correct if name == "correct" else self.tables.get(name), keys)

    def replicates(self, measure: str, keys: Sequence[str]) -> NDArray[np.float64] | None:
        """The replicates of a measure in some cells, (cells, R); None where not all cells have them."""
        return self._numbers(f"{measure}/replicates", keys)

    def sums(self, measure: str, keys: Sequence[str]) -> NDArray[np.float64] | None:
        """The sums of a measure in some cells, (cells, ...); None where not all cells have them."""
        return self._numbers(f"{measure}/sums", keys)

    def _numbers(self, name: str, keys: Sequence[str]) -> NDArray[np.float64] | None:
        rows = self._rows(self.tables.get(name), keys)
        return None if rows is None or not np.isfinite(rows).all() else rows.astype(np.float64)

    def _rows(self, table: NDArray[Any] | None, keys: Sequence[str]) -> NDArray[Any] | None:
        where = {key: i for i, key in enumerate(self.keys)}
        if table is None or table.shape[1] == 0 or any(key not in where for key in keys):
            return None
        found: NDArray[Any] = table[[where[key] for key in keys]]
        return found


def samples_path(path: Path) -> Path:
    """Where the arrays of the record in `path` lie."""
    return path.with_name(path.name.removesuffix(".json") + ".correct.npz")


def packed(samples: Samples) -> dict[str, Any]:
    """The arrays by their names in the file, which a record's digest is over too."""
    bits = [table for table in samples.tables.values() if table.dtype == bool]
    return {
        "keys": np.array(samples.keys, dtype=np.str_),
        "n": np.int64(max(table.shape[1] for table in (samples.correct, *bits))),
        "correct": np.packbits(samples.correct, axis=1),
        **samples.scores,
        **{
            name: np.packbits(table, axis=1) if table.dtype == bool else table
            for name, table in samples.tables.items()
        },
        **together(samples),
    }


def together(samples: Samples) -> dict[str, NDArray[np.int64]]:
    """Its groups and runs, those that there are."""
    both = {"groups": samples.groups, "runs": samples.runs}
    return {name: array for name, array in both.items() if array is not None}


def write_samples(samples: Samples, path: Path) -> None:
    """Write the arrays into a file; as NumPy's archives are, and read by np.load like them."""
    # LZMA takes a fifth off what savez_compressed would write, a quarter where there are replicates.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in packed(samples).items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def read_samples(path: Path) -> Samples | None:
    """The arrays in a `.correct.npz`; None where it is absent, BadFile where it is damaged."""
    if not path.exists():
        return None
    try:
        # Opened here: numpy leaves a file open whose archive is damaged.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            n = int(file["n"])
            arrays = {name: file[name] for name in file.files}
        keys, packed = arrays.pop("keys"), arrays.pop("correct")
        kept = {name: arrays.pop(name) for name in ("groups", "runs") if name in arrays}
        tables = {name: array for name, array in arrays.items() if array.ndim >= 2}
        scores = {name: array for name, array in arrays.items() if array.ndim == 1}
        of_samples = scores | kept
        _refuse_lengths({"correct": packed, **tables}, len(keys), "cells")
        _refuse_lengths(of_samples, n or max(map(len, of_samples.values()), default=0), "samples")
        return Samples(
            tuple(str(k) for k in keys),
            _unpacked(packed, n if packed.shape[1] else 0),
            scores,
            {name: _unpacked(t, n) if t.dtype == np.uint8 else t for name, t in tables.items()},
            **kept,
        )
    except Exception as error:  # numpy and zipfile raise half a dozen kinds for one damaged file
        raise BadFile(f"{path}: damaged ({error})") from error


def _unpacked(bits: NDArray[np.uint8], n: int) -> NDArray[np.bool_]:
    if -(-n // 8) != bits.shape[1]:  # unpackbits would make up what is missing, however much
        raise ValueError(f"{bits.shape[1]} bytes a cell hold no {n} bits")
    return np.unpackbits(bits, axis=1, count=n).astype(bool)


def _refuse_lengths(arrays: Mapping[str, NDArray[Any]], length: int, what: str) -> None:
    for name, array in arrays.items():
        if len(array) != length:
            raise ValueError(f"{name} is of {len(array)} {what}, and there are {length}")
