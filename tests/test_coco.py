"""COCO's format: what is read, what is mended with a note, and every fault as one sentence with its place."""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import index_of
from robustbench_ms.datasets import pictures
from robustbench_ms.datasets.coco_masks import counts_of
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from tests.cocofolders import CPU, SIZES, changed, described, folder_at, opened, shown, source_of
from tests.cocofolders import pixels as made


def test_pictures_and_what_is_true_of_them(tmp_path, places):
    folder_at(tmp_path)
    index = index_of(source_of(tmp_path, wants=("boxes", "masks")), places, ())
    data = index.open("stored")

    assert (index.classes, index.names, index.category_ids) == (2, ("bar", "square"), (3, 7))
    assert data.facts.ids.tolist() == [1, 2, 3]  # the last one has no object, and counts
    assert data.facts.layout.sizes.tolist() == [list(size) for size in SIZES]
    assert data.facts.notes == ()
    for batch, (height, width), i in zip(shown(data), SIZES, (1, 2, 3), strict=True):
        assert np.array_equal(batch.samples[0].permute(1, 2, 0).numpy(), made(i, height, width))
    square, crowd, none = (batch.targets[0] for batch in shown(data))
    assert square["boxes"].tolist() == [[4, 8, 20, 24]]
    assert square["boxes"].dtype == np.float32
    assert (square["labels"].tolist(), square["ids"].tolist(), square["area"].tolist()) == ([1], [1], [256.0])
    assert (crowd["labels"].tolist(), crowd["ids"].tolist(), crowd["crowd"].tolist()) == ([0], [2], [True])
    assert crowd["boxes"].tolist() == [[4, 8, 20.5, 24]]
    assert none["boxes"].shape == (0, 4)
    assert rle.area({"size": [40, 48], "counts": square["rles"][0]}) == 256
    assert rle.area({"size": [40, 48], "counts": crowd["rles"][0]}) == 16
    assert none["rles"] == []


def test_batches_are_of_one_shape(tmp_path, places):
    folder_at(tmp_path)
    data = opened(tmp_path, places)

    assert sorted(rows.tolist() for rows in data.batches(10**6)) == [[0, 1], [2]]


FAULTS = {
    "no JSON": ("{", "not valid JSON"),
    "NaN": (json.dumps(changed(("annotations", 0, "bbox"), [4, 8, math.nan, 16])), "NaN is no number"),
    "too large": (json.dumps(described()).replace("16.5", "1e999"), r"annotations\[1\]: bbox must be"),
    "a list": ("[]", "must hold an object"),
    "no images": (changed(("images",), None), "no 'images'"),
    "annotation": ({**changed(("annotations",), None), "anotations": []}, "did you mean 'anotations'"),
    "unknown image": (changed(("annotations", 1, "image_id"), 9), r"annotations\[1\]: no image has the id 9"),
    "unknown category": (
        changed(("annotations", 0, "category_id"), 4),
        r"annotations\[0\]: no category has the id 4",
    ),
    "image twice": (changed(("images", 1, "id"), 1), "image id 1 twice"),
    "category twice": (changed(("categories",), [{"id": 3, "name": "a"}] * 2), "category id 3 twice"),
    "no categories": (changed(("categories",), []), "no categories"),
    "no image at all": ({"images": [], "annotations": [], "categories": described()["categories"]}, "no image"),
    "no height": (changed(("images", 1, "height"), None), r"images\[1\] has no 'height'"),
    "height of text": (changed(("images", 1, "height"), "40"), r"images\[1\]: height must be a whole number"),
    "no pixels": (changed(("images", 0, "width"), 0), "would have 0 x 40 pixels"),
    "id too large": (changed(("images", 2, "id"), 2**63), "64 bits"),
    "outside": (changed(("images", 0, "file_name"), "../1.png"), "path inside the pictures' folder"),
    "three numbers": (changed(("annotations", 0, "bbox"), [1, 2, 3]), "four numbers"),
    "negative width": (changed(("annotations", 0, "bbox"), [4, 8, -1, 16]), "below 0"),
    "negative area": (changed(("annotations", 0, "area"), -1), "area must be"),
    "crowd": (changed(("annotations", 0, "iscrowd"), 2), "iscrowd must be 0 or 1"),
    "crowds": (changed(("annotations", 0, "iscrowd"), []), "iscrowd must be 0 or 1"),
    "beyond float32": (changed(("annotations", 0, "bbox"), [1e300, 1, 1, 1]), "four numbers"),
    "missing picture": (changed(("images", 1, "file_name"), "two.png"), r"two\.png is missing, which"),
    "another size": (changed(("images", 1, "width"), 47), r"2\.png has 48 x 40 pixels, and .* says 47 x 40"),
}  # fmt: skip


