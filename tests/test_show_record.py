"""rbms show of a record: its text, its pictures, its detections as COCO results."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import robustbench_ms as rbms_api
from robustbench_ms.adapters.results import Results
from robustbench_ms.datasets.digits import index_digits
from robustbench_ms.datasets.protocol import limited
from robustbench_ms.datasets.scenes import index_scenes, scene
from robustbench_ms.evaluation.cells import cell_path, read_cell
from robustbench_ms.evaluation.finished import _results
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import summarise
from robustbench_ms.specs.source import Source
from robustbench_ms.tasks.detection.drawing import DRAWING
from robustbench_ms.tasks.detection.task import Detection
from robustbench_ms.tasks.outcomes import Items, Outcomes, taken
from robustbench_ms.tasks.protocol import Shown
from tests import boxes
from tests.boxes.data import CATEGORY_IDS, index_boxes, picture

ROOT = Path(__file__).parent.parent
CELLS = ("clean", *(f"{c}-{s}" for c in ("brightness", "contrast") for s in (1, 2)))


@pytest.fixture(scope="module", autouse=True)
def _known():
    boxes.register()


def guesses(cell):
    """Detections near the rectangles and elsewhere, with ties of score, the first decimals of float32 and worse."""
    random, told = np.random.default_rng(CELLS.index(cell)), []
    for i in index_boxes(None, None, ()).ids.tolist():
        for left, top, right, low, label in picture(i)[1]:
            box = np.array([left, top, right - left, low - top]) + random.normal(0, 1, 4)
            told += [(i, label, box, score) for score in (0.7, float(random.random()))]
        told += [(i, int(random.integers(2)), 1e-5 + 20 * random.random(4), 0.1 * random.random())] * 2
    return [
        {"image_id": i, "category_id": CATEGORY_IDS[label], "bbox": box.tolist(), "score": score}
        for i, label, box, score in told
    ]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A suite, detections of it and the record of these."""
    root = tmp_path_factory.mktemp("shown")
    (root / "suite.toml").write_text(boxes.SUITE)
    (root / "theirs").mkdir()
    for cell in CELLS:
        rows = [] if cell == "contrast-2" else guesses(cell)
        (root / "theirs" / f"{cell}.json").write_text(json.dumps(rows))
    run(root, "theirs")
    return root


def run(root, name):
    where = {"results": root / "results", "cache": root / "cache"}
    return rbms_api.run(
        str(root / "suite.toml"), [f"results:{root / name}"], device="cpu", threads=1, **where
    )[0]


@pytest.fixture
def show(home, rbms):
    """rbms show of the record with its suite and cache."""
    record = home / "results" / "suite" / "theirs.json"

    def call(*argv, suite=True, cache="cache"):
        named = ("--suite", home / "suite.toml") if suite else ()
        return rbms("show", record, *named, "--cache", home / cache, *argv)

    return call


def test_a_record_says_who_what_and_its_cells(home, show, rbms):
    text = show(suite=False).out
    record = read_record(home / "results" / "suite" / "theirs.json")

    assert text.startswith("Record theirs on suite\n  who: results:theirs, subject ")
    assert f"subject {record.subject['digest']}" in text
    assert "2 corruptions x 2 severities; n = 12" in text
    assert "(5 x 12) replicates" in text
    value, error = record.cell("corruption=contrast,severity=1").values["AP"].values()
    half = 2.2009851600916384 * error  # Student's t with 11 degrees, of a table
    row = next(line for line in text.splitlines() if line.startswith("| contrast"))
    assert f" {100 * value:.1f} ± {100 * half:.1f} " in row
    assert row.split("|")[3].strip() == "0.0 ± 0.0"
    assert "mPC is over a whole matrix" in text  # and so has no value here
    assert rbms("show", "suite/theirs", "--results", home / "results").out == text


def test_and_the_same_to_programs(home, show):
    told, record = show("--json", suite=False).json(), read_record(home / "results" / "suite" / "theirs.json")

    assert [cell["cell"] for cell in told["cells"]] == [m.key for m in record.measurements]
    assert told["cells"][0]["values"].keys() == record.cell("clean").values.keys()
    assert told["summaries"]["P"]["mean"] == summarise(record, ("P",))["P"].mean
    assert told["not_summarised"].keys() == {"mPC"}
    assert told["kept"]["AP/replicates"] == [5, 12]


