"""The share of the true boxes that a detection of their class has to the pixel."""

import numpy as np

from robustbench_ms.tasks.measure import Whole, jackknife_weights


def found(outcomes, truth, weights):
    answers, true = outcomes.items["detections"], truth.items["truths"]

    def named(table):
        columns = zip(table.owner, table.columns["box"].round(), table.columns["label"], strict=True)
        return [(int(owner), *map(int, box), int(label)) for owner, box, label in columns]

    seen = set(named(answers))
    hits = np.array([one in seen for one in named(true)], float)
    of = weights[:, true.owner]
    return {"AP": of @ hits / np.maximum(of.sum(axis=1), 1e-9)}


SCORERS = (Whole(("AP",), found, jackknife_weights, "jackknife"),)
