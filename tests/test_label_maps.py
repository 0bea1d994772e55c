"""Label maps of folders and of COCO's masks: read by number, painted in a fixed order, refused with a sentence."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import index_of
from robustbench_ms.datasets import scenes
from robustbench_ms.datasets.label_maps import VOC_NAMES
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from tests import cocofolders, labelled

CPU = torch.device("cpu")


def maps_of(index):
    """The map of each sample by its row, and the facts."""
    data = index.open("stored")
    found = {}
    for rows in data.batches(10**9):
        batch = data.load(rows, CPU)
        assert batch.maps["class"].shape[1:] == batch.samples.shape[-2:]
        assert {one["classes"] for one in batch.targets} == {index.classes}
        found |= dict(zip(rows.tolist(), batch.maps["class"].numpy(), strict=True))
    return [found[row] for row in range(len(found))], data.facts


def places_at(root):
    return Places(data=root, results=root / "results", cache=root / "cache")


def official(suite, at, tmp_path, **more):
    at(tmp_path, **more)
    places = places_at(tmp_path)
    return maps_of(index_of(find_suite(suite).source(("map",)), places, ()))


def of_folder(root, places, **options):
    return index_of(Source("labelled-folder", folder=root, wants=("map",), options=options), places, ())


def test_voc_is_read_by_its_palettes_index_and_its_border_is_ignored(tmp_path):
    (first, *rest), facts = official("voc-c", labelled.voc_at, tmp_path)

    wanted = labelled.picture(0)[1]
    wanted[0] = 255
    assert np.array_equal(first, wanted)
    assert [one.shape for one in rest] == [(24, 32), (32, 24)]
    assert (facts.classes, facts.names) == (21, VOC_NAMES)
    assert any("palette" in note and "index" in note for note in facts.notes)
    assert any("1,449" in note for note in facts.notes)


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_cityscapes_ids_become_its_19_classes(kind, tmp_path):
    (first, *_), facts = official("cityscapes-c", labelled.cityscapes_at, tmp_path, kind=kind)

    assert np.array_equal(first, np.array([0, 13, 255])[labelled.picture(0)[1]])
    assert facts.classes == 19
    assert facts.names[13] == "car"


def test_zero_of_ade20k_is_ignored_and_classes_count_from_one(tmp_path):
    (first, *_), facts = official("ade20k-c", labelled.ade20k_at, tmp_path)

    assert np.array_equal(first, np.array([255, 0, 149])[labelled.picture(0)[1]])
    assert facts.classes == 150


@pytest.mark.parametrize("suite", ["voc-c", "cityscapes-c", "ade20k-c"])
def test_what_is_not_there_is_told_with_who_says_where_it_is_got(suite, tmp_path):
    source = find_suite(suite).source(("map",))
    with pytest.raises(BadFile, match=rf"is neither in .*; rbms fetch {source.dataset} says where"):
        index_of(source, places_at(tmp_path), ())


def test_any_folder_of_pictures_and_masks(tmp_path, places):
    root = labelled.folder_at(tmp_path / "own")
    found, facts = maps_of(of_folder(root, places))

    assert all(np.array_equal(one, labelled.picture(i)[1]) for i, one in enumerate(found))
    assert facts.names == ("ground", "red", "blue")
    reduced, facts = maps_of(of_folder(root, places, names=["red", "blue"], reduce_zero_label=True))
    assert np.array_equal(reduced[0], np.array([255, 0, 1])[labelled.picture(0)[1]])
    assert facts.digest != maps_of(of_folder(root, places))[1].digest


def test_another_mask_is_another_digest(tmp_path, places):
    root = labelled.folder_at(tmp_path / "own")
    before = maps_of(of_folder(root, places))[1].digest
    labelled.save(root / "masks" / "p0.png", 2 - labelled.picture(0)[1])

    assert maps_of(of_folder(root, places))[1].digest != before


def wrong(root, kind):
    mask = root / "masks" / "p1.png"
    if kind == "unknown":
        labelled.save(mask, np.full((24, 32), 7, np.uint8))
    elif kind == "size":
        labelled.save(mask, np.zeros((24, 30), np.uint8))
    elif kind == "colours":
        labelled.save(mask, np.zeros((24, 32, 3), np.uint8))
    elif kind == "deep":
        Image.fromarray(np.full((24, 32), 1000, np.uint16)).save(mask)
    elif kind == "fractions":
        Image.fromarray(np.full((24, 32), 0.7, np.float32)).save(mask.with_suffix(".tif"))
        mask.unlink()
    elif kind == "missing":
        mask.unlink()
    elif kind == "alone":
        (root / "images" / "p1.png").unlink()
    elif kind == "twice":
        shutil.copy(mask, mask.with_suffix(".bmp"))
    elif kind == "cut":
        mask.write_bytes(mask.read_bytes()[:60])
    elif kind == "nameless":
        (root / "classes.txt").unlink()
    else:
        (root / "classes.txt").write_text("red\nblue\nred\n")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "unknown",
            r"masks/p1.png holds the class number 7, and 3 classes have the numbers 0 to 2; 255 is ignored",
        ),
        ("size", r"masks/p1.png has 30 x 24 pixels, and its picture p1.png 32 x 24"),
        ("colours", r"masks/p1.png has colours \(mode RGB\); a mask holds class numbers"),
        ("deep", r"masks/p1.png holds the class number 1000"),
        ("fractions", r"masks/p1.tif has fractions \(mode F\); a mask holds class numbers, which are whole"),
        ("missing", r"masks has no mask p1.png, which .*images/p1.png needs"),
        ("alone", r"images has no picture p1.jpg, of which .*masks/p1.png is the mask"),
        ("twice", r"p1.bmp and p1.png: which one is meant is a guess"),
        ("cut", r"masks/p1.png is cut off or damaged|p1.png"),
        ("nameless", r"nobody says what the classes are: write .*classes.txt"),
        ("doubled", r"the class 'red' stands twice"),
    ],
)
def test_a_wrong_folder_is_one_sentence(kind, said, tmp_path, places):
    root = labelled.folder_at(tmp_path / "own")
    wrong(root, kind)

    with pytest.raises(UserError, match=said):
        maps_of(of_folder(root, places))


def test_a_palette_of_colours_is_read_by_its_index(tmp_path, places):
    root = labelled.folder_at(tmp_path / "own")
    for i in range(3):
        labelled.save(root / "masks" / f"p{i}.png", labelled.picture(i)[1], palette=True)
    found, facts = maps_of(of_folder(root, places))

    assert np.array_equal(found[1], labelled.picture(1)[1])
    assert any("read by its index" in note for note in facts.notes)


def square(i, category, left, side, *, area=None, crowd=0):
    box = [left, left, side, side]
    corners = [left, left, left + side, left, left + side, left + side, left, left + side]
    rle = {"size": [40, 48], "counts": [0, 40 * 48]}
    return {"id": i, "image_id": 1, "category_id": category, "bbox": box, "area": area or side * side,
            "iscrowd": crowd, "segmentation": rle if crowd else [corners]}  # fmt: skip


def test_crowds_are_ignored_and_small_objects_lie_on_large_ones(tmp_path, places):
    """Category 3 is class 1 and 7 class 2; of equal areas the later id is on top, wherever it stands in the file."""
    told = cocofolders.described()
    told["annotations"] = [
        square(9, 7, 4, 4), square(4, 3, 2, 20), square(8, 3, 4, 4, area=16), square(2, 7, 10, 8, area=400),
        square(1, 7, 0, 40, crowd=1),
    ]  # fmt: skip
    cocofolders.folder_at(tmp_path, told)
    (first, *_), facts = maps_of(index_of(cocofolders.source_of(tmp_path, wants=("map",)), places, ()))

    wanted = np.full((40, 48), 255, np.uint8)
    wanted[10:18, 10:18] = 2  # id 2: as large as id 4, and before it
    wanted[2:22, 2:22] = 1
    wanted[4:8, 4:8] = 2
    assert np.array_equal(first, wanted)
    assert facts.names == ("background", "bar", "square")
    assert (facts.classes, facts.n) == (3, 3)


def test_labels_and_boxes_of_one_folder_have_digests_of_their_own(tmp_path, places):
    cocofolders.folder_at(tmp_path)
    digests = {
        index_of(cocofolders.source_of(tmp_path, wants=wants), places, ()).open("stored").facts.digest
        for wants in (("boxes",), ("boxes", "masks"), ("map",))
    }

    assert len(digests) == 3


def test_scenes_have_the_ground_as_a_class_where_a_map_is_wanted(places, monkeypatch):
    monkeypatch.setitem(scenes.MANY.ids, "test", (1000, 1002))
    monkeypatch.setattr(
        scenes, "_scenes", lambda _, split: scenes._stacked([scenes.scene(split, i) for i in (1000, 1001)])
    )
    boxes, mapped = (index_of(Source("quick-scenes", wants=(want,)), places, ()) for want in ("boxes", "map"))

    assert (boxes.classes, mapped.classes, mapped.names[-1]) == (10, 11, "ground")
    assert boxes.open("stored").facts.digest != mapped.open("stored").facts.digest
    (first, _), _ = maps_of(mapped)
    assert set(np.unique(first)) == {*scenes.scene("test", 1000).labels, 10}


def test_a_folder_is_a_suite_by_its_path(tmp_path, places):
    root = labelled.folder_at(tmp_path / "own")
    suite = find_suite(str(root), places=places, corruptions="fog")

    assert (suite.task, suite.dataset) == ("segmentation", "labelled-folder")
    assert suite.name.startswith("own-")
    assert suite.summary[0] == "corrupted_mIoU_truth"
