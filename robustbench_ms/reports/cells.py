"""What every format writes of a table: its cells and its footnotes, as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from robustbench_ms.reports.costs import Speed
from robustbench_ms.reports.numbers import heading, number, plain
from robustbench_ms.reports.tables import Row, Table
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import FEWEST_GROUPS
from robustbench_ms.statistics.seeds import t_needed

__all__ = ["COUNTED", "cells", "footnotes", "has_ends", "published_heading", "speed_heading"]

COUNTED = ("params, M", "MACs, G")
"""Headings of what a network costs wherever it runs."""

_FEW = 3
"""So few seeds are said to rank almost nothing."""
_SHOWN = 3
"""So many missing cells are named."""


def cells(table: Table, safe: Callable[[str], str] = str) -> list[list[str]]:
    """The lines of a table, its head first; what was not measured of any row has no column. `safe` is as below."""
    rows = table.rows
    columns = [["#", *("" if row.rank is None else str(row.rank) for row in rows)]]
    if any(row.ranks for row in rows):
        ranks = ("" if row.ranks is None else "-".join(map(str, sorted(set(row.ranks)))) for row in rows)
        columns.append(["ranks", *ranks])
    columns.append(["model", *(safe(row.card) + ("*" if row.warnings else "") for row in rows)])
    columns += [
        [heading(m), *(number(m, row.values[m.name], ends=has_ends(row, m)) for row in rows)]
        for m in table.metrics
    ]
    for m in table.cited:
        told = (plain(m, row.published[m.name][0]) if m.name in row.published else "" for row in rows)
        columns.append([published_heading(m), *told])
    if any(row.seeds > 1 for row in rows):
        columns.append(["seeds", *(str(row.seeds) for row in rows)])
    counted = ([row.cost.parameters for row in rows], 1e6), ([row.cost.macs for row in rows], 1e9)
    for head, (counts, scale) in zip(COUNTED, counted, strict=True):
        if any(count is not None for count in counts):
            columns.append([head, *("" if count is None else f"{count / scale:,.3f}" for count in counts)])
    for device, mark in _marks(table).items():
        speeds = [row.cost.speeds.get(device) for row in rows]
        columns.append(
            [f"{speed_heading(table)}{mark}", *("" if one is None else _speed(one) for one in speeds)]
        )
    return [list(line) for line in zip(*columns, strict=True)]


def published_heading(metric: Metric) -> str:
    """Of the column of what others published of it."""
    return f"{metric.label}{f', {metric.unit}' if metric.unit else ''}, published"


def speed_heading(table: Table) -> str:
    """What the headings of speeds begin with; a mark follows where there are several devices."""
    return f"{table.sample}s/s ↑"


def _marks(table: Table) -> dict[str, str]:
    """By device how its column is marked, where there are several."""
    several = len(table.devices) > 1
    return {device: f" ({chr(ord('a') + i)})" if several else "" for i, device in enumerate(table.devices)}


def _speed(speed: Speed) -> str:
    value, half = speed.interval.mean, speed.interval.half_width
    digits = max(0, 2 - math.floor(math.log10(value)))
    told = f"{value:,.{digits}f}" + ("" if math.isnan(half) else f" ± {half:,.{digits}f}")
    return told + (" (!)" if speed.doubts else "")


def has_ends(row: Row, metric: Metric) -> bool:
    """Whether a number's interval is told by its ends: that of one model's error, to which chance adds."""
    return row.seeds == 1 and metric.name in row.by_chance


def footnotes(table: Table, safe: Callable[[str], str] = str) -> list[str]:
    """What is said below a table; `safe` is given the names, warnings and sources that others wrote."""
    ns, devices = sorted({row.n for row in table.rows if row.n}), sorted({row.device for row in table.rows})
    counts = ", ".join(f"{n:,}" for n in ns)
    told = f"n = {counts}{table.shown}" if ns else "no cell is finished"
    notes = [
        f"Suite {safe(table.suite)}; {told}; measured on {safe(', '.join(devices))}.",
    ]
    notes += [*table.means, *([table.normalised] if table.normalised else [])]
    if any(row.seeds == 1 for row in table.rows):
        notes.append(f"± is half a 95 % interval {_over(table)}; it does not cover training seeds.")
    if any(row.seeds > 1 for row in table.rows):
        notes.append(
            "Of several seeds the mean is shown, and ± is half a 95 % interval over the seeds (Student's t)."
        )
    if table.of_sets:
        counts = " or ".join(f"{n:,}" for n in ns)
        high = " and ".join(dict.fromkeys(m.too_high for m in table.metrics if m.too_high))
        groups = f"{table.groups} groups" if table.groups else f"groups of {table.sample}s"
        few = f"of few {table.sample}s {high} is too high on average, and " if high else ""
        notes.append(
            f"{', '.join(table.of_sets)}: of sets of {counts} such {table.sample}s, intervals too (a jackknife of "
            f"{groups}); {few}nothing is said here of larger sets."
        )
    for metric in table.metrics:
        notes += _about(table, metric)
    if any(row.ranks for row in table.rows):
        notes.append(
            f"ranks: the best and the worst that each model can have by {table.metrics[0].label}, as far as "
            f"these {table.unit} (of models of several seeds: the seeds and the {table.unit}) can tell; two-sided at "
            "0.05, Holm over all pairs."
        )
        notes += _few_seeds(table)
    notes += [*_no_better(table, safe), *_of_others(table, safe), *_costs(table, safe)]
    for row in table.rows:
        if row.lacks:
            more = f" and {len(row.lacks) - _SHOWN:,} more" if len(row.lacks) > _SHOWN else ""
            told = f"{'; '.join(row.lacks[:_SHOWN])}{more}"
            notes.append(
                f"{safe(row.card)} lacks {safe(told)}: it is not ranked, and - stands for what needs them."
            )
        for why in dict.fromkeys(row.without.values()):
            labels = ", ".join(m.label for m in table.metrics if row.without.get(m.name) == why)
            notes.append(f"{safe(row.card)}: - in {labels}: {safe(why)}.")
    notes += [safe(line) for line in table.apart]
    return notes + [f"* {safe(row.card)}: {safe(w)}" for row in table.rows for w in row.warnings]


def _over(table: Table) -> str:
    """What intervals of one seed are over."""
    if not table.groups:
        return f"over the test {table.sample}s"
    groups = f"over the {table.groups} groups (subjects) of the test {table.sample}s"
    if table.groups < FEWEST_GROUPS:
        return f"{groups}, and of fewer than {FEWEST_GROUPS} there is none"
    return f"{groups}, each left out in turn (Student's t with {table.groups - 1} degrees of freedom)"


def _no_better(table: Table, safe: Callable[[str], str]) -> Iterator[str]:
    """Which ranked models the first column has below one that is not trained, or level with it."""
    for one in table.rows if table.metrics else ():
        metric = table.metrics[0]
        floor = metric.sign * one.values[metric.name].mean
        if not one.untrained or math.isnan(floor):
            continue
        below = [
            safe(row.card)
            for row in table.rows
            if row.rank is not None and metric.sign * row.values[metric.name].mean <= floor
        ]
        if below:
            yield f"No better by {metric.label} than {safe(one.card)}: {', '.join(below)}."


def _about(table: Table, metric: Metric) -> Iterator[str]:
    """Where a column has no value, and what a model without any such error shows in it."""
    name = metric.name
    rows = [row for row in table.rows if not row.lacks and name not in row.without]
    if any(math.isnan(row.values[name].mean) for row in rows):
        yield f"{metric.label}: - has no value, {table.valueless[metric.name]}."
    chance = sorted(row.by_chance[metric.name] for row in table.rows if metric.name in row.by_chance)
    if chance:
        ends = dict.fromkeys(f"{end * metric.scale:.{metric.digits}f}" for end in (chance[0], chance[-1]))
        told = f"{' to '.join(ends)} {metric.unit}".rstrip()
        note = f"{metric.label}: {table.faultless[metric.name]} shows {told} at this n"
        if any(has_ends(row, metric) for row in table.rows):
            note += "; (low-high) is a 95 % interval of the true error and may end below the number"
        yield f"{note}."


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


def _of_others(table: Table, safe: Callable[[str], str]) -> Iterator[str]:
    """The sources of each published column, of models that share one together."""
    for metric in table.cited:
        cited: dict[str, list[str]] = {}
        for row in table.rows:
            if metric.name in row.published:
                cited.setdefault(row.published[metric.name][1], []).append(row.card)
        told = "; ".join(f"{safe(', '.join(names))} from {safe(source)}" for source, names in cited.items())
        yield f"{metric.label}, published: by others, and never ranked: {told}."


def _costs(table: Table, safe: Callable[[str], str]) -> Iterator[str]:
    """Where the costs are from."""
    for device, mark in _marks(table).items():
        found = [(row.card, row.cost.speeds[device]) for row in table.rows if device in row.cost.speeds]
        precisions = safe(" or ".join(sorted({speed.precision for _, speed in found})))
        threads = sorted({speed.threads for _, speed in found if speed.threads is not None})
        if len(threads) > 1:
            precisions += f", of {' or '.join(map(str, threads))} threads"
        yield (
            f"{table.sample}s/s{mark}: on {safe(device)}, of profiles in batches of 1 and {precisions}, ± over blocks "
            "of calls; nothing of it holds on another device."
        )
        yield from (f"(!) {safe(card)}: {safe('; '.join(one.doubts))}." for card, one in found if one.doubts)
