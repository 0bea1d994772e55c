"""Heat maps against objects: what is asked, and what of it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_ms.datasets.protocol import Batch, DataFacts, Index
from robustbench_ms.datasets.shapes import RaggedImages
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.specs.card import Card, Input, Output
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.tasks.localisation.task import Localisation

CPU = torch.device("cpu")
NAMES = ("red", "green", "blue")
TASK = Localisation(Suite("s", "localisation", "d"))
SIDE = 64


class Colours(nn.Module):
    """A map of each colour, and its mean as the logit."""

    def __init__(self):
        super().__init__()
        self.map = nn.AvgPool2d(4)
        self.head = nn.Linear(3, 3, bias=False)
        nn.init.eye_(self.head.weight)

    def forward(self, x):
        return self.head(self.map(x).mean((2, 3)))


def index(names=NAMES, n=2):
    layout = RaggedImages(3, np.full((n, 2), SIDE))
    return Index(np.arange(n), layout, len(names), "", lambda _: None, names=names)


def no_training(source):
    """Of a data set with one split."""
    if source.split != "test":
        raise UnknownName("no such split")
    return index()


def loaded(places, module=None, shown=None, output=None, names=NAMES, index_of=no_training, task=TASK):
    from dataclasses import replace

    card = Card("m", module or Colours(), input=shown or Input(), output=output or Output())
    model = load_model(card, index(names), device=CPU, places=places)
    return replace(model, calibration=task.calibrate(model, Source("d", wants=("shapes",)), index_of))


def square(top, left, side=16):
    shape = np.zeros((SIDE, SIDE), bool)
    shape[top : top + side, left : left + side] = True
    return shape


def target_of(*objects):
    """(label, shape[, crowd]) each."""
    shapes = np.array([o[1] for o in objects]).reshape(-1, SIDE, SIDE)
    crowd = np.array([len(o) > 2 and o[2] for o in objects], dtype=bool)
    where = [np.argwhere(s) for s in shapes]
    boxes = [[*w.min(axis=0)[::-1], *(w.max(axis=0)[::-1] + 1)] for w in where]
    return {
        "labels": np.array([o[0] for o in objects], dtype=np.int64), "crowd": crowd, "ignore": np.zeros_like(crowd),
        "shapes": shapes, "boxes": np.array(boxes, dtype=np.float32).reshape(-1, 4),
    }  # fmt: skip


def batch_of(*targets):
    """Pictures on which each object has its own colour."""
    images = np.zeros((len(targets), 3, SIDE, SIDE), np.uint8)
    for image, target in zip(images, targets, strict=True):
        for label, shape in zip(target["labels"], target["shapes"], strict=True):
            image[label][shape] = 255
    ids = np.arange(len(targets))
    return Batch(torch.from_numpy(images), list(targets), ids, ids)


RED, BOTH = target_of((0, square(8, 8))), target_of((0, square(8, 8)), (2, square(40, 32)))


def outcomes_of(places, batch, **more):
    return TASK.outcomes(TASK.ask(loaded(places, **more), batch), batch)


def test_a_map_a_picture_and_class(places):
    found = outcomes_of(places, batch_of(RED, target_of(), BOTH))
    pairs = found.items["pairs"]

    assert pairs.owner.tolist() == [0, 2, 2]
    assert pairs.columns["label"].tolist() == [0, 0, 2]
    assert pairs.columns["right"].tolist() == [True, True, False]  # of equal logits the first is the answer
    assert pairs.columns["hit"].all()
    assert (pairs.columns["energy"] > 0.7).all()
    assert pairs.columns["share"] == pytest.approx(1 / 16)
    assert "box" not in pairs.columns
    assert pairs.columns["inside"].sum(axis=1).tolist() == [256] * 3
    assert pairs.columns["outside"].sum(axis=1).tolist() == [SIDE**2 - 256] * 3
    assert pairs.columns["inside"].dtype == np.uint16
    assert found.samples["sure"].shape == (3,)


@pytest.mark.parametrize(
    "shown", [Input(size=128), Input(size=128, fit="letterbox"), Input(size=56, fit="crop", crop=0.875)]
)
def test_maps_come_back_on_the_pictures_own_grid(shown, places):
    plain = TASK.ask(loaded(places), batch_of(RED)).raw[0]["map"]
    found = TASK.ask(loaded(places, shown=shown), batch_of(RED)).raw[0]["map"]

    assert found.shape == plain.shape == (1, SIDE, SIDE)
    near = [one[0] / one.max() for one in (plain, found)]
    assert float((near[0] - near[1]).abs().mean()) < 0.02


def test_outside_of_a_crop_nothing_is_seen(places):
    white = batch_of(target_of((0, np.ones((SIDE, SIDE), bool))))
    (found,) = TASK.ask(loaded(places, shown=Input(size=32, fit="crop", crop=0.5)), white).raw[0]["map"]

    assert float(found[16:48, 16:48].min()) > 0
    assert float(found.sum()) == pytest.approx(float(found[15:49, 15:49].sum()))


def test_a_crowd_is_no_object_and_its_pixels_are_left_out(places):
    crowd = square(40, 40)
    alone = outcomes_of(places, batch_of(target_of((0, crowd, True)))).items["pairs"]
    beside = outcomes_of(places, batch_of(target_of((0, square(8, 8)), (0, crowd, True)))).items["pairs"]
    without = outcomes_of(places, batch_of(RED)).items["pairs"]

    assert alone.owner.size == 0
    columns = beside.columns
    assert columns["outside"].sum() == SIDE**2 - 2 * 256
    assert columns["share"][0] == pytest.approx(256 / (SIDE**2 - 256))
    # What of its light spills over its edge is not left out.
    assert columns["hit"].all()
    assert 0.6 < columns["energy"][0] < without.columns["energy"][0] + 1e-6


def test_masks_as_run_lengths_are_the_same(places):
    mask = pytest.importorskip("pycocotools.mask")
    told = {
        **BOTH,
        "rles": [mask.encode(np.asfortranarray(s.astype(np.uint8)))["counts"] for s in BOTH["shapes"]],
    }
    batch = batch_of(BOTH)
    shapes = outcomes_of(places, batch)
    del told["shapes"]
    rles = outcomes_of(places, Batch(batch.samples, [told], batch.ids, batch.rows))

    for (name, one), (_, other) in zip(shapes.columns(), rles.columns(), strict=True):
        assert np.array_equal(one, other), name


def test_a_cards_thresholds_are_found_on_training_pictures_once(places):
    class Data:
        facts = DataFacts(
            2, "", np.arange(2), None, 3, corrupted=False, layout=RaggedImages(3, np.full((2, 2), SIDE))
        )

        def batches(self, size):
            yield np.arange(2)

        def load(self, rows, device):
            return batch_of(RED, BOTH)

    asked = []

    def training(source):
        asked.append((source.split, source.limit))
        return Index(np.arange(2), Data.facts.layout, 3, "", lambda _: Data(), names=NAMES)

    model = loaded(places, index_of=training)
    assert asked == [("test", None), ("train", 500)]
    assert model.calibration["layer"] == "map"
    assert len(model.calibration["thresholds"]) == 3
    batch = batch_of(BOTH)
    outcomes = TASK.outcomes(TASK.ask(model, batch), batch)
    assert (outcomes.items["pairs"].columns["box"] == 1).all()  # a square of one colour is its own box


def test_bad_networks_are_one_sentence(places):
    with pytest.raises(UnknownName, match="no layer named 'mep'; did you mean 'map'"):
        loaded(places, output=Output(layer="mep"))
    with pytest.raises(UserError, match=r"its layer 'head' gives .* which is no map"):
        TASK.ask(loaded(places, output=Output(layer="head")), batch_of(RED))
    with pytest.raises(UserError, match="labels have no 'blue', which is a class of the data set"):
        loaded(places, output=Output(labels=("red", "green", "sky")))
    four = Colours()
    four.head = nn.Linear(3, 4)
    with pytest.raises(
        UserError, match=r"answers for 4 classes, and 3 are asked for; its .output. labels may name"
    ):
        loaded(places, four)
    with pytest.raises(UserError, match="whose layers cannot be reached"):
        loaded(places, lambda: lambda x: x.mean((2, 3)))
    with pytest.raises(UnknownName, match="suite s: cam: no map named 'gradcam'; did you mean 'grad-cam'"):
        Localisation(Suite("s", "localisation", "d", options={"cam": "gradcam"}))


def test_names_of_a_networks_own_are_the_datas(places):
    """Its classes are blue, red and one that nobody asks about."""
    model = Colours()
    model.head = nn.Linear(3, 4, bias=False)
    model.head.weight.data = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    found = TASK.ask(
        loaded(places, model, output=Output(labels=("blue", "red", "", "green"))), batch_of(BOTH)
    )
    plain = TASK.ask(loaded(places), batch_of(BOTH))

    assert torch.allclose(found.raw[0]["map"], plain.raw[0]["map"], atol=1e-6)


def test_pairs_of_imagenets_classes_are_read_line_by_line(tmp_path):
    from robustbench_ms.tasks.localisation.pairs import read_pairs

    def given_lines(*lines):
        (tmp_path / "pairs.txt").write_text("\n".join(lines))
        return read_pairs("pairs.txt", tmp_path)

    pairs = given_lines("n07753592 red", "", "n02391049 blue")
    assert pairs.known(NAMES) == {0: 954, 2: 340}
    assert pairs.told.startswith("2 classes of ImageNet, ")
    with pytest.raises(BadFile, match=r"pairs.txt: 'rad' is no class of the data set; did you mean 'red'"):
        given_lines("n07753592 rad").known(NAMES)
    with pytest.raises(BadFile, match=r"line 2: 'n0775359' is none of ImageNet's .* did you mean"):
        given_lines("n02391049 blue", "n0775359 red")
    with pytest.raises(BadFile, match="line 2 has 'red' or n02391049 a second time"):
        given_lines("n07753592 red", "n02391049 red")
    with pytest.raises(BadFile, match="line 1 must be a WordNet id and a class"):
        given_lines("n07753592")
    with pytest.raises(UserError, match="names no class"):
        given_lines("")
    with pytest.raises(BadFile, match="the list of classes cannot be read"):
        read_pairs("other.txt", tmp_path)


def test_pairs_ask_a_network_of_a_thousand(tmp_path, places):
    (tmp_path / "pairs.txt").write_text("n07753592 red\n")
    task = Localisation(Suite("s", "localisation", "d", options={"pairs": "pairs.txt"}, folder=tmp_path))
    wide = Colours()
    wide.head = nn.Linear(3, 1000, bias=False)
    wide.head.weight.data.zero_()
    wide.head.weight.data[954, 0] = 1.0
    found = task.ask(loaded(places, wide, task=task), batch_of(BOTH)).raw[0]

    assert found["label"].tolist() == [0]
    assert found["right"].tolist() == [True]
    with pytest.raises(
        UserError, match="for 3 classes, and 1000 are asked for; the suite's pairs are of ImageNet's 1,000"
    ):
        loaded(places, task=task)
    assert "pairs" in task.question(
        DataFacts(1, "", np.arange(1), None, 3, corrupted=False, layout=index().layout)
    )


def test_doubts_and_health(places):
    told = {"energy": {"mean": 0.02}, "area_share": {"mean": 0.06}}
    (doubt,) = TASK.doubts(told, None)
    assert "a map that is even everywhere has 6.0%" in doubt
    assert TASK.doubts({**told, "energy": {"mean": 0.1}}, None) == []
    assert TASK.doubts({}, None) == []
    model = loaded(places)
    probe = TASK.probe(index().layout)
    assert TASK.health(TASK.ask(model, probe), None) == []
    model.module.head.weight.data.zero_()
    assert "empty" in TASK.health(TASK.ask(model, probe), None)[0]