def test_a_committed_record_of_another_task_is_shown(rbms):
    told = rbms("show", "quick/digits-resnet8@0", "--results", ROOT / "results")

    assert told.code == 0
    assert "| clean, % ↑" in told.out
    assert told.out.count("_noise  ") == 4


def test_detections_come_back_as_they_were(home, show):
    found = show("--detections", home / "again" / "ours", "--json").json()["detections"]

    assert [Path(one["path"]).stem for one in found] == list(CELLS)
    assert found[-1]["detections"] == 0
    then, now = read_record(home / "results" / "suite" / "theirs.json"), run(home, "again/ours")
    for one, other in zip(then.measurements, now.measurements, strict=True):
        assert one.values == other.values
        mine, theirs = (
            read_cell(cell_path(home / "cache" / "cells", m.protocol, r.subject["digest"])).outcomes
            for r, m in ((then, one), (now, other))
        )
        for (name, column), (_, again) in zip(mine.columns(), theirs.columns(), strict=True):
            assert np.array_equal(column, again), name
    rows = json.loads((home / "again" / "ours" / "clean.json").read_text())
    assert {row["category_id"] for row in rows} == set(CATEGORY_IDS)
    assert {row["score"] for row in rows if row["score"] > 0.69999} >= {0.7}  # the decimals of its float32


def test_masks_come_back_too():
    index = index_scenes(Source("quick-scenes", wants=("boxes", "masks")), None, ())
    batch = index.open("stored").load(np.arange(2), "cpu")
    truth = Detection.truth(type("Segm", (), {"iou": "segm"})(), batch)
    table = truth.items["truths"]
    columns = {name: table.columns[name] for name in ("box", "label", "rle")}
    scores = np.linspace(0.9, 0.1, table.owner.size).astype(np.float32)
    rows = _results(Items(table.owner, {**columns, "score": scores}), truth, index)

    back = Results(Path("nowhere"), index)
    mine = [row for row in rows if row["image_id"] == index.ids[1]]
    seen = back._row(mine, (128, 128))
    assert len(mine) > 0
    for mask, box in zip(seen["masks"].numpy(), batch.targets[1]["boxes"], strict=True):
        y, x = np.nonzero(mask)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == box.tolist()
    assert seen["scores"].numpy().tolist() == scores[table.owner == 1].tolist()


def test_a_sheet_has_a_row_a_picture_and_a_column_a_cell(home, show, tmp_path):
    told = show(
        "--images", tmp_path / "s.png", "--ids", "101,104", "--cells", "clean,contrast-1", "--json"
    ).json()

    assert (told["ids"], told["cells"]) == ([101, 104], ["clean", "contrast-1"])
    drawn = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).astype(int)
    orange = (abs(drawn - (255, 176, 0)).sum(axis=2) < 9).sum()
    assert orange > 500  # detections of a score of .3 or more
    show("--images", tmp_path / "none.png", "--ids", "101,104", "--cells", "clean,contrast-1", "--score", "1")
    bare = np.asarray(Image.open(tmp_path / "none.png").convert("RGB")).astype(int)
    assert (abs(bare - (255, 176, 0)).sum(axis=2) < 9).sum() == 0
    assert ((bare == 255).all(axis=2).sum()) > orange  # and the truth, in white


def test_detections_and_objects_differ_without_colour():
    """Along the upper edge: one grey level the whole way, and black and white in turns."""
    target = boxes.data.target([(10, 20, 90, 60, 1), (10, 80, 90, 110, 0)])
    table = Items(
        np.array([0]), {"box": target["boxes"][1:], "score": np.array([0.5]), "label": np.array([0])}
    )
    answer, ground = (
        Outcomes({"height": np.array([120])}, {"detections": table}),
        np.full((480, 400, 3), 128, np.uint8),
    )
    target["boxes"][1] += 200  # elsewhere than what was found

    drawn = DRAWING.draw(Shown(ground, 4.0, target, answer, ("red", "blue"), 0.3)).convert("L")

    found, missed = (np.asarray(drawn)[y, 150:350].astype(int) for y in (320, 80))
    assert len(set(found)) == 1
    assert {0, 255} <= set(missed)
    assert 8 <= (np.diff(missed) != 0).sum() <= 40


