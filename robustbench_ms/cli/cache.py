"""rbms cache: what the cache holds, and its removal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Cache, Json, print_json

__all__ = ["command"]


def command(
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="cells|canvases|truths|digests|leaderboards", help="Remove these; repeat."),
    ] = None,
    canvases: Annotated[
        Path | None, typer.Option(help="The folder of canvases, where it is another.", show_default=False)
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """List what is kept between runs, with its size; all of it can be made again."""
    from robustbench_ms.errors import choose
    from robustbench_ms.evaluation import caching
    from robustbench_ms.specs.places import Places

    places = Places.find(cache=cache)
    caching.drop([choose(one, caching.KINDS, "kind", "--drop") for one in drop or ()], places, canvases)
    found = caching.held(places, canvases)
    if as_json:
        print_json({k: {"folder": str(f), "files": n, "bytes": size} for k, (f, n, size) in found.items()})
        return
    for kind, (folder, files, size) in found.items():
        print(f"{kind:12}  {files:>9,} files  {size / 1e9:>9,.3f} GB  {folder}")
