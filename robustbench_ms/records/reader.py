"""The one reader of files under results/: records of cells, and profiles."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.errors import BadFile
from robustbench_ms.records.profile import KIND, Profile, read_profile
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.records.shape import read_json

__all__ = ["read"]


def read(path: Path) -> Record | Profile:
    """What a file holds, by the kind that it says; BadFile as of that kind's own reader, and of an unknown kind."""
    try:
        told = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return read_record(path)  # which says what is wrong
    kind = told.get("kind") if isinstance(told, dict) else None
    if kind is None:
        return read_record(path)
    if kind != KIND:
        raise BadFile(
            f"{path}: a file of kind {kind!r}, which this version does not read; update robustbench_ms"
        )
    return read_profile(path)
