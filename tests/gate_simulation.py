"""How often the gate passes, fails and is unsure where the true loss is known: writes results/gate-simulation.md.

python -m tests.gate_simulation
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustbench_ms.gating.judge import judge
from robustbench_ms.reports.markdown import grid
from robustbench_ms.tasks.classification.rows import ROWS
from tests import few_images
from tests.judging import parse_rules
from tests.records import CORRUPTED
from tests.simulated import KEYS, bits, record

PAGE = Path(__file__).parent.parent / "results" / "gate-simulation.md"
ALPHA = 0.05
PAIRS, CHECKED = 200, 2
"""Pairs of models a row, and how many of them a test simulates again."""
TIMES = (0.0, 0.5, 1.0, 2.0)
"""True losses, in tolerances."""


@dataclass(frozen=True)
class Setting:
    """A suite's number of images and its rules."""

    about: str
    n: int
    tolerances: tuple[float, float]
    """Of clean and of mean corruption accuracy."""

    cell: float
    """Of any cell."""

    @property
    def rules(self):
        clean, corrupted = self.tolerances
        return parse_rules(
            [
                f"clean_accuracy={100 * clean:g}pp",
                f"mean_corruption_accuracy={100 * corrupted:g}pp",
                f"any:accuracy={100 * self.cell:g}pp",
            ]
        )


SETTINGS = (
    Setting("597 images, the rules of `quick`", 597, (0.04, 0.02), 0.1),
    Setting("597 images, half a point each", 597, (0.005, 0.005), 0.1),
    Setting("10,000 images, the rules of `cifar10-c`", 10_000, (0.01, 0.005), 0.05),
)


def outcome(setting, times, number):
    """One pair of models: the gate's state, and what a fixed tolerance on the measured means says."""
    one, other = bits(
        setting.n, tuple(times * t for t in setting.tolerances), seed=[setting.n, int(10 * times), number]
    )
    reference, candidate = record(one), record(other)
    state = judge(candidate, reference, setting.rules, alpha=ALPHA).state
    rows = [KEYS.index(key) for key in CORRUPTED]
    clean, corrupted = one[0].mean() - other[0].mean(), one[rows].mean() - other[rows].mean()
    over = clean > setting.tolerances[0] or corrupted > setting.tolerances[1]
    return state, "fail" if over else "pass"


def tally(setting, times, numbers):
    """How often each came, over the pairs of these numbers: {(gate, fixed): count}."""
    return Counter(outcome(setting, times, number) for number in numbers)


def told(counts):
    """A tally in words, for the test of freshness."""
    return " ".join(f"{gate}/{fixed}:{count}" for (gate, fixed), count in sorted(counts.items()))


def checks(setting):
    """The line by which a test sees that the page is fresh."""
    rows = " | ".join(told(tally(setting, times, range(CHECKED))) for times in TIMES)
    return f"<!-- {setting.n} {setting.tolerances}: {rows} -->"


def row(setting, times):
    """One line of the table."""
    counts = tally(setting, times, range(PAIRS))
    gate, fixed = Counter(), Counter()
    for (state, simple), count in counts.items():
        gate[state] += count
        fixed[simple] += count
    name = {0.0: "0", 0.5: "m / 2", 1.0: "m", 2.0: "2 m"}[times]
    shares = [gate["pass"], gate["unsure"], gate["fail"], fixed["pass"], fixed["fail"]]
    return [name, *(f"{100 * share / PAIRS:.1f} %" for share in shares)]


def page():
    """The whole page."""
    parts = [
        "# The gate on losses that are known",
        (
            "Made by `python -m tests.gate_simulation`: pairs of models are simulated with a true loss of 0, half, "
            "one and two tolerances m (of clean and of mean corruption accuracy at once), on the same images, in 76 "
            "cells whose changed answers are correlated within an image as those of real pairs of models. The gate "
            f"fails at most {100 * ALPHA:g} % of what loses no more than it tolerates (`--alpha {ALPHA:g}`) and says "
            "where it cannot know; the rule that people use today, a fixed tolerance on the measured means, has no "
            f"such state and decides by luck around it. {PAIRS} pairs a row."
        ),
    ]
    head = ["true loss", "gate passes", "is unsure", "fails", "fixed tolerance passes", "fails"]
    for setting in SETTINGS:
        rules = " and ".join(f"`{rule}`" for rule in setting.rules)
        table = grid([head, *(row(setting, times) for times in TIMES)], left={0})
        parts += [f"## {setting.about}\n\n{rules}", "\n".join(table)]
    parts += few_images.sections()
    rows = [
        [f"{n:,}", f"{100 * few_images.tolerated(n):.2f} pp", f"{100 * told:g} pp"]
        for n, told in ROWS["accuracy"].any_cell
    ]
    parts.append("\n".join(grid([["images", "bound", "tolerated"], *rows])))
    parts.append("\n".join(checks(setting) for setting in SETTINGS))
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    PAGE.write_text(page(), encoding="utf-8")
