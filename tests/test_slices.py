"""Slices through a record's volumes: what is drawn of which, and what is refused."""

import numpy as np
import pytest
from PIL import Image

import robustbench_ms as rbms_api
from robustbench_ms.evaluation.slices import _drawn
from tests.sources import ROOT

SUITE = """task = "scans"
dataset = "volumes"
file = "scans.npz"
classes = 10
summary = ["clean_accuracy"]
[matrix]
artefact = ["blur", "shift"]
level = [1, 3, 5]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("slices")
    volumes = np.arange(2 * 28**3, dtype=np.int64).reshape(2, 28, 28, 28) * 7919 % 251
    np.savez(
        root / "scans.npz", volumes=volumes.astype(np.uint8), labels=np.array([0, 1]), spacing=[2.0, 1.0, 1.0]
    )
    (root / "mine.toml").write_text(SUITE)
    where = {"results": root / "results", "cache": root / "cache"}
    rbms_api.run(str(root / "mine.toml"), ["volumes-resnet@0"], device="cpu", threads=1, **where)
    return root


@pytest.fixture
def show(home, rbms):
    record = home / "results/mine/volumes-resnet@0.json"
    return lambda *argv: rbms("show", record, "--suite", home / "mine.toml", "--cache", home / "cache", *argv)


def test_three_planes_clean_and_under_each_artefact_at_a_middle_level(home, show, tmp_path):
    told = show("--slices", tmp_path / "a.png", "--json").json()
    few = show("--slices", tmp_path / "b.png", "--ids", "1,0", "--cells", "blur-5", "--json").json()

    assert (told["cells"], told["ids"]) == (["clean", "blur-3", "shift-3"], [0])
    assert (few["cells"], few["ids"]) == (["blur-5"], [1, 0])
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as two:
        assert list(one.size) == told["size"]
        assert one.width > two.width
        assert two.height > one.height
        pixels = np.asarray(one)
    # The middle slice of the clean volume, five pixels a voxel, stands at the upper left of the sheet.
    clean = np.load(home / "scans.npz")["volumes"][0, 14]
    low, high = np.percentile(np.load(home / "scans.npz")["volumes"][0], (0.5, 99.5))
    wanted = np.rint(255 * np.clip((clean - low) / (high - low), 0, 1)).astype(int)
    found = pixels[47 + 2 : 47 + 140 : 5, 27 + 2 : 27 + 140 : 5, 0].astype(int)
    assert np.array_equal(found, wanted)
    # Blurred noise has a smaller spread.
    assert pixels[47 : 47 + 140, 173 : 173 + 140, 0].std() < 0.8 * wanted.std()


def test_a_slice_is_as_large_as_its_voxels_and_classes_are_outlined():
    plane, classes = np.zeros((4, 10)), np.zeros((4, 10), np.uint8)
    classes[1:3, 2:8] = 2
    picture = np.asarray(_drawn(plane, (2.0, 1.0), classes))

    assert picture.shape == (112, 140, 3)
    inside, border, ground = picture[56, 70], picture[28, 70], picture[10, 10]
    assert inside.tolist() == ground.tolist() == [0, 0, 0]
    assert border.tolist() == [86, 180, 233]
    assert not np.asarray(_drawn(plane, (2.0, 1.0), None)).any()


def test_what_cannot_be_drawn_is_one_sentence(home, show, tmp_path, rbms):
    both = show("--slices", tmp_path / "a.png", "--images", tmp_path / "b.png")
    none = show("--cells", "clean")
    other = rbms("show", "quick-volumes", "--slices", tmp_path / "a.png")
    digits = rbms("show", ROOT / "results/quick/digits-amsra-net@0.json", "--slices", tmp_path / "a.png")

    assert (both.code, none.code, other.code, digits.code) == (2, 2, 2, 2)
    assert "--images and --slices draw one sheet each: give one of them" in both.err
    assert "give --images, --maps, --signals or --slices" in none.err
    assert "--slices is of a record, and quick-volumes is none" in other.err
    assert "quick shows no volumes; --images draws pictures" in digits.err
