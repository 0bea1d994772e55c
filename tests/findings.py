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

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.records.entry import entry_of
from robustbench_ms.records.ranking import gain
from robustbench_ms.records.record import read_record
from robustbench_ms.statistics.intervals import holm

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
that over images, two-sided, by Holm over the claim's rivals. A claim holds where the gain over every rival is above 0;
it does not where one is below 0 or surely below half a point; else it cannot be told here.
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


def told(claim, results=RESULTS):
    """A claim's section."""
    found = rows(claim, results)
    metric = rows_of(find_suite(claim["suite"]).task).summary(claim["column"])
    differences = [d for _, seeds, d in found if seeds]
    adjusted = iter(holm([d.p_differs for d in differences]))
    p_values = [next(adjusted) if seeds else None for _, seeds, _ in found]
    said = verdict(differences, p_values).capitalize()
    looked = f"{metric.label} of `{claim['model']}` on `{claim['suite']}`"
    lines = [
        f"## {claim['of']}: {claim['says']}",
        "",
        f"{claim['source']}. Looked at: {looked}. **{said}.**",
        "",
    ]
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
