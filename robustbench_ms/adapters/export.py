"""Programs that torch.export saved (.pt2). They are unpickled, and so are code: whoever names one trusts it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from robustbench_ms.adapters import Adapted, digest_of
from robustbench_ms.adapters.programs import Program
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["load"]


def load(path: Path, card: Card, index: Index) -> Adapted:
    """The program in a file; where nobody said what it wants to be shown, at the size that it was exported with.

    BadFile where torch cannot read it, UserError where it does not take one batch of images, signals or volumes.
    """
    del index
    with _logged() as logged, warnings.catch_warnings():
        # Its buffers are read from the file's own bytes, and nobody writes to them.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        try:
            exported = torch.export.load(path)
        except Exception as error:  # files of another version, cut ones, pickles that are refused
            first = logged[0] if logged else error
            told = f"{type(first).__name__}: {first}".splitlines()[0]
            raise BadFile(
                f"{path} is damaged, or no program that torch {torch.__version__} has exported or can read ({told})"
            ) from error
    program = Program(exported.module(), exported)
    if len(program.inputs) != 1 or len(program.inputs[0]) not in {3, 4, 5}:
        raise UserError(
            f"the program takes {len(program.inputs)} inputs of shapes {program.inputs}, and one batch (n, channels, "
            "height, width), or of signals (n, channels, samples) or volumes (n, channels, depth, height, width), is "
            "shown"
        )
    _, _, *size = program.inputs[0]
    height, width = size if len(size) == 2 else (None, None)
    if card.input.assumed and card.input.size is None and height is not None and height == width:
        card = replace(card, input=replace(card.input, size=height))
    return Adapted(program, card, digest_of([path], path.parent))


@contextmanager
def _logged() -> Iterator[list[BaseException]]:
    """The errors that torch logs, with their traces, before it raises another that says to look at them."""
    found: list[BaseException] = []

    def aside(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] is not None:
            found.append(record.exc_info[1])
        return False

    log = logging.getLogger(torch.export.__name__)
    log.addFilter(aside)
    try:
        yield found
    finally:
        log.removeFilter(aside)
