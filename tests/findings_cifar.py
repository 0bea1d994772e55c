"""The attention systems on CIFAR-10-C, of whatever records there are; `tests.findings` puts it on the page."""

from __future__ import annotations

import json
from math import comb
from pathlib import Path
from statistics import NormalDist, fmean

import numpy as np
import torch

from robustbench_ms.catalog.find import card_names, find_card
from robustbench_ms.models.insertion import attention_blocks
from robustbench_ms.records.profile import profiles_of
from robustbench_ms.records.ranking import gain, ranges
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.markdown import grid
from robustbench_ms.site.lines import FEWEST, line_through
from robustbench_ms.statistics.intervals import holm
from robustbench_ms.subjects.loading import build_module
from tests.findings_pictures import scatter

SUITE, OCCLUDED, PLAIN, AMSRA = "cifar10-c", "cifar10-occlusion", "resnet20-fast", "amsra-net-fast"
CONTROLS = (PLAIN, "resnet20-fast-wide", "resnet20-fast-long")
CLEAN, CORRUPTED, DROP = "clean_accuracy", "mean_corruption_accuracy", "relative_drop"
ABOUT = """\
ResNet-20 by one recipe of ten epochs (`long`: 24); every sentence here holds by this recipe. `none` is the plain
network, `wide` has more channels. Means over seeds, by corrupted accuracy; noise, blur and JPEG are exploratory.
Patches: the mean behind two patches of five sizes, of `cifar10-occlusion`. Ranks are what seeds and images can tell, by
Holm over all pairs of the table; """
DIFFERING = """\
In brackets the 95 % interval of one gain; of controls that alone. Real: p at most .05, by Holm over the column (ranks:
over all pairs). A gain that is not real is not shown to be none: beside it stands the one that would have been seen
with a chance of 80 %."""
WHOLE = """\
AMSRA-Net by the same recipe: whole, without self-attention (no-lgsa), and with 3x3 or 5x5 kernels alone (single-scale);
ranks among these. What the whole gains over each is told with the claims."""
COSTING = """\
What each block costs over the plain network; time over the plain one's on the device of [PROFILES.md](PROFILES.md);
scales by: how much it scales the residual branch at its start (|out| / |in| of noise, mean over blocks), which by
itself may change a short training. `long` is the plain network: as far as those two differ here, memory and time say
nothing."""
COSTS = Path(__file__).parent.parent / "baselines" / "costs.json"


def systems(stem=PLAIN):
    """The cards, the plain network first; of AMSRA-Net the whole."""
    return sorted(name for name in card_names() if name.startswith(stem))


def short(name):
    """What a card adds to the plain network, or lacks of AMSRA-Net."""
    stem, alone = (AMSRA, "whole") if name.startswith(AMSRA) else (PLAIN, "none")
    return name.removeprefix(stem).removeprefix("-") or alone


def parts(record):
    """Its accuracies under noise, blur and JPEG: means over their cells."""
    terms = Terms.of(record)
    cells = {
        "noise": terms.keys("noise"),
        "blur": terms.keys("blur"),
        "JPEG": tuple(key for key in terms.every if key.startswith("corruption=jpeg_compression,")),
    }
    return {
        name: fmean(record.cell(key).values["accuracy"]["mean"] for key in keys)
        for name, keys in cells.items()
    }


