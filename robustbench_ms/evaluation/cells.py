"""The cache of finished cells, which is also the journal: one file each, written beside and renamed.

A run that was killed finds here what it had finished; two runs at once, and later a cluster, need nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.files import replacing

__all__ = ["FinishedCell", "load_cell", "save_cell"]


@dataclass(frozen=True)
class FinishedCell:
    """What one card answered under one condition."""

    values: Mapping[str, Mapping[str, float]]
    """{metric: {mean, stderr}}."""
    outcomes: Mapping[str, NDArray[Any]]
    """Per-sample arrays (n,): prediction, confidence, correct, top5, nll, brier."""
    n: int
    seconds: Mapping[str, float]


def save_cell(folder: Path, protocol: str, subject: str, cell: FinishedCell) -> None:
    """Keep a finished cell."""
    told = json.dumps({"values": cell.values, "n": cell.n, "seconds": cell.seconds})
    with replacing(_path(folder, protocol, subject)) as part, part.open("wb") as file:
        np.savez(file, told=np.array(told), **dict[str, Any](cell.outcomes))


def load_cell(folder: Path, protocol: str, subject: str) -> tuple[FinishedCell | None, str | None]:
    """The finished cell, or None; and what was wrong with its file, which is set aside and measured again."""
    path = _path(folder, protocol, subject)
    try:
        # Opened here: numpy leaves a file open whose archive is damaged.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            told = json.loads(str(file["told"]))
            outcomes = {name: file[name] for name in file.files if name != "told"}
        cell = FinishedCell(told["values"], outcomes, int(told["n"]), told["seconds"])
        if any(len(rows) != cell.n for rows in outcomes.values()):
            raise ValueError("its arrays are of unequal length")  # noqa: TRY301 - handled as any other damage
    except FileNotFoundError:
        return None, None
    except Exception as error:  # noqa: BLE001 - a damaged zip raises half a dozen kinds
        aside = path.with_suffix(".broken")
        path.replace(aside)
        return (
            None,
            f"the finished cell {path.name} was damaged ({error}); set aside as {aside.name}, measured again",
        )
    return cell, None


def _path(folder: Path, protocol: str, subject: str) -> Path:
    return folder / f"{protocol}-{subject}.npz"
