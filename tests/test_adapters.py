"""Models that are files: ONNX, Hugging Face's folders, detections that were made elsewhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import robustbench_ms as rbms_api
from robustbench_ms.catalog.cards import read_card, write_card
from robustbench_ms.catalog.find import find_card
from robustbench_ms.datasets.protocol import Batch
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import ADAPTERS, Card, Input, Output, Weights
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects import LOADERS
from robustbench_ms.subjects.identity import identify
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.subjects.weights import file_digest
from robustbench_ms.tasks.detection.task import Detection
from tests import boxes
from tests.boxes.data import CATEGORY_IDS, coco, index_boxes, picture
from tests.boxes.onnx_files import yolox_file

CPU = torch.device("cpu")
CLEAN, FOG3 = (), (("corruption", "fog"), ("severity", 3))
ONNX = Card(
    "m",
    "onnx:m.onnx",
    tasks=("detection",),
    input=Input(size=32, fit="letterbox", range=(0, 255)),
    output=Output(score=0.001, decode="yolox", nms=0.65),
)


@pytest.fixture(scope="module", autouse=True)
def _known():
    boxes.register()


def detection(**options):
    return Detection(Suite("s", "detection", "boxes", options=options))


def loaded(card, places, index=None):
    return load_model(card, index or index_boxes(None, None, ()), device=CPU, places=places)


def grey(*levels, side=64):
    """Pictures of one level each."""
    images = torch.tensor(levels, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 3, side, side)
    ids = np.arange(len(levels))
    return Batch(images, [None] * len(levels), ids, ids)


def test_the_table_and_the_words_of_cards_are_the_same():
    assert tuple(LOADERS) == ADAPTERS


# ONNX


def raw_of_one_box(at, centre, size, classes=(0.5, 0.25)):
    """The answer at 32 x 32 of one location that speaks, (21, 7)."""
    raw = np.zeros((21, 5 + len(classes)), np.float32)
    raw[:, 4] = -9  # below every threshold whatever the picture
    raw[at] = [*centre, *np.log(size), 0, *classes]
    return raw


def test_yolox_is_decoded_as_its_definition_reads(tmp_path, places):
    """By hand: location 6 of stride 8 stands at column 2, row 1; 18 of stride 16 (16..19) at column 0, row 1."""
    raw = raw_of_one_box(6, (0.5, 0.25), (2, 1))
    raw[18] = raw_of_one_box(18, (0, 0), (0.5, 1))[18]
    yolox_file(tmp_path / "m.onnx", raw, ("n", 3, 32, 32))
    model = loaded(replace(ONNX, folder=tmp_path), places)

    (row,) = detection().ask(model, grey(255)).raw

    # Pictures are twice as large: centre (2.5, 1.25) * 8 with size 16 x 8, and (0, 1) * 16 with size 8 x 16.
    told = sorted(zip(row["boxes"].tolist(), row["labels"].tolist(), row["scores"].tolist(), strict=True))
    assert [label for _, label, _ in told] == [0, 1, 0, 1]  # every class of a location, not only the best
    assert [score for *_, score in told] == pytest.approx([0.5, 0.25] * 2)
    assert told[0][0] == pytest.approx([-8, 16, 8, 48], abs=1e-4)
    assert told[2][0] == pytest.approx([24, 12, 56, 28], abs=1e-4)


@pytest.mark.parametrize("batch", [1, 2, 4, "n"])
def test_a_fixed_batch_is_filled_up_and_cut(batch, tmp_path, places):
    yolox_file(tmp_path / "m.onnx", raw_of_one_box(5, (0.5, 0.5), (1, 1)), (batch, 3, 32, 32))
    model = loaded(replace(ONNX, folder=tmp_path), places)

    rows = detection().ask(model, grey(51, 102, 153, 204, 255)).raw

    assert [float(row["scores"][0]) for row in rows] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_of_two_boxes_of_one_class_the_lesser_goes(tmp_path, places):
    raw = raw_of_one_box(5, (0.5, 0.5), (2, 2))
    raw[6] = raw_of_one_box(6, (-0.5, 0.5), (2, 2), (0.4, 0.3))[6]  # the same box from the next location
    yolox_file(tmp_path / "m.onnx", raw, (1, 3, 32, 32))

    (row,) = detection().ask(loaded(replace(ONNX, folder=tmp_path), places), grey(255)).raw

    assert row["scores"].tolist() == pytest.approx([0.5, 0.3])


def test_its_files_digest_is_its_weights(tmp_path, places):
    path = yolox_file(tmp_path / "m.onnx", raw_of_one_box(5, (0, 0), (1, 1)), (1, 3, 32, 32))
    model = loaded(replace(ONNX, folder=tmp_path), places)
    facts = index_boxes(None, None, ()).open("stored").facts

    who = identify(model, detection(), facts, 8)

    assert model.weights_sha256 == who.fields["weights"] == file_digest(path)
    assert not who.nondeterministic
    with pytest.raises(BadFile, match="as the card says"):
        loaded(replace(ONNX, folder=tmp_path, weights=(Weights("m.onnx", sha256="0" * 64),)), places)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"output": Output(score=0.001, decode="yolox", labels=("red", "blue", "green"))},
            "wants (n, 21, 8)",
        ),
        (
            {"output": Output(score=0.001)},
            "a tensor (1, 21, 7), not with boxes, scores and labels of each image",
        ),
        ({"output": Output(score=0.001, decode="detr")}, "a tensor (1, 21, 7) without logits"),
        (
            {"input": Input(size=64)},
            "it takes (channels, height, width) = (3, 32, 32), and its [input] shows",
        ),
        ({"weights": (Weights("other.onnx"),)}, "its [[weights]] speak of another file, other.onnx"),
        ({"build": "onnx:lost.onnx"}, "weights lost.onnx are not in"),
    ],
)
def test_a_file_of_another_output_or_input_is_one_sentence(change, says, tmp_path, places):
    yolox_file(tmp_path / "m.onnx", raw_of_one_box(5, (0, 0), (1, 1)), (1, 3, 32, 32))
    with pytest.raises(UserError) as error:
        detection().ask(loaded(replace(ONNX, folder=tmp_path, **change), places), grey(255))
    assert says in str(error.value)


def test_what_is_no_onnx_file_is_one_sentence(tmp_path, places):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(BadFile, match="damaged or no ONNX file") as error:
        loaded(replace(ONNX, folder=tmp_path), places)
    assert "\n" not in str(error.value)


def test_cards_of_files_are_found_read_and_written(tmp_path):
    yolox_file(tmp_path / "m.onnx", raw_of_one_box(5, (0, 0), (1, 1)), (1, 3, 32, 32))
    found = find_card(f"onnx:{tmp_path / 'm.onnx'}")
    assert (found.name, found.build, found.tasks, found.output.score) == (
        "m",
        "onnx:m.onnx",
        ("classification", "detection", "segmentation"),
        0.001,
    )

    again = read_card(
        write_card(replace(ONNX, output=replace(ONNX.output, labels=("a", "b"))), tmp_path / "m.toml")
    )
    assert again.output == replace(ONNX.output, labels=("a", "b"))
    text = (tmp_path / "m.toml").read_text()
    for old, new, says in (
        ("score = 0.001", "", "a detector's card says its score threshold"),
        ("score = 0.001", "score = 0.06", "score must be from 0 to 0.05, not 0.06"),
        ('"yolox"', '"yolo"', "no way to decode named 'yolo'; did you mean 'yolox'?"),
        ('"onnx:m.onnx"', '"onnx:../m.onnx"', "must be a path inside its folder"),
        ("nms = 0.65", "nsm = 0.65", "no key named 'nsm'; did you mean 'nms'?"),
    ):
        assert old in text
        (tmp_path / "m.toml").write_text(text.replace(old, new))
        with pytest.raises(UserError) as error:
            read_card(tmp_path / "m.toml")
        assert says in str(error.value)


def average_precision(annotations, rows, index):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found = [
        {
            "image_id": number,
            "category_id": index.category_ids[label],
            "bbox": [x, y, right - x, low - y],
            "score": s,
        }
        for number, row in rows
        for (x, y, right, low), s, label in zip(
            *(row[k].tolist() for k in ("boxes", "scores", "labels")), strict=True
        )
    ]
    truth = COCO(str(annotations))
    judged = COCOeval(truth, truth.loadRes(found), "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats[:2]


@pytest.mark.slow
def test_yolox_nano_has_its_ap_on_coco_mini(real_data, places, capsys):
    """Within 1e-4 of what was found for it with Pillow's antialiased resize: .3215 and .5068."""
    annotations = real_data("coco-mini/annotations/instances_val2017.json")
    file = real_data("detectors/yolox_nano.onnx")
    index = coco(annotations, annotations.parent.parent / "val2017")
    model = loaded(find_card("yolox-nano"), replace(places, data=file.parent.parent), index)
    data, rows = index.open("stored"), []
    for batch in (data.load(helping, CPU) for helping in data.batches(2**22)):
        rows += zip(batch.ids.tolist(), detection().ask(model, batch).raw, strict=True)

    assert average_precision(annotations, rows, index) == pytest.approx([0.3215, 0.5068], abs=1e-4)


