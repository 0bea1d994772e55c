"""VisDrone's official numbers against a transcription of its toolkit, and the mean that weighs classes by images."""

from __future__ import annotations

import numpy as np
import pytest

from robustbench_ms.tasks.detection.visdrone_metric import REGION, SCORERS
from robustbench_ms.tasks.measure import jackknife_weights
from robustbench_ms.tasks.outcomes import Absent, Items, Outcomes
from tests.detections import scene
from tests.oracles.visdrone import scores

NAMES = ("VD_AP", "VD_AP50", "VD_AP75", "VD_AR1", "VD_AR10", "VD_AR100", "VD_AR500")
COCO, OFFICIAL = SCORERS


def with_regions(seed, **options):
    """A scene with ignored regions, ignored truths and whole pixels."""
    outcomes, truth, ids = scene(seed, size=(90, 120), **options)
    random = np.random.default_rng(seed)
    truths = truth.items["truths"]
    count = 8
    corner = random.integers(0, [100, 70], (count, 2))
    regions = np.concatenate([corner, corner + random.integers(10, 60, (count, 2))], axis=1)
    owner = np.concatenate([truths.owner, random.integers(0, len(ids), count)])
    order = np.argsort(owner, kind="stable")
    old = truths.columns
    columns = {
        "box": np.concatenate([old["box"], regions.astype(np.float32)]),
        "label": np.concatenate([old["label"], np.full(count, REGION, np.uint16)]),
        "crowd": np.zeros(owner.size, bool),
        "ignore": np.concatenate([random.random(old["label"].size) < 0.2, np.ones(count, bool)]),
        "area": np.concatenate([old["area"], np.ones(count)]),
    }
    items = Items(owner[order], {name: column[order] for name, column in columns.items()})
    return outcomes, Outcomes(truth.samples, {"truths": items}), ids


def as_rows(outcomes, truth, ids, kept=None):
    """Rows of the toolkit's files, an image after the other by id."""
    told = [], []
    for table, rows in ((truth.items["truths"], told[0]), (outcomes.items["detections"], told[1])):
        columns = table.columns
        for i in np.argsort(ids):
            rows.append([])
            for at in np.flatnonzero(table.owner == i):
                x1, y1, x2, y2 = columns["box"][at].astype(float).tolist()
                box = [int(side) for side in (x1, y1, x2 - x1, y2 - y1)]
                label = int(columns["label"][at])
                flag = columns["score"][at] if "score" in columns else int(not columns["ignore"][at])
                rows[-1].append([*box, float(flag), 0 if label == REGION else label + 1])
    chosen = range(len(ids)) if kept is None else np.flatnonzero(kept[np.argsort(ids)])
    sizes = [(int(h), int(w)) for h, w in zip(truth.samples["height"], truth.samples["width"], strict=True)]
    return [told[0][i] for i in chosen], [told[1][i] for i in chosen], [sizes[i] for i in chosen]


def seven(found):
    return [found[name].mean for name in NAMES]


@pytest.mark.parametrize("seed", range(4))
def test_the_seven_numbers_are_the_toolkits(seed):
    case = with_regions(seed, found=25)

    assert seven(OFFICIAL.measure(*case, None)) == pytest.approx(scores(*as_rows(*case)), abs=1e-12)


def test_its_replicates_are_its_numbers_without_an_image():
    case = with_regions(7, images=5)
    found = OFFICIAL.measure(*case, None)

    for r, kept in enumerate(jackknife_weights(case[2])):
        expected = scores(*as_rows(*case, kept > 0))
        assert [found[n].replicates[r] for n in NAMES] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("before", "found"), [(499, 1), (500, 0)])
def test_the_detections_of_an_image_are_counted_over_all_classes(before, found):
    """One that is right, after so many of another class."""
    box = np.tile(np.float32([10, 10, 60, 60]), (before + 1, 1))
    label = np.repeat(np.uint16([1, 0]), [before, 1])
    score = np.linspace(1, 0, before + 1, dtype=np.float32)
    told = Items(np.zeros(before + 1, int), {"box": box, "score": score, "label": label})
    one = np.zeros(1, bool)
    true = {"box": box[:1], "label": np.uint16([0]), "crowd": one, "ignore": one, "area": np.array([2500.0])}
    size = {"height": np.array([100]), "width": np.array([100])}

    measured = OFFICIAL.measure(
        Outcomes(size, {"detections": told}),
        Outcomes(size, {"truths": Items(np.array([0]), true)}),
        np.array([7]),
        None,
    )

    assert [measured[f"VD_AR{most}"].mean for most in (1, 10, 100, 500)] == [0, 0, 0, found]


def test_two_classes_of_ap_50_in_500_images_and_10_in_20_are_48_by_the_one_and_30_by_the_other():
    """Half of one class's 500 objects are found, the best detections of all, and a tenth of the other's 20."""
    label = np.repeat([0, 1], [500, 20])
    box = np.tile(np.float32([10, 10, 60, 60]), (520, 1))
    true = {
        "box": box, "label": label.astype(np.uint16), "crowd": np.zeros(520, bool), "ignore": np.zeros(520, bool),
        "area": np.full(520, 2500.0),
    }  # fmt: skip
    right = np.concatenate([np.arange(250), 500 + np.arange(2)])
    told = {"box": box[right], "score": np.ones(252, np.float32), "label": label[right].astype(np.uint16)}
    size = {"height": np.full(520, 100), "width": np.full(520, 100)}
    outcomes = Outcomes(size, {"detections": Items(right, told)})
    truth = Outcomes(size, {"truths": Items(np.arange(520), true)})

    official = OFFICIAL.measure(outcomes, truth, np.arange(520), None)["VD_AP"].mean
    coco = COCO.measure(outcomes, truth, np.arange(520), None)["AP"].mean

    assert 100 * official == pytest.approx((500 * 50 + 20 * 10) / 520)  # 48.46
    # COCO's 101 recalls count half of the step at 0 more.
    assert 100 * coco == pytest.approx((100 * 51 / 101 + 100 * 11 / 101) / 2)
    assert round(100 * coco) == 31


def test_without_an_object_there_is_no_number():
    outcomes, truth, ids = with_regions(1, images=2)
    truths = truth.items["truths"]
    only = truths.columns["label"] == REGION
    none = Items(truths.owner[only], {name: column[only] for name, column in truths.columns.items()})

    found = OFFICIAL.measure(outcomes, Outcomes(truth.samples, {"truths": none}), ids, None)

    assert set(found.values()) == {Absent("no object outside the ignored regions")}
