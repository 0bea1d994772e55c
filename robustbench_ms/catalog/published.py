"""Tables that others published of a suite's question, asked otherwise: beside ours, and never ranked with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robustbench_ms.catalog.find import shipped
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.catalog.table import read_toml
from robustbench_ms.errors import UserError
from robustbench_ms.specs.metrics import Metric

__all__ = ["PublishedTable", "published_names", "published_table"]


@dataclass(frozen=True)
class PublishedTable:
    """The rows of one source."""

    suite: str
    about: str
    """In what their protocol is another."""
    source: str
    metrics: tuple[Metric, ...]
    rows: tuple[tuple[str, Mapping[str, float]], ...]
    """Models with their numbers by summary, in the stored unit, as the file has them."""


def published_names() -> list[str]:
    """The suites that have such a table."""
    return sorted(_files())


def published_table(suite: str) -> PublishedTable | None:
    """The table of a shipped suite: of suites/published/<suite>.toml, or of one that names it; None without one."""
    path = _files().get(suite)
    if path is None:
        return None
    known = rows_of(read_suite(path.parents[1] / f"{suite}.toml").task).summaries
    table = read_toml(path)
    about, source = (table.take(key, str, required=True) for key in ("about", "source"))
    table.take("suites", list)
    rows = []
    for row in table.tables("rows"):
        model = row.take("model", str, required=True)
        rows.append((model, {name: row.take(name, float) for name in known if row.has(name)}))
        row.done()
    table.done()
    columns = [name for name in known if any(name in values for _, values in rows)]
    for model, values in rows:
        if missing := [name for name in columns if name not in values]:
            raise UserError(f"{table.place}: {model} has no {missing[0]}, which other rows have")
    return PublishedTable(suite, about, source, tuple(known[name] for name in columns), tuple(rows))


def _files() -> dict[str, Path]:
    """By suite: a file is of the suite of its name, and of those that its key `suites` lists."""
    found = {}
    for path in sorted((shipped("suites") / "published").glob("*.toml")):
        for suite in (path.stem, *read_toml(path).strings("suites")):
            found[suite] = path
    return found
