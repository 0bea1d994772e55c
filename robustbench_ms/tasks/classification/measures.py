"""How classification is scored, of the outcomes' columns prediction, confidence, correct, top5, nll and brier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_ms.statistics.intervals import Z
from robustbench_ms.tasks.measure import Mean, Measured, Scorer
from robustbench_ms.tasks.outcomes import Absent, Outcomes
from robustbench_ms.tasks.scores import ece_with_stderr

__all__ = ["SCORERS"]


@dataclass(frozen=True)
class Calibration:
    """ECE with its own order of draws; another order gives another standard error."""

    names: ClassVar = ("ece",)
    kind: ClassVar[Literal["set"]] = "set"
    kept: ClassVar[Literal["nothing"]] = "nothing"
    untested: ClassVar = "calibration errors have no test"
    tested: ClassVar = False
    number: ClassVar = 1
    answers: ClassVar = False

    def measure(
        self,
        outcomes: Outcomes,
        truth: Outcomes | None,
        ids: NDArray[np.int64],
        groups: NDArray[np.int64] | None,
    ) -> dict[str, Measured | Absent]:
        """ECE and its bootstrap error over samples."""
        del truth, ids, groups
        return {
            "ece": Measured(*ece_with_stderr(outcomes.samples["confidence"], outcomes.samples["correct"]))
        }

    def interval(self, cells: Sequence[Mapping[str, float]]) -> tuple[float, float]:
        """The cells share their images; errors that are taken to move together give the widest interval."""
        mean, half = fmean(cell["mean"] for cell in cells), Z * fmean(cell["stderr"] for cell in cells)
        return mean - half, mean + half


def _scores(name: str) -> Mean:
    return Mean(name, name, kept="scores", arrays={"clean": f"{name}_clean", "common": f"{name}_corrupted"})


SCORERS: tuple[Scorer, ...] = (
    Mean("accuracy", "correct", kept="bits", answers=True, arrays={"bits": "correct"}),
    Mean("top5_accuracy", "top5", answers=True),
    _scores("nll"),
    _scores("brier"),
    Calibration(),
)
