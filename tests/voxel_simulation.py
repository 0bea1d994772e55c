"""What the jackknife says of a mean Dice where the truth is known: writes results/voxel-simulation.md.

python -m tests.voxel_simulation

Volumes are made as tables of counts, without voxels: of each class the size is drawn, a part of it is called so, and so
is some of what is not; volumes are easy or hard, and their classes together. A class may be missing from a volume. The
candidate is the reference with a tenth of the volumes' answers drawn anew, and in some rows worse everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robustbench_ms.reports.markdown import grid
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.voxels.measures import OfParts
from tests.set_simulation import LARGE, SHIFT, WORST_HEAD, Setting, checks, columns, head, tables

PAGE = Path(__file__).parent.parent / "results" / "voxel-simulation.md"
SETTINGS = tuple(Setting(n, 3, 400) for n in (10, 20, 50, 100, 300, 597))
WORST = tuple(Setting(n, 3, 100, 66) for n in (20, 50, 100, 300, 597))
"""Sets whose worst cell counts, as a rule any:dice has it."""


def measured(sizes, quality, drawn):
    """Mean Dice of all volumes and under each replicate, (1 + G,); `sizes` (n, K), 0 where a class is missing.

    `drawn` (2, n, K): how much easier a class is there, and how much is called that is not.
    """
    n = len(sizes)
    ease, astray = drawn
    intersection = np.floor(sizes / (1 + np.exp(-(quality + ease))))
    predicted = intersection + np.floor(sizes * 0.3 * astray / (1 + np.exp(quality + ease)))
    table = {"true": sizes, "intersection": intersection, "predicted": predicted}
    ground = {name: np.hstack([np.ones((n, 1)), column]) for name, column in table.items()}
    nothing = np.ones_like(ground["true"])
    found = OfParts().measure(
        Outcomes({**ground, "surface": nothing, "near": nothing}), None, np.arange(n), None
    )
    return np.array([found["dice"].mean, *(found["dice"].replicates if n < LARGE else ())])


def drawn(setting, number, models=3):
    """Of one set (models, cells, 1 + G)."""
    random = np.random.default_rng([setting.n, setting.classes, setting.cells, number])
    shape = (setting.n, setting.classes - 1)
    sizes = np.floor(np.exp(random.normal(7, 0.5, shape))) * (random.random(shape) > [0.0, 0.1])
    told = []

    def draw():
        together = random.standard_normal((setting.n, 1))
        return np.stack([0.7 * together + 0.7 * random.standard_normal(shape), random.random(shape)])

    shared = draw()
    for quality in np.array([3.0, *np.linspace(2.5, 0.0, setting.cells - 1)]):
        own = draw()
        one = np.stack([0.7 * shared[0] + 0.7 * own[0], own[1]])
        other = np.where(random.random((1, setting.n, 1)) < 0.1, draw(), one)
        every = ((quality, one), (quality, other), (quality - SHIFT, other))
        told.append([measured(sizes, *model) for model in every[:models]])
    return np.array(told).swapaxes(0, 1)


def written(lines, cells):
    """The page of the two tables' rows."""
    return "\n\n".join(
        [
            "# Dice of few volumes",
            (
                "Made by `python -m tests.voxel_simulation`: sets of n volumes of two classes, one of which a tenth of "
                "them lack, and three models: a reference, a candidate with a tenth of its volumes answered anew, and "
                "one that is worse besides, in a clean cell and five corrupted ones, whose mean stands for that of 65. "
                "Intervals and gates are those of the package: a delete-a-group jackknife of min(n, 200) groups of "
                "volumes, Student's t. Each column has clean / mean Dice, in points or per cent."
            ),
            "\n".join(grid([head("Dice"), *lines])),
            columns("Dice"),
            "## Any cell",
            (
                "The largest upper bound of a clean and 65 corrupted cells, in points, of the candidate of a tenth "
                "changed: what `any:dice` must tolerate for it to pass in so many of the sets."
            ),
            "\n".join(grid([list(WORST_HEAD), *cells])),
            "\n".join(checks(drawn, s) for s in SETTINGS),
        ]
    ) + "\n"  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(written(*tables(drawn, SETTINGS, WORST)), encoding="utf-8")