@pytest.mark.parametrize(("told", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_sentence_that_names_its_place(tmp_path, places, told, words):
    folder_at(tmp_path, told)

    with pytest.raises(BadFile, match=words) as found:
        opened(tmp_path, places)
    assert str(tmp_path) in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("shape", "words"),
    {
        "none": ([], "no segmentation"),
        "two points": ([[1, 2, 3, 4]], "3 points"),
        "odd": ([[1, 2, 3, 4, 5, 6, 7]], "3 points"),
        "size": ({"size": [48, 40], "counts": [1920]}, "is of size"),
        "sum": ({"size": [40, 48], "counts": [1921]}, "do not add up"),
        "negative": ({"size": [40, 48], "counts": [-1, 1921]}, "do not add up"),
        "text": ({"size": [40, 48], "counts": "`"}, "are damaged"),
        "kind": ({"size": [40, 48], "counts": 5}, "a list or a string"),
    }.values(),
)
def test_what_is_no_mask_is_told_where_masks_are_asked_for_alone(tmp_path, places, shape, words):
    folder_at(tmp_path, changed(("annotations", 0, "segmentation"), shape))

    assert opened(tmp_path, places).facts.n == 3
    with pytest.raises(BadFile, match=rf"annotations\[0\].*{words}"):
        opened(tmp_path, places, wants=("boxes", "masks"))


def test_masks_without_pycocotools_name_what_to_install(tmp_path, places, monkeypatch):
    folder_at(tmp_path)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)

    with pytest.raises(UserError, match=r"pip install 'robustbench-ms\[detection\]'"):
        opened(tmp_path, places, wants=("boxes", "masks"))


def test_compressed_run_lengths_of_any_mask_pass_and_cut_ones_do_not():
    random = np.random.default_rng(0)
    for share in (0, 0.01, 0.3, 0.5, 0.9, 1):
        made = rle.encode(np.asfortranarray(random.random((70, 90)) < share, dtype=np.uint8))
        text = made["counts"].decode()
        assert counts_of({"size": [70, 90], "counts": text}, 70, 90, "x") == made["counts"]
        for wrong in (text[:-1], text + "1", "~" + text):
            with pytest.raises(BadFile, match="x: the counts of segmentation are damaged"):
                counts_of({"size": [70, 90], "counts": wrong}, 70, 90, "x")


def test_compressed_run_lengths_are_taken_as_they_are(tmp_path, places):
    counts = rle.frPyObjects({"size": [40, 48], "counts": [168, 16, 1736]}, 40, 48)["counts"]
    shape = {"size": [40, 48], "counts": counts.decode()}
    folder_at(tmp_path, changed(("annotations", 0, "segmentation"), shape))

    assert shown(opened(tmp_path, places, wants=("boxes", "masks")))[0].targets[0]["rles"] == [counts]


@pytest.mark.parametrize("ids", [(0, 6), (5, 5), (None, 6), (-1, 6)])
def test_annotation_ids_that_would_mislead_a_matcher_are_numbered_again(tmp_path, places, ids):
    told = described()
    for row, number in zip(told["annotations"], ids, strict=True):
        row["id"] = number
    folder_at(tmp_path, told)
    data = opened(tmp_path, places)

    assert [batch.targets[0]["ids"].tolist() for batch in shown(data)] == [[1], [2], []]
    assert len(data.facts.notes) == 1
    assert "numbered again from 1" in data.facts.notes[0]


