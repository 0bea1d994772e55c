"""rbms check: whether records and finished cells are what was written."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Json, print_json

__all__ = ["command"]


def command(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Records, profiles, folders of them, or the cache, whose cells are checked."),
    ],
    as_json: Json = False,
) -> None:
    """Check the digests of records and cells, and make their values again from the arrays; measures nothing.

    It finds damage, mixed files and careless edits, and no forger; rbms reproduce measures again. Exit 1 where
    something is wrong.
    """
    from robustbench_ms.evaluation.checking import check
    from robustbench_ms.reports.markdown import printable

    found = []
    for one in check(paths):
        found.append(one)
        if as_json:
            continue
        for line in (*one.faults, *one.notes):
            print(printable(line))
        if not one.faults:
            print(f"{one.path}: {one.cells} {one.what}, all well")
    wrong = any(one.faults for one in found)
    if as_json:
        print_json({"well": not wrong, "checked": [asdict(one) for one in found]})
    if wrong:
        sys.exit(1)
