"""How well spots were found; numpy alone."""

from __future__ import annotations

import numpy as np

from robustbench_ms.tasks.measure import Mean, Whole, jackknife_weights
from robustbench_ms.tasks.outcomes import Absent


def found(outcomes, truth, weights):
    """Recall, precision and recall of small spots under each weighting, by the weights of the samples that own them."""
    answers, spots = outcomes.items["found"], truth.items["spots"]
    right = answers.columns["spot"] >= 0
    seen = set(zip(answers.owner[right].tolist(), answers.columns["spot"][right].tolist(), strict=True))
    named = zip(spots.owner.tolist(), spots.columns["number"].tolist(), strict=True)
    hits = np.array([spot in seen for spot in named])
    of_spots, of_found = weights[:, spots.owner], weights[:, answers.owner]
    small = spots.columns["small"]
    told = of_found.sum(axis=1)
    return {
        "recall": of_spots @ hits / of_spots.sum(axis=1),
        "precision": of_found @ right / told if (told > 0).all() else Absent("nothing was found"),
        "small_recall": of_spots @ (hits & small) / np.maximum(of_spots @ small, 1e-9),
    }


SCORERS = (
    Whole(("recall", "precision", "small_recall"), found, jackknife_weights, "jackknife"),
    Mean("energy", "energy", kept="scores"),
)
