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

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import rows_of
from robustbench_ms.records.ranking import gain
from robustbench_ms.reports.markdown import grid
from robustbench_ms.statistics.intervals import holm
from tests import findings_cifar
from tests.findings_pictures import forest
from tests.findings_records import RESULTS, TOLD, beside, by_groups, entries, lacking, rows
from tests.findings_verdicts import LEVEL, UNKNOWN, UNMEASURED, verdict, verdict_on

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

What articles claim of their systems, what is asked here beside, and what the records beside this page say. Made by
`python -m tests.findings --write` from [findings.toml](findings.toml); a test holds every figure to the records.

**What was measured**: small networks and short trainings, not the articles' own. ResNet-20 of ten epochs
(`cifar10-c`, `cifar10-occlusion`); detectors, segmenters and classifiers of digits drawn on photographs
(`quick-detection`, `quick-segmentation`, `quick-localisation`, `quick-backgrounds`); a third of UCI HAR's windows
(`har-mini-faults`); drawn volumes (`quick-volumes`). EMA, CBAM, CA, SE and ECA are as their authors' code has them.
DMSCA is a reading of its article's text, AMSRA-Net and HybridHAR are readings of abstracts: verdicts are of those.

**How it is decided**: by [the rule](../baselines/README.md#the-rule-of-decision), written down before any corrupted
number of the networks for CIFAR-10 and applied to the rest as it is. Networks of a claim were trained alike
(`har-linear` for longer). The gain over a rival is that of the means over seeds. Its p is the larger of Welch's over
seeds and that over images (of windows of sensors: over runs of alike ones), two-sided, corrected by Holm over the K
pairs of the claim or of its family; nothing is corrected over claims, and those of the same networks are not
independent. The 95 % interval is of one gain, without that correction: it may exclude 0 though p is above .05.

- A claim **holds** where the gain over every rival is above 0 (p at most .05).
- Else it **does not hold** where one is below 0 (p at most .05) or surely below half a point, or below what was claimed
  if that is less (surely: the upper end at .05 / K, which [CLAIMS.md](findings/CLAIMS.md) shows).
- Else it **cannot be told here**.
- A number that is claimed holds where ours, the mean over seeds with its 95 % interval over groups (subjects), is
  surely no more than half a point below; it does not where ours is surely below. A cost holds where the count is no
  more than claimed; where no widths are told, it cannot be told here.
- Floors are baselines without skill. A star: not every network is surely above them, and the number of one that is not
  says nothing.

The tables show the smallest gain of each; [CLAIMS.md](findings/CLAIMS.md) has every gain, its tests and a picture.
"""
DETAILS_HEAD = """\
# What decided each claim

Of each claim of [findings](../FINDINGS.md) that is measured: what was looked at, every gain, the tests, and the command
that repeats it. Made by `python -m tests.findings --write`.
"""
LATER = "Not measured yet"


def value(found, column):
    """A model's value in percent, and those of its seeds where it has several."""
    each = [100 * one.values[column].mean for one in found]
    seeds = f" ({', '.join(f'{one:.2f}' for one in each)})" if len(each) > 1 else ""
    return f"{fmean(each):.2f}{seeds}"


def floors(claim, results=RESULTS):
    """(what asks for no skill, whether each network is surely above all of that); Holm over all of these pairs."""
    at = {
        name: entries(claim["suite"], claim["column"], name, results)
        for name in (*claim["floors"], claim["model"], *claim["against"])
    }
    why = next((why for name, found in at.items() if (why := lacking(name, found))), None)
    if why:
        return f"Floors: {' and '.join(f'`{name}`' for name in claim['floors'])}; {why}.", False
    told = " and ".join(f"`{name}` {value(at[name], claim['column'])}" for name in claim["floors"])
    pairs = [(one, floor) for one in (claim["model"], *claim["against"]) for floor in claim["floors"]]
    gains = [gain(at[one], at[floor]) for one, floor in pairs]
    sure = [p <= LEVEL and d.mean > 0 for p, d in zip(holm([d.p_differs for d in gains]), gains, strict=True)]
    if all(sure):
        return f"Floors: {told}. Every network is surely above them.", True
    low = [
        f"`{one}` over `{floor}` ({100 * d.mean:+.2f})"
        for (one, floor), d, ok in zip(pairs, gains, sure, strict=True) if not ok
    ]  # fmt: skip
    return f"Floors: {told}. **Not surely above: {', '.join(low)}.**", False


def told(claim, results=RESULTS):
    """(verdict, what the table of claims says beside it, the claim's section, rows of its picture)."""
    if "why" in claim:
        return UNKNOWN, [claim["why"], "", "", ""], "", []
    return (_cost if "cost" in claim else _number if "value" in claim else _gains)(claim, results)


def title(claim):
    """What is claimed, of whom."""
    return f"{claim['of']}: {claim['says']}"


def anchor(heading):
    """Where a page's heading is found, on GitHub as in the documentation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _head(claim, said, looked):
    notes = [f" {one}." for one in (claim.get("note"), TOLD["readings"].get(claim["of"])) if one]
    return [
        f"## {title(claim)}",
        "",
        f"{claim['source']}. {looked}{''.join(notes)} **{said.capitalize()}.**",
        "",
    ]


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
    said, by = (UNKNOWN, f"exact, {claim['unknown']}") if "unknown" in claim else (said, "exact")
    shown = ", ".join(f"`{name}` {one:,}" for name, one in theirs.items())
    lines = _head(claim, said, f"{_COUNTED[key]} of `{claim['model']}` {mine:,}; of {shown}.")
    commands = f"`rbms show NAME` counts {' and '.join(f'`{n}`' for n in (claim['model'], *theirs))}."
    drawn = [(f"over {name}", *(3 * [mine / one])) for name, one in theirs.items()]
    return said, [f"x {worst:.3f}", by, "", ""], "\n".join([*lines[:-1], commands]), drawn


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
    claimed = claim.get("claimed", ())
    said = verdict(differences, p_values, claimed, len(together))
    k = len(together)
    heads = ["model", "seeds", "its value, % (by seed)", "gain over it, pp", f"at most, of {k}"]
    heads += [*(["claimed"] if claimed else []), "p over seeds", "p over images", "p"]
    lines = [
        *_head(claim, said, _looked(claim, mine)),
        f"| {' | '.join(heads)} |",
        f"| --- |{' ---: |' * (len(heads) - 1)}",
        f"| {claim['model']} | {len(mine)} | {value(mine, column)} |{' |' * (len(heads) - 3)}",
    ]
    drawn = []
    for i, ((rival, seeds, one), p) in enumerate(zip(found, p_values, strict=True)):
        ends = (100 * one.lower(LEVEL / 2), 100 * one.upper(LEVEL / 2))
        drawn.append((f"over {rival}", 100 * one.mean, *ends))
        theirs = value(entries(suite, column, rival, results), column)
        interval = f"{100 * one.mean:+.2f} ({ends[0]:+.2f} to {ends[1]:+.2f})"
        cells = [rival, str(seeds[1]), theirs, interval, f"{100 * one.upper(LEVEL / k / 2):+.2f}"]
        cells += [f"{100 * claimed[i]:+.2f}"] if claimed else []
        lines.append(f"| {' | '.join([*cells, *(f'{each:.3g}' for each in (*_both(one), p))])} |")
    notes = [f"p: the larger of both, two-sided, by Holm over {k}; at most: the upper end at .05 / {k}."]
    if said == UNKNOWN:
        seen = max(d.detectable(LEVEL / k / 2) or math.inf for d in differences)
        notes.append(
            f"A gain of {100 * seen:.1f} pp would have been seen, over any of these, with a chance of 80 %."
        )
    if "beside" in claim:
        notes.append(_beside(claim, results))
    star = ""
    if "floors" in claim:
        above, sure = floors(claim, results)
        notes.append(above)
        star = "" if sure else " *"
    notes.append(f"Tests: {'; or '.join(dict.fromkeys(d.method for d in differences))}.")
    notes.append(f"Measured by {_measured_by(claim)}.")
    rival, mean, low, high = min(drawn, key=lambda one: one[1])
    decided = [
        f"{mean:+.2f} pp {rival}{star}",
        f"{low:+.2f} to {high:+.2f}",
        f"{mine[0].n:,}",
        str(len(mine)),
    ]
    return said, decided, "\n".join([*lines, "", *notes]), drawn


def _both(difference):
    """Its p over seeds and over images, before any correction."""
    return [one.p_differs for one in (difference.seeds, difference.images)]


def _beside(claim, results):
    """A number without which the column says little, of all networks; once where all have the same."""
    told = {}
    for name in (claim["model"], *claim["against"]):
        found = entries(claim["suite"], claim["beside"], name, results)
        told[name] = f"{100 * fmean(one.values[claim['beside']].mean for one in found):.2f} %"
    label = rows_of(find_suite(claim["suite"]).task).summary(claim["beside"]).label
    same = len({*told.values()}) == 1
    shown = told[claim["model"]] if same else ", ".join(f"{name} {one}" for name, one in told.items())
    return f"Beside it: {label} {shown}."


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


def is_asked(claim):
    """Whether no article claims it."""
    return claim["source"].startswith("Asked here")


def counts(asked, results=RESULTS):
    """How many of the claims of articles, or of what is asked here, have each verdict; a sentence without its end."""
    those = [claim for claim in CLAIMS if is_asked(claim) == asked]
    found = Counter(answered(results)[claim["id"]][0] for claim in those)
    costs = sum("cost" in claim and answered(results)[claim["id"]][0] == "holds" for claim in those)
    by = f" ({costs} of them by counting parameters and multiply-adds)" if costs else ""
    told = {"holds": f"hold{by}", "does not hold": "do not", UNKNOWN: UNKNOWN}
    told |= {UNMEASURED: f"are {UNMEASURED}"} if found[UNMEASURED] else {}
    parts = [f"{found[said] or 'none'} {words}" for said, words in told.items()]
    of = "questions asked here" if asked else "claims of articles"
    return f"Of {len(those)} {of} {', '.join(parts[:-1])}, and {parts[-1]}"


def readme(results=RESULTS):
    """What stands between the README's marks."""
    lines, found, apart = findings_cifar.table(entries, results)
    told = (
        "ResNet-20 on CIFAR-10-C by one recipe of ten epochs, with each attention block; `none` is the plain network, "
        "`wide` has more channels, `long` has 24 epochs. Means over seeds; patches: `cifar10-occlusion`; "
        f"{findings_cifar.told_of(found)} {apart}"
    )
    asked = f"{counts(False, results)}: [results/FINDINGS.md](results/FINDINGS.md)."
    return "\n".join([*lines, "", told, "", asked])


def with_table(text, table):
    """A page with the table between its marks; itself where it has none."""
    first, last = map(re.escape, MARKS)
    return re.sub(f"{first}.*?{last}", lambda _: f"{MARKS[0]}\n{table}\n{MARKS[1]}", text, flags=re.DOTALL)


@cache
def page(results=RESULTS):
    """What is claimed, and what came out."""
    parts = [HEAD.rstrip()]
    for asked, heading in ((False, "What articles claim"), (True, "What is asked here")):
        parts += [f"## {heading}", f"{counts(asked, results)}."]
        parts.append("\n".join(_table([one for one in CLAIMS if is_asked(one) == asked], results)))
    parts += [
        "\n".join(findings_cifar.section(entries, results, RESULTS, TOLD["families"]["A"])),
        f"{TOLD['pictures']} {TOLD['dropped']}",
    ]
    return "\n\n".join(parts) + "\n"


def _table(claims, results):
    lines = [["claim", "source", "on", "verdict", "what decided", "95 %", "n", "seeds", ""]]
    for claim in claims:
        said, decided, section, _ = answered(results)[claim["id"]]
        place = anchor(LATER if said == UNMEASURED else title(claim))
        source = re.split("[,:] ", claim["source"])[0]  # the rest stands there
        on = f"`{claim['suite']}`" if "suite" in claim else "counts" if "cost" in claim else ""
        link = f"[why](findings/CLAIMS.md#{place})" if section else ""
        lines.append([title(claim), source, on, said, *decided, link])
    return grid(lines, left=(*range(5), 8))


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
