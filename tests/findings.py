"""results/FINDINGS.md: what articles claim, and what the committed records say of it; findings/CLAIMS.md: why.

    python -m tests.findings            prints the two pages
    python -m tests.findings --write    writes them, their pictures, and the README's table between its marks

Claims stand in results/findings.toml; every figure is made of records. A record that is not there is told as such.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.records.ranking import gain
from robustbench_ms.records.summary import without_each_group
from robustbench_ms.records.terms import Terms
from robustbench_ms.records.values import value_of
from robustbench_ms.reports.markdown import grid
from robustbench_ms.statistics.intervals import group_interval, holm
from tests import findings_cifar
from tests.findings_pictures import forest
from tests.findings_records import RESULTS, TOLD, beside, entries, lacking, rows
from tests.findings_verdicts import LEVEL, UNMEASURED, verdict, verdict_on

ROOT = Path(__file__).parent.parent
PAGE = RESULTS / "FINDINGS.md"
PICTURES = RESULTS / "findings"
DETAILS = PICTURES / "CLAIMS.md"
README = ROOT / "README.md"
MARKS = ("<!-- findings -->", "<!-- /findings -->")
CLAIMS = TOLD["claims"]
_COUNTED = {"parameters": "Parameters", "macs_run": "Multiply-adds"}
HEAD = """\
# Findings

