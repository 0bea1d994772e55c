"""Classification whose mistakes have a size: the angle between the answered direction and the true one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robustbench_ms.datasets.protocol import Batch, DataFacts
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.classification.task import Classification
from robustbench_ms.tasks.outcomes import Outcomes


class Orientation(Classification):
    """Asked as classification is; classes are steps of 45 degrees."""

    number = 1

    def outcomes(self, answers: Answers, batch: Batch) -> Outcomes:
        """Columns correct (bool) and angle (0, 45 or 90 degrees, float32), each (k,)."""
        apart = np.abs(answers.tensor.argmax(1).cpu().numpy() - batch.targets.cpu().numpy())
        angle = 45.0 * np.minimum(apart, 4 - apart)
        return Outcomes({"correct": angle == 0, "angle": angle.astype(np.float32)})

    def doubts(self, values: Mapping[str, Mapping[str, float]], facts: DataFacts) -> list[str]:
        """Answers as far off as any."""
        del facts
        return ["it answers as by chance"] if values["angle"]["mean"] >= 40 else []