def test_odd_boxes_stay_and_are_counted(tmp_path, places):
    told = described()
    told["annotations"][0]["bbox"] = [30, 8, 40, 16]
    told["annotations"][1]["bbox"] = [4, 8, 0, 16]
    del told["annotations"][1]["area"]
    folder_at(tmp_path, told)
    data = opened(tmp_path, places)

    one, two, _ = (batch.targets[0] for batch in shown(data))
    assert one["boxes"].tolist() == [[30, 8, 70, 24]]  # as pycocotools has it
    assert two["boxes"].tolist() == [[4, 8, 4, 24]]
    assert two["area"].tolist() == [0]
    assert [note.partition(": ")[2][:7] for note in data.facts.notes] == ["1 annot", "1 boxes", "1 boxes"]


def test_the_digest_is_of_pictures_and_annotations_and_of_nothing_else(tmp_path, places):
    file = folder_at(tmp_path / "a")
    first = opened(tmp_path / "a", places).facts.digest
    assert first == opened(tmp_path / "a", Places(tmp_path, tmp_path, tmp_path / "other")).facts.digest
    told = {**described(), "info": {"year": 2017}}
    told["annotations"][0]["id"] = 77
    folder_at(tmp_path / "b", told)
    assert opened(tmp_path / "b", places).facts.digest == first

    seen = {first, opened(tmp_path / "a", places, wants=("boxes", "masks")).facts.digest}
    for path, value in (
        (("annotations", 0, "bbox"), [4, 8, 16, 17]), (("annotations", 0, "iscrowd"), 1), (("images", 0, "id"), 4),
        (("categories", 0, "name"), "quad"), (("annotations", 0, "segmentation"), []),
    ):  # fmt: skip
        changed_here = changed(path, value)
        if path[0] == "images":
            changed_here["annotations"][0]["image_id"] = 4
        file.write_text(json.dumps(changed_here))
        seen.add(opened(tmp_path / "a", places).facts.digest)
    folder_at(tmp_path / "a")
    Image.fromarray(made(9, *SIZES[0])).save(tmp_path / "a" / "val" / "1.png")
    seen.add(opened(tmp_path / "a", places).facts.digest)
    assert len(seen) == 8


def test_what_files_hold_is_remembered_by_size_and_time(tmp_path, places, monkeypatch):
    folder_at(tmp_path)
    read = []
    header = pictures.header
    monkeypatch.setattr(pictures, "header", lambda path: read.append(path.name) or header(path))
    first = opened(tmp_path, places).facts.digest
    assert (opened(tmp_path, places).facts.digest, len(read)) == (first, 3)
    Image.fromarray(made(9, 41, 48)[:40]).save(tmp_path / "val" / "2.png")
    assert opened(tmp_path, places).facts.digest != first
    assert read[3:] == ["2.png"]
    for note in (places.cache / "digests").iterdir():
        note.write_text("[")
    opened(tmp_path, places)
    assert len(read) == 7


@pytest.mark.parametrize("folder", ["val", "images/val", "images", ".", "annotations"])
def test_pictures_are_found_where_they_mostly_lie(tmp_path, places, folder):
    folder_at(tmp_path, pictures=folder)

    assert opened(tmp_path, places).facts.n == 3


def test_and_where_the_suite_says(tmp_path, places):
    folder_at(tmp_path, pictures="annotations/seen")
    with pytest.raises(BadFile, match=r"1\.png is missing; it is neither in"):
        opened(tmp_path, places)
    assert opened(tmp_path, places, pictures="seen").facts.n == 3


def test_and_beside_the_suite_where_the_annotations_lie_elsewhere(tmp_path, places):
    elsewhere = folder_at(tmp_path / "other", annotations="val.json", pictures="gone")
    shutil.rmtree(tmp_path / "other" / "gone")
    folder_at(tmp_path)

    assert opened(tmp_path, places, annotations=str(elsewhere)).facts.n == 3