What articles claim of their systems, and what the records beside this page say. Made by
`python -m tests.findings --write` from [findings.toml](findings.toml); a test holds every figure to the records. All
networks of a claim were trained alike ([the rule](../baselines/README.md#the-rule-of-decision) was written down
before). The gain is that over one rival, of the means over seeds, with a 95 % interval of its own; p is the larger of
Welch's over seeds and that over images (of windows of sensors: over runs of alike ones), two-sided, corrected by Holm
over the claim's rivals or its family's pairs, so that an interval may leave out 0 and p decide nothing. A claim holds
where the gain over every rival is above 0 (p at most .05); it does not where one is below 0 or surely below half a
point (or what was claimed, if that is less); else it cannot be told here. Floors are what asks for no skill: where a
network is not surely above them its number says nothing, and the claim says so. A number that is claimed holds where
ours, of the mean over seeds and with the 95 % interval over groups (subjects), is surely no more than half a point
below; it does not where ours is surely below. A cost holds where the count is no more than claimed. The table shows
the gain that decided: the smallest one; [CLAIMS.md](findings/CLAIMS.md) has every gain, with its p and a picture.
"""
DETAILS_HEAD = """\
# What decided each claim

Of each claim of [findings](../FINDINGS.md) that is measured: what was looked at, every gain, the tests, and the command
that repeats it. Made by `python -m tests.findings --write`.
"""
LATER = "Not measured yet"


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
    """(verdict, what the table of claims says beside it, the claim's section, rows of its picture)."""
    if "why" in claim:
        return "cannot be told here", [claim["why"], "", "", ""], "", []
    return (_cost if "cost" in claim else _number if "value" in claim else _gains)(claim, results)


def title(claim):
    """What is claimed, of whom."""
    return f"{claim['of']}: {claim['says']}"


def anchor(heading):
    """Where a page's heading is found, on GitHub as in the documentation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _head(claim, said, looked):
    note = f" {claim['note']}." if "note" in claim else ""
    return [f"## {title(claim)}", "", f"{claim['source']}. {looked}{note} **{said.capitalize()}.**", ""]


def _looked(claim, mine):
    rows = rows_of(find_suite(claim["suite"]).task)
    label = rows.summary(claim["column"]).label
    return f"Looked at: {label} of `{claim['model']}` on `{claim['suite']}`, {mine[0].n:,} {rows.sample}s."


def _measured_by(claim):
    models = (claim["model"], *claim.get("against", ()), *claim.get("floors", ()))
    return f"`rbms run {claim['suite']} {' '.join(f'-m {name}' for name in models)}`"


def _unmeasured(claim, why):
    """One line."""
    return UNMEASURED, ["", "", "", ""], f"{title(claim)}: {why}; {_measured_by(claim)}.", []


def _cost(claim, results):
    """Of counts, which have no interval."""
    del results
    counted = json.loads(findings_cifar.COSTS.read_text(encoding="utf-8"))
    key, most = claim["cost"], claim["most"]
    mine, theirs = counted[claim["model"]][key], {name: counted[name][key] for name in claim["against"]}
    worst = max(mine / one for one in theirs.values())
    said = "holds" if worst <= most and (most != 1.0 or worst < 1) else "does not hold"
    shown = ", ".join(f"`{name}` {one:,}" for name, one in theirs.items())
    lines = _head(claim, said, f"{_COUNTED[key]} of `{claim['model']}` {mine:,}; of {shown}.")
    commands = f"`rbms show NAME` counts {' and '.join(f'`{n}`' for n in (claim['model'], *theirs))}."
    drawn = [(f"over {name}", *(3 * [mine / one])) for name, one in theirs.items()]
    return said, [f"x {worst:.3f}", "exact", "", ""], "\n".join([*lines[:-1], commands]), drawn


def _number(claim, results):
    found = by_groups(claim, results)
    if isinstance(found, str):
        return _unmeasured(claim, found)
    seeds, groups, one = found
    mine = entries(claim["suite"], claim["column"], claim["model"], results)
    said = verdict_on(claim["value"], one)
    ends = f"{100 * one.low:.2f} to {100 * one.high:.2f}"
    lines = [
        *_head(claim, said, _looked(claim, mine)),
        "| claimed, % | seeds | groups | ours, % |",
        "| ---: | ---: | ---: | ---: |",
        f"| {100 * claim['value']:.2f} | {seeds} | {groups} | {100 * one.mean:.2f} ({ends}) |",
        "",
        f"Measured by {_measured_by(claim)}.",
    ]
    drawn = [("claimed", *(3 * [100 * claim["value"]])), (claim["model"], *(100 * end for end in one))]
    return said, [f"{100 * one.mean:.2f} %", ends, f"{mine[0].n:,}", str(seeds)], "\n".join(lines), drawn


def _gains(claim, results):
    suite, column = claim["suite"], claim["column"]
    found, mine = rows(claim, results), entries(suite, column, claim["model"], results)
    lacks = list(dict.fromkeys(one for _, seeds, one in found if seeds is None))
    if lacks:
        return _unmeasured(claim, "; ".join(lacks))
    differences = [d for *_, d in found]
    together = [*(d.p_differs for d in differences), *beside(claim, results)]
    p_values = holm(together)[: len(differences)]
    shown = dict(zip(claim["against"], claim.get("claimed", ()), strict="claimed" in claim))
    said = verdict(differences, p_values, claim.get("claimed", ()), len(together))
    lines = [
        *_head(claim, said, _looked(claim, mine)),
        "| model | seeds | its value, % (by seed) | gain over it, pp | claimed | p |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        f"| {claim['model']} | {len(mine)} | {value(mine, column)} | | | |",
    ]
    drawn = []
    for (rival, seeds, one), p in zip(found, p_values, strict=True):
        ends = (100 * one.lower(LEVEL / 2), 100 * one.upper(LEVEL / 2))
        drawn.append((f"over {rival}", 100 * one.mean, *ends))
        interval = f"{100 * one.mean:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f})"
        theirs = value(entries(suite, column, rival, results), column)
        gained = f"{100 * shown[rival]:+.2f}" if shown else ""
        lines.append(f"| {rival} | {seeds[1]} | {theirs} | {interval} | {gained} | {p:.3g} |")
    notes = []
    if said == "cannot be told here":
        seen = max(d.detectable(LEVEL / 2 / len(together)) or math.inf for d in differences)
        notes.append(f"A gain of {100 * seen:.1f} pp over each would have been seen with a chance of 80 %.")
    if "beside" in claim:
        other = rows_of(find_suite(suite).task).summary(claim["beside"])
        share = value(entries(suite, claim["beside"], claim["model"], results)[:1], claim["beside"])
        notes.append(f"Beside it: {other.label} {share} %.")
    if "floors" in claim:
        notes.append(floors(claim, results))
    notes.append(f"Tests: {'; or '.join(dict.fromkeys(d.method for d in differences))}.")
    notes.append(f"Measured by {_measured_by(claim)}.")
    rival, mean, low, high = min(drawn, key=lambda one: one[1])
    decided = [f"{mean:+.2f} pp {rival}", f"{low:+.2f} to {high:+.2f}", f"{mine[0].n:,}", str(len(mine))]
    return said, decided, "\n".join([*lines, "", *notes]), drawn


@cache
def answered(results=RESULTS):
    """What is told of every claim, by its id."""
    return {claim["id"]: told(claim, results) for claim in CLAIMS}


def pictures(results=RESULTS):
    """{file name: SVG} of the claims that have numbers, and of the systems on CIFAR-10-C."""
    made = {}
    for claim in CLAIMS:
        *_, drawn = answered(results)[claim["id"]]
        if drawn:
            unit, line = (
                ("x", claim["most"]) if "cost" in claim else ("%", None) if "value" in claim else ("pp", 0)
            )
            made[f"{claim['id']}.svg"] = forest(title(claim), drawn, unit, line)
    if drawn := findings_cifar.gains(entries, results, TOLD["families"]["A"]):
        made["cifar10-c.svg"] = forest("Points over the plain network on CIFAR-10-C", drawn)
    if found := findings_cifar.measured(entries, results, findings_cifar.PLAIN):
        made["robust-or-better.svg"] = findings_cifar.robust_picture(found)
    return made


def counts(results=RESULTS):
    """How many claims have each verdict, a sentence."""
    found = Counter(said for said, *_ in answered(results).values())
    told = {"holds": "hold", "does not hold": "do not", "cannot be told here": "cannot be told here"}
    told |= {UNMEASURED: f"are {UNMEASURED}"} if found[UNMEASURED] else {}
    parts = [f"{found[said]} {words}" for said, words in told.items()]
    return f"Of {len(CLAIMS)} claims {', '.join(parts[:-1])}, and {parts[-1]}."


def readme(results=RESULTS):
    """What stands between the README's marks."""
    lines, found = findings_cifar.table(entries, results)
    told = (
        "ResNet-20 on CIFAR-10-C by one recipe of ten epochs (`long`: 24), means over seeds; patches: "
        f"`cifar10-occlusion`; {findings_cifar.told_of(found)}"
    )
    return "\n".join([*lines, "", f"{told} {counts(results)} [results/FINDINGS.md](results/FINDINGS.md)"])


def with_table(text, table):
    """A page with the table between its marks; itself where it has none."""
    first, last = map(re.escape, MARKS)
    return re.sub(f"{first}.*?{last}", lambda _: f"{MARKS[0]}\n{table}\n{MARKS[1]}", text, flags=re.DOTALL)


@cache
def page(results=RESULTS):
    """What is claimed, and what came out."""
    lines = [["claim", "source", "verdict", "what decided", "95 %", "n", "seeds", ""]]
    for claim in CLAIMS:
        said, decided, section, _ = answered(results)[claim["id"]]
        place = anchor(LATER if said == UNMEASURED else title(claim))
        source = claim["source"].partition(", ")[0]  # the rest stands there
        link = f"[why](findings/CLAIMS.md#{place})" if section else ""
        lines.append([title(claim), source, said, *decided, link])
    parts = [
        HEAD.rstrip(),
        f"## The claims\n\n{counts(results)}",
        "\n".join(grid(lines, left=range(4))),
        "\n".join(findings_cifar.section(entries, results, RESULTS, TOLD["families"]["A"])),
        f"{TOLD['pictures']} {TOLD['dropped']}",
    ]
    return "\n\n".join(parts) + "\n"


def details(results=RESULTS):
    """Why, claim by claim, and which are not measured yet."""
    measured, later = [], []
    for claim in CLAIMS:
        said, _, section, drawn = answered(results)[claim["id"]]
        if said == UNMEASURED:
            later.append(f"- {section}")
        elif section:
            measured.append(section)
            measured += [f"![{title(claim)}]({claim['id']}.svg)"] if drawn else []
    rest = [f"## {LATER}", "\n".join(later)] if later else []
    return "\n\n".join([DETAILS_HEAD.rstrip(), *measured, *rest]) + "\n"


def write():
    """The pages, their pictures and none that are stale, and the README's table."""
    PAGE.write_text(page(), encoding="utf-8")
    PICTURES.mkdir(exist_ok=True)
    DETAILS.write_text(details(), encoding="utf-8")
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for name, text in pictures().items():
        (PICTURES / name).write_text(text, encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), readme()), encoding="utf-8")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument(
        "--write", action="store_true", help="write the two pages, their pictures, README's table"
    )
    if asked.parse_args().write:
        write()
    else:
        sys.stdout.write(f"{page()}\n{details()}")