def test_masks_are_shaded_and_those_of_objects_have_an_edge():
    from pycocotools import mask

    def rle(rows, columns):
        plane = np.zeros((60, 50), np.uint8, order="F")
        plane[rows, columns] = 1
        return mask.encode(plane)["counts"]

    target = boxes.data.target([(30, 10, 50, 30, 1)])
    target["rles"] = [rle(slice(30, 50), slice(10, 30))]
    columns = {"box": np.float32([[20, 2, 48, 28]]), "score": np.float32([0.5]), "label": np.array([0])}
    sizes = {"height": np.array([60]), "width": np.array([50])}
    ground = np.full((240, 200, 3), 128, np.uint8)

    def drawn(score):
        table = Items(np.array([0]), {**columns, "rle": np.array([rle(slice(2, 28), slice(20, 48))])})
        answer = Outcomes(sizes, {"detections": table})
        return np.asarray(DRAWING.draw(Shown(ground, 4.0, target, answer, ("red", "blue"), score))).astype(
            int
        )

    picture = drawn(0.3)
    assert np.abs(picture[100, 180] - (0.65 * 128 + 0.35 * np.array([255, 176, 0]))).max() <= 1
    assert (drawn(0.6)[100, 180] == 128).all()  # its score is too low
    assert (picture[160, 80] == 128).all()  # within the object, and within the picture
    assert (picture[20, 60] == 128).all()
    assert (picture[119:125, 60] == 255).all(axis=1).any()


def test_of_classification_right_and_wrong_are_drawn_by_the_bits(rbms, tmp_path):
    record = read_record(ROOT / "results" / "quick" / "digits-resnet8@0.json")
    bits, ids = record.samples().row("clean"), index_digits(Source("digits"), None, ()).ids
    argv = ("show", "quick/digits-resnet8@0", "--results", ROOT / "results", "--cells", "clean", "--images")
    for of, there, not_there in ((True, (0, 114, 178), (213, 94, 0)), (False, (213, 94, 0), (0, 114, 178))):
        chosen = ids[bits == of][:2]

        told = rbms(*argv, tmp_path / "s.png", "--ids", ",".join(map(str, chosen)))

        assert told.code == 0, told.err
        drawn = np.asarray(Image.open(tmp_path / "s.png").convert("RGB"))
        assert (drawn == there).all(axis=2).any()
        assert not (drawn == not_there).all(axis=2).any()


