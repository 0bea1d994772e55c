"""Sources: which data are shown. Frozen facts; a data set opens them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """A split of a data set, or a keyed subset of it; what a suite, a training and a calibration open alike."""

    dataset: str
    split: str = "test"
    limit: int | None = None
    """A fixed, keyed subset of that many samples."""
    classes: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """Where the data set names none itself: relative to the folder or the data folder."""
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Expected digests of the data's arrays."""
    folder: Path | None = None
    """Where the one who names the files lies."""
    wants: tuple[str, ...] = ("label",)
    """What the task needs of each sample: "label", "boxes", "masks", "shapes", "map"."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys, those that the data set's row lists."""
    skip: tuple[int, ...] = ()
    """Ids of samples that are left out under every condition."""
