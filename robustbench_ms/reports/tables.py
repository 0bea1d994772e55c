"""Records to tables: rows that answer the same question, ranked, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from robustbench_ms.catalog.published import PublishedTable, published_table
from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.records.entry import Entry, entry_of
from robustbench_ms.records.normalised import others_mce
from robustbench_ms.records.profile import Profile
from robustbench_ms.records.ranking import KeptTests, Progress, ranges, silent
from robustbench_ms.records.record import Record
from robustbench_ms.records.replicates import Group, grouped
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.costs import Cost, cost_of
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval, mean_interval

__all__ = ["Row", "Table", "difference", "published_of", "tables", "tables_of"]

_ABSENT = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Row:
    """One card."""

    card: str
    values: dict[str, Interval]
    """Of one seed an interval may lie below its number (ECE's)."""
    seeds: int
    """How many replicates stand behind it; their mean is shown, and their spread is the interval."""
    rank: int | None
    """1 is best; None for a model that is not trained, or that the first column cannot judge."""
    n: int
    device: str
    warnings: tuple[str, ...]
    by_chance: Mapping[str, float] = field(default_factory=dict)
    """What a model without any such error would show in a column (ECE), as far as that is known."""
    ranks: tuple[int, int] | None = None
    """From the best to the worst rank that it can have, as far as images and seeds can tell; None where unranked."""
    lacks: tuple[str, ...] = ()
    """The cells that its columns need and its record has not: it is not ranked, and has the other columns alone."""
    without: Mapping[str, str] = field(default_factory=dict)
    """{column: why it has no value here}, where its measure has none in some cell of a seed's."""
    published: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    """{metric: its value and source}, as its card cites them of this suite or of its data set."""
    cost: Cost = field(default_factory=Cost)
    untrained: bool = False
    records: tuple[Path, ...] = ()
    """Where its records stand, one a seed; empty of records in no file."""


@dataclass(frozen=True)
class Table:
    """Rows whose cells were measured under one protocol."""

    suite: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    protocol: str
    """How the protocol differs from the first table's; empty for the first."""
    left_out: tuple[str, ...]
    """Records that could not be summarised or are another's double, and why."""
    metrics: tuple[Metric, ...] = ()
    """How each column is read."""
    faultless: Mapping[str, str] = field(default_factory=dict)
    """The model that `Row.by_chance` is of, for people, by column."""
    means: tuple[str, ...] = ()
    """What the columns over cells are means of, one sentence for each group of cells."""
    of_sets: tuple[str, ...] = ()
    """The labels of the columns that are functions of the set of images, and no means over them."""
    valueless: Mapping[str, str] = field(default_factory=dict)
    """Where a column has no value, for people."""
    sample: str = "image"
    """What one sample is called."""
    groups: int = 0
    """How many groups (subjects) the samples are of, by which intervals are; 0 where each stands alone."""
    unit: str = "images"
    """What ranks are told by: "runs" of samples that are alike."""
    shown: str = " images a cell"
    """What n counts, of a part of a data set of pictures as " of 50,000 images a cell, 10 of 1,000 classes"."""
    normalised: str = ""
    """What the columns over a normaliser's errors are, for people; "" without one."""
    apart: tuple[str, ...] = ()
    """Rows of one name that are no seeds of one card, and in what they differ."""
    cited: tuple[Metric, ...] = ()
    """What `Row.published` has in any row."""
    published: tuple[PublishedTable, ...] = ()
    """What a user's own file has of the suite."""

    @property
    def devices(self) -> list[str]:
        """Those on which any row was timed."""
        return sorted({device for row in self.rows for device in row.cost.speeds})


def tables(records: Iterable[Record]) -> list[Table]:
    """One table for each protocol among the records of a suite, the one with most rows first."""
    entries, left_out = [], []
    for record in records:
        try:
            entries.append(entry_of(record))
        except BadFile:
            raise
        except UserError as error:  # a column that has no meaning here
            left_out.append(str(error))
    return tables_of(entries, left_out)


def tables_of(
    entries: Iterable[Entry],
    left_out: Sequence[str] = (),
    profiles: Mapping[str, Sequence[Profile]] | None = None,
    kept: KeptTests | None = None,
    progress: Progress = silent,
) -> list[Table]:
    """The same of what is known of records; `left_out` are sentences of others, `profiles` are by the cards' names.

    A record that lacks cells is a row of the first table whose cells ask as its own do.
    """
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    partial = []
    for entry in entries:
        if entry.lacks:
            partial.append(entry)
        else:
            groups.setdefault(entry.question, []).append(entry)
    ordered = sorted(groups.values(), key=len, reverse=True)
    beside: list[list[Entry]] = [[] for _ in ordered]
    for entry in partial:
        place = next(
            (i for i, rows in enumerate(zip(ordered, beside, strict=True)) if _asks(entry, *rows)), None
        )
        if place is None:
            place = len(ordered)
            ordered.append([])
            beside.append([])
        beside[place].append(entry)
    firsts = [(whole or part)[0].record() for whole, part in zip(ordered, beside, strict=True)]
    return [
        _table(
            firsts[i],
            whole,
            beside[i],
            "" if i == 0 else difference(firsts[0], firsts[i]),
            left_out if i == 0 else [],
            lambda rows: ranges(rows, kept, progress),
            profiles or {},
        )
        for i, whole in enumerate(ordered)
    ] or ([Table("", (), (), "", tuple(left_out))] if left_out else [])


def _asks(entry: Entry, whole: Sequence[Entry], partial: Sequence[Entry]) -> bool:
    """Whether a record that lacks cells asks in those that it has what the rows of a table ask."""
    if entry.columns != (*whole, *partial)[0].columns:
        return False
    if whole:
        return entry.protocols.items() <= whole[0].protocols.items()
    # Of two parts that a third fits each may have a cell that the third lacks, and ask otherwise in it.
    return all(
        one.protocols.get(key, digest) == digest for one in partial for key, digest in entry.protocols.items()
    )


def published_of(suite: str, found: Iterable[Table]) -> list[PublishedTable]:
    """What others published of a suite: its shipped table, and a user's own."""
    shipped = published_table(suite)
    return [*([] if shipped is None else [shipped]), *(one for table in found for one in table.published)]


def difference(one: Record, other: Record) -> str:
    """The readable fields in which two records' protocols differ, over the cells that both have."""
    # Fields that all cells of a record share stand apart in it, so a cell's own are not all that fix its question.
    mine = {m.key: {**one.suite["protocol"], **m.condition} for m in one.measurements}
    found: dict[str, tuple[Any, Any]] = {}
    for m in other.measurements:
        if m.key in mine:
            theirs = {**other.suite["protocol"], **m.condition}
            for name in {*theirs, *mine[m.key]}:
                pair = theirs.get(name), mine[m.key].get(name)
                if pair[0] != pair[1]:
                    found.setdefault(name, pair)
    told = (f"{name}: {_short(a)} instead of {_short(b)}" for name, (a, b) in sorted(found.items()))
    return "; ".join(told) or "other columns"


def _short(value: Any) -> str:
    return f"{value[:12]}..." if isinstance(value, str) and len(value) > 32 else str(value)


def _is_whole(record: Record) -> bool:
    """Whether it is of a whole split, of which others publish, as far as the data set says how many that are."""
    protocol = record.suite["protocol"]
    name = protocol.get("dataset")
    size = DATASETS[name].size(protocol.get("split", "")) if name in DATASETS else None
    return size is None or protocol.get("n") == size


def _table(
    first: Record,
    entries: Sequence[Entry],
    partial: Sequence[Entry],
    protocol: str,
    left_out: Sequence[str],
    ranked: Callable[[Sequence[Sequence[Entry]]], list[tuple[int, int]] | None],
    profiles: Mapping[str, Sequence[Profile]],
) -> Table:
    terms = Terms.of(first)
    columns = (entries or partial)[0].columns
    found = grouped(entries)
    groups = [*found.groups, *(Group(one.name, (one,)) for one in partial)]
    about = {str(first.suite["name"]), *([terms.dataset] if _is_whole(first) else [])}
    made = [(_row(group, columns, about, terms, profiles), group) for group in groups]
    metrics = tuple(terms.rows[column] for column in columns)
    made.sort(
        key=lambda m: (
            bool(m[0].lacks),
            m[0].rank is None,
            -metrics[0].sign * np.nan_to_num(m[0].values[columns[0]].mean),
            m[0].card,
        )
    )
    judged = [group.records for row, group in made if row.rank is not None]
    found_ranges = ranked(judged) if len(judged) > 1 else None
    rows = [
        row
        if row.rank is None
        else replace(row, rank=i + 1, ranks=None if found_ranges is None else found_ranges[i])
        for i, (row, _) in enumerate(made)
    ]
    samples = first.samples() if "alike" in first.suite else None
    return Table(
        str(first.suite["name"]),
        columns,
        tuple(rows),
        protocol,
        (*left_out, *found.repeated),
        metrics,
        {c: str(getattr(terms.scorers[terms.quantity(c).of], "faultless", "")) for c in columns},
        _means(terms, columns),
        tuple(m.label for m, c in zip(metrics, columns, strict=True) if _of_sets(terms, c)),
        {c: terms.quantity(c).valueless for c in columns},
        shown=_shown(first, terms.rows.sample),
        normalised=_normalised(first, terms, columns),
        apart=found.apart,
        cited=tuple(terms.rows[name] for name in terms.rows if any(name in row.published for row in rows)),
        sample=terms.rows.sample,
        groups=0 if samples is None or samples.groups is None else len(np.unique(samples.groups)),
        unit=f"{terms.rows.sample if samples is None or samples.alike is None else samples.each}s",
    )


def _shown(record: Record, sample: str) -> str:
    """What n counts, and of a part of a data set of pictures of how many images and classes that is."""
    told = record.suite["protocol"]
    name = told.get("dataset")
    info = DATASETS[name] if name in DATASETS else None  # noqa: SIM401 - get would raise, as the table's own
    size = info.size(told.get("split", "")) if info is not None and info.photographs else None
    of = f" of {size:,}" if size is not None and told.get("n", size) < size else ""
    few = f", {told['classes_present']:,} of {told['classes']:,} classes" if "classes_present" in told else ""
    return f"{of} {sample}s a cell{few}"


def _normalised(record: Record, terms: Terms, columns: Sequence[str]) -> str:
    """Of which files the errors above and below a normalised column's line are, and what others show in it."""
    found = [c for c in columns if terms.rows.summaries[c].how in {"normalised", "relative"}]
    if not found or terms.unfit or terms.normaliser is None:
        return ""
    labels = ", ".join(terms.rows[c].label for c in found)
    here = "ours" if "profile" in record.suite["protocol"] else "the model's"
    others = ", ".join(f"{name} {100 * value:.2f}" for name, value in others_mce(terms.normaliser).items())
    told = f"{labels}: {here} over AlexNet's errors on the published files"
    return f"{told}; RobustBench has an mCE on these of {others}."


def _of_sets(terms: Terms, column: str) -> bool:
    scorer = terms.scorers[terms.quantity(column).of]
    return scorer.kind == "set" and scorer.kept == "replicates"


def _means(terms: Terms, columns: Sequence[str]) -> tuple[str, ...]:
    """One a group of the columns, as "Corrupted, NLL, Brier and ECE: means over 15 corruptions x 5 severities." is."""
    summaries = terms.rows.summaries
    groups = dict.fromkeys(
        summaries[c].over[0] for c in columns if summaries[c].how in {"mean", "complement"}
    )
    told = []
    for group in groups:
        means = {
            name: row.label for name, row in summaries.items() if (row.how, row.over) == ("mean", (group,))
        }
        # Those that are shown; where complements alone are, all.
        labels = [label for name, label in means.items() if name in columns] or list(means.values())
        if group != "clean" and labels:
            *first, last = labels
            text = f"{', '.join(first)} and {last}" if first else last
            if not text[1:2].isupper():  # mPC begins a sentence as it is
                text = f"{text[0].upper()}{text[1:]}"
            told.append(f"{text}: means over {terms.counted(group)}.")
    return tuple(told)


def _row(
    group: Group[Entry],
    columns: tuple[str, ...],
    about: Collection[str],
    terms: Terms,
    profiles: Mapping[str, Sequence[Profile]],
) -> Row:
    entries, first = group.records, group.records[0]
    values = {c: first.values.get(c, _ABSENT) for c in columns}
    if len(entries) > 1:
        each = {c: np.array([one.values.get(c, _ABSENT).mean for one in entries]) for c in columns}
        values = {c: mean_interval(row) for c, row in each.items()}
    unranked = group.untrained or first.lacks or math.isnan(values[columns[0]].mean)
    names = list(dict.fromkeys([group.name, first.group, *(one.name for one in entries)]))
    return Row(
        card=f"{group.name} (untrained)" if group.untrained else group.name,
        values=values,
        seeds=len(entries),
        rank=None if unranked else 0,
        n=min(one.n for one in entries),
        device=", ".join(sorted({device for one in entries for device in one.devices})),
        warnings=tuple(sorted({warning for one in entries for warning in one.warnings})),
        by_chance={
            c: fmean(one.by_chance[c] for one in entries)
            for c in columns
            if all(c in one.by_chance for one in entries)
        },
        lacks=first.lacks,
        without={
            c: why if len(entries) == 1 else f"{one.name}'s {why}"
            for one in reversed(entries)
            for c, why in one.without.items()
        },
        published={
            str(one["metric"]): (float(one["value"]), str(one["source"]))
            for one in first.card.get("published", ())
            if one["on"] in about and one["metric"] in terms.rows
        },
        cost=cost_of(names, first.card, profiles),
        untrained=group.untrained,
        records=tuple(one.source for one in entries if isinstance(one.source, Path)),
    )
