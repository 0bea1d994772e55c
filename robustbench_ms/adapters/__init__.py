"""Models that are files of another kind, a module each: ONNX, exported and scripted programs, transformers'
folders, mmdet's configs, results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustbench_ms.specs.card import Card

__all__ = ["Adapted", "digest_of"]


@dataclass(frozen=True)
class Adapted:
    """What an adapter makes of a card and its file: `load(path, card, index)`."""

    module: Any
    """What answers: called with a batch as the card's input shows it, or with `stored` answers of its own."""
    card: Card
    """With its input and output completed from what the file says."""
    sha256: str
    """Of the file, or of the files of a folder."""
    asked: bool = True
    """It can be asked a probe; where not, the digest alone is who answers."""


def digest_of(files: Sequence[Path], folder: Path) -> str:
    """SHA-256 of what was read: of one file its own, of several that of their names in the folder and digests."""
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(found) == 1:
        return next(iter(found.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(found.items()))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
