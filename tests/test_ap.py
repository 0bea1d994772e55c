"""COCO's twelve numbers, against pycocotools: to the last bit at weight one, and of every set of a jackknife."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robustbench_ms.tasks.detection.measures import SCORERS, by_class
from robustbench_ms.tasks.measure import jackknife_weights
from robustbench_ms.tasks.outcomes import Absent, Items, Outcomes
from tests.detections import as_coco, from_files, pycoco, scene, without

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
    for seed in range(3 if masks else 8):
        case = scene(seed, masks=masks, ties=ties, found=4 if seed % 3 == 0 else 40)
        expected = pycoco(*as_coco(*case), "segm" if masks else "bbox").stats
        assert np.array_equal(twelve(measured(*case)), expected), seed


def test_of_truths_that_are_overlapped_alike_the_later_is_taken():
    """So that the second detection finds its truth taken, and is wrong."""
    none = np.zeros(2, bool)
    label, owner = np.uint16([0, 0]), np.array([0, 0])
    true = {
        "box": np.float32([[0, 0, 10, 10], [4, 0, 14, 10]]), "label": label, "crowd": none, "ignore": none,
        "area": np.array([100.0, 100.0]),
    }  # fmt: skip
    told = {
        "box": np.float32([[2, 0, 12, 10], [5, 0, 15, 10]]), "score": np.float32([0.9, 0.8]), "label": label,
    }  # fmt: skip
    size = {"height": np.array([20]), "width": np.array([20])}
    truth = Outcomes(size, {"truths": Items(owner, true)})
    case = Outcomes(size, {"detections": Items(owner, told)}), truth, np.array([1])

    found = measured(*case)

    assert found["AR100"].mean == pytest.approx(
        0.5 * 7 / 10
    )  # the first up to IoU .65, the second at .7 to .8
    assert np.array_equal(twelve(found), pycoco(*as_coco(*case), "bbox").stats)


def test_one_class_takes_more_than_a_hundred_detections_of_an_image():
    case = scene(5, images=3, classes=1, most=20, found=260)
    assert case[0].items["detections"].owner.size > 300

    assert np.array_equal(twelve(measured(*case)), pycoco(*as_coco(*case), "bbox").stats)


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_the_published_numbers(real_data, kind):
    annotations = real_data("cocoapi/instances_val2014_100.json")
    results = real_data(f"cocoapi/instances_val2014_fake{kind}100_results.json")

    found = twelve(measured(*from_files(annotations, results, kind)))

    assert found.round(3) == pytest.approx(BOXES if kind == "bbox" else MASKS, abs=1e-9)
    judged = pycoco(json.loads(annotations.read_text()), json.loads(results.read_text()), kind)
    assert np.array_equal(found, judged.stats)


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
def test_a_replicate_is_pycocotools_number_of_the_images_that_are_left(masks):
    case = scene(2, masks=masks, images=6 if masks else 12)
    found = measured(*case)

    for r, kept in enumerate(jackknife_weights(case[2]) > 0):
        expected = pycoco(*as_coco(*without(case, kept)), "segm" if masks else "bbox").stats
        for name, value in zip(NAMES, expected, strict=True):
            if not isinstance(found[name], Absent) and found[name].replicates is not None:
                assert found[name].replicates[r] == pytest.approx(value, abs=1e-12), (name, r)
    told = found["AP"].replicates
    count = told.size
    assert count == len(case[2])
    assert found["AP"].stderr == pytest.approx(
        ((count - 1) / count * ((told - told.mean()) ** 2).sum()) ** 0.5
    )


def test_images_that_stand_together_are_left_out_together():
    case = scene(3)
    groups = np.arange(12) // 4
    found = measured(*case, groups)

    assert found["AP"].replicates.size == 3
    for kept in jackknife_weights(case[2], groups) > 0:
        expected = pycoco(*as_coco(*without(case, kept)), "bbox").stats[0]
        assert np.abs(found["AP"].replicates - expected).min() < 1e-12


def test_every_image_counts_also_one_without_a_detection():
    case = scene(4)
    outcomes, truth, ids = case
    detections = outcomes.items["detections"]
    kept = detections.owner != truth.items["truths"].owner[0]
    fewer = Items(detections.owner[kept], {n: c[kept] for n, c in detections.columns.items()})
    case = Outcomes(outcomes.samples, {"detections": fewer}), truth, ids

    assert np.array_equal(twelve(measured(*case)), pycoco(*as_coco(*case), "bbox").stats)


def test_the_order_of_images_in_a_file_is_of_no_matter():
    case = scene(6)
    order = np.random.default_rng(0).permutation(12)

    again = measured(*without(case, order))

    assert np.array_equal(twelve(again), twelve(measured(*case)))
    assert np.array_equal(again["AP"].replicates, measured(*case)["AP"].replicates)


def test_what_is_not_there_is_absent_with_its_reason_and_no_detection_is_zero():
    outcomes, truth, ids = scene(7)
    truths, detections = truth.items["truths"], outcomes.items["detections"]
    larger = truths.columns["area"] > 32**2

    def judged(true, told):
        tables = (
            Items(table.owner[rows], {n: c[rows] for n, c in table.columns.items()})
            for table, rows in ((truths, true), (detections, told))
        )
        one, other = tables
        return measured(Outcomes({}, {"detections": other}), Outcomes({}, {"truths": one}), ids)

    found = judged(larger, slice(None))
    assert found["AP_small"] == found["AR_small"] == Absent("no small object")
    assert found["AP"].mean > 0
    nothing = judged(slice(None), slice(0))
    assert {one.mean for one in nothing.values()} == {0.0}
    assert nothing["AP"].stderr == 0
    assert set(judged(slice(0), slice(None)).values()) == {
        Absent("no object"), Absent("no small object"), Absent("no medium object"), Absent("no large object"),
    }  # fmt: skip


def test_a_number_of_one_image_alone_has_no_error():
    outcomes, truth, ids = scene(9, images=1, most=9)
    found = measured(outcomes, truth, ids)

    assert np.isnan(found["AP"].stderr)
    assert found["AP"].replicates is None


def test_an_ignored_truth_is_a_crowd():
    outcomes, truth, ids = scene(10)
    truths = truth.items["truths"]
    truths.columns["ignore"] = np.random.default_rng(1).random(truths.owner.size) < 0.3
    case = outcomes, truth, ids

    assert np.array_equal(twelve(measured(*case)), pycoco(*as_coco(*case), "bbox").stats)


def test_the_numbers_of_each_class_have_its_mean():
    case = scene(11)
    each = by_class(*case)
    judged = pycoco(*as_coco(*case), "bbox").eval["precision"][:, :, :, 0, 2]

    assert each == pytest.approx({k: judged[:, :, k].mean() for k in each})
    assert np.mean(list(each.values())) == pytest.approx(measured(*case)["AP"].mean)


def test_it_warns_where_many_classes_stand_in_one_image():
    label = np.uint16([0, 0, 1, 1, 2])
    none = np.zeros(5, bool)
    table = {"label": label, "crowd": none, "ignore": none}
    (scorer,) = SCORERS

    def doubts(*owner):
        return scorer.doubts(Outcomes({}, {"truths": Items(np.array(owner), table)}))

    assert doubts(0, 1, 0, 1, 2) == []
    assert doubts(0, 1, 1, 1, 2) == ["2 of 3 classes stand in one image alone, on which their AP hangs"]


def test_a_million_detections_come_to_an_end():
    """The best hundred of a class and image are kept before anything is compared."""
    outcomes, truth, ids = scene(12)
    detections = outcomes.items["detections"]
    rows = np.arange(1_000_000) % detections.owner.size
    rows = rows[np.argsort(detections.owner[rows], kind="stable")]
    many = Items(detections.owner[rows], {n: c[rows] for n, c in detections.columns.items()})

    found = measured(Outcomes({}, {"detections": many}), truth, ids)

    assert 0 < found["AP"].mean < measured(outcomes, truth, ids)["AP"].mean


def test_hotcoco_says_the_same():
    hotcoco = pytest.importorskip("hotcoco", reason="hotcoco is a second yardstick")
    case = scene(13, found=40)
    data, results = as_coco(*case)
    truth = hotcoco.COCO(data)
    judged = hotcoco.COCOeval(truth, truth.load_res(results), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()

    assert twelve(measured(*case)) == pytest.approx(np.array(judged.stats), abs=1e-9)