def scale_at_start(name, seed=0):
    """The geometric mean over a network's blocks of |out| / |in|, freshly built, of noise in train mode; 1 without."""
    torch.manual_seed(seed)
    module, _ = build_module(find_card(name), 10)
    found = []

    def told(_, shown, answer):
        found.append(float(answer.norm() / shown[0].norm()))

    hooks = [block.register_forward_hook(told) for block in attention_blocks(module).values()]
    with torch.no_grad():
        module.train()(torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    for hook in hooks:
        hook.remove()
    return float(np.exp(np.mean(np.log(found)))) if found else 1.0


def measured(entries, results, stem):
    """{system: its entries by column} of those with a complete record."""
    found = {}
    for name in systems(stem):
        by = {column: entries(SUITE, column, name, results) for column in (CORRUPTED, CLEAN, DROP)}
        if by[CORRUPTED] and not any(one.lacks for one in by[CORRUPTED]):
            found[name] = by
    return found


def told_of(found):
    """On how many images, and on which devices."""
    every = [one for by in found.values() for one in by[CORRUPTED]]
    images = ", ".join(f"{n:,}" for n in sorted({one.n for one in every}))
    return f"n = {images} images a cell, measured on {', '.join(sorted({d for one in every for d in one.devices}))}."


def mean(by, column):
    """Over seeds."""
    return fmean(one.values[column].mean for one in by[column])


def occluded(entries, name, seeds, results):
    """Accuracy behind patches in percent, over as many seeds as the rest of the line; nothing where there are fewer."""
    found = [one for one in entries(OCCLUDED, CORRUPTED, name, results) if not one.lacks]
    return f"{100 * mean({CORRUPTED: found}, CORRUPTED):.1f}" if len(found) == seeds else ""


def table(entries, results, stem=PLAIN):
    """(its lines, of which the README shows the first, what had a record, who is told apart by corrupted accuracy)."""
    found = measured(entries, results, stem)
    if not found:
        return ["No record yet."], found, ""
    names = sorted(found, key=lambda name: -mean(found[name], CORRUPTED))
    ranks = {column: ranges([found[name][column] for name in names]) for column in (CORRUPTED, CLEAN)}
    heads = "seeds|clean, %|corrupted, %|relative drop, %|noise|blur|JPEG|patches|ranks clean|ranks corrupted"
    lines = [["AMSRA-Net" if stem == AMSRA else "attention", *heads.split("|")]]
    for i, name in enumerate(names):
        by = found[name]
        each = [parts(one.record()) for one in by[CORRUPTED]]
        shown = [f"{100 * fmean(one[kind] for one in each):.1f}" for kind in each[0]]
        shown.append(occluded(entries, name, len(each), results))
        places = [
            "-".join(map(str, dict.fromkeys(told[i]))) if told else "-"
            for told in (ranks[CLEAN], ranks[CORRUPTED])
        ]
        values = [f"{100 * mean(by, column):.2f}" for column in (CLEAN, CORRUPTED, DROP)]
        lines.append([short(name), str(len(by[CORRUPTED])), *values, *shown, *places])
    alike = [
        name for name, told in zip(names, ranks[CORRUPTED] or (), strict=False) if told == (1, len(names))
    ]
    told = f"{'No' if len(alike) == len(names) else 'Some'} two are told apart by corrupted accuracy."
    return grid(lines), found, told


def turned(found):
    """Pairs that are in one order by the means of clean accuracy and in the other by corrupted; a sentence.

    Means alone say little: it tells too of which pairs both differences are real, of three seeds each and by their own
    tests (p at most .05, not corrected: what does not pass this passes nothing).
    """
    names = sorted(found, key=lambda name: -mean(found[name], CORRUPTED))
    swapped = [
        (one, other)
        for i, one in enumerate(names) for other in names[i + 1 :]
        if mean(found[one], CLEAN) < mean(found[other], CLEAN)
    ]  # fmt: skip
    if not swapped:
        return "Clean and corrupted means are in one order."

    def sure(pair):
        both = [[found[name][column] for name in pair] for column in (CLEAN, CORRUPTED)]
        return all(min(map(len, two)) >= 3 and gain(*two).p_differs <= 0.05 for two in both)

    told, real = (
        "; ".join(" and ".join(map(short, pair)) for pair in some) or "none"
        for some in (swapped, filter(sure, swapped))
    )
    order = (
        f"{len(swapped)} of {comb(len(names), 2)} pairs of systems are in another order clean than corrupted"
    )
    return f"{order}, by their means: {told}. Told apart both ways: {real}."


def points(found, names):
    """(system, clean, corrupted accuracy, images), a network each."""
    return [
        (name, clean.values[CLEAN].mean, worse.values[CORRUPTED].mean, worse.n)
        for name in names if name in found
        for clean, worse in zip(found[name][CLEAN], found[name][CORRUPTED], strict=True)
    ]  # fmt: skip


def plain_line(found):
    """(line of the plain networks, a point a seed; how many); no line of fewer than it takes or where all are alike."""
    plain = points(found, CONTROLS)
    if len(plain) < FEWEST:
        return None, len(plain)
    x, y = (np.array([one[k] for one in plain]) for k in (1, 2))
    # Its intervals are not shown, so that the accuracies are taken as they are.
    return line_through(x, y, np.zeros((2 * x.size, 2 * x.size)), plain[0][3]), len(plain)


def robust_or_better(found):
    """Distances from the line of the plain networks; a sentence without one where they are too few."""
    line, n = plain_line(found)
    if n < FEWEST:
        few = f"A line takes {FEWEST} plain networks (none, wide, long; a seed each)"
        return f"*Robust or only better?* {few}, and {n} are measured: points without a line."
    if line is None:
        return "*Robust or only better?* The plain networks are all alike: no line."
    normal, rest = NormalDist(), max(map(abs, line["rho"]))
    start = normal.inv_cdf(line["y"][0]) - line["slope"] * normal.inv_cdf(line["x"][0])
    apart = {
        short(name): mean(by, CORRUPTED) - normal.cdf(start + line["slope"] * normal.inv_cdf(mean(by, CLEAN)))
        for name, by in found.items()
        if name not in CONTROLS
    }
    told = ", ".join(
        f"{name} {100 * rho:+.2f}" for name, rho in sorted(apart.items(), key=lambda one: -one[1])
    )
    above = f"Points above the line of {n} plain networks: {told}"
    return f"*Robust or only better?* {above}; a plain one is up to {100 * rest:.2f} away."


def robust_picture(found):
    """SVG of corrupted over clean accuracy, a point a network, the plain ones open, with their line if there is one."""
    line, _ = plain_line(found)
    names = {short(name): name in CONTROLS for name in found}
    each = [(short(name), 100 * x, 100 * y) for name, x, y, _ in points(found, found)]
    ends = [(100 * x, 100 * y) for x, y in zip(line["x"], line["y"], strict=True)] if line else ()
    return scatter("Corrupted over clean accuracy, a network each; without attention open", names, each, ends)


def differences(entries, results, pairs, controls=()):
    """Of pairs, which gains are real, by Holm over a column's pairs; of controls intervals alone; lines of a table.

    A pair that is not measured yet counts with p = 1, as in the claims: none gets surer because another is missing.
    """
    asked = ((SUITE, CLEAN), (SUITE, CORRUPTED), (OCCLUDED, CORRUPTED))
    columns = [_column(entries, results, pairs, *one) for one in asked]
    rows = [[short(one), *cells] for (one, _), *cells in zip(pairs, *columns, strict=True)]
    for pair in controls:
        ours = [_gain(entries, results, pair, *one) for one in asked]
        rows.append([f"{short(pair[0])}, a control", *(_told(one) if one else "-" for one in ours)])
    return grid([["over the plain network, pp", "clean", "corrupted", "behind patches"], *rows])


def _gain(entries, results, pair, suite, column):
    """None of fewer than three seeds."""
    both = [entries(suite, column, one, results) for one in pair]
    return gain(*both) if min(map(len, both)) >= 3 else None


def _told(one):
    mean, low, high = (100 * value for value in (one.mean, one.lower(0.025), one.upper(0.025)))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _column(entries, results, pairs, suite, column):
    known = [_gain(entries, results, pair, suite, column) for pair in pairs]
    told = []
    for one, p in zip(known, holm([one.p_differs if one else 1.0 for one in known]), strict=True):
        if one is None:
            told.append("-")
            continue
        seen = one.detectable(0.025 / len(pairs))
        beside = f"from {100 * seen:.1f}" if seen else "-"
        told.append(f"{_told(one)}, {'real' if p <= 0.05 else beside}")
    return told


def gains(entries, results, pairs):
    """Rows of a picture: of pairs with three seeds each, points clean and corrupted with their 95 % intervals."""
    rows = []
    for pair in pairs:
        for column, name in ((CLEAN, "clean"), (CORRUPTED, "corrupted")):
            if one := _gain(entries, results, pair, SUITE, column):
                ends = (100 * v for v in (one.mean, one.lower(0.025), one.upper(0.025)))
                rows.append((f"{short(pair[0])}, {name}", *ends))
    return rows


def costs(results, names):
    """What each block costs over the plain network, and how much it scales the residual branch at its start."""
    counted = json.loads(COSTS.read_text(encoding="utf-8"))
    plain = counted[PLAIN]
    timed = {one.name: one for one in profiles_of(results) if one.name in names}
    heads = "attention|parameters, %|MACs, %|memory, MB (batch 8)|time (batch 1)|time (batch 8)|scales by"
    lines = [heads.split("|")]

    def over(name, batch):
        row, base = (timed[one].plain(batch) if one in timed else None for one in (name, PLAIN))
        return f"{float(np.exp(np.mean(row.slowness) - np.mean(base.slowness))):.2f}" if row and base else ""

    for name in names:
        one = counted[name]
        row = timed[name].plain(8) if name in timed else None
        more = [f"{100 * (one[key] / plain[key] - 1):+.2f}" for key in ("parameters", "macs_run")]
        memory = f"{row.facts['memory'] / 1e6:.1f}" if row and "memory" in row.facts else ""
        lines.append(
            [short(name), *more, memory, over(name, 1), over(name, 8), f"{scale_at_start(name):.2f}"]
        )
    return grid(lines)


def section(entries, results, profiles, pairs):
    """Its lines; `entries` as `tests.findings` reads records, `profiles` holds profiles/."""
    lines, found, told = table(entries, results)
    against_plain = [(one, PLAIN) for one in CONTROLS[1:]]
    missing = [short(name) for name in systems() if name not in found]
    return [
        "## The attention systems on CIFAR-10-C",
        "",
        f"{ABOUT}{told_of(found)} {told}",
        "",
        *lines,
        "",
        *(["![Points over the plain network](findings/cifar10-c.svg)", ""] if gains(entries, results, pairs) else []),
        DIFFERING,
        "",
        *differences(entries, results, pairs, against_plain),
        "",
        turned(found),
        "",
        robust_or_better(found),
        *(["", "![Corrupted over clean accuracy](findings/robust-or-better.svg)", ""] if found else []),
        *([f"No record yet: {', '.join(missing)}."] if missing else []),
        "",
        WHOLE,
        "",
        *table(entries, results, AMSRA)[0],
        "",
        COSTING,
        "",
        *costs(profiles, systems()),
    ]  # fmt: skip
