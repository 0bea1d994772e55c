"""`rbms run PATH`: a folder in COCO's format is a suite made on the spot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import index_of
from robustbench_ms.corruptions.table import COMMON, NAMES
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.records.record import read_record
from tests.cocofolders import SIZES, described, folder_at, pixels

CARD = """\
build = "tests.boxes.model:finds"
tasks = ["detection"]
[input]
range = [0, 1]
[output]
score = 0.001
"""


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "finds.toml"
    path.write_text(CARD)
    return path


@pytest.fixture
def folder(tmp_path):
    folder_at(tmp_path / "my pictures")
    return tmp_path / "my pictures"


def test_a_folder_is_run_clean_and_its_record_lies_under_its_name_and_six_digits(
    folder, card, rbms, tmp_path, places
):
    found = rbms("run", folder, "-m", card, "--device", "cpu")

    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    suite = find_suite(str(folder), places=places)
    assert path.parent.name == suite.name
    assert suite.name.startswith("my-pictures-")
    assert len(suite.name) == len("my-pictures-") + 6
    record = read_record(path)
    assert [cell.key for cell in record.measurements] == ["clean"]
    assert record.cell("clean").n == 3
    assert record.cell("clean").values["AP50"]["mean"] == pytest.approx(
        1
    )  # of the one square that is no crowd
    assert str(tmp_path) not in path.read_text()
    assert rbms("run", folder, "-m", card, "--device", "cpu").out.endswith("(unchanged)\n")


def test_under_corruptions_by_name(folder, card, rbms, tmp_path):
    found = rbms("run", folder, "-m", card, "--device", "cpu", "--corruptions", "brightness, contrast")

    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    keys = [f"corruption={c},severity={s}" for c in ("brightness", "contrast") for s in range(1, 6)]
    assert [cell.key for cell in read_record(path).measurements] == ["clean", *keys]


def test_the_name_is_of_data_classes_and_matrix_and_of_no_place(folder, tmp_path, places):
    def name(**more):
        return find_suite(str(folder), places=places, **more).name

    first = name()
    copy = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, copy)
    assert find_suite(str(copy), places=places).name == first
    names = {first, name(corruptions="fog"), name(corruptions="common")}
    told = described()
    told["categories"][0]["name"] = "quad"
    folder_at(folder, told)
    names.add(name())
    folder_at(folder)
    Image.fromarray(pixels(9, *SIZES[0])).save(folder / "val" / "1.png")
    names.add(name())
    assert len(names) == 5


def test_groups_of_corruptions_and_the_columns_that_they_have(folder, places):
    def suite(corruptions):
        return find_suite(str(folder), places=places, corruptions=corruptions)

    common = suite("common")
    assert common.matrix == {"corruption": COMMON, "severity": (1, 2, 3, 4, 5)}
    assert (common.profile, common.summary) == ("any-size", ("mPC", "rPC", "mPC50", "P", "P50"))
    assert set(suite("all").matrix["corruption"]) == set(NAMES)
    assert suite("common,saturate").matrix["corruption"] == (*COMMON, "saturate")
    some = suite("fog,snow")
    assert some.matrix["corruption"] == ("fog", "snow")
    assert some.summary == ("corrupted_AP", "P", "P50")  # no mPC of a part
    clean = find_suite(str(folder), places=places)
    assert (clean.matrix, clean.profile, clean.summary) == ({}, None, ("P", "P50"))
    with pytest.raises(UnknownName, match="--corruptions: no corruption named 'fgo'; did you mean 'fog'"):
        suite("snow,fgo")


def test_of_several_annotation_files_one_is_asked_for(folder, card, rbms, places):
    other = described()
    del other["annotations"][1]
    folder_at(folder, other, annotations="annotations/instances_train.json", pictures="train")
    found = rbms("run", folder, "-m", card)

    assert found.code == 2
    assert found.err.count("\n") == 1
    assert (
        "annotations/instances_train.json, annotations/instances_val.json; choose one with --annotations"
        in (found.err)
    )
    train = find_suite(str(folder), places=places, annotations="annotations/instances_train.json")
    val = find_suite(str(folder), places=places, annotations=str(folder / "annotations/instances_val.json"))
    assert train.name != val.name
    with pytest.raises(
        UserError, match=r"'annotations/instances_vla\.json'; did you mean 'annotations/instances_val"
    ):
        find_suite(str(folder), places=places, annotations="annotations/instances_vla.json")


@pytest.mark.parametrize(
    ("file", "pictures"), [("_annotations.coco.json", "."), ("valid/_annotations.coco.json", "valid")]
)
def test_annotations_beside_their_pictures(tmp_path, places, file, pictures):
    folder_at(tmp_path / "export", annotations=file, pictures=pictures)

    assert find_suite(str(tmp_path / "export"), places=places).name.startswith("export-")


def test_a_shipped_suite_comes_before_a_folder_of_its_name(tmp_path, places, monkeypatch):
    folder_at(tmp_path / "quick")
    monkeypatch.chdir(tmp_path)

    assert find_suite("quick").dataset == "digits"
    assert find_suite("./quick", places=places).dataset == "coco-folder"
    for option in ("annotations", "corruptions"):
        with pytest.raises(
            UserError, match=f"--{option} is for a folder of pictures, and 'quick' is a suite"
        ):
            find_suite("quick", **{option: "fog"})


def test_a_folder_of_something_else_is_one_sentence(tmp_path, card, rbms):
    (tmp_path / "empty").mkdir()
    found = rbms("run", tmp_path / "empty", "-m", card)

    assert found.code == 2
    assert "no folder in COCO's format: it has neither annotations/instances_*.json nor" in found.err
    assert not (tmp_path / "results").exists()


def test_notes_of_the_data_are_told_and_a_picture_that_is_cut_off_ends_the_run_by_name(
    folder, card, rbms, tmp_path
):
    told = described()
    told["annotations"][0]["id"] = 0
    folder_at(folder, told)
    found = rbms("run", folder, "-m", card, "--device", "cpu")
    assert found.code == 0, found.err
    assert "numbered again from 1" in found.err

    path = folder / "val" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    found = rbms("run", folder, "-m", card, "--device", "cpu")
    assert found.code == 2
    assert f"{path} is cut off or damaged" in found.err
    assert "Traceback" not in found.err


def test_what_is_true_of_a_part_is_not_taken_for_the_whole(folder, card, rbms, tmp_path):
    """Else the cells of the whole would be checked beside the part's objects."""
    for more in (["--limit", "1"], []):
        assert rbms("run", folder, "-m", card, "--device", "cpu", *more).code == 0
    checked = rbms("check", tmp_path / "cache")

    assert checked.code == 0, checked.out
    assert "2 cells" in checked.out


