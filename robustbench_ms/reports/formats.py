"""Ways to write the tables of suites down; a stranger's is a row, registered or announced by an entry point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robustbench_ms.catalog.registry import Registry
from robustbench_ms.catalog.targets import load
from robustbench_ms.reports.tables import Table

__all__ = ["FORMATS", "Format", "write_tables"]


@dataclass(frozen=True)
class Format:
    """One of them."""

    target: str
    """"package.module:name" of a function of {suite: its tables} that gives the text."""
    about: str


FORMATS: Registry[Format] = Registry(
    "format",
    "formats",
    Format,
    {
        "markdown": Format("robustbench_ms.reports.pages:suites_markdown", "aligned tables, for people"),
        "latex": Format(
            "robustbench_ms.reports.latex:suites_latex", "tables with booktabs' rules, for papers"
        ),
        "csv": Format("robustbench_ms.reports.exports:suites_csv", "a line a model, for spreadsheets"),
        "json": Format("robustbench_ms.reports.exports:suites_json", "plain data, for programs"),
    },
)


def write_tables(suites: Mapping[str, Sequence[Table]], name: str) -> str:
    """The tables of suites in a format; UnknownName with the nearest where there is none of that name."""
    text: str = load(FORMATS[name].target)(suites)
    return text
