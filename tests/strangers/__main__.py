"""Run the strangers, a line each: what became of it, of its neighbour, of the output."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import robustbench_ms.api
import robustbench_ms.cli.drawing
import robustbench_ms.corruptions.api
import robustbench_ms.reports.pages
import tests.fakes  # noqa: F401 - what is imported before the fork costs once
from tests.strangers.driver import tried
from tests.strangers.models import NAMES


def main() -> None:
    """As the command line says."""
    with tempfile.TemporaryDirectory(prefix="rbms-strangers-") as scratch:
        alone = tried("sane", Path(scratch) / "alone")
        for name in sys.argv[1:] or NAMES:
            one = tried(name, Path(scratch) / name)
            cells = one.cells()
            done = sum(error is None for error in cells.values())
            print(
                f"{name}: exit {one.code} in {one.seconds:.1f} s, {done} cells"
                f"{'' if one.good_is(alone) else ', THE NEIGHBOUR SUFFERED'}"
                f"{'' if one.is_json else ', NO JSON'}; {' | '.join(one.words())[:300]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
