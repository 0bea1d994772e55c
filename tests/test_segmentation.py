"""Scene labelling: what is asked, what becomes of it on the picture's own grid, and the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustbench_ms.corruptions import NAMES as NAMES_OF_CORRUPTIONS
from robustbench_ms.datasets.protocol import MAP, Batch, Index
from robustbench_ms.datasets.shapes import RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Input, Output
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.measure import cell_values, jackknife_weights
from robustbench_ms.tasks.outcomes import Outcomes
from robustbench_ms.tasks.segmentation.measures import SCORERS, Overlaps
from robustbench_ms.tasks.segmentation.raw import first_largest
from robustbench_ms.tasks.segmentation.task import Segmentation
from tests.oracles import segmentation as mmseg

CPU = torch.device("cpu")
NAMES = ("ground", "red", "blue")
TASK = Segmentation(Suite("s", "segmentation", "d"))


def index(names=NAMES):
    layout = RaggedImages(3, np.array([[24, 32]]))
    return Index(np.arange(1), layout, len(names), "", lambda _: None, names=names)


def loaded(module, places, shown=None, output=None):
    card = Card("m", module if isinstance(module, nn.Module) else lambda: module, tasks=("segmentation",),
                input=shown or Input(), output=output or Output())  # fmt: skip
    return load_model(card, index(), device=CPU, places=places)


def batch_of(height=24, width=32, n=2):
    """Pictures with a red block, and their maps."""
    images, maps = torch.zeros((n, 3, height, width), dtype=torch.uint8), torch.zeros((n, height, width))
    for i in range(n):
        images[i, 0, 8:16, 4 + 4 * i : 20], maps[i, 8:16, 4 + 4 * i : 20] = 255, 1
    ids = np.arange(n)
    return Batch(images, [{"classes": 3}] * n, ids, ids, {MAP: maps.to(torch.uint8)})


def logits_of(images):
    """Class 1 where red is, class 2 where blue is."""
    return torch.stack([torch.full_like(images[:, 0], 0.5), images[:, 0], images[:, 2]], dim=1)


def asked(module, places, batch=None, **more):
    return TASK.ask(loaded(module, places, **more), batch or batch_of()).raw["classes"]


class Named:
    def __init__(self, logits):
        self.logits = logits


FORMS = {
    "logits": logits_of,
    "torchvision": lambda x: {"out": logits_of(x), "aux": torch.zeros(len(x), 3, 1, 1)},
    "transformers": lambda x: Named(logits_of(x)),
    "several": lambda x: (logits_of(x), torch.zeros(1)),
    "one output": lambda x: {"labels": logits_of(x)},
    "indices": lambda x: logits_of(x).argmax(1),
    "bytes": lambda x: logits_of(x).argmax(1).to(torch.uint8),
    "whole floats": lambda x: logits_of(x).argmax(1).float(),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_answer_whatever_its_form(form, places):
    assert torch.equal(asked(FORMS[form], places).to(torch.uint8), batch_of().maps[MAP])


@pytest.mark.parametrize("fit", ["resize", "letterbox"])
@pytest.mark.parametrize("form", ["logits", "indices"])
def test_answers_come_back_on_the_pictures_own_grid(fit, form, places):
    """Shown twice as wide; of a letterbox what was added below is cut off."""
    found = asked(FORMS[form], places, shown=Input(size=64, fit=fit))
    true = batch_of().maps[MAP]

    assert found.shape == true.shape
    assert float((found != true).float().mean()) < 0.04
    assert found[0, 12, 12] == 1
    assert not found[:, :5].any()


def test_coarse_logits_are_enlarged_before_the_largest_is_taken(places):
    """Two locations a row: bilinear between half-pixel centres, so that the classes meet in the middle."""

    def coarse(images):
        one = torch.tensor([[[[3.0, -1.0]], [[0.0, 0.0]], [[-9.0, -9.0]]]])
        return one.expand(len(images), -1, -1, -1)

    def indices(images):
        return torch.tensor([[[0, 1]]]).expand(len(images), -1, -1)

    row = asked(coarse, places)[0, 0]
    # Class 0's lead falls from 3 at x = 7.5 to -1 at x = 23.5: it is 0 at x = 19.5.
    assert row.tolist() == [0] * 20 + [1] * 12
    assert asked(indices, places)[0, 0].tolist() == [0] * 16 + [1] * 16


@pytest.mark.parametrize("shape", [(1, 4, 5), (11, 40, 30), (300, 7, 8), (5, 6, 7, 8)])
def test_of_equal_logits_the_lowest_class_is_taken(shape):
    """numpy's argmax promises the first of equal ones; whole numbers of a small range have many, and two zeros."""
    logits = torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(0)).float()
    logits[logits == -3] = -torch.inf
    logits[-1][logits[-1] == 0] = -0.0
    logits[:, 0, 0] = -torch.inf

    found = first_largest(logits)

    assert found.dtype == torch.int16
    assert np.array_equal(found.numpy(), logits.numpy().argmax(axis=0))


