"""rbms compare: two records on the same images, without a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Json, print_json

__all__ = ["command"]


def command(
    one: Annotated[Path, typer.Argument(help="A record.")],
    other: Annotated[Path, typer.Argument(help="Another; a loss above 0 means that it is worse.")],
    alpha: Annotated[float, typer.Option(help="One minus the confidence of the intervals.")] = 0.05,
    as_json: Json = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page too, one file to attach to a pull request.")
    ] = None,
) -> None:
    """Compare two records image by image: losses, intervals, changed answers, and the cells that differ."""
    from robustbench_ms.errors import Incomparable
    from robustbench_ms.gating.judge import check_alpha
    from robustbench_ms.records.comparison import Comparison
    from robustbench_ms.records.record import read_record
    from robustbench_ms.reports.comparisons import compared_json, compared_markdown

    check_alpha(alpha)
    pair = Comparison.of(read_record(other), read_record(one))
    if not pair.common():
        both = [key for key in pair.candidate.cells if key in pair.reference.cells]
        why = "; ".join(pair.differing(both)) or "they have no cell in common"
        raise Incomparable(f"{one} and {other} answer different questions: in the second {why}")
    if html is not None:
        from robustbench_ms.site.compared import write_compared

        write_compared(pair, alpha, html)
    if as_json:
        print_json(compared_json(pair, alpha))
    else:
        print(compared_markdown(pair, alpha), end="")
