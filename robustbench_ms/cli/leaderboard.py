"""rbms leaderboard: the tables behind committed records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.looking import Told
from robustbench_ms.cli.options import Cache, Json, Results

__all__ = ["command"]


def command(
    suite: Annotated[
        str | None, typer.Argument(help="A suite; none means every suite that has records.")
    ] = None,
    results: Results = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it there.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="markdown, latex (needs booktabs), csv or json.")
    ] = "markdown",
    csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv.")] = False,
    published: Annotated[
        Path | None,
        typer.Option(
            help="What others published of the suite, a CSV: `model` and summaries, or accuracies by cell as "
            "RobustBench lists them.",
            show_default=False,
        ),
    ] = None,
    cache: Cache = None,
    as_json: Json = False,
) -> None:
    """Print the leaderboard of a suite: Markdown, LaTeX, CSV or JSON."""
    from robustbench_ms.errors import UserError, choose
    from robustbench_ms.files import replacing
    from robustbench_ms.reports.boards import boards
    from robustbench_ms.reports.formats import FORMATS, write_tables
    from robustbench_ms.reports.pages import page
    from robustbench_ms.specs.places import Places

    choose(form, FORMATS, "format", "--format")
    places = Places.find(results=results, cache=cache)
    name = Path(suite).stem if suite is not None and suite.endswith(".toml") else suite
    found = boards(places.results, name, places.cache, Told(), published)
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
