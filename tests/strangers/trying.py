"""Many strangers one after the other, counted."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

from tests.strangers.driver import CELLS, Outcome, tried
from tests.strangers.expected import OPTIONS, wrong
from tests.strangers.models import NAMES
from tests.trials import Tally

__all__ = ["strangers"]

BEFORE = (
    "robustbench_ms.api", "robustbench_ms.cli.drawing", "robustbench_ms.corruptions.api",
    "robustbench_ms.reports.pages", "tests.fakes",
)  # fmt: skip
"""What is imported before the processes are forked, once for all of them."""


def strangers(names: Sequence[str], scratch: Path) -> Tally:
    """Try these, or all where none is named."""
    for name in BEFORE:
        importlib.import_module(name)
    tally = Tally("strangers")
    alone = tried("sane", scratch / "alone")
    for name in names or NAMES:
        one = tried(name, scratch / name, *OPTIONS.get(name, ()))
        tally.add(_outcome(one), wrong(one, alone))
    return tally


def _outcome(one: Outcome) -> str:
    """In the words of a page."""
    found = sum(error is None for error in one.cells().values())
    if one.code == 130:
        return "interrupted the run (exit 130)"
    if found == CELLS:
        return "measured"
    return "stopped" if one.code == 1 and not found else f"left {CELLS - found} of {CELLS} cells out"
