"""What the jackknife says of mIoU where the truth is known: writes results/labelling-simulation.md.

python -m tests.labelling_simulation

Images are made as tables of counts, without pixels: objects of uneven classes and sizes on a background, those of an
image easy or hard together; of each a part is called right, some of the rest background and some another class, and of
the background a part is called an object. The candidate is the reference with a tenth of this drawn anew, and in some
rows a little worse everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robustbench_ms.reports.markdown import grid
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.segmentation.measures import Overlaps
from tests.set_simulation import LARGE, SHIFT, WORST_HEAD, Setting, checks, columns, head, tables

PAGE = Path(__file__).parent.parent / "results" / "labelling-simulation.md"
PIXELS = 10_000
"""Of every image."""
NAME = "mIoU_truth"

SETTINGS = (
    *(Setting(n, 21, 400) for n in (5, 10, 20, 30, 50)),
    Setting(79, 81, 400),
    Setting(300, 11, 400),
    Setting(300, 21, 400),
    Setting(500, 19, 400),
    Setting(1449, 21, 400),
    Setting(2000, 150, 100),
)
WORST = (
    *(Setting(n, 21, 200, 76) for n in (10, 20, 30, 50)),
    Setting(79, 81, 200, 76),
    Setting(300, 11, 200, 76),
    Setting(300, 21, 200, 76),
    Setting(500, 19, 100, 76),
    Setting(1449, 21, 100, 76),
    Setting(2000, 150, 20, 76),
)
"""Sets whose worst cell counts, as a rule any:mIoU_truth has it."""


def scene(n, classes, random):
    """Of every object its image, its class, its pixels and how easy it is; the images' backgrounds come first."""
    shares = 1 / np.arange(1, classes) ** 0.7
    counts = random.integers(1, 6, n)
    image = np.repeat(np.arange(n), counts)
    label = 1 + random.choice(classes - 1, image.size, p=shares / shares.sum())
    size = np.exp(random.normal(np.log(0.06), 0.8, image.size))
    size *= np.minimum(1, 0.8 / np.bincount(image, size, n))[image]
    pixels = np.floor(PIXELS * size).astype(np.int64) + 1
    ease = 0.8 * random.standard_normal(n)[image] + random.standard_normal(image.size)
    ground = PIXELS - np.bincount(image, pixels, n).astype(np.int64)
    return (
        np.concatenate([np.arange(n), image]),
        np.concatenate([np.zeros(n, dtype=np.int64), label]),
        np.concatenate([ground, pixels]),
        np.concatenate([np.full(n, 3.5), ease]),
    )


def measured(n, classes, parts, quality, drawn):
    """mIoU_truth of all images and under each replicate, (1 + G,).

    `drawn` (3, objects): noise, what the missed part is called, which share of it is.
    """
    image, label, pixels, ease = parts
    noise, other, share = drawn
    right = np.floor(pixels / (1 + np.exp(-(quality + ease + noise)))).astype(np.int64)
    called = np.minimum((other * classes).astype(np.int64), classes - 1)
    astray = np.floor((pixels - right) * np.where(label == 0, 1.0, share)).astype(np.int64)

    def counted(labels, what):
        found = np.bincount(image * classes + labels, what, n * classes)
        return found.astype(np.int64).reshape(n, classes)

    predicted = counted(label, right) + counted(called, astray)
    predicted[:, 0] += np.bincount(image, pixels - right - astray, n).astype(np.int64)
    # What is called by chance as it is, is right.
    intersection = counted(label, right + np.where(called == label, astray, 0))
    intersection[:, 0] += np.bincount(image, np.where(label == 0, pixels - right - astray, 0), n).astype(
        np.int64
    )
    outcomes = Outcomes({"intersection": intersection, "predicted": predicted})
    found = Overlaps().measure(outcomes, Outcomes({"true": counted(label, pixels)}), np.arange(n), None)[NAME]
    return np.array([found.mean, *(found.replicates if n < LARGE else ())])


def qualities(cells):
    """Clean, then falling."""
    return np.array([2.0, *np.linspace(1.5, -1.5, cells - 1)])


def drawn(setting, number, models=3):
    """Of one set (models, cells, 1 + G)."""
    random = np.random.default_rng([setting.n, setting.classes, setting.cells, number])
    parts = scene(setting.n, setting.classes, random)
    size, told = parts[0].size, []

    def draw():
        return np.stack([random.standard_normal(size), *random.random((2, size))])

    shared = draw()
    for quality in qualities(setting.cells):
        own = draw()
        one = np.stack([0.7 * shared[0] + 0.7 * own[0], *own[1:]])
        other = np.where(random.random(size) < 0.1, draw(), one)
        every = ((quality, one), (quality, other), (quality - SHIFT, other))
        told.append([measured(setting.n, setting.classes, parts, *model) for model in every[:models]])
    return np.array(told).swapaxes(0, 1)


def written(lines, cells):
    """The page of the two tables' rows."""
    return "\n\n".join(
        [
            "# mIoU of few images",
            (
                "Made by `python -m tests.labelling_simulation`: sets of n images are drawn from one world, and three "
                "models label each: a reference, a candidate with a tenth of its objects labelled anew, and one that "
                "is worse besides, in a clean cell and five corrupted ones, whose mean stands for that of 75. "
                "Intervals and gates are those of the package: a delete-a-group jackknife of min(n, 200) groups of "
                "images, Student's t. Each column has clean / mean `mIoU_truth`, in points or per cent."
            ),
            "\n".join(grid([head("mIoU"), *lines])),
            columns("mIoU"),
            "## Any cell",
            (
                "The largest upper bound of a clean and 75 corrupted cells, in points, of the candidate of a tenth "
                "changed: what `any:mIoU_truth` must tolerate for it to pass in so many of the sets."
            ),
            "\n".join(grid([list(WORST_HEAD), *cells])),
            "\n".join(checks(drawn, s) for s in SETTINGS if s.n < 1000),
        ]
    ) + "\n"  # fmt: skip


if __name__ == "__main__":
    PAGE.write_text(written(*tables(drawn, SETTINGS, WORST)), encoding="utf-8")
