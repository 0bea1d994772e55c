"""rbms accept: make a record the reference of its model and suite."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Json, Results, print_json

__all__ = ["command"]


def command(
    record: Annotated[Path, typer.Argument(help="A record, as results/quick/mine.json.")],
    restart: Annotated[
        bool, typer.Option("--restart", help="Count the total drift from this record on.")
    ] = False,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Make a record the reference that rbms gate compares with; the first reference is kept for total: rules."""
    from robustbench_ms.gating.references import accept
    from robustbench_ms.reports.comparisons import compared_markdown
    from robustbench_ms.specs.places import Places

    done = accept(record, Places.find(results=results).results, restart=restart)
    if as_json:
        print_json({"reference": str(done.path), "first": done.first, "changed": done.changed})
        return
    shown = done.path.relative_to(Path.cwd()) if done.path.is_relative_to(Path.cwd()) else done.path
    if not done.changed:
        print(f"{shown} holds this record already")
        return
    if done.change is not None:
        print(compared_markdown(done.change, 0.05))
    print(f"{shown}{' (the first: the total drift counts from here)' if done.first else ''}")
