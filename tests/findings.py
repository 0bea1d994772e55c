"""results/FINDINGS.md: what articles claim, and what the committed records say of it.

    python -m tests.findings            prints the page
    python -m tests.findings --write    writes it

Claims stand in results/findings.toml; every figure is made of records. A record that is not there is told as such.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.records.entry import entry_of
from robustbench_ms.records.ranking import gain
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import value_of, without_each_group
from robustbench_ms.records.terms import Terms
from robustbench_ms.statistics.intervals import group_interval, holm

RESULTS = Path(__file__).parent.parent / "results"
PAGE = RESULTS / "FINDINGS.md"
LEVEL = 0.05
NOTHING = 0.005
"""Half a point: a gain that is surely smaller is none."""
HEAD = """\
# Findings

What articles claim of their systems, and what the records beside this page say. Made by
`python -m tests.findings --write` from [findings.toml](findings.toml); a test holds every figure to the records. The
gain is that over one rival, of the means over seeds, with its 95 % interval; p is the larger of Welch's over seeds and
that over images (of windows of sensors: over runs of alike ones), two-sided, by Holm over the claim's rivals. A claim
holds where the gain over every rival is above 0; it does not where one is below 0 or surely below half a point; else it
cannot be told here. A number that is claimed holds where ours, of the mean over seeds and with the 95 % interval over
groups (subjects), is surely no more than half a point below; it does not where ours is surely below.
"""


def entries(suite, column, model, results=RESULTS):
    """Those of a model's committed records on a suite, by one column alone: a seed each."""
    paths = sorted((results / suite).glob(f"{model}.json")) + sorted(
        (results / suite).glob(f"{model}@*.json")
    )
    records = [read_record(path) for path in paths]
    return [entry_of(replace(one, suite={**one.suite, "summary": [column]})) for one in records]


def rows(claim, results=RESULTS):
    """Of each rival (name, seeds of both, Difference or what is lacking)."""
    mine = entries(claim["suite"], claim["column"], claim["model"], results)
    found = []
    for rival in claim["against"]:
        theirs = entries(claim["suite"], claim["column"], rival, results)
        lacking = claim["model"] if not mine else rival if not theirs else None
        if lacking is None:
            found.append((rival, (len(mine), len(theirs)), gain(mine, theirs)))
        else:
            found.append((rival, None, f"no record of {lacking}"))
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


def told(claim, results=RESULTS):
    """A claim's section: over rivals, or of a number."""
    return _number(claim, results) if "value" in claim else _gains(claim, results)


def _head(claim, said):
    metric = rows_of(find_suite(claim["suite"]).task).summary(claim["column"])
    looked = f"{metric.label} of `{claim['model']}` on `{claim['suite']}`"
    note = f" {claim['note']}." if "note" in claim else ""
    return [
        f"## {claim['of']}: {claim['says']}",
        "",
        f"{claim['source']}. Looked at: {looked}.{note} **{said.capitalize()}.**",
        "",
    ]


def _number(claim, results):
    found = by_groups(claim, results)
    said = "not measured yet" if isinstance(found, str) else verdict_on(claim["value"], found[2])
    lines = [
        *_head(claim, said),
        "| claimed, % | seeds | groups | ours, % |",
        "| ---: | ---: | ---: | ---: |",
    ]
    if isinstance(found, str):
        return "\n".join([*lines, f"| {100 * claim['value']:.2f} | - | - | {found} |"])
    seeds, groups, one = found
    ours = f"{100 * one.mean:.2f} ({100 * one.low:.2f} to {100 * one.high:.2f})"
    return "\n".join([*lines, f"| {100 * claim['value']:.2f} | {seeds} | {groups} | {ours} |"])


def _gains(claim, results):
    found = rows(claim, results)
    differences = [d for _, seeds, d in found if seeds]
    adjusted = iter(holm([d.p_differs for d in differences]))
    p_values = [next(adjusted) if seeds else None for _, seeds, _ in found]
    lines = _head(claim, verdict(differences, p_values))
    lines += ["| against | seeds | gain, pp | p |", "| --- | ---: | ---: | ---: |"]
    for (rival, seeds, one), p in zip(found, p_values, strict=True):
        if seeds is None:
            lines.append(f"| {rival} | - | {one} | - |")
            continue
        ends = (100 * one.lower(LEVEL / 2), 100 * one.upper(LEVEL / 2))
        interval = f"{100 * one.mean:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f})"
        lines.append(f"| {rival} | {seeds[0]}, {seeds[1]} | {interval} | {p:.3g} |")
    return "\n".join(lines)


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