# Hugging Face


@pytest.fixture(scope="module")
def yolos(tmp_path_factory):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = tmp_path_factory.mktemp("hf") / "tiny"
    torch.manual_seed(0)
    config = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        patch_size=8, num_detection_tokens=5, id2label={0: "N/A", 1: "blue", 2: "red"},
    )  # fmt: skip
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    told = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def test_a_hugging_face_folder_answers_by_its_own_names(yolos, places):
    card = find_card(f"hf:{yolos}")
    model = loaded(card, places)
    batch = grey(0, 90)

    rows = detection().ask(model, batch).raw

    assert model.card.output.labels == ("", "blue", "red")
    assert model.card.input == Input(size=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    read = sorted(("config.json", "model.safetensors", "preprocessor_config.json"))
    lines = "".join(f"{file_digest(yolos / name)}  {name}\n" for name in read)
    assert model.weights_sha256 == hashlib.sha256(lines.encode()).hexdigest()
    with torch.inference_mode():
        theirs = model.module(
            (torch.tensor([0, 90]) / 255 - 0.5).div(0.25).reshape(2, 1, 1, 1).expand(2, 3, 32, 32)
        )
    scores, labels = theirs.logits.softmax(-1)[..., :-1].max(-1)
    for row, own, kinds in zip(rows, scores, labels, strict=True):
        order = own[kinds > 0].argsort(descending=True)
        assert row["scores"] == pytest.approx(own[kinds > 0][order].numpy(), abs=1e-5)
        assert row["labels"].tolist() == [{1: 1, 2: 0}[int(kind)] for kind in kinds[kinds > 0][order]]
        assert float(row["boxes"].max()) > 2  # of 64 pixels, not of shares


def test_a_hugging_face_folder_without_safetensors_is_refused(tmp_path, places):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(
        BadFile, match=r"has no model\.safetensors \(a pickle, which might run code, is not read\)"
    ):
        loaded(find_card(f"hf:{folder}"), places)


# detections from files


def told_of(i, shift=0.0):
    """What finds every rectangle of an image, as COCO results."""
    _, found = picture(i)
    return [
        {"image_id": int(i), "category_id": CATEGORY_IDS[label], "bbox": [left + shift, top, right - left, low - top],
         "score": 0.5}
        for left, top, right, low, label in found
    ]  # fmt: skip


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    ids = index_boxes(None, None, ()).ids
    for cell in ("clean", *(f"{c}-{s}" for c in ("brightness", "contrast") for s in (1, 2))):
        rows = [row for i in ids for row in told_of(i, 0.0 if cell == "clean" else 3.0)]
        (folder / f"{cell}.json").write_text(json.dumps(rows))
    return folder


def test_detections_from_files_are_a_subject_without_a_probe(results, tmp_path):
    (tmp_path / "suite.toml").write_text(boxes.SUITE)

    (record,) = rbms_api.run(str(tmp_path / "suite.toml"), [f"results:{results}"], device="cpu", threads=1)

    assert record.name == "theirs"
    assert record.cell("clean").values["AP"]["mean"] == pytest.approx(1)
    shifted = [m.values["AP"]["mean"] for m in record.measurements if m.key != "clean"]
    assert len(shifted) == 4
    assert max(shifted) < 0.9
    assert record.card["weights"]["sha256"] == record.subject["weights"]
    assert str(results.parent) not in json.dumps(record.card)
    before = record.subject["digest"]
    (results / "contrast-2.json").write_text("[]")
    with pytest.warns(UserWarning, match="the record of another subject stood here"):
        (again,) = rbms_api.run(str(tmp_path / "suite.toml"), [f"results:{results}"], device="cpu", threads=1)
    assert again.subject["digest"] != before


def test_a_folder_that_lacks_a_cell_is_one_sentence(results, tmp_path, rbms):
    (tmp_path / "suite.toml").write_text(boxes.SUITE)
    (results / "contrast-2.json").unlink()

    found = rbms("run", tmp_path / "suite.toml", "-m", f"results:{results}", "--threads", 1)

    assert found.code == 1
    assert "has no contrast-2.json, and the suite asks for this cell" in found.out + found.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image_id": 5}, "detection 1 is of image 5, which the data set does not have"),
        ({"category_id": 1}, "detection 1 is of category 1, which the data set does not have"),
        ({"score": -0.5}, "detection 1 has a negative score, -0.5"),
        ({"score": float("nan")}, "a score that is no number"),
        ({"bbox": [1, 2, 3]}, "detection 1 has a bbox or a score that is no number"),
        ({"score": None}, "no number"),
    ],
)
def test_a_result_that_cannot_be_is_named(change, says, results, places):
    rows = told_of(100) * 2
    rows[1] = {**rows[1], **change}
    (results / "fog-3.json").write_text(json.dumps(rows))
    model = loaded(find_card(f"results:{results}"), places)
    batch = index_boxes(None, None, ()).open("stored").load(np.array([0]), CPU)

    with pytest.raises(BadFile) as error:
        detection().ask(model, replace(batch, condition=FOG3))
    assert says in str(error.value)
    assert "fog-3.json" in str(error.value)


def test_masks_come_from_files_too(results, places):
    from pycocotools import mask as rle

    plane = np.zeros((48, 64), np.uint8, order="F")
    plane[3:9, 4:20] = 1
    told = rle.encode(plane)
    row = {**told_of(100)[0], "segmentation": {"size": told["size"], "counts": told["counts"].decode()}}
    (results / "clean.json").write_text(json.dumps([row]))
    model = loaded(find_card(f"results:{results}"), places)
    batch = index_boxes(None, None, ()).open("stored").load(np.array([0]), CPU)
    segm = detection(iou="segm")

    kept = segm.outcomes(segm.ask(model, batch), batch).items["detections"].columns

    assert kept["rle"].tolist() == [told["counts"]]


def test_an_empty_folder_holds_no_detections(tmp_path, places):
    with pytest.raises(BadFile, match="holds no detections"):
        loaded(find_card(f"results:{tmp_path}"), places)