def test_some_samples_outcomes_are_theirs():
    table = Items(np.array([0, 0, 2, 3, 3]), {"x": np.arange(5)})
    found = taken(Outcomes({"s": np.arange(4) * 10}, {"t": table}), np.array([3, 0]))

    assert found.samples["s"].tolist() == [30, 0]
    assert (found.items["t"].owner.tolist(), found.items["t"].columns["x"].tolist()) == (
        [0, 0, 1, 1],
        [3, 4, 0, 1],
    )


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--images", "s.xyz"), "no picture with the ending '.xyz'"),
        (
            ("--images", "s.png", "--cells", "contrast-3"),
            "no cell named 'contrast-3'; did you mean 'contrast-",
        ),
        (("--images", "s.png", "--ids", "7"), "shows no sample of id 7"),
        (("--images", "s.png", "--ids", "a"), "--ids wants whole numbers"),
        (("--ids", "100"), "give --images"),
        (("--images", "s.png", "--score", "30"), "--score is from 0 to 1, not 30"),
        (("--measure",), "--measure counts what a model costs"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(argv, says, show, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = show(*argv)

    assert (found.code, found.err.count("\n")) == (2, 1)
    assert says in found.err
    assert not list(tmp_path.glob("s.*"))


def test_what_the_cache_lacks_names_the_command(show, home, tmp_path):
    for argv in (("--images", tmp_path / "s.png"), ("--detections", tmp_path / "d")):
        found = show(*argv, cache="empty")
        assert found.code == 2
        assert "no finished cell clean of theirs" in found.err
        assert "rbms run suite -m results:theirs" in found.err
    assert not (tmp_path / "d").exists()


def test_other_data_are_not_drawn_as_the_records(home, show, tmp_path, monkeypatch):
    text = boxes.SUITE.replace('profile = "any-size"', 'profile = "any-size"\nseed = 1')
    (tmp_path / "other.toml").write_text(text)
    found = show("--images", tmp_path / "s.png", "--suite", tmp_path / "other.toml", suite=False)

    assert found.code == 0  # the record's own seed counts
    (tmp_path / "other.toml").write_text(boxes.SUITE.replace("[matrix]", 'encode = "jpeg-85"\n[matrix]'))
    found = show("--images", tmp_path / "s.png", "--suite", tmp_path / "other.toml", suite=False)
    assert found.code == 2
    assert "encode is jpeg-85 here and None in the record" in found.err


def test_a_word_that_is_no_record_gets_the_nearest(home, rbms, tmp_path):
    results = home / "results"
    for name, says in (
        ("suite/thiers", "did you mean 'suite/theirs'?"),
        (results / "suite" / "theirs.correct.npz", "holds the arrays of a record"),
        (results / "suite" / "thiers.json", "no such record; did you mean 'theirs.json'?"),
    ):
        found = rbms("show", name, "--results", results)
        assert found.code == 2
        assert says in found.err
    shutil.copytree(results, tmp_path / "damaged")
    path = tmp_path / "damaged" / "suite" / "theirs.json"
    path.write_text(path.read_text().replace('"n":12', '"n":13'))
    found = rbms("show", path)
    assert (found.code, "damaged or edited" in found.err) == (2, True)
    assert "--images is of a record" in rbms("show", "quick", "--images", "s.png").err


@pytest.fixture
def parted(monkeypatch):
    """The boxes' data, whose ids part into even and odd ones."""
    index, info = index_boxes(None, None, ()), boxes.DATASETS["boxes"]
    parts = {"side": np.array(["even", "odd"])[index.ids % 2]}
    monkeypatch.setattr(boxes.data, "index_boxes", lambda *_: replace(index, parts=parts))
    boxes.DATASETS.register("boxes", replace(info, parts=("side",)))
    yield parts
    boxes.DATASETS.register("boxes", info)


def test_a_part_has_the_numbers_of_its_own_samples(home, show, parted):
    """By pycocotools on the detections and objects of these images alone."""
    told = show("--json").json()["parts"]["side"]

    assert [(name, one["n"]) for name, one in told.items()] == [("even", 6), ("odd", 6)]
    for odd, name in enumerate(told):
        rows = [
            row
            for row in json.loads((home / "theirs" / "clean.json").read_text())
            if row["image_id"] % 2 == odd
        ]
        expected = average_precision(rows, [i for i in range(100, 112) if i % 2 == odd])
        assert told[name]["cells"]["clean"]["AP"] == pytest.approx(expected, abs=1e-6)
    text = show().out
    assert "| side | " in text
    row = next(line for line in text.splitlines() if line.startswith("| even"))
    assert row.split("|")[2:4] == ["   6 ", f" {100 * told['even']['cells']['clean']['AP']:.1f} "]
    assert "by side: " in show(cache="empty").out


def average_precision(rows, ids):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = [(i, *one) for i in ids for one in picture(i)[1]]
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in ids],
        "categories": [{"id": number} for number in CATEGORY_IDS],
        "annotations": [
            {"id": k, "image_id": i, "category_id": CATEGORY_IDS[label], "bbox": [left, top, right - left, low - top],
             "area": (right - left) * (low - top), "iscrowd": 0}
            for k, (i, left, top, right, low, label) in enumerate(found, 1)
        ],
    }  # fmt: skip
    truth.createIndex()
    judged = COCOeval(truth, truth.loadRes(rows), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats[0]


def test_scenes_part_by_their_ground():
    index = index_scenes(Source("quick-scenes", wants=("boxes",)), None, ())

    own = [scene("test", int(i)).ground.partition(".")[0] for i in index.ids[:9]]
    assert index.parts["ground"][:9].tolist() == own
    assert np.unique(index.parts["ground"]).tolist() == ["chelsea", "motorcycle_left", "retina"]
    few = limited(index, 30)
    assert few.parts["ground"].tolist() == index.parts["ground"][np.isin(index.ids, few.ids)].tolist()
