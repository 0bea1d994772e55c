"""The numbers of heat maps, of items "pairs" (an image and a class), with a delete-a-group jackknife of the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.localisation.rows import ALL, RIGHT
from robustbench_ms.tasks.measure import Beside, Measured, OfSets, Scorer, jackknife_weights, of_replicates
from robustbench_ms.tasks.outcomes import Absent, Items, Outcomes

__all__ = ["SCORERS", "AreaShares", "Maps"]

Numbers = NDArray[np.float64]
NO_TRAINING = "the data set has no training pictures, by which the map's threshold is chosen"


@dataclass(frozen=True)
class Maps(OfSets):
    """pointing, energy, box_acc_v2 and PxAP, of all pairs or of those that are answered right alone.

    Items "pairs" have "label", "hit" and "right" bool, "energy", "box" (where there are thresholds) and, whole numbers
    (m, 256), "inside" and "outside": the pixels of the object and all others by the map's level. A class without a pair
    in a weighting is left out of its pointing game.
    """

    right: bool = False
    """Of those alone that are answered right."""

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics that it gives."""
        return tuple(name + RIGHT for name in ALL) if self.right else (*ALL, "right")

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64], groups: NDArray[np.int64] | None
    ) -> dict[str, Measured | Absent]:  # fmt: skip
        """The numbers of one cell; absent where there is no such pair."""
        del truth
        pairs = outcomes.items["pairs"]
        weights = jackknife_weights(ids, groups)
        counted = pairs.columns["right"] if self.right else np.ones(pairs.owner.size, bool)
        one = _numbers(pairs, np.ones((1, len(ids))), counted)
        many = _numbers(pairs, weights, counted) if len(weights) else {}
        end = RIGHT if self.right else ""
        found: dict[str, Measured | Absent] = {}
        for name, value in of_replicates(one, many, self.rule, lambda name: _absent(name, pairs)).items():
            if name + end in self.names:
                found[name + end] = value
        return found


@dataclass(frozen=True)
class AreaShares(Beside):
    """What share of its picture an object covers: beside the energy, which an even map has as much of."""

    names: tuple[str, ...] = ("area_share", "area_share" + RIGHT)
    untested: str = "an object's share of its picture has no test"

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64], groups: NDArray[np.int64] | None
    ) -> dict[str, Measured | Absent]:  # fmt: skip
        """The shares of one cell."""
        del truth, ids, groups
        pairs = outcomes.items["pairs"]
        share = pairs.columns["share"].astype(np.float64)
        found: dict[str, Measured | Absent] = {}
        for name, some in zip(self.names, (share, share[pairs.columns["right"]]), strict=True):
            found[name] = Measured(float(some.mean()), float("nan")) if some.size else _absent(name, pairs)
        return found


def _absent(name: str, pairs: Items) -> Absent:
    if not pairs.owner.size:
        return Absent("no object of a class that is asked about")
    if name == "box_acc_v2" and "box" not in pairs.columns:
        return Absent(NO_TRAINING)
    return Absent("no class is answered right")


def _numbers(pairs: Items, weights: Numbers, counted: NDArray[np.bool_]) -> dict[str, Numbers]:
    """The numbers (R,) of the counted pairs under weightings (R, n) of the images; nan where there is none."""
    of, columns = weights[:, pairs.owner] * counted, pairs.columns
    labels, which = np.unique(columns["label"], return_inverse=True)
    classes = np.zeros((which.size, labels.size))
    classes[np.arange(which.size), which] = 1.0
    trials, hits = of @ classes, of @ (classes * columns["hit"][:, None])
    count, there = of.sum(axis=1), trials > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {
            "pointing": np.where(there, hits / trials, 0.0).sum(axis=1) / there.sum(axis=1),
            "energy": of @ columns["energy"].astype(np.float64) / count,
            "box_acc_v2": np.full(len(of), np.nan),
            "PxAP": _area(
                of @ columns["inside"].astype(np.float64), of @ columns["outside"].astype(np.float64)
            ),
            "right": of @ columns["right"].astype(np.float64) / count,
        }
        if "box" in columns:
            found["box_acc_v2"] = of @ columns["box"].astype(np.float64) / count
    return found


def _area(inside: Numbers, outside: Numbers) -> Numbers:
    """The areas (R,) under precision over recall, of pixels (R, levels) of objects and of all else.

    As wsolevaluation's PixelAveragePrecision has it: a step for each level, from the highest down, each with the
    precision of what lies at or above it.
    """
    hits, others = inside[:, ::-1].cumsum(axis=1), outside[:, ::-1].cumsum(axis=1)
    some = hits + others > 0
    precision = np.where(some, hits / np.where(some, hits + others, 1.0), 0.0)
    area: Numbers = (precision * inside[:, ::-1]).sum(axis=1) / hits[:, -1]
    return area


SCORERS: tuple[Scorer, ...] = (Maps(), Maps(right=True), AreaShares())