def test_a_list_of_ids_chooses_pictures_and_needs_these_alone(tmp_path, places):
    folder_at(tmp_path)
    (tmp_path / "val" / "1.png").unlink()
    (tmp_path / "ids.txt").write_text("3\n\n2\n")
    data = opened(tmp_path, places, ids="ids.txt")

    assert data.facts.ids.tolist() == [2, 3]
    assert [batch.targets[0]["ids"].tolist() for batch in shown(data)] == [[1], []]
    for text, words in {
        "2\nx\n": "line 2 must be an image id, not 'x'",
        "2\n3\n2\n": "line 3 has the id 2 of line 1 again",
        "": "no image id",
        "2\n8\n9\n": "no image 8, one of 2 that the suite lists",
    }.items():
        (tmp_path / "ids.txt").write_text(text)
        with pytest.raises(BadFile, match=words):
            opened(tmp_path, places, ids="ids.txt")
    with pytest.raises(BadFile, match="cannot be read"):
        opened(tmp_path, places, ids="none.txt")


def test_another_number_of_classes_and_labels_of_pictures_are_refused(tmp_path, places):
    folder_at(tmp_path)

    with pytest.raises(UserError, match="2 categories, which do not fit the suite's 3 classes"):
        index_of(replace(source_of(tmp_path), classes=3), places, ())
    with pytest.raises(UserError, match="has boxes, masks, shapes, map, and no label"):
        index_of(source_of(tmp_path, wants=("label",)), places, ())
    with pytest.raises(BadFile, match=r"else\.json is neither in"):
        index_of(source_of(tmp_path, annotations="else.json"), places, ())


@pytest.mark.parametrize("home", ["coco", "."])
def test_the_official_split_is_found_and_its_size_is_noted(tmp_path, home):
    folder_at(tmp_path / home, annotations="annotations/instances_val2017.json", pictures="val2017")
    source = Source("coco", "val2017", wants=("boxes",))
    data = index_of(source, Places(tmp_path, tmp_path, tmp_path / "cache"), ()).open("stored")

    assert data.facts.notes[0].endswith("names 3 images, and val2017 as published has 5,000")
    with pytest.raises(UserError, match="folders must be a list"):
        index_of(replace(source, options={"folders": "coco"}), Places(tmp_path, tmp_path, tmp_path), ())
    with pytest.raises(BadFile, match=r"instances_train2017\.json is neither in .*cocodataset\.org"):
        index_of(replace(source, split="train2017"), Places(tmp_path, tmp_path, tmp_path), ())


def test_of_the_limit_the_same_pictures_are_kept(tmp_path, places):
    folder_at(tmp_path)
    whole, part = opened(tmp_path, places), index_of(replace(source_of(tmp_path), limit=2), places, ())
    data = part.open("stored")

    assert set(data.facts.ids) < set(whole.facts.ids)
    assert data.facts.names == ("bar", "square")
    assert data.facts.digest == whole.facts.digest


def test_coco_mini_is_as_pycocotools_reads_it(real_data, tmp_path):
    """Every box, area and mask of the suite's 79 pictures, and each picture by Pillow alone."""
    file = real_data("coco-mini/annotations/instances_val2017.json")
    suite = find_suite("coco-mini-c")
    source = suite.source(("boxes", "masks"))
    data = index_of(source, Places(file.parents[2], tmp_path, tmp_path / "cache"), ()).open("stored")
    theirs = COCO(file)
    places = {number: place for place, number in enumerate(sorted(theirs.getCatIds()))}

    assert data.facts.n == 79
    assert sorted(data.facts.ids) == sorted(theirs.getImgIds())
    assert data.facts.notes == ()
    for row, number in enumerate(data.facts.ids.tolist()):
        batch = data.load(np.array([row]), CPU)
        found, wanted = batch.targets[0], theirs.imgToAnns[number]
        path = file.parents[1] / "val2017" / theirs.imgs[number]["file_name"]
        assert np.array_equal(batch.samples[0].permute(1, 2, 0), Image.open(path).convert("RGB"))
        assert found["labels"].tolist() == [places[one["category_id"]] for one in wanted]
        assert found["crowd"].tolist() == [one["iscrowd"] == 1 for one in wanted]
        assert found["area"].tolist() == [one["area"] for one in wanted]
        assert found["rles"] == [theirs.annToRLE(one)["counts"] for one in wanted]
        boxes = np.array([one["bbox"] for one in wanted]).reshape(-1, 4)
        assert np.allclose(found["boxes"][:, 2:] - found["boxes"][:, :2], boxes[:, 2:], atol=1e-4)