def test_cells_of_more_pictures_than_groups_are_checked_by_what_they_kept(folder, card, rbms, tmp_path):
    """Their jackknife's groups go by ids, which a cell does not hold; and without the truth it is said so."""
    image, square = described()["images"][0], described()["annotations"][0]
    ids = range(1, 231)
    told = {
        **described(),
        "images": [{**image, "id": 7 * i} for i in ids],
        "annotations": [{**square, "id": i, "image_id": 7 * i, "bbox": [4 + i % 5, 8, 16, 16]} for i in ids],
    }
    folder_at(folder, told)
    assert rbms("run", folder, "-m", card, "--device", "cpu").code == 0

    checked = rbms("check", tmp_path / "cache")
    assert checked.code == 0, checked.out
    shutil.rmtree(tmp_path / "cache" / "truths")
    checked = rbms("check", tmp_path / "cache")
    assert checked.code == 0, checked.out
    assert "so AP, AP50" in checked.out


def test_a_suite_may_name_such_a_folder(folder, card, rbms, tmp_path):
    """With a list of ids, and without saying how many classes there are."""
    (folder / "ids.txt").write_text("1\n2\n")
    suite = folder / "mine.toml"
    suite.write_text(
        'task = "detection"\ndataset = "coco-folder"\nannotations = "annotations/instances_val.json"\n'
        'ids = "ids.txt"\nsummary = ["P"]\n'
    )
    planned = rbms("plan", suite, "-m", card, "--json").json()
    found = rbms("run", suite, "-m", card, "--device", "cpu")

    assert planned["images_per_cell"] == 2
    assert found.code == 0, found.err
    record = json.loads((tmp_path / "results" / "mine" / "finds.json").read_text())
    assert record["suite"]["protocol"]["n"] == 2


def test_the_79_pictures_of_coco_mini_c_are_listed():
    suite = find_suite("coco-mini-c")
    ids = np.loadtxt(Path(suite.folder) / suite.options["ids"], dtype=int)

    assert len(set(ids.tolist())) == 79
    assert set(COMMON) < set(suite.matrix["corruption"])


def test_pictures_of_12_bits_in_16_are_run_where_it_is_said_what_is_white(tmp_path, rbms, places):
    """As X-ray pictures come: without it each is refused, by the word that mends it."""
    for label in range(10):
        (tmp_path / "xrays" / f"class {label}").mkdir(parents=True)
        values = np.full((32, 32), 200 + 300 * label, np.uint16)
        Image.fromarray(values).save(tmp_path / "xrays" / f"class {label}" / "0.png")
    folder = str(tmp_path / "xrays")

    def opened(white):
        source = find_suite(folder, white=white, places=places).source(("label",))
        return index_of(source, places, ()).open("stored").load(np.arange(10), torch.device("cpu"))

    with pytest.raises(BadFile, match=r"12 bits in 16\? say --white 4095"):
        opened(None)
    batch = opened(4095.0)
    for label, picture in zip(batch.targets.tolist(), batch.samples, strict=True):
        assert picture.unique().tolist() == [round((200 + 300 * label) * 255 / 4095)]
    words = ("run", folder, "-m", "tests.fakes:build", "--size", 32, "--device", "cpu", "--white", 4095)
    done = rbms(*words)
    assert done.code == 0, done.err
    (path,) = (tmp_path / "results").rglob("*.json")
    assert read_record(path).cell("clean").n == 10
    done = rbms("reproduce", path, "--suite", folder, "--white", 4095, "--trust", "--device", "cpu")
    assert (done.code, "clean" in done.out) == (0, True), done.err
    suites = [find_suite(str(tmp_path / "xrays"), white=white, places=places) for white in (4095.0, 5000.0)]
    assert path.parent.name == suites[0].name != suites[1].name
    with pytest.raises(UserError, match=r"--white is for pictures in files, and not for digits"):
        find_suite("quick", white=4095.0)
