"""rbms leaderboard: the tables behind committed records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Json, Results, as_text

__all__ = ["command"]


def command(
    suite: Annotated[
        str | None, typer.Argument(help="A suite; none means every suite that has records.")
    ] = None,
    results: Results = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it there.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
) -> None:
    """Print the leaderboard of a suite: Markdown, CSV or JSON."""
    from robustbench_ms.errors import UserError, suggest
    from robustbench_ms.files import replacing
    from robustbench_ms.records.record import records_in
    from robustbench_ms.reports.exports import to_csv, to_json
    from robustbench_ms.reports.pages import page, to_markdown
    from robustbench_ms.reports.tables import tables
    from robustbench_ms.specs.places import Places

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
        if name not in with_records:
            raise UserError(f"no records of suite {name!r} in {folder}{suggest(name, with_records)}")
        found = {name: tables(records_in(folder / name))}
    if as_json:
        text = as_text({name: to_json(rows) for name, rows in found.items()})
    elif csv:
        text = to_csv([table for rows in found.values() for table in rows])
    else:
        text = page(found) if suite is None else to_markdown(found[name]) + "\n"
    if output is None:
        print(text, end="")
        return
    try:
        with replacing(output) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error
