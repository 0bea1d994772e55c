"""What claims find in the records: entries, seeds, families of pairs; `tests.findings` asks."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np

from robustbench_ms.records.entry import entry_of
from robustbench_ms.records.ranking import gain
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import without_each_group
from robustbench_ms.records.terms import Terms
from robustbench_ms.records.values import value_of
from robustbench_ms.statistics.intervals import group_interval

RESULTS = Path(__file__).parent.parent / "results"
TOLD = tomllib.loads((RESULTS / "findings.toml").read_text(encoding="utf-8"))
SEEDS = 3
"""Of a network that is trained, at least, on both sides of a verdict."""


@cache
def entries(suite, column, model, results=RESULTS):
    """Those of a model's committed records on a suite, by one column alone: a seed each."""
    paths = sorted((results / suite).glob(f"{model}.json")) + sorted(
        (results / suite).glob(f"{model}@*.json")
    )
    records = [read_record(path) for path in paths]
    return [entry_of(replace(one, suite={**one.suite, "summary": [column]})) for one in records]


def lacking(model, found):
    """Why a model's entries tell nothing; None where they tell something."""
    if not found:
        return f"no record of {model}"
    short = [one.name for one in found if one.lacks]
    return f"the record of {short[0]} is not complete" if short else None


def too_few(model, found):
    """The same, and of fewer seeds than a verdict takes."""
    few = f"{len(found)} of {SEEDS} seeds of {model}" if len(found) < SEEDS else None
    return lacking(model, found) or few


def beside(claim, results=RESULTS):
    """p-values of the other pairs of a claim's family; 1 of those that are not measured yet."""
    suite, column = claim["suite"], claim["column"]
    own = {(claim["model"], rival) for rival in claim["against"]}
    p_values = []
    for model, rival in TOLD["families"].get(claim.get("family"), ()):
        if (model, rival) in own:
            continue
        mine, theirs = (entries(suite, column, one, results) for one in (model, rival))
        short = too_few(model, mine) or too_few(rival, theirs)
        p_values.append(1.0 if short else gain(mine, theirs).p_differs)
    return p_values


def rows(claim, results=RESULTS):
    """Of each rival (name, seeds of both, Difference or what is lacking)."""
    mine = entries(claim["suite"], claim["column"], claim["model"], results)
    found = []
    for rival in claim["against"]:
        theirs = entries(claim["suite"], claim["column"], rival, results)
        why = too_few(claim["model"], mine) or too_few(rival, theirs)
        found.append((rival, None, why) if why else (rival, (len(mine), len(theirs)), gain(mine, theirs)))
    return found


def by_groups(claim, results=RESULTS):
    """(seeds, groups, Interval) of a model: of the mean over its seeds, over the groups (subjects) of the samples.

    One group is left out at a time, as in tables of one seed. A sentence where there is no record, or none of groups.
    """
    records = [one.record() for one in entries(claim["suite"], claim["column"], claim["model"], results)]
    if not records:
        return f"no record of {claim['model']}"
    values, left = [], []
    for record in records:
        samples, terms = record.samples(), Terms.of(record)
        quantity = terms.quantity(claim["column"])
        cells = {key: record.cell(key).values[quantity.of]["mean"] for key in quantity.cells}
        without = without_each_group(quantity, terms.scorers[quantity.of], samples) if samples else None
        if without is None:
            return f"{record.name} keeps no groups (subjects), of which there are five at least"
        values.append(value_of(quantity, cells))
        left.append(without)
    found = group_interval(fmean(values), np.mean(left, axis=0), (0.0, 1.0))
    return len(records), len(left[0]), found
