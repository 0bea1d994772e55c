"""results/FINDINGS.md: what articles claim, and what the committed records say of it.

    python -m tests.findings            prints the page
    python -m tests.findings --write    writes it

Claims stand in results/findings.toml; every figure is made of records. A record that is not there is told as such.
"""

from __future__ import annotations

import argparse
import math
import sys
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.records.entry import entry_of
from robustbench_ms.records.ranking import gain
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import without_each_group
from robustbench_ms.records.terms import Terms
from robustbench_ms.records.values import value_of
from robustbench_ms.statistics.intervals import group_interval, holm

RESULTS = Path(__file__).parent.parent / "results"
PAGE = RESULTS / "FINDINGS.md"
LEVEL = 0.05
NOTHING = 0.005
"""Half a point: a gain that is surely smaller is none."""
HEAD = """\
# Findings

What articles claim of their systems, and what the records beside this page say. Made by
`python -m tests.findings --write` from [findings.toml](findings.toml); a test holds every figure to the records. All
networks of a claim were trained alike ([the rule](../baselines/README.md#the-rule-of-decision) was written down
before). The gain is that over one rival, of the means over seeds, with its 95 % interval; p is the larger of Welch's
over seeds and that over images (of windows of sensors: over runs of alike ones), two-sided, by Holm over the claim's
rivals. A claim holds where the gain over every rival is above 0; it does not where one is below 0 or surely below half
a point; else it cannot be told here. Floors are what asks for no skill: where a network is not surely above them its
number says nothing, and the claim says so. A number that is claimed holds where ours, of the mean over seeds and with
the 95 % interval over groups (subjects), is surely no more than half a point below; it does not where ours is surely
below.
"""


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


def rows(claim, results=RESULTS):
    """Of each rival (name, seeds of both, Difference or what is lacking)."""
    mine = entries(claim["suite"], claim["column"], claim["model"], results)
    found = []
    for rival in claim["against"]:
        theirs = entries(claim["suite"], claim["column"], rival, results)
        why = lacking(claim["model"], mine) or lacking(rival, theirs)
        found.append((rival, None, why) if why else (rival, (len(mine), len(theirs)), gain(mine, theirs)))
    return found


def verdict(differences, adjusted):
    """One of three, or that not all is measured."""
    if len(differences) < len(adjusted) or any(p is None for p in adjusted):
        return "not measured yet"
    above = [p <= LEVEL and d.mean > 0 for d, p in zip(differences, adjusted, strict=True)]
    share = LEVEL / len(adjusted)  # of one side of an interval that all have together
    below = [
        (p <= LEVEL and d.mean < 0) or d.upper(share / 2) < NOTHING
        for d, p in zip(differences, adjusted, strict=True)
    ]
    return "holds" if all(above) else "does not hold" if any(below) else "cannot be told here"


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


def verdict_on(number, interval):
    """Of a number that is claimed, higher is better, and the interval of ours."""
    if interval.low >= number - NOTHING:
        return "holds"
    return "does not hold" if interval.high < number else "cannot be told here"


def value(found, column):
    """A model's value in percent, and those of its seeds where it has several."""
    each = [100 * one.values[column].mean for one in found]
    seeds = f" ({', '.join(f'{one:.2f}' for one in each)})" if len(each) > 1 else ""
    return f"{fmean(each):.2f}{seeds}"


def floors(claim, results=RESULTS):
    """What asks for no skill, and whether each network is surely above all of that; Holm over all of these pairs."""
    at = {
        name: entries(claim["suite"], claim["column"], name, results)
        for name in (*claim["floors"], claim["model"], *claim["against"])
    }
    why = next((why for name, found in at.items() if (why := lacking(name, found))), None)
    if why:
        return f"Floors: {' and '.join(f'`{name}`' for name in claim['floors'])}; {why}."
    told = " and ".join(f"`{name}` {value(at[name], claim['column'])}" for name in claim["floors"])
    pairs = [(one, floor) for one in (claim["model"], *claim["against"]) for floor in claim["floors"]]
    gains = [gain(at[one], at[floor]) for one, floor in pairs]
    sure = [p <= LEVEL and d.mean > 0 for p, d in zip(holm([d.p_differs for d in gains]), gains, strict=True)]
    if all(sure):
        return f"Floors: {told}. Every network is surely above them."
    low = [
        f"`{one}` over `{floor}` ({100 * d.mean:+.2f})"
        for (one, floor), d, ok in zip(pairs, gains, sure, strict=True) if not ok
    ]  # fmt: skip
    return f"Floors: {told}. **Not surely above: {', '.join(low)}.**"


