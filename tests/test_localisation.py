"""Heat maps against objects: what is asked, what of it is kept, and the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustbench_ms.datasets.protocol import Batch, DataFacts, Index, RaggedImages
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.specs.card import Card, Input, Output
from robustbench_ms.specs.source import Source
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.tasks.localisation.measures import SCORERS, Maps
from robustbench_ms.tasks.localisation.scoring import (
    CANDIDATES,
    LEVELS,
    levels_of,
    met,
    scored,
    thresholds_of,
)
from robustbench_ms.tasks.localisation.task import Localisation
from robustbench_ms.tasks.measure import cell_values, jackknife_weights
from robustbench_ms.tasks.outcomes import Items, Outcomes
from tests.oracles import localisation as oracle

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


MAPS = st.integers(0, 2**32)


@settings(max_examples=25, deadline=None)
@given(MAPS, st.integers(1, 4))
def test_numbers_are_those_of_the_oracle(seed, n):
    random = np.random.default_rng(seed)
    size = tuple(random.integers(5, 40, 2))
    levels = random.integers(0, 256, (n, *size))
    levels[:, 0, 0], levels[:, -1, -1] = 0, 255
    shapes = random.random((n, *size)) < random.uniform(0.02, 0.5)
    shapes[:, 1, 1] = True
    boxes = [random.uniform(0, 20, (2, 4)).cumsum(axis=1)[:, [0, 1, 2, 3]] for _ in range(n)]
    boxes = [np.stack([b[:, 0], b[:, 1], b[:, 0] + b[:, 2], b[:, 1] + b[:, 3]], axis=1) for b in boxes]
    thresholds = sorted(random.integers(0, 255, 3).tolist())
    maps = levels.astype(np.float32)
    found = scored(maps, shapes, boxes, None, thresholds)

    assert found["hit"].tolist() == [
        oracle.pointing(m, s, 0.03 * max(size)) for m, s in zip(levels, shapes, strict=True)
    ]
    assert found["energy"] == pytest.approx(
        [oracle.quantus_mass(m, s) for m, s in zip(levels.tolist(), shapes, strict=True)], rel=1e-6
    )
    told = {"label": np.zeros(n, np.uint16), "right": np.ones(n, bool), **found}
    values, absent, _ = cell_values(
        SCORERS,
        Outcomes({"sure": np.ones(n)}, {"pairs": Items(np.arange(n), told)}),
        None,
        np.arange(n),
        None,
    )
    assert absent == {}
    assert values["box_acc_v2"]["mean"] == pytest.approx(
        oracle.box_accuracy(levels.tolist(), [b.tolist() for b in boxes], thresholds), abs=1e-6
    )
    assert values["PxAP"]["mean"] == pytest.approx(
        oracle.pixel_ap(levels.tolist(), shapes.tolist()), rel=1e-9
    )
    for name in ("pointing", "energy", "box_acc_v2", "PxAP", "area_share"):
        assert values[f"{name}_right"] == pytest.approx(values[name], nan_ok=True)


def test_the_pointing_game_forgives_what_quantus_does_not():
    """Where Quantus is right, one largest value and an object that is there, it is this game without tolerance."""
    random = np.random.default_rng(1)
    apart = 0
    for _ in range(60):
        heat, shape = random.random((40, 40)), random.random((40, 40)) < 0.3
        found = bool(scored(heat[None].astype(np.float32), shape[None], [np.zeros((0, 4))])["hit"][0])
        strict = oracle.quantus_pointing(heat.tolist(), shape)
        assert found >= strict
        apart += found != strict
    assert apart


def test_the_disc_is_open_and_three_per_cent_of_the_longer_side():
    """Of 500 pixels 15: a pixel 14 away is a hit, one 15 away, straight or askew (9 and 12), is none."""
    heat = np.zeros((1, 300, 500), np.float32)
    heat[0, 100, 200] = 1
    for down, right, hit in ((0, 14, True), (0, 15, False), (9, 11, True), (9, 12, False)):
        shape = np.zeros((1, 300, 500), bool)
        shape[0, 100 + down, 200 + right] = True
        assert scored(heat, shape, [np.zeros((0, 4))])["hit"][0] == hit
    corner = np.zeros((1, 300, 500), np.float32)
    corner[0, 299, 499] = 1
    shape = np.zeros((1, 300, 500), bool)
    shape[0, 290, 490] = True
    assert scored(corner, shape, [np.zeros((0, 4))])["hit"][0]


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_maps_that_are_even_or_no_numbers_are_misses(value):
    """An even one has the area's share as energy, as any even one; of the others nothing lies on the object."""
    maps = np.full((1, 20, 20), 0.5 if np.isfinite(value) else 0.7, np.float32)
    maps[:] = value if np.isfinite(value) else maps
    if not np.isfinite(value):
        maps[0, 3, 3] = value
    shape = np.zeros((1, 20, 20), bool)
    shape[0, :10] = True
    found = scored(maps, shape, [np.array([[0.0, 0.0, 20.0, 10.0]])], None, [10, 10, 10])

    assert not found["hit"][0]
    assert found["box"][0] == 0
    assert found["energy"][0] == (0.5 if value == 1 else 0)
    assert np.isfinite(np.concatenate([c.ravel().astype(float) for c in found.values()])).all()


