"""Records to tables: rows that answer the same question, ranked, with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

import numpy as np

from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.records.ranking import ranges
from robustbench_ms.records.record import Record
from robustbench_ms.records.replicates import Group, grouped
from robustbench_ms.records.summary import by_chance, others_mce, summarise
from robustbench_ms.records.terms import Terms
from robustbench_ms.specs.metrics import Metric
from robustbench_ms.statistics.intervals import Interval, mean_interval

__all__ = ["Row", "Table", "difference", "tables"]


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
    shown: str = " images a cell"
    """What n counts, of a part of a data set of pictures as " of 50,000 images a cell, 10 of 1,000 classes"."""
    normalised: str = ""
    """What the columns over a normaliser's errors are, for people; "" without one."""
    apart: tuple[str, ...] = ()
    """Rows of one name that are no seeds of one card, and in what they differ."""


def tables(records: Iterable[Record]) -> list[Table]:
    """One table for each protocol among the records of a suite, the one with most rows first."""
    groups: dict[tuple[Any, ...], list[Record]] = {}
    left_out: list[str] = []
    for record in records:
        columns = tuple(record.suite["summary"])
        try:
            summarise(record, columns)
        except BadFile:
            raise
        except UserError as error:  # cells that are missing, a column that has no meaning here
            left_out.append(str(error))
            continue
        groups.setdefault((columns, *_question(record, columns)), []).append(record)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [
        _table(
            group,
            "" if group is ordered[0] else difference(ordered[0][0], group[0]),
            left_out if i == 0 else [],
        )
        for i, group in enumerate(ordered)
    ] or ([Table("", (), (), "", tuple(left_out))] if left_out else [])


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


def _question(record: Record, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    terms = Terms.of(record)
    needed = {key for column in columns for key in terms.needs(column)}
    return tuple(sorted((m.key, m.protocol) for m in record.measurements if m.key in needed))


def _table(records: Sequence[Record], protocol: str, left_out: Sequence[str]) -> Table:
    columns = tuple(records[0].suite["summary"])
    found = grouped(records)
    made = [(_row(group, columns), group) for group in found.groups]
    terms = Terms.of(records[0])
    metrics = tuple(terms.rows[column] for column in columns)
    made.sort(
        key=lambda m: (
            m[0].rank is None,
            -metrics[0].sign * np.nan_to_num(m[0].values[columns[0]].mean),
            m[0].card,
        )
    )
    judged = [group.records for row, group in made if row.rank is not None]
    ranked = ranges(judged, columns[0]) if len(judged) > 1 else None
    rows = [
        row if row.rank is None else replace(row, rank=i + 1, ranks=None if ranked is None else ranked[i])
        for i, (row, _) in enumerate(made)
    ]
    return Table(
        str(records[0].suite["name"]),
        columns,
        tuple(rows),
        protocol,
        (*left_out, *found.repeated),
        metrics,
        {c: str(getattr(terms.scorers[terms.quantity(c).of], "faultless", "")) for c in columns},
        _means(terms, columns),
        tuple(m.label for m, c in zip(metrics, columns, strict=True) if _of_sets(terms, c)),
        {c: terms.quantity(c).valueless for c in columns},
        _shown(records[0]),
        _normalised(records[0], terms, columns),
        found.apart,
    )


def _shown(record: Record) -> str:
    """What n counts, and of a part of a data set of pictures of how many images and classes that is."""
    told = record.suite["protocol"]
    name = told.get("dataset")
    info = DATASETS[name] if name in DATASETS else None  # noqa: SIM401 - get would raise, as the table's own
    size = info.size(told.get("split", "")) if info is not None and info.photographs else None
    of = f" of {size:,}" if size is not None and told.get("n", size) < size else ""
    few = f", {told['classes_present']:,} of {told['classes']:,} classes" if "classes_present" in told else ""
    return f"{of} images a cell{few}"


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
        labels = [row.label for row in summaries.values() if (row.how, row.over) == ("mean", (group,))]
        if group != "clean" and labels:
            *first, last = labels
            text = f"{', '.join(first)} and {last}" if first else last
            if not text[1:2].isupper():  # mPC begins a sentence as it is
                text = f"{text[0].upper()}{text[1:]}"
            told.append(f"{text}: means over {terms.counted(group)}.")
    return tuple(told)


def _row(group: Group, columns: tuple[str, ...]) -> Row:
    records = group.records
    summaries = [summarise(record, columns) for record in records]
    values = summaries[0]
    if len(summaries) > 1:
        values = {c: mean_interval(np.array([s[c].mean for s in summaries])) for c in columns}
    chance = [by_chance(record, columns) for record in records]
    warnings = sorted({str(w) for record in records for w in record.health.get("warnings", ())})
    return Row(
        card=f"{group.name} (untrained)" if group.untrained else group.name,
        values=values,
        seeds=len(records),
        rank=None if group.untrained or math.isnan(values[columns[0]].mean) else 0,
        n=min(m.n for record in records for m in record.measurements if m.error is None),
        device=", ".join(sorted({one.device for record in records for one in record.environments})),
        warnings=tuple(warnings),
        by_chance={c: fmean(one[c] for one in chance) for c in columns if all(c in one for one in chance)},
    )