def told(claim, results=RESULTS):
    """A claim's section: over rivals, or of a number."""
    return _number(claim, results) if "value" in claim else _gains(claim, results)


def _head(claim, mine, said):
    rows, ready = rows_of(find_suite(claim["suite"]).task), lacking(claim["model"], mine) is None
    many = f", {mine[0].n:,} {rows.sample}s" if ready else ""
    looked = f"{rows.summary(claim['column']).label} of `{claim['model']}` on `{claim['suite']}`{many}"
    note = f" {claim['note']}." if "note" in claim else ""
    return [
        f"## {claim['of']}: {claim['says']}",
        "",
        f"{claim['source']}. Looked at: {looked}.{note} **{said.capitalize()}.**",
        "",
    ]


def _measured_by(claim):
    models = (claim["model"], *claim.get("against", ()), *claim.get("floors", ()))
    return f"Measured by `rbms run {claim['suite']} {' '.join(f'-m {name}' for name in models)}`."


def _number(claim, results):
    found = by_groups(claim, results)
    mine = entries(claim["suite"], claim["column"], claim["model"], results)
    said = "not measured yet" if isinstance(found, str) else verdict_on(claim["value"], found[2])
    lines = [
        *_head(claim, mine, said),
        "| claimed, % | seeds | groups | ours, % |",
        "| ---: | ---: | ---: | ---: |",
    ]
    if isinstance(found, str):
        lines.append(f"| {100 * claim['value']:.2f} | - | - | {found} |")
    else:
        seeds, groups, one = found
        ours = f"{100 * one.mean:.2f} ({100 * one.low:.2f} to {100 * one.high:.2f})"
        lines.append(f"| {100 * claim['value']:.2f} | {seeds} | {groups} | {ours} |")
    return "\n".join([*lines, "", _measured_by(claim)])


def _gains(claim, results):
    suite, column = claim["suite"], claim["column"]
    found, mine = rows(claim, results), entries(suite, column, claim["model"], results)
    differences = [d for _, seeds, d in found if seeds]
    adjusted = iter(holm([d.p_differs for d in differences]))
    p_values = [next(adjusted) if seeds else None for _, seeds, _ in found]
    said = verdict(differences, p_values)
    ready = lacking(claim["model"], mine) is None
    lines = [
        *_head(claim, mine, said),
        "| model | seeds | its value, % (by seed) | gain over it, pp | p |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    if ready:
        lines.append(f"| {claim['model']} | {len(mine)} | {value(mine, column)} | | |")
    for (rival, seeds, one), p in zip(found, p_values, strict=True):
        if seeds is None:
            lines.append(f"| {rival} | - | - | {one} | - |")
            continue
        ends = (100 * one.lower(LEVEL / 2), 100 * one.upper(LEVEL / 2))
        interval = f"{100 * one.mean:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f})"
        theirs = value(entries(suite, column, rival, results), column)
        lines.append(f"| {rival} | {seeds[1]} | {theirs} | {interval} | {p:.3g} |")
    notes = []
    if said == "cannot be told here":
        seen = max(d.detectable(LEVEL / 2 / len(differences)) or math.inf for d in differences)
        notes.append(f"A gain of {100 * seen:.1f} pp over each would have been seen with a chance of 80 %.")
    if "beside" in claim and ready:
        beside = rows_of(find_suite(suite).task).summary(claim["beside"])
        share = value(entries(suite, claim["beside"], claim["model"], results)[:1], claim["beside"])
        notes.append(f"Beside it: {beside.label} {share} %.")
    if "floors" in claim:
        notes.append(floors(claim, results))
    if differences:
        notes.append(f"Tests: {'; or '.join(dict.fromkeys(d.method for d in differences))}.")
    notes.append(_measured_by(claim))
    return "\n".join([*lines, "", *notes])


def page(results=RESULTS):
    """The whole of it."""
    claims = tomllib.loads((RESULTS / "findings.toml").read_text(encoding="utf-8"))["claims"]
    return "\n".join([HEAD, *(f"{told(claim, results)}\n" for claim in claims)])


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--write", action="store_true", help="write results/FINDINGS.md")
    if asked.parse_args().write:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