def test_labels_by_name_are_the_datas(places):
    found = asked(FORMS["logits"], places, output=Output(labels=("ground", "blue", "red")))
    assert sorted(found.unique().tolist()) == [0, 2]
    other = asked(
        lambda x: torch.cat([logits_of(x), logits_of(x)[:, 1:2] * 2], dim=1),
        places,
        output=Output(labels=(*NAMES, "car")),
    )
    assert sorted(other.unique().tolist()) == [0, 3], "a class that nobody asks about is none of the data's"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: logits_of(x)[:, :2], "logits of 2 classes, and 3 are asked for"),
        (lambda x: logits_of(x).argmax(1) + 2, "answers with class 3, and its classes are 0 to 2"),
        (lambda x: logits_of(x).mean((2, 3)), r"answers \(2, 3\), and logits"),
        (lambda x: logits_of(x)[:1], "of 2 pictures are wanted"),
        (lambda x: x[:, 0] * 0.7 + 0.1, "answers with fractions"),
        (lambda _: "labels", "answers with str"),
    ],
)
def test_other_answers_are_one_sentence(answer, said, places):
    with pytest.raises(UserError, match=said):
        asked(answer, places)


def test_a_crop_is_refused(places):
    with pytest.raises(UserError, match="crops the picture"):
        asked(logits_of, places, shown=Input(size=16, fit="crop"))


def counted(truths, answers, classes):
    """Outcomes and truth of lists of maps of sizes of their own."""
    parts, trues = [], []
    for true, said in zip(truths, answers, strict=True):
        ids = np.arange(1)
        batch = Batch(
            torch.zeros(1, 3, *true.shape), [{"classes": classes}], ids, ids, {MAP: torch.tensor(true)[None]}
        )
        answer = {"classes": torch.tensor(said)[None], "broken": torch.zeros(1)}
        parts.append(TASK.outcomes(Answers(answer), batch))
        trues.append(TASK.truth(batch))

    def joined(tables):
        return Outcomes(
            {name: np.concatenate([t.samples[name] for t in tables]) for name in tables[0].samples}
        )

    return joined(parts), joined(trues)


def values_of(truths, answers, classes):
    outcomes, truth = counted(truths, answers, classes)
    assert {outcomes.samples[name].dtype for name in ("intersection", "predicted")} == {np.dtype(np.uint32)}
    return cell_values(SCORERS, outcomes, truth, np.arange(len(truths)), None)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 5))
def test_numbers_are_mmsegs(seed, classes, n):
    """Classes that are absent from the truth, or from both, and ignored pixels among them."""
    random = np.random.default_rng(seed)
    shapes = [(int(h), int(w)) for h, w in random.integers(2, 7, (n, 2))]
    some = random.integers(0, classes, 3)
    truths = [np.where(random.random(s) < 0.2, 255, random.choice(some, s)) for s in shapes]
    truths[0][0, 0] = some[0]
    answers = [random.choice([*some, classes - 1], s) for s in shapes]
    values, _, _ = values_of(truths, answers, classes)

    wanted = mmseg.scores([t.tolist() for t in truths], [a.tolist() for a in answers], classes)
    found = [values[name]["mean"] for name in ("mIoU", "mAcc", "pixel_accuracy", "classes")]
    assert found == pytest.approx(wanted, rel=1e-12)


def test_numbers_by_hand():
    """Truth 0 0 1 255, answers 0 2 1 1: IoU of 0 is 1/2, of 1 is 1, of 2 is 0 and class 3 is nowhere."""
    values, absent, _ = values_of([np.array([[0, 0, 1, 255]])], [np.array([[0, 2, 1, 1]])], 4)

    told = {name: value["mean"] for name, value in values.items()}
    assert told == {
        "mIoU_truth": 0.75, "mIoU": 0.5, "mAcc": 0.75, "pixel_accuracy": pytest.approx(2 / 3), "classes": 3,
        "classes_truth": 2,
    }  # fmt: skip
    assert absent == {}
    _, absent, _ = values_of([np.full((2, 2), 255)], [np.zeros((2, 2), int)], 4)
    assert absent["mIoU_truth"] == "every pixel is ignored"


def test_a_class_that_is_only_predicted_costs_miou_and_not_miou_truth():
    true = [np.array([[0, 1, 1, 1]])]
    plain, _, _ = values_of(true, [np.array([[0, 1, 1, 0]])], 3)
    other, _, _ = values_of(true, [np.array([[0, 1, 1, 2]])], 3)

    assert plain["classes"]["mean"] == 2
    assert other["classes"]["mean"] == 3
    assert other["mIoU"]["mean"] < plain["mIoU"]["mean"]
    assert other["mIoU_truth"]["mean"] == pytest.approx((1 + 2 / 3) / 2)


