"""rbms leaderboard: the tables behind committed records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Json, Results

__all__ = ["command"]


def command(
    suite: Annotated[
        str | None, typer.Argument(help="A suite; none means every suite that has records.")
    ] = None,
    results: Results = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it there.")] = None,
    form: Annotated[str, typer.Option("--format", help="markdown, csv or json.")] = "markdown",
    csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv.")] = False,
    as_json: Json = False,
) -> None:
    """Print the leaderboard of a suite: Markdown, CSV or JSON."""
    from robustbench_ms.catalog.published import published_names
    from robustbench_ms.errors import UserError, choose, suggest
    from robustbench_ms.files import replacing
    from robustbench_ms.records.record import records_in
    from robustbench_ms.reports.formats import FORMATS, write_tables
    from robustbench_ms.reports.pages import page
    from robustbench_ms.reports.tables import tables
    from robustbench_ms.specs.places import Places

    choose(form, FORMATS, "format", "--format")
    folder = Places.find(results=results).results
    with_records = sorted(
        {p.parent.name for p in folder.glob("*/*.json") if p.with_suffix(".correct.npz").exists()}
    )
    if suite is None:
        if not with_records:
            raise UserError(
                f"no records in {folder}; make some with rbms run, or name another folder with --results"
            )
        found = {name: tables(records_in(folder / name)) for name in with_records}
    else:
        name = Path(suite).stem if suite.endswith(".toml") else suite
        if name not in with_records and name not in published_names():
            raise UserError(f"no records of suite {name!r} in {folder}{suggest(name, with_records)}")
        found = {name: tables(records_in(folder / name))}
    wanted = "json" if as_json else "csv" if csv else form
    # One suite alone is a page too where all that have records were asked for.
    text = page(found) if suite is None and wanted == "markdown" else write_tables(found, wanted)
    if output is None:
        print(text, end="")
        return
    try:
        with replacing(output) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error
