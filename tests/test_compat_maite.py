"""compat.maite beside MAITE's own protocols and its own predict and evaluate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from maite.protocols import image_classification as ic
from maite.tasks import evaluate, predict

import robustbench_ms as rbms
from robustbench_ms.catalog.find import find_suite
from robustbench_ms.compat.maite import CardModel, Corruption, SuiteDataset, model_of, suite_of
from robustbench_ms.errors import UserError

FOG = (("corruption", "fog"), ("severity", 3))
CARD = "digits-resnet8@0"


@pytest.fixture(scope="module")
def quick():
    return replace(find_suite("quick").limited(60), matrix={"corruption": ("fog",), "severity": (3,)})


@pytest.fixture(scope="module")
def record(quick, tmp_path_factory):
    root = tmp_path_factory.mktemp("maite")
    return rbms.run(quick, CARD, device="cpu", threads=1, results=root / "r", cache=root / "c")[0]


class Accuracy:
    """A metric by MAITE's protocol."""

    metadata = {"id": "accuracy"}  # noqa: RUF012

    def reset(self):
        self.right = []

    def update(self, predictions, targets, metadata):
        del metadata
        self.right += [
            int(np.argmax(p)) == int(np.argmax(t)) for p, t in zip(predictions, targets, strict=True)
        ]

    def compute(self):
        return {"accuracy": float(np.mean(self.right))}


def test_they_are_what_maite_asks_for(quick):
    assert isinstance(SuiteDataset(quick), ic.Dataset)
    assert isinstance(CardModel(CARD, quick), ic.Model)
    assert isinstance(Corruption("fog", 3), ic.Augmentation)


@pytest.mark.parametrize("condition", [(), FOG])
def test_maites_evaluate_counts_what_a_record_has(quick, record, condition):
    metric = Accuracy()
    metric.reset()
    data, model = SuiteDataset(quick, condition), CardModel(CARD, quick, device="cpu")
    found, _, _ = evaluate(model=model, dataset=data, metric=metric, batch_size=16)
    cell = record.cell("corruption=fog,severity=3" if condition else "clean")
    assert found["accuracy"] == pytest.approx(cell.values["accuracy"]["mean"], abs=1e-12)
    image, target, facts = data[-1]
    assert (image.dtype, image.ndim, target.sum(), facts) == (np.uint8, 3, 1, {"id": facts["id"]})
    assert len(list(data)) == len(data) == 60


def test_maites_augmentation_step_is_the_suites_corruption(quick, record):
    """In whatever batches, since what is drawn is keyed by id."""
    clean, model = SuiteDataset(quick), CardModel(CARD, quick, device="cpu")
    drawn = Corruption("fog", 3, profile=quick.profile)
    answers = []
    for size in (7, 60):
        found, batches = predict(
            model=model, dataset=clean, augmentation=drawn, batch_size=size, return_augmented_data=True
        )
        shown = [image for images, _, _ in batches for image in images]
        assert all((a == b[0]).all() for a, b in zip(shown, SuiteDataset(quick, FOG), strict=True))
        answers.append(np.concatenate([np.stack(part) for part in found]))
    assert answers[0] == pytest.approx(answers[1], abs=1e-5)
    (text,), _, _ = drawn(([clean[0][0]], [None], [{"id": "a/b"}]))
    assert (text != drawn(([clean[0][0]], [None], [{"id": "a/c"}]))[0][0]).any()


@pytest.mark.parametrize("scores", ["logits", "probabilities"])
def test_a_data_set_a_model_and_an_augmentation_of_maite_are_measured_here(quick, record, tmp_path, scores):
    """Our own, through MAITE's protocols and back: the same answers."""
    inner = CardModel(CARD, quick, device="cpu")

    class Theirs:
        metadata = {"id": "theirs"}  # noqa: RUF012

        def __call__(self, batch):
            assert all(one.dtype == np.uint8 for one in batch)
            found = np.stack(inner(batch))
            return [*(np.log(found) if scores == "logits" else found)]

    suite = suite_of(SuiteDataset(quick), [Corruption("fog", 3, profile=quick.profile)], name="through maite")
    (again,) = rbms.run(
        suite,
        model_of(Theirs(), scores=scores),
        device="cpu",
        threads=1,
        results=tmp_path / "r",
        cache=tmp_path / "c",
    )
    assert again.name == "theirs"
    for mine, theirs in (("clean", "clean"), ("corruption=fog,severity=3", "augmentation=fog-3")):
        first, second = record.cell(mine).values, again.cell(theirs).values
        assert second["accuracy"]["mean"] == first["accuracy"]["mean"]
        assert second["nll"]["mean"] == pytest.approx(first["nll"]["mean"], rel=1e-3)


def of(*rows):
    class Rows(list):
        metadata = {"id": "rows"}  # noqa: RUF012

    return Rows(rows)


GOOD = (np.zeros((3, 8, 8), np.uint8), np.eye(2)[0], {"id": 0})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((), "has no picture"),
        (((GOOD[0] / 255, *GOOD[1:]),), r"must be uint8 \(C, H, W\) of 1 or 3 channels, not float64"),
        ((GOOD, (np.zeros((3, 9, 8), np.uint8), GOOD[1], {"id": 1})), "pictures of several shapes"),
        ((GOOD, (GOOD[0], np.eye(3)[0], {"id": 1})), "labels of several shapes"),
        ((GOOD, GOOD), "an id twice"),
    ],
)
def test_what_cannot_be_taken_is_told(rows, words):
    with pytest.raises(UserError, match=words):
        suite_of(of(*rows))


def test_augmentations_that_cannot_be_told_apart_are_refused():
    with pytest.raises(UserError, match="two augmentations have the id 'fog-3'"):
        suite_of(of(GOOD), [Corruption("fog", 3), Corruption("fog", 3, seed=1)])


def test_wrong_words_are_told_when_it_is_made(quick):
    with pytest.raises(UserError, match=r"is 3 models, digits-resnet8@0, .*: name one"):
        CardModel("digits-resnet8", quick)
    with pytest.raises(UserError, match="did you mean 'fog'"):
        Corruption("fogg", 1)
    with pytest.raises(UserError, match='"logits" or "probabilities"'):
        model_of(None, scores="scores")


def test_an_augmentation_that_changes_the_size_is_told(tmp_path):
    class Crop:
        metadata = {"id": "crop"}  # noqa: RUF012

        def __call__(self, batch):
            return [one[:, :4] for one in batch[0]], *batch[1:]

    suite = suite_of(of(GOOD, (GOOD[0], GOOD[1], {"id": "x"})), [Crop()], name="cropped")
    with pytest.raises(UserError, match="augmentation=crop makes pictures of another size"):
        rbms.run(
            suite, lambda shown: torch.zeros(len(shown), 2), results=tmp_path / "r", cache=tmp_path / "c"
        )