def test_torchmetrics_agrees_where_every_class_is_there():
    """Its mean takes a class that is nowhere as it likes, version by version; so all are there, and nothing ignored."""
    metrics = pytest.importorskip("torchmetrics.classification")
    random = np.random.default_rng(0)
    truths, answers = random.integers(0, 5, (2, 6, 20, 24))
    found, _, _ = values_of(list(truths), list(answers), 5)

    jaccard = metrics.MulticlassJaccardIndex(5, average="macro")(torch.tensor(answers), torch.tensor(truths))
    assert found["mIoU"]["mean"] == pytest.approx(float(jaccard), rel=1e-6)


def random_counts(n, classes, seed=0):
    random = np.random.default_rng(seed)
    true = random.integers(0, 5000, (n, classes)) * (random.random((n, classes)) < 0.3)
    hit = (true * random.random((n, classes))).astype(int)
    said = hit + random.integers(0, 500, (n, classes))
    columns = [np.asarray(c, np.uint32) for c in (hit, said, true)]
    return Outcomes({"intersection": columns[0], "predicted": columns[1]}), Outcomes({"true": columns[2]})


def test_replicates_are_the_numbers_without_a_group():
    outcomes, truth = random_counts(12, 4)
    ids = np.arange(100, 112)
    found = Overlaps().measure(outcomes, truth, ids, None)

    for left, told in zip(jackknife_weights(ids), found["mIoU_truth"].replicates, strict=True):
        rows = np.flatnonzero(left)
        part = Outcomes({k: v[rows] for k, v in outcomes.samples.items()})
        one = Overlaps().measure(part, Outcomes({"true": truth.samples["true"][rows]}), ids[rows], None)
        assert one["mIoU_truth"].mean == told
    assert len(found["mIoU_truth"].replicates) == 12


def test_sums_of_many_large_pictures_do_not_wrap():
    n, big = 3000, np.uint32(2048 * 1024)
    column = np.full((n, 2), big)
    values = Overlaps().measure(
        Outcomes({"intersection": column, "predicted": column}),
        Outcomes({"true": column}),
        np.arange(n),
        None,
    )
    assert {v.mean for v in values.values()} == {1.0}


def test_doubts_about_the_truth_and_the_clean_cell():
    alone = Outcomes({"true": np.array([[5, 0, 0], [5, 3, 0], [5, 0, 0]])})
    assert Overlaps().doubts(alone) == ["1 of 2 classes stand in one image alone, on which their IoU hangs"]
    assert Overlaps().doubts(Outcomes({"true": np.ones((3, 3))})) == []
    facts = replace_facts()
    told = {"mIoU_truth": {"mean": 0.3}, "classes_truth": {"mean": 3}}
    (doubt,) = TASK.doubts(told, facts)
    assert "one class for every pixel" in doubt
    assert TASK.doubts(told | {"mIoU_truth": {"mean": 0.4}}, facts) == []
    (doubt,) = TASK.doubts({"classes": {"mean": 0}, "classes_truth": {"mean": 0}}, facts)
    assert "every mask is 255" in doubt
    (doubt,) = TASK.doubts(told | {"classes_truth": {"mean": 1}}, facts)
    assert doubt == "of 3 classes one alone is true anywhere: are the masks of 0 and 255? 255 is ignored"


def replace_facts():
    from robustbench_ms.datasets.protocol import DataFacts

    return DataFacts(
        1, "", np.arange(1), None, 3, corrupted=False, layout=RaggedImages(3, np.array([[24, 32]]))
    )


def test_maps_of_classes_are_apart_by_pixels():
    one = torch.zeros((2, 20, 20), dtype=torch.int16)
    near, far = one.clone(), one.clone()
    near[0, 0, 0] = 2
    far[0, :2] = 2
    assert not Answers(one).differ(Answers(near))
    assert Answers(one).differ(Answers(far))


def test_what_is_no_number_is_apart_from_every_number():
    nan, inf = float("nan"), float("inf")
    one = Answers(torch.tensor([[nan, -inf, 1.0, 2.0]]))
    assert not one.differ(Answers(torch.tensor([[nan, -inf, 1.0, 2.0]])))
    assert one.differ(Answers(torch.tensor([[0.0, -inf, 1.0, 2.0]])))
    assert one.differ(Answers(torch.tensor([[nan, torch.finfo().min, 1.0, 2.0]])))


@pytest.mark.parametrize("name", NAMES_OF_CORRUPTIONS)
def test_labels_stay_under_every_corruption(name):
    from robustbench_ms.tasks.corrupting import Corruptions

    batch, suite = batch_of(64, 64), Suite("s", "segmentation", "d", profile="any-size")
    noise = torch.randint(0, 256, batch.samples.shape, generator=torch.Generator().manual_seed(0))
    batch = replace(batch, samples=noise.to(torch.uint8))
    shown = Corruptions(suite, replace_facts())(batch, (("corruption", name), ("severity", 5)))

    assert not torch.equal(shown.samples, batch.samples)
    assert torch.equal(shown.maps[MAP], batch.maps[MAP])
    assert replace(shown, samples=batch.samples, condition=()).maps is batch.maps
