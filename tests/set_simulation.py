"""What a page says of simulated sets: intervals, gates and tolerances of set measures of which the truth is known.

A simulation draws sets of images from one world, at which three models look: a reference, a candidate with a tenth of
its answers drawn anew, and one that is worse besides. Of each it gives (models, cells, 1 + G): the measure of all
images, then under each replicate; the first cell is clean.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from robustbench_ms.statistics.differences import of_replicates
from robustbench_ms.statistics.intervals import replicates_interval

ALPHA = 0.05
CHECKED = 2
"""Sets of each setting by which a test sees that a page is fresh."""
SHIFT = 0.25
"""By how much every object is harder to the candidate that is worse."""
LARGE = 20_000
"""Images of a set whose measure is taken for that of all images; it has no replicates."""
CELLS = 6
"""Clean, and five corrupted ones of falling quality."""
WORST_HEAD = ("images", "classes", "sets", "in half", "in 90 %", "in 95 %")


def head(name):
    """Of the table whose clean number is called so."""
    return [
        "images", "classes", "sets", f"{name} too high by", "half width", f"holds E {name} of n",
        f"holds {name} of all", "false pass", "tolerance", "noticed", "true loss",
    ]  # fmt: skip


def columns(name):
    """What they are."""
    return (
        f"{name} too high by: what sets of n show on average beyond the {name} of very many images. Half width: of the "
        "95 % interval, in the middle of the sets. Holds: how often the interval holds the mean of sets of n, "
        f"which is what it is of, and the {name} of very many images, of which it says nothing. False pass: how "
        f"often a gate of level {ALPHA:g} passes the worse candidate where exactly its true loss is tolerated. "
        "Tolerance: that at which the candidate of a tenth changed passes in 90 % of the sets. Noticed: how "
        "often the worse one's loss (the last column) is found to be above 0."
    )


@dataclass(frozen=True)
class Setting:
    """How many images and classes; how many sets."""

    n: int
    classes: int
    sets: int
    cells: int = CELLS


def results(drawn, setting):
    """All sets of a setting, (sets, models, 2, 1 + G)."""
    return np.array([numbers(drawn(setting, number)) for number in range(setting.sets)])


def checks(drawn, setting):
    """The line by which a test sees that a page is fresh."""
    rows = [drawn(setting, number) for number in range(CHECKED)]
    told = " ".join(f"{one[0, 0, 0]:.6f} {one[2, -1, -1]:.6f}" for one in rows)
    return f"<!-- {setting.n} {setting.classes}: {told} -->"


def tables(drawn, settings, of_any):
    """The lines of both tables: of `settings`, and of the worst cells of `of_any`."""
    large = {
        classes: numbers(drawn(Setting(LARGE, classes, 1), 0))[..., 0]
        for classes in {s.classes for s in settings}
    }
    lines, cells = [], []
    for setting in settings:
        lines.append(row(setting, results(drawn, setting), large[setting.classes]))
        print(*lines[-1], sep=" | ", file=sys.stderr, flush=True)
    for setting in of_any:
        bounds = [worst(drawn(setting, number, models=2)) for number in range(setting.sets)]
        cells.append(worst_row(setting, bounds))
        print(*cells[-1], sep=" | ", file=sys.stderr, flush=True)
    return lines, cells


def numbers(one):
    """Of a set's cells the clean one's number and the corrupted ones' mean, (models, 2, 1 + G)."""
    return np.stack([one[:, 0], one[:, 1:].mean(axis=1)], axis=1)


def loss(one, model, number):
    """Of a set's numbers (models, numbers, 1 + G): what a candidate loses against the reference, as a gate has it."""
    return _of_losses(one[0, number] - one[model, number])


def _of_losses(losses):
    return of_replicates(float(losses[0]), losses[1:], losses.size - 1, jackknife=True)


def upper(one, model, number):
    """The one-sided bound below which a tolerance does not pass."""
    return loss(one, model, number).upper(ALPHA)


def worst(one):
    """The largest upper bound of a set's cells: what a rule of any cell tolerates where the candidate passes."""
    return max(_of_losses(losses).upper(ALPHA) for losses in one[0] - one[1])


def worst_row(setting, bounds):
    """One line of the table of worst cells."""
    shares = (_points(np.quantile(bounds, share)) for share in (0.5, 0.9, 0.95))
    return [f"{setting.n:,}", str(setting.classes), f"{setting.sets:,}", *shares]


def row(setting, rows, whole):
    """One line of the table: of `rows` (sets, models, 2, 1 + G) the clean number, then the mean, in each column.

    `whole` (models, 2) is that of very many images.
    """
    parts = [f"{setting.n:,}", str(setting.classes), f"{setting.sets:,}"]
    expected = rows[..., 0].mean(axis=0)
    columns = []
    for i in range(2):
        ends = [replicates_interval(one[0, i, 0], one[0, i, 1:], jackknife=True) for one in rows]
        true = expected[0, i] - expected[2, i]
        same = [upper(one, 1, i) for one in rows]
        columns.append(
            [
                _points(expected[0, i] - whole[0, i]),
                _points(np.median([end.half_width for end in ends])),
                _share(end.low <= expected[0, i] <= end.high for end in ends),
                _share(end.low <= whole[0, i] <= end.high for end in ends),
                _share(upper(one, 2, i) <= true for one in rows),
                _points(np.quantile(same, 0.9)),
                _share(loss(one, 2, i).lower(ALPHA) > 0 for one in rows),
                _points(true),
            ]
        )
    return parts + [f"{p} / {mean}" for p, mean in zip(*columns, strict=True)]


def _points(value):
    return f"{round(100 * value, 1) + 0.0:.1f}"  # no -0.0


def _share(yes):
    return f"{100 * np.mean(list(yes)):.0f}"


def tolerances(text, names):
    """What a gate must tolerate in points, {(images, classes): {name: points}}, as a page's text has it."""
    at = head("").index("tolerance")
    return {key: dict(zip(names, map(float, cells[at].split(" / ")), strict=True))
            for key, cells in _rows(text, len(head("")))}  # fmt: skip


def tolerances_of_any(text, name):
    """The same of a rule of any cell in 95 %."""
    return {key: {name: float(cells[-1])} for key, cells in _rows(text, len(WORST_HEAD))}


def _rows(text, columns):
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    numbers = [cells for cells in rows if len(cells) == columns and cells[0].replace(",", "").isdigit()]
    return [((int(cells[0].replace(",", "")), int(cells[1])), cells) for cells in numbers]
