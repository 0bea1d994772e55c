"""rbms site: pages of records, to be opened from the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.looking import Told
from robustbench_ms.cli.options import Cache, Data

__all__ = ["command"]


def command(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of records [RBMS_RESULTS, else ./results].", show_default=False),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="A new folder, or that of an earlier site.")
    ] = Path("site"),
    data: Data = None,
    cache: Cache = None,
) -> None:
    """Write static pages of records: an index, one a suite, one a card; they need no network.

    Samples that a card loses are drawn where their data come with a package or lie in the data folder.
    """
    from robustbench_ms.site.build import build_site
    from robustbench_ms.specs.places import Places

    places = Places.find(data, cache=cache)
    count = build_site(results or [places.results], output, places, Told())
    print(f"{count} pages; open {output / 'index.html'}")
