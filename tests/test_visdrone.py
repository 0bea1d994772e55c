"""VisDrone's own annotation format, on a made folder: no picture of it is at hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import index_of, perturbation_of
from robustbench_ms.datasets.visdrone import REGION
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places

ROWS = {
    "0000001_00000_d_0000001": ["4,8,16,20,1,4,0,0,", "0,0,10,10,0,0,0,0,", "1,1,3,3,0,11,0,0,"],
    "0000001_00001_d_0000002": ["4,8,16,20,1,1,0,0", "2,2,6,8,0,10,1,2", ""],
    "0000002_00000_d_0000003": [],
}
SIZE = (40, 48)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "VisDrone2019-DET-val"
    for part in ("images", "annotations"):
        (root / part).mkdir(parents=True)
    for i, (stem, rows) in enumerate(ROWS.items()):
        (root / "annotations" / f"{stem}.txt").write_text("\r\n".join(rows))
        Image.fromarray(np.full((*SIZE, 3), 10 * i, np.uint8)).save(root / "images" / f"{stem}.jpg")
    return root


def index(root, wants=("boxes",)):
    places = Places(root.parent, root.parent, root.parent / "cache")
    return index_of(find_suite("visdrone").source(wants), places, ())


def shown(root):
    data = index(root).open("stored")
    return data.facts, [data.load(np.array([row]), torch.device("cpu")) for row in range(data.facts.n)]


def test_objects_regions_flags_and_others(folder):
    facts, batches = shown(folder)
    first, second, none = (batch.targets[0] for batch in batches)

    assert facts.classes == len(facts.names) == REGION == 10
    assert (facts.names[3], facts.names[9]) == ("car", "motor")
    assert first["boxes"].tolist() == [[4, 8, 20, 28], [0, 0, 10, 10]]  # "others" is left out
    assert first["labels"].tolist() == [3, REGION]
    assert first["ignore"].tolist() == [False, True]
    assert first["area"].tolist() == [320, 100]
    assert second["labels"].tolist() == [0, 9]
    assert second["ignore"].tolist() == [False, True]
    assert [t["ids"].tolist() for t in (first, second, none)] == [[1, 2], [3, 4], []]
    assert not any(t["crowd"].any() for t in (first, second, none))
    assert [int(batch.samples.max()) for batch in batches] == [0, 10, 20]
    assert facts.notes == (f"{folder} has 3 pictures, and val as published has 548",)


def test_ids_are_of_names_and_classes_have_the_formats_own_numbers(folder):
    before = index(folder)
    for part in ("annotations", "images"):
        next((folder / part).glob("0000001_00000*")).unlink()

    assert before.category_ids == tuple(range(1, 11))
    assert index(folder).ids.tolist() == before.ids.tolist()[1:]
    assert before.ids.max() < 2**53  # whole in a JSON reader's doubles


def test_the_digest_is_of_rows_and_pictures(folder):
    first = index(folder).open("stored").facts.digest
    rows = folder / "annotations" / "0000002_00000_d_0000003.txt"
    rows.write_text("1,1,3,3,0,11,0,0")
    second = index(folder).open("stored").facts.digest
    Image.fromarray(np.full((*SIZE, 3), 99, np.uint8)).save(folder / "images" / "0000002_00000_d_0000003.jpg")

    assert len({first, second, index(folder).open("stored").facts.digest}) == 3


@pytest.mark.parametrize(
    ("row", "words"),
    {
        "1,2,3,4,1,4,0": r"line 1 has 7 numbers, not 8",
        "1,2,3,4,1,4,0,0,0": r"line 1 has 9 numbers, not 8",
        "1,2,3,4,1,4,0,0\n1,2,nan,4,1,4,0,0": r"line 2: width must be a whole number, not 'nan'",
        "1,2,3,4,1,12,0,0": r"line 1: category must be in 0\.\.11, not 12",
        "1,2,3,4,2,4,0,0": r"line 1: score must be in 0\.\.1, not 2",
        "1,2,-3,4,1,4,0,0": r"line 1: the box has a width or height below 0",
    }.items(),
)
def test_a_fault_names_file_and_line(folder, row, words):
    (folder / "annotations" / "0000002_00000_d_0000003.txt").write_text(row)

    with pytest.raises(BadFile, match=rf"0000003\.txt: {words}"):
        index(folder)


def test_a_box_without_width_stays_and_is_counted(folder):
    (folder / "annotations" / "0000002_00000_d_0000003.txt").write_text("1,2,0,4,1,4,0,0,\n")
    facts, batches = shown(folder)

    assert batches[2].targets[0]["boxes"].tolist() == [[1, 2, 1, 6]]
    assert "1 boxes have no width" in facts.notes[0]


def test_what_is_missing_is_named(folder):
    with pytest.raises(UserError, match="visdrone has boxes, and no masks"):
        index(folder, ("boxes", "masks"))
    (folder / "annotations" / "0000002_00000_d_0000003.txt").unlink()
    with pytest.raises(BadFile, match=r"has no 0000002_00000_d_0000003\.txt for"):
        index(folder)
    (folder / "images" / "0000002_00000_d_0000003.jpg").unlink()
    (folder / "images" / "0000001_00000_d_0000001.jpg").unlink()
    with pytest.raises(BadFile, match=r"has no picture 0000001_00000_d_0000001\.jpg"):
        index(folder)
    with pytest.raises(BadFile, match=r"VisDrone2019-DET-val/annotations is neither in"):
        index(folder / "nowhere" / "else")


def test_its_cells_are_written_as_folders_in_cocos_format(folder, rbms, tmp_path):
    found = rbms("corrupt", "visdrone", "--out", tmp_path / "out", "--data", tmp_path)

    assert found.code == 0, found.err
    told = json.loads((tmp_path / "out" / "clean" / "_annotations.coco.json").read_text())
    assert sorted(one["category_id"] for one in told["annotations"]) == [1, 4, 10]  # no region
    assert [one["id"] for one in told["categories"]] == list(range(1, 11))
    again = find_suite(str(tmp_path / "out" / "clean"), places=Places(tmp_path, tmp_path, tmp_path / "cache"))
    assert again.name.startswith("clean-")


def test_what_a_corruption_refuses_is_told_before_anything_runs(folder):
    """Pixelate needs 4 x 4 pixels; of many sizes each is asked."""
    suite = find_suite("visdrone-c")
    Image.fromarray(np.zeros((3, 48, 3), np.uint8)).save(folder / "images" / "0000002_00000_d_0000003.jpg")
    perturbation = perturbation_of(suite, index(folder).open("stored").facts)

    perturbation.check((("corruption", "fog"), ("severity", 1)))
    with pytest.raises(
        UserError, match="visdrone-c: pixelate needs images of at least 4 x 4 pixels, not 3 x 48"
    ):
        perturbation.check((("corruption", "pixelate"), ("severity", 5)))
