"""Models that are files of another kind, a module each: ONNX, transformers' folders, mmdet's configs, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustbench_ms.specs.card import Card

__all__ = ["Adapted"]


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
