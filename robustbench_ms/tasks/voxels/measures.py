"""Dice, surface Dice and HD95 of counts a volume and class, with the replicates of a delete-a-group jackknife.

Of each class the mean over the volumes whose truth has it, and of these the mean over the classes, as nnU-Net has it;
class 0, the background, counts nowhere. A class that is called where none is true has no value in that volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.measure import Beside, Measured, OfSets, Scorer, jackknife_weights, of_replicates
from robustbench_ms.tasks.outcomes import Absent, Outcomes
from robustbench_ms.tasks.scores import mean_with_stderr

__all__ = ["FEWEST", "NAMED", "SCORERS", "Alone", "OfParts"]

FEWEST = 20
"""Volumes below which no gate tests any: of fewer a normal interval of a mean is too sure."""
NAMED = 3
"""Classes, from the first on, whose Dice stands beside the mean."""
Values = NDArray[np.float64]
_NOTHING = Absent("no volume's truth has a class but the background")


@dataclass(frozen=True)
class OfParts(OfSets):
    """Three numbers of a cell; `parts_of` says what each is of a volume and class."""

    names: tuple[str, ...] = ("dice", "surface_dice", "hd95")
    fewest: int = FEWEST

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64], groups: NDArray[np.int64] | None
    ) -> dict[str, Measured | Absent]:  # fmt: skip
        """The numbers of one cell; HD95 is absent where nobody says how large a voxel is."""
        del truth
        parts, there = parts_of(outcomes)
        weights = jackknife_weights(ids, groups)
        one = {name: _mean(values, there, np.ones((1, len(ids)))) for name, values in parts.items()}
        many = {name: _mean(values, there, weights) for name, values in parts.items()} if len(weights) else {}
        found = of_replicates(one, many, self.rule, lambda _: _NOTHING)
        return {name: found.get(name, Absent("the volumes say no spacing")) for name in self.names}


@dataclass(frozen=True)
class Alone(Beside):
    """The Dice of one class each."""

    names: tuple[str, ...] = tuple(f"dice_{label}" for label in range(1, NAMED + 1))
    untested: str = "it stands beside the mean over the classes"

    def measure(
        self, outcomes: Outcomes, truth: Outcomes | None, ids: NDArray[np.int64], groups: NDArray[np.int64] | None
    ) -> dict[str, Measured | Absent]:  # fmt: skip
        """Over the volumes whose truth has the class; absent where none has it."""
        del truth, ids
        parts, there = parts_of(outcomes)
        found: dict[str, Measured | Absent] = {}
        for place, name in enumerate(self.names):
            label = place + 1
            rows = there[:, place] if place < there.shape[1] else np.zeros(0, dtype=bool)
            if not rows.any():
                missing = place >= there.shape[1]
                found[name] = Absent(
                    f"the data have no class {label}" if missing else f"no volume's truth has class {label}"
                )
                continue
            among = None if groups is None else groups[rows]
            found[name] = Measured(*mean_with_stderr(parts["dice"][rows, place], among))
        return found


def parts_of(outcomes: Outcomes) -> tuple[dict[str, Values], NDArray[np.bool_]]:
    """The numbers of each volume and class but the background, (n, K - 1) each, and where the truth has it.

    Dice is 2 |both| / (|true| + |said|); surface Dice the share of both surfaces' voxels that lie within one voxel of
    the other (Nikolov et al. 2018, counted by voxels); HD95 the outcomes' own.
    """
    columns = {name: column for name, column in outcomes.samples.items() if column.ndim == 2}
    counts = {name: column[:, 1:].astype(np.float64) for name, column in columns.items()}
    there = counts["true"] > 0
    found = {
        "dice": 2 * counts["intersection"] / np.maximum(counts["true"] + counts["predicted"], 1),
        "surface_dice": counts["near"] / np.maximum(counts["surface"], 1),
    }
    if "hd95" in counts:
        found["hd95"] = counts["hd95"]
    return found, there


def _mean(values: Values, there: NDArray[np.bool_], weights: Values) -> Values:
    """The mean (R,) over classes of their means over volumes, under weightings (R, n); nan where none is there."""
    each = weights @ there.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        classes = (weights @ np.where(there, values, 0.0)) / each
        any_there = each > 0
        mean: Values = np.where(any_there, classes, 0.0).sum(axis=1) / any_there.sum(axis=1)
    return mean


SCORERS: tuple[Scorer, ...] = (OfParts(), Alone())