def test_thresholds_are_those_that_meet_most_objects():
    """A bump that falls off: each IoU has the level at which its box fits best."""
    y, x = np.mgrid[:60, :60]
    maps = np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 200).astype(np.float32)[None]
    _, levels = levels_of(maps)
    box = np.array([[22.0, 22.0, 39.0, 39.0]])
    chosen = thresholds_of([levels[0]], [box])

    for threshold, iou in zip(chosen, (0.3, 0.5, 0.7), strict=True):
        assert met(levels[0], threshold, box) >= iou
        lower = [t for t in CANDIDATES if t < threshold]
        assert all(met(levels[0], t, box) < iou for t in lower)
    assert chosen == sorted(chosen)
    assert CANDIDATES[-1] < LEVELS - 1


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


def random_pairs(n=12, seed=0):
    random = np.random.default_rng(seed)
    owner = np.sort(random.integers(0, n, 2 * n))
    m = owner.size
    return Outcomes(
        {"sure": np.ones(n)},
        {
            "pairs": Items(
                owner,
                {
                    "label": random.integers(0, 3, m).astype(np.uint16), "hit": random.random(m) < 0.6,
                    "right": random.random(m) < 0.7, "energy": random.random(m).astype(np.float32),
                    "share": random.random(m).astype(np.float32),
                    "box": (random.integers(0, 4, m) / 3).astype(np.float32),
                    "inside": random.integers(0, 9, (m, 256)).astype(np.uint16),
                    "outside": random.integers(0, 9, (m, 256)).astype(np.uint16),
                },
            )
        },
    )  # fmt: skip


def part_of(outcomes, kept):
    pairs = outcomes.items["pairs"]
    at = np.isin(pairs.owner, kept)
    place = {int(row): i for i, row in enumerate(kept)}
    owner = np.array([place[int(o)] for o in pairs.owner[at]], dtype=np.int64)
    return Outcomes(
        {"sure": np.ones(len(kept))}, {"pairs": Items(owner, {k: v[at] for k, v in pairs.columns.items()})}
    )


@pytest.mark.parametrize("right", [False, True])
def test_replicates_are_the_numbers_without_an_image(right):
    outcomes, ids = random_pairs(), np.arange(100, 112)
    found = Maps(right).measure(outcomes, None, ids, None)

    for number, left in enumerate(jackknife_weights(ids)):
        kept = np.flatnonzero(left)
        one = Maps(right).measure(part_of(outcomes, kept), None, ids[kept], None)
        for name, measured in found.items():
            assert measured.replicates[number] == pytest.approx(one[name].mean, rel=1e-12), name
    assert found.keys() == set(Maps(right).names)


def test_pointing_is_a_mean_of_classes_and_the_rest_of_pairs():
    owner = np.arange(4)
    columns = {
        "label": np.array([0, 0, 0, 1], np.uint16), "hit": np.array([1, 1, 1, 0], bool),
        "right": np.array([1, 0, 0, 0], bool), "energy": np.array([0.2, 0.4, 0.6, 0.8], np.float32),
        "share": np.array([0.1, 0.1, 0.1, 0.5], np.float32), "inside": np.zeros((4, 256), np.uint16),
        "outside": np.ones((4, 256), np.uint16),
    }  # fmt: skip
    columns["inside"][:, 255] = 1
    outcomes = Outcomes({"sure": np.ones(4)}, {"pairs": Items(owner, columns)})
    values, absent, _ = cell_values(SCORERS, outcomes, None, owner, None)

    assert values["pointing"]["mean"] == 0.5
    assert values["pointing_right"]["mean"] == 1
    assert values["energy"]["mean"] == pytest.approx(0.5)
    assert values["energy_right"]["mean"] == pytest.approx(0.2)
    assert values["right"]["mean"] == 0.25
    assert values["area_share"]["mean"] == pytest.approx(0.2)
    assert set(absent) == {"box_acc_v2", "box_acc_v2_right"}
    assert absent["box_acc_v2"].startswith("the data set has no training pictures")


def test_what_is_not_there_is_absent_with_its_reason():
    wrong = random_pairs()
    wrong.items["pairs"].columns["right"][:] = False
    _, absent, _ = cell_values(SCORERS, wrong, None, np.arange(12), None)
    assert set(absent.values()) == {"no class is answered right"}
    assert set(absent) == {
        f"{name}_right" for name in ("pointing", "energy", "box_acc_v2", "PxAP", "area_share")
    }

    nothing = part_of(wrong, np.zeros(0, int))
    nothing = Outcomes({"sure": np.ones(2)}, nothing.items)
    values, absent, _ = cell_values(SCORERS, nothing, None, np.arange(2), None)
    assert values == {}
    assert absent["pointing"] == "no object of a class that is asked about"


def test_bad_networks_are_one_sentence(places):
    with pytest.raises(UnknownName, match="no layer named 'mep'; did you mean 'map'"):
        loaded(places, output=Output(layer="mep"))
    with pytest.raises(UserError, match=r"its layer 'head' gives .* which is no map"):
        TASK.ask(loaded(places, output=Output(layer="head")), batch_of(RED))
    with pytest.raises(UserError, match="labels have no 'blue', which is a class of the data set"):
        loaded(places, output=Output(labels=("red", "green", "sky")))
    four = Colours()
    four.head = nn.Linear(3, 4)
    with pytest.raises(UserError, match=r"it answers \(1, 4\) to 1 pictures, and logits \(1, 3\) are wanted"):
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
        UserError, match=r"logits \(1, 1000\) are wanted; the suite's pairs are of ImageNet's 1,000"
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
