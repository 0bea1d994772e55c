"""What the jackknife says of average precision where the truth is known: writes results/ap-simulation.md.

python -m tests.ap_simulation

Scenes are made as tables of matches, without pixels and boxes: objects of an image are easy or hard together, classes
are as uneven as COCO's, a detection's score and overlap follow how easy its object is, and false ones come beside. The
candidate is the reference with a tenth of its detections drawn anew, and in some rows a little worse everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustbench_ms.reports.markdown import grid
from robustbench_ms.tasks.detection.accumulate import curves
from robustbench_ms.tasks.detection.matching import THRESHOLDS, Matched
from robustbench_ms.tasks.measure import jackknife_weights
from tests.set_simulation import LARGE, SHIFT, WORST_HEAD, Setting, checks, columns, head, tables

PAGE = Path(__file__).parent.parent / "results" / "ap-simulation.md"


SETTINGS = (
    Setting(5, 80, 200),
    *(Setting(n, 80, 400) for n in (10, 20, 30, 50)),
    Setting(79, 80, 1000),
    Setting(79, 10, 1000),
    Setting(300, 80, 1000),
    Setting(300, 10, 1000),
    Setting(5000, 80, 200),
    Setting(5000, 10, 200),
)
WORST = tuple(Setting(n, 80, 100, 76) for n in (30, 79, 300))
"""Sets whose worst cell counts, as a rule any:AP has it."""


@dataclass(frozen=True)
class World:
    """Objects and false detections, each with its image, its class and how easy it is; the former first."""

    objects: int
    image: np.ndarray
    label: np.ndarray
    ease: np.ndarray


def world(n, classes, random):
    """Some seven objects and twelve false detections an image, of few classes each."""
    shares = 1 / np.arange(1, classes + 1) ** (1.1 if classes > 20 else 0.7)
    shares /= shares.sum()
    counts = 1 + random.geometric(1 / 6.3, n) - 1
    own = random.choice(classes, (n, 3), p=shares)
    image = np.concatenate([np.repeat(np.arange(n), counts), np.repeat(np.arange(n), random.poisson(12, n))])
    label = own[image, random.integers(0, 3, image.size)]
    elsewhere = (np.arange(image.size) >= counts.sum()) & (random.random(image.size) < 0.5)
    label = np.where(elsewhere, random.choice(classes, image.size, p=shares), label)
    ease = 0.8 * random.standard_normal(n)[image] + random.standard_normal(image.size)
    return World(int(counts.sum()), image, label, ease)


def qualities(cells):
    """Clean, then falling."""
    return np.array([0.6, *np.linspace(0.3, -1.6, cells - 1)])


def matches(scene, quality, noise, overlap):
    """What a model's detections of a scene come to in one cell, for the accumulation."""
    right = np.arange(scene.image.size) < scene.objects
    logit = np.where(right, quality + scene.ease, -1.8 + 0.6 * scene.ease) + noise
    iou = 1 / (1 + np.exp(-(0.9 + 0.5 * logit + 0.8 * overlap)))
    code = ((THRESHOLDS[:, None] <= iou) & right).astype(np.uint8)
    classes, which = np.unique(scene.label[right], return_inverse=True)
    kept = np.isin(scene.label, classes)
    label = np.searchsorted(classes, scene.label[kept])
    order = np.lexsort((-logit[kept], label))
    steps = np.arange(classes.size + 1)
    by_class = np.argsort(which, kind="stable")
    return Matched(
        classes,
        np.searchsorted(label[order], steps),
        scene.image[kept][order],
        np.zeros(order.size, dtype=np.int64),
        np.ascontiguousarray(code[:, kept][:, order])[None],
        np.searchsorted(which[by_class], steps),
        scene.image[right][by_class],
        np.ones((1, by_class.size), dtype=bool),
    )


def drawn(setting, number, models=3):
    """AP of one set, (models, cells, 1 + G): of all images, then under each replicate.

    The models, or the first of them, are the reference, the candidate of a tenth changed, and the one that is worse
    besides.
    """
    random = np.random.default_rng([setting.n, setting.classes, setting.cells, number])
    scene = world(setting.n, setting.classes, random)
    weights = jackknife_weights(np.arange(setting.n)) if setting.n < LARGE else np.ones((0, setting.n))
    weights = np.concatenate([np.ones((1, setting.n)), weights])
    size, told = scene.image.size, []
    shared = random.standard_normal((2, size))
    for quality in qualities(setting.cells):
        noise, overlap = 0.7 * shared + 0.7 * random.standard_normal((2, size))
        anew = random.random(size) < 0.1
        other = np.where(anew, random.standard_normal((2, size)), [noise, overlap])
        every = ((quality, noise, overlap), (quality, *other), (quality - SHIFT, *other))
        told.append([_ap(matches(scene, *model), weights) for model in every[:models]])
    return np.array(told).swapaxes(0, 1)


def _ap(found, weights):
    each = curves(found, weights, (100,)).precision[0]
    return np.nanmean(each.reshape(-1, each.shape[-1]), axis=0)


def written(lines, cells):
    """The page of the two tables' rows."""
    return "\n\n".join(
        [
            "# Average precision of few images",
            (
                "Made by `python -m tests.ap_simulation`: sets of n images are drawn from one world, and three models "
                "look at each: a reference, a candidate with a tenth of its detections drawn anew, and one that is "
                "worse besides, in a clean cell and five corrupted ones, whose mean stands for mPC. Intervals and "
                "gates are those of the package: a delete-a-group jackknife of min(n, 200) groups of images, Student's "
                "t. Each column has P / mPC, in points or per cent."
            ),
            "\n".join(grid([head("AP"), *lines])),
            columns("AP"),
            (
                "At five images the intervals hold more seldom than they say; from ten on they hold, and a gate passes "
                "no oftener than its level. It takes three times as many, because a real set can be less even than "
                "this world."
            ),
            "## Any cell",
            (
                "The largest upper bound of a clean and 75 corrupted cells, in points, of the candidate of a tenth "
                "changed: what `any:AP` must tolerate for it to pass in so many of the sets. 10 classes, which "
                "need less above, and 5,000 images are not simulated here."
            ),
            "\n".join(grid([list(WORST_HEAD), *cells])),
            "\n".join(checks(drawn, s) for s in SETTINGS if s.n < 1000),
        ]
    ) + "\n"  # fmt: skip


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    PAGE.write_text(written(*tables(drawn, SETTINGS, WORST)), encoding="utf-8")
