"""Tables as Markdown, alone or as the leaderboard's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from robustbench_ms.catalog.published import PublishedTable
from robustbench_ms.reports.cells import cells, footnotes
from robustbench_ms.reports.markdown import escape, grid
from robustbench_ms.reports.numbers import heading, plain
from robustbench_ms.reports.tables import Table, published_of

__all__ = ["page", "published_markdown", "suites_markdown", "to_markdown"]


def page(suites: Mapping[str, Sequence[Table]]) -> str:
    """The tables of several suites as one Markdown page."""
    parts = [
        f"## {escape(name)}\n\n{_with_published(name, found, '###')}".rstrip()
        for name, found in suites.items()
    ]
    return (
        "\n\n".join(["# Leaderboard", "Made from the records beside it by `rbms leaderboard -o`.", *parts])
        + "\n"
    )


def suites_markdown(suites: Mapping[str, Sequence[Table]]) -> str:
    """The tables of one suite, or of several as a page."""
    if len(suites) > 1:
        return page(suites)
    return "".join(_with_published(name, found, "##") + "\n" for name, found in suites.items())


def published_markdown(table: PublishedTable) -> str:
    """Rows of others, without a rank and without an interval."""
    head = ["model", *(heading(metric) for metric in table.metrics)]
    body = [
        [escape(model), *(plain(m, values[m.name]) for m in table.metrics)] for model, values in table.rows
    ]
    told = f"{escape(table.source)}: {table.about}. Measured by others, and never ranked with ours."
    return "\n".join([told, "", *grid([head, *body])])


def _with_published(suite: str, found: Sequence[Table], mark: str) -> str:
    """A suite's tables, and below them under headings of their own what others published."""
    theirs = [f"{mark} Published\n\n{published_markdown(table)}" for table in published_of(suite, found)]
    return "\n\n".join([*filter(None, [to_markdown(found)]), *theirs])


def to_markdown(found: Sequence[Table]) -> str:
    """Aligned Markdown: readable in a terminal, rendered on a forge."""
    parts = []
    for table in found:
        lines = []
        if table.protocol:
            lines += [f"Another protocol, not to be compared with the above ({escape(table.protocol)}):", ""]
        if table.rows:
            notes = footnotes(table, escape)
            # Two spaces end a line in Markdown.
            made = cells(table, escape)
            lines += [
                *grid(made, left={made[0].index("model")}),
                "",
                *(f"{note}  " for note in notes[:-1]),
                notes[-1],
            ]
        lines += [f"Left out: {escape(line)}" for line in table.left_out]
        parts.append("\n".join(lines))
    return "\n\n".join(filter(None, parts))
