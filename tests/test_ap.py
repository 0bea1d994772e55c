"""COCO's twelve numbers, against pycocotools: to the last bit at weight one, and of every set of a jackknife."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robustbench_ms.tasks.detection.measures import SCORERS, by_class
from robustbench_ms.tasks.measure import jackknife_weights
from robustbench_ms.tasks.outcomes import Absent, Items, Outcomes
from tests.detections import as_coco, from_files, pycoco, scene

pytest.importorskip("pycocotools", reason="pycocotools is the yardstick")
NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100", "AR_small", "AR_medium",
    "AR_large",
)  # fmt: skip
BOXES = (0.505, 0.697, 0.573, 0.586, 0.519, 0.501, 0.387, 0.594, 0.595, 0.640, 0.566, 0.564)
MASKS = (0.320, 0.562, 0.299, 0.387, 0.310, 0.327, 0.268, 0.415, 0.417, 0.469, 0.377, 0.381)


def measured(outcomes, truth, ids, groups=None):
    (scorer,) = SCORERS
    return scorer.measure(outcomes, truth, ids, groups)


def twelve(found):
    """As COCOeval.stats, -1 where a number is absent."""
    return np.array([-1.0 if isinstance(found[n], Absent) else found[n].mean for n in NAMES])


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("ties", [True, False], ids=["ties", "no ties"])
def test_the_twelve_numbers_are_pycocotools_to_the_last_bit(masks, ties):
    for seed in range(4 if masks else 12):
        case = scene(seed, masks=masks, ties=ties, found=4 if seed % 3 == 0 else 40)
        expected = pycoco(*as_coco(*case), "segm" if masks else "bbox").stats
        assert np.array_equal(twelve(measured(*case)), expected), seed


def test_one_class_takes_more_than_a_hundred_detections_of_an_image():
    case = scene(5, images=3, classes=1, most=20, found=260)
    assert case[0].items["detections"].owner.size > 300

    assert np.array_equal(twelve(measured(*case)), pycoco(*as_coco(*case), "bbox").stats)
