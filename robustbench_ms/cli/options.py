"""Options that several verbs share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Cache", "Data", "Json", "Limit", "Results", "Seed", "as_text", "print_json"]

Data = Annotated[
    Path | None, typer.Option(help="Folder of data sets and weights [RBMS_DATA].", show_default=False)
]
Results = Annotated[
    Path | None, typer.Option(help="Folder of records [RBMS_RESULTS, else ./results].", show_default=False)
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of finished cells [RBMS_CACHE].", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[
    int | None, typer.Option(help="A fixed, keyed subset of that many samples.", show_default=False)
]
Seed = Annotated[int | None, typer.Option(help="Another seed of the corruptions.", show_default=False)]


def as_text(value: Any) -> str:
    """Plain data as JSON."""
    return json.dumps(value, indent=1, default=str) + "\n"


def print_json(value: Any) -> None:
    """Print plain data as JSON."""
    print(as_text(value), end="")
