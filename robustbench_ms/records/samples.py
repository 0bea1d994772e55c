"""The per-sample arrays that lie beside a record, in `<card>.correct.npz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.errors import BadFile
from robustbench_ms.files import replacing

__all__ = ["Samples", "packed", "read_samples", "samples_path", "write_samples"]


@dataclass(frozen=True)
class Samples:
    """What a record keeps of each sample; no labels."""

    keys: tuple[str, ...]
    correct: NDArray[np.bool_]
    """(cells, n)."""
    scores: Mapping[str, NDArray[np.float16]]
    """nll_clean, nll_corrupted, brier_clean, brier_corrupted: (n,), the corrupted ones averaged over the cells."""

    def row(self, key: str) -> NDArray[np.bool_]:
        """Which samples were right in one cell (n,)."""
        row: NDArray[np.bool_] = self.correct[self.keys.index(key)]
        return row


def samples_path(path: Path) -> Path:
    """Where the arrays of the record in `path` lie."""
    return path.with_name(path.name.removesuffix(".json") + ".correct.npz")


def packed(samples: Samples) -> dict[str, Any]:
    """The arrays by their names in the file, which a record's digest is over too."""
    return {
        "keys": np.array(samples.keys, dtype=np.str_),
        "n": np.int64(samples.correct.shape[1]),
        "correct": np.packbits(samples.correct, axis=1),
        **samples.scores,
    }


def write_samples(samples: Samples, path: Path) -> None:
    """Write the arrays, beside their place and renamed."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **packed(samples))


def read_samples(path: Path) -> Samples | None:
    """The arrays in a `.correct.npz`; None where it is absent, BadFile where it is damaged."""
    if not path.exists():
        return None
    try:
        # Opened here: numpy leaves a file open whose archive is damaged.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            n = int(file["n"])
            correct = np.unpackbits(file["correct"], axis=1, count=n).astype(bool)
            scores = {name: file[name] for name in file.files if name not in {"keys", "n", "correct"}}
            return Samples(tuple(str(k) for k in file["keys"]), correct, scores)
    except Exception as error:  # numpy and zipfile raise half a dozen kinds for one damaged file
        raise BadFile(f"{path}: damaged ({error})") from error
