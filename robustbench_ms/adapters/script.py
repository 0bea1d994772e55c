"""TorchScript programs (.pt). They are run as they are, and so are code: whoever names one trusts it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from robustbench_ms.adapters import Adapted, digest_of
from robustbench_ms.errors import BadFile
from robustbench_ms.specs.card import Card

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["load"]


def load(path: Path, card: Card, index: Index) -> Adapted:
    """The program in a file, traced, scripted or frozen; BadFile where torch cannot read it."""
    del index
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r".torch\.jit\.load. is deprecated", category=DeprecationWarning
            )
            program = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # weights and cut files raise all kinds, of many lines
        told = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise BadFile(f"{path} is damaged or no TorchScript program ({told.strip()})") from error
    return Adapted(program, card, digest_of([path], path.parent))
