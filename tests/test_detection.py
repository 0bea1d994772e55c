"""What detectors are asked, and what becomes of their answers."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle

from robustbench_ms.datasets.protocol import Batch, Index
from robustbench_ms.datasets.shapes import RaggedImages
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.specs.card import Card, Input, Output
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.identity import identify
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.tasks.detection import decoding, labels
from robustbench_ms.tasks.detection.task import Detection
from tests.boxes import SUITE, register
from tests.boxes.data import NAMES, index_boxes, target
from tests.boxes.model import Finds, Says, in_columns
from tests.running import measure, only

CPU = torch.device("cpu")
DETECTED = Output(score=0.001)


def task(**options):
    return Detection(Suite("s", "detection", "boxes", options=options))


def loaded(module, places, output=DETECTED, shown=None, index=None):
    build = module if isinstance(module, torch.nn.Module) else lambda: module
    card = Card("m", build, tasks=("detection",), input=shown or Input(), output=output)
    return load_model(card, index or index_boxes(None, None, ()), device=CPU, places=places)


def shown(images, found=()):
    ids = np.arange(len(images))
    return Batch(torch.as_tensor(images), [target(found)] * len(images), ids, ids)


def bright(height, width, box):
    left, top, right, bottom = box
    image = np.zeros((1, 3, height, width), np.uint8)
    image[:, 0, top:bottom, left:right] = 255
    return image


def asked(module, places, batch=None, output=DETECTED, **more):
    batch = shown(np.zeros((2, 3, 40, 40), np.uint8)) if batch is None else batch
    return task().ask(loaded(module, places, output, **more), batch).raw


@pytest.mark.parametrize("fit", ["resize", "letterbox", "crop"])
def test_boxes_come_back_in_the_pictures_own_pixels(fit, places):
    """Twice the size and as large as it is: a model that sees other pixels finds the same box."""
    box = (24, 16, 48, 40)
    batch = shown(bright(64, 96, box))

    for size, near in ((None, 0.01), (192, 2.0)):
        (row,) = asked(Finds(), places, batch, shown=Input(size=size, fit=fit))
        assert row["boxes"].numpy() == pytest.approx(np.array([box]), abs=near)


@given(st.lists(st.sampled_from([0.0, 0.001, 0.25, 0.5]), max_size=12), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_the_best_come_first_and_ties_in_the_models_order(scores, most):
    row = {"scores": torch.tensor(scores), "labels": torch.arange(len(scores))}

    kept = decoding.best(row, 0.001, most)["labels"].tolist()

    told = np.float32(scores)
    wanted = sorted(
        (i for i in range(len(scores)) if told[i] > np.float32(0.001)), key=lambda i: (-told[i], i)
    )
    assert kept == wanted[:most]


def test_a_callable_answers_with_boxes_scores_and_labels(places):
    data = index_boxes(None, None, ()).open("stored")
    batch = data.load(np.array([0, 2]), CPU)

    rows, tables = asked(in_columns(), places, batch), asked(Finds(), places, batch)

    assert any(len(row["scores"]) for row in rows)
    for one, other in zip(rows, tables, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("boxes", "scores", "labels"))


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"scores": (-0.25,)}, "a negative score, -0.25"),
        ({"labels": (2,)}, "class 2, and its [output] labels are 0 to 1"),
        ({"labels": (-1,)}, "class -1"),
        ({"scores": (0.5, 0.4)}, "boxes (1, 4), scores (2,), labels (1,)"),
    ],
)
def test_answers_that_cannot_be_are_one_sentence(told, says, places):
    with pytest.raises(UserError) as error:
        asked(Says(**told), places)

    assert says in str(error.value)


class Dazzled(Finds):
    """In a picture as bright as brightness makes it at level 2, the last of the detections is as `told`."""

    def __init__(self, **told):
        super().__init__()
        self.told = told

    def row(self, image):
        row = super().row(image)
        if float(image.mean()) > 0.19 and len(row["labels"]):
            for name, value in self.told.items():
                row[name][-1] = value
        return row


@pytest.mark.parametrize(
    ("told", "says"), [({"scores": torch.nan}, "NaN for"), ({"boxes": -torch.inf}, "infinity for")]
)
def test_what_is_no_number_ends_its_cell_alone(told, says, tmp_path, places):
    register()
    path = tmp_path / "found.toml"
    path.write_text(SUITE)
    cards = [
        Card(name, build, tasks=("detection",), output=DETECTED)
        for name, build in (("good", Finds), ("odd", partial(Dazzled, **told)))
    ]

    records = {event.record.name: event.record for event in only(measure(path, cards, places), RecordDone)}

    assert not any(m.error for m in records["good"].measurements)
    errors = {m.key: m.error for m in records["odd"].measurements if m.error}
    assert list(errors) == ["corruption=brightness,severity=2"]
    assert errors["corruption=brightness,severity=2"].startswith(says)


def test_another_shape_of_answer_is_named(places):
    for answer, says in (
        (
            torch.zeros(2, 5),
            'a tensor (2, 5), not with boxes, scores and labels of each image (decode = "boxes")',
        ),
        ([{"boxes": torch.zeros(0, 4), "score": torch.zeros(0)}] * 2, "has no 'scores', only boxes, score"),
        ([{}], "it answers for 1 images, and was shown 2"),
    ):
        with pytest.raises(UserError) as error:
            asked(lambda _, answer=answer: answer, places)
        assert says in str(error.value)


def test_no_detection_and_a_million(places):
    none = Says(boxes=(), scores=(), labels=())
    found = task().ask(loaded(none, places), shown(np.zeros((2, 3, 40, 40), np.uint8)))
    made = task().outcomes(found, shown(np.zeros((2, 3, 40, 40), np.uint8)))
    columns = made.items["detections"].columns
    assert columns["box"].shape == (0, 4)
    assert (columns["label"].dtype, columns["score"].dtype) == (np.uint16, np.float32)
    assert made.samples["width"].tolist() == [40, 40]

    n = 1_000_000
    scores = torch.rand(n, generator=torch.Generator().manual_seed(0))
    many = Says()
    many.told = {"boxes": torch.rand(n, 4), "scores": scores, "labels": torch.zeros(n, dtype=torch.int64)}
    (row,) = asked(many, places, shown(np.zeros((1, 3, 40, 40), np.uint8)))
    assert torch.equal(row["scores"], scores.sort(descending=True).values[:100])


def test_a_card_without_a_threshold_is_not_asked(places):
    with pytest.raises(UserError, match="no score threshold"):
        asked(Says(), places, output=Output())


# labels


def test_cocos_labels_are_those_of_torchvision():
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    theirs = FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]

    assert len(theirs) == 91
    ours = labels.names_of("coco-91", ())
    assert [name or theirs[i] for i, name in enumerate(ours)] == theirs
    assert {theirs[i] for i, name in enumerate(ours) if not name} == {"__background__", "N/A"}
    assert labels.class_map("coco-91", labels.COCO, 80)[90] == 79
    assert labels.class_map("coco-80", ("dog", "cat"), 2)[15:17] == (1, 0)
    assert labels.class_map("background+data", (), 2) == (-1, 0, 1)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (("red",), "its [output] labels have no 'blue', which is a class of the data set"),
        (("red", "blu"), "no 'blue', which is a class of the data set; did you mean 'blu'?"),
        (("red", "blue", "red"), "have 'red' more than once"),
        ("coco-80", "no 'red'"),
    ],
)
def test_labels_that_do_not_fit_are_told_before_anything_is_asked(own, says, places):
    model = loaded(Says(), places, replace(DETECTED, labels=own))
    with pytest.raises(UserError) as error:
        task().calibrate(model, None, places)
    assert says in str(error.value)


def test_labels_by_name_need_names(places):
    index = Index(np.arange(8), RaggedImages(3, np.full((8, 2), 40)), 2, "", None)
    model = loaded(Says(), places, replace(DETECTED, labels=("a", "b")), index=index)
    with pytest.raises(UserError, match="classes have no names"):
        task().calibrate(model, None, places)


def test_a_class_that_the_data_do_not_ask_about_is_left_out(places):
    said = Says(boxes=((0, 0, 4, 4),) * 3, scores=(0.9, 0.8, 0.7), labels=(0, 1, 2))
    output = replace(DETECTED, labels=("blue", "green", "red"), maximum=2)

    rows = asked(said, places, output=output)

    assert rows[0]["labels"].tolist() == [NAMES.index("blue"), NAMES.index("red")]  # the two best that count


# masks


def test_masks_are_kept_as_cocos_run_lengths(places):
    planes = np.random.default_rng(0).random((2, 1, 40, 40)).astype(np.float32)
    said = Says(((0, 0, 4, 4),) * 2, (0.9, 0.8), (0, 1), masks=torch.from_numpy(planes))
    batch = shown(np.zeros((2, 3, 40, 40), np.uint8), [(1, 2, 3, 4, 1)])
    batch.targets[0]["rles"] = [b"PPY1"]
    segm = task(iou="segm")

    kept = segm.outcomes(segm.ask(loaded(said, places), batch), batch).items["detections"]

    theirs = [rle.encode(np.asfortranarray(plane[0] >= 0.5, np.uint8))["counts"] for plane in planes]
    assert kept.columns["rle"].tolist() == theirs * 2
    assert segm.truth(batch).items["truths"].columns["rle"].tolist() == [b"PPY1"] * 2
    assert segm.wants == ("boxes", "masks")
    with pytest.raises(UserError, match="answers without masks"):
        segm.ask(loaded(Says(), places), batch)
    said.told["masks"] = said.told["masks"][..., :20]
    with pytest.raises(UserError, match="its masks are of 40 x 20 pixels"):
        segm.ask(loaded(said, places), batch)
    with pytest.raises(UserError, match="no kind of overlap named 'masks'"):
        task(iou="masks")


def test_truths_are_what_the_batch_has():
    batch = shown(np.zeros((2, 3, 40, 50), np.uint8), [(1, 2, 11, 22, 1), (0, 0, 5, 5, 0)])
    table = task().truth(batch).items["truths"]

    assert table.owner.tolist() == [0, 0, 1, 1]
    assert table.columns["area"].tolist() == [200.0, 25.0] * 2
    assert table.columns["label"].dtype == np.uint16
    assert task().truth(batch).samples["height"].tolist() == [40, 40]


# the probe, and who answers


def test_what_is_odd_about_boxes_is_told(places):
    index = index_boxes(None, None, ())
    facts = index.open("stored").facts
    for boxes, says in (
        ((30, 30, 8, 8), "end before they begin"),
        ((640, 30, 700, 80), "outside of the image"),
        ((0.1, 0.1, 0.5, 0.5), "shares of the image"),
    ):
        who = identify(loaded(Says((boxes,)), places), task(), facts, 8)
        assert any(says in told for told in who.warnings), boxes
    assert identify(loaded(Says(), places), task(), facts, 8).warnings == ()


def test_output_is_part_of_who_answers(places):
    facts = index_boxes(None, None, ()).open("stored").facts
    one, other = (
        identify(loaded(Says(), places, replace(DETECTED, score=score)), task(), facts, 8)
        for score in (0.001, 0.05)
    )
    assert one.fields["outputs"] == other.fields["outputs"]
    assert one.digest != other.digest


def test_the_probe_is_the_same_on_every_machine():
    layout = RaggedImages(3, np.array([[48, 64]]))
    found = hashlib.sha256(task().probe(layout).samples.numpy().tobytes()).hexdigest()

    assert found[:12] == "f01bd71f435a"
