"""Tables as Markdown, alone or as the leaderboard's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from robustbench_ms.catalog.published import PublishedTable, published_table
from robustbench_ms.reports.markdown import escape, grid
from robustbench_ms.reports.numbers import heading, number
from robustbench_ms.reports.tables import Row, Table
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.seeds import t_needed

__all__ = ["page", "published_markdown", "suites_markdown", "to_markdown"]

_FEW = 3
"""So few seeds are said to rank almost nothing."""


def page(suites: Mapping[str, Sequence[Table]]) -> str:
    """The tables of several suites as one Markdown page."""
    parts = [f"## {name}\n\n{_with_published(name, found, '###')}".rstrip() for name, found in suites.items()]
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
        [escape(model), *(f"{values[m.name] * m.scale:.{m.digits}f}" for m in table.metrics)]
        for model, values in table.rows
    ]
    told = f"{table.source}: {table.about}. Another protocol than ours, and never ranked with it."
    return "\n".join([told, "", *grid([head, *body])])


def _with_published(suite: str, found: Sequence[Table], mark: str) -> str:
    """A suite's tables, and below them under a heading of its own what others published."""
    table = published_table(suite)
    theirs = [] if table is None else [f"{mark} Published\n\n{published_markdown(table)}"]
    return "\n\n".join([*filter(None, [to_markdown(found)]), *theirs])


def to_markdown(found: Sequence[Table]) -> str:
    """Aligned Markdown: readable in a terminal, rendered on a forge."""
    parts = []
    for table in found:
        lines = []
        if table.protocol:
            lines += [f"Another protocol, not to be compared with the above ({table.protocol}):", ""]
        if table.rows:
            lines += [*_grid(table), "", *_footnotes(table)]
        lines += [f"Left out: {line}" for line in table.left_out]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cells(table: Table) -> list[list[str]]:
    ranks = any(row.ranks for row in table.rows)
    seeds = any(row.seeds > 1 for row in table.rows)
    head = ["#", *(["ranks"] if ranks else []), "model", *map(heading, table.metrics)]
    body = []
    for row in table.rows:
        cells = ["" if row.rank is None else str(row.rank)]
        if ranks:
            cells.append("" if row.ranks is None else "-".join(map(str, sorted(set(row.ranks)))))
        cells.append(escape(row.card) + ("*" if row.warnings else ""))
        cells += [number(m, row.values[m.name], ends=_has_ends(row, m)) for m in table.metrics]
        body.append(cells + ([str(row.seeds)] if seeds else []))
    return [head + (["seeds"] if seeds else []), *body]


def _grid(table: Table) -> list[str]:
    cells = _cells(table)
    return grid(cells, left={cells[0].index("model")})


def _has_ends(row: Row, metric: Metric) -> bool:
    """Whether a number's interval is told by its ends: that of one model's error, to which chance adds."""
    return row.seeds == 1 and metric.name in row.by_chance


def _footnotes(table: Table) -> list[str]:
    ns, devices = sorted({row.n for row in table.rows}), sorted({row.device for row in table.rows})
    counts = ", ".join(f"{n:,}" for n in ns)
    notes = [
        f"Suite {table.suite}; n = {counts}{table.shown}; measured on {', '.join(devices)}.",
    ]
    notes += [*table.means, *([table.normalised] if table.normalised else [])]
    if any(row.seeds == 1 for row in table.rows):
        notes.append("± is half a 95 % interval over the test images; it does not cover training seeds.")
    if any(row.seeds > 1 for row in table.rows):
        notes.append(
            "Of several seeds the mean is shown, and ± is half a 95 % interval over the seeds (Student's t)."
        )
    if table.of_sets:
        counts = " or ".join(f"{n:,}" for n in ns)
        # That a simulation has shown of average precision, whose rows say what it lets one notice.
        few = "of few images AP is too high on average, and " if any(m.noticed for m in table.metrics) else ""
        notes.append(
            f"{', '.join(table.of_sets)}: of sets of {counts} such images, intervals too (a jackknife of groups of "
            f"images); {few}nothing is said here of larger sets."
        )
    for metric in table.metrics:
        if any(math.isnan(row.values[metric.name].mean) for row in table.rows):
            notes.append(f"{metric.label}: - has no value, {table.valueless[metric.name]}.")
        chance = sorted(row.by_chance[metric.name] for row in table.rows if metric.name in row.by_chance)
        if chance:
            ends = dict.fromkeys(f"{end * metric.scale:.{metric.digits}f}" for end in (chance[0], chance[-1]))
            told = f"{' to '.join(ends)} {metric.unit}".rstrip()
            note = f"{metric.label}: {table.faultless[metric.name]} shows {told} at this n"
            if any(_has_ends(row, metric) for row in table.rows):
                note += "; (low-high) is a 95 % interval of the true error and may end below the number"
            notes.append(f"{note}.")
    if any(row.ranks for row in table.rows):
        notes.append(
            f"ranks: the best and the worst that each model can have by {table.metrics[0].label}, as far as "
            "these images (of models of several seeds: the seeds and the images) can tell; two-sided at 0.05, Holm "
            "over all pairs."
        )
        notes += _few_seeds(table)
    notes += [escape(line) for line in table.apart]
    notes += [f"* {escape(row.card)}: {escape(w)}" for row in table.rows for w in row.warnings]
    # Two spaces end a line in Markdown.
    return [f"{note}  " for note in notes[:-1]] + notes[-1:]


def _few_seeds(table: Table) -> list[str]:
    """What two or three seeds would have to show, at the least of them and for the first of all pairs."""
    ranked = [row for row in table.rows if row.ranks]
    seeds = min((row.seeds for row in ranked if row.seeds > 1), default=_FEW + 1)
    if seeds > _FEW:
        return []
    pairs = len(ranked) * (len(ranked) - 1) // 2
    over = "one pair" if pairs == 1 else f"the first of {pairs} pairs"
    degrees = "1 degree" if seeds == 2 else "2 degrees"
    told = (
        f"{'Two' if seeds == 2 else 'Three'} seeds rank almost nothing: to tell {over} apart, Holm needs |t| of "
        f"{t_needed(pairs, seeds):.3g} at {degrees} of freedom, the least that they give."
    )
    return [told]
