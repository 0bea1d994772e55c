"""How classification is scored, of the outcomes' columns prediction, confidence, correct, top5, nll and brier."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.tasks.calibration import bin_sums, calibrated_ece, ece, ece_interval, ece_stderr
from robustbench_ms.tasks.measure import Mean, Measured, Scorer
from robustbench_ms.tasks.outcomes import Absent, Outcomes

__all__ = ["SCORERS"]

_SETS = frozenset({"prediction", "confidence", "correct"}), "a sample has several right labels"
"""What the outcomes of sets of labels have."""


@dataclass(frozen=True)
class Calibration:
    """ECE, of sums over bins of confidence."""

    names: ClassVar = ("ece",)
    kind: ClassVar[Literal["set"]] = "set"
    kept: ClassVar[Literal["sums"]] = "sums"
    untested: ClassVar = "calibration errors have no test"
    tested: ClassVar = False
    number: ClassVar = 2
    answers: ClassVar = False
    faultless: ClassVar = "a model that is as sure and calibrated"

    def measure(
        self,
        outcomes: Outcomes,
        truth: Outcomes | None,
        ids: NDArray[np.int64],
        groups: NDArray[np.int64] | None,
    ) -> dict[str, Measured | Absent]:
        """ECE with its sums; without an error where samples stand or fall together, which the sums do not know."""
        del truth, ids
        if outcomes.samples.keys() == _SETS[0]:
            return {"ece": Absent(_SETS[1])}
        found = self.of_sums(bin_sums(outcomes.samples["confidence"], outcomes.samples["correct"]))
        return {"ece": found if groups is None else replace(found, stderr=math.nan)}

    def of_sums(self, sums: NDArray[np.float64]) -> Measured:
        """Of a cell's sums, see `calibration.SUMS`."""
        return Measured(ece(sums), ece_stderr(sums), sums=sums)

    def interval(self, sums: NDArray[np.float64]) -> tuple[float, float]:
        """By inversion, see `ece_interval`."""
        return ece_interval(sums)

    def by_chance(self, sums: NDArray[np.float64]) -> float:
        """That of a calibrated model."""
        return calibrated_ece(sums)


def _scores(name: str, infinite: str = "") -> Mean:
    arrays = {"clean": f"{name}_clean", "common": f"{name}_corrupted"}
    return Mean(name, name, kept="scores", infinite=infinite, lacking=_SETS, arrays=arrays)


SCORERS: tuple[Scorer, ...] = (
    Mean("accuracy", "correct", kept="bits", answers=True, arrays={"bits": "correct"}),
    Mean("top5_accuracy", "top5", kept="bits", answers=True, lacking=_SETS),
    _scores("nll", "the label's logit is -inf, a probability of 0"),
    _scores("brier"),
    Calibration(),
)
