"""Volumes: those made here, files of them, and what is wrong with such files."""

import hashlib

import numpy as np
import pytest
import torch

from robustbench_ms.datasets.protocol import MAP
from robustbench_ms.datasets.quick_volumes import quick_volume
from robustbench_ms.datasets.shapes import Volumes
from robustbench_ms.datasets.volumes import index_volumes
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

CPU = torch.device("cpu")


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()[:16]


def test_volumes_made_here_have_the_same_bytes_everywhere():
    volumes, masks = zip(*(quick_volume(i) for i in (0, 17, 1796)), strict=True)

    assert digest(volumes) == "fd100b585eb6d40a"
    assert digest(masks) == "8fa843b41c5ebc56"
    assert all(one.dtype == np.uint8 and one.shape == (28, 28, 28) for one in (*volumes, *masks))


def test_a_body_is_lighter_than_the_ground_and_its_shell_the_lightest():
    volume, mask = quick_volume(0)

    ground, shell, filling = (volume[mask == part].mean() / 255 for part in (0, 1, 2))
    assert ground == pytest.approx(0.15, abs=0.03)
    assert shell == pytest.approx(0.8, abs=0.05)
    assert 0.3 < filling < 0.7


def source(path, wants=("label",), split="test", classes=3):
    return Source(
        "volumes", split, classes=classes, folder=path.parent, wants=wants, options={"file": path.name}
    )


def index(path, **how):
    return index_volumes(source(path, **how), Places.find(), ())


RNG = np.random.default_rng(0)
GOOD = {
    "volumes": RNG.normal(size=(4, 5, 6, 7)).astype(np.float32),
    "labels": np.array([0, 1, 2, 0]),
    "masks": RNG.integers(0, 3, (4, 5, 6, 7)),
}


def saved(folder, **changed):
    path = folder / "scans.npz"
    arrays = {key: value for key, value in {**GOOD, **changed}.items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_a_file_of_volumes_is_shown_as_it_is(tmp_path):
    path = saved(tmp_path, spacing=np.array([2.0, 1.0, 1.0]), groups=np.array([1, 1, 2, 2]))
    found = index(path, wants=("label", "map"))
    data = found.open("stored")
    batch = data.load(np.array([2, 0]), CPU)

    assert found.layout == Volumes(1, (5, 6, 7), (2.0, 1.0, 1.0))
    assert data.facts.maps == (MAP,)
    assert np.array_equal(data.facts.groups, [1, 1, 2, 2])
    assert np.array_equal(batch.samples[:, 0], GOOD["volumes"][[2, 0]])
    assert batch.targets.tolist() == [2, 0]
    assert np.array_equal(batch.maps[MAP], GOOD["masks"][[2, 0]])
    assert [rows.tolist() for rows in data.batches(2 * 5 * 6 * 7)] == [[0, 1], [2, 3]]


def test_the_digest_is_of_volumes_labels_masks_and_spacing(tmp_path):
    changes = [
        {}, {"volumes": GOOD["volumes"] * 2}, {"labels": np.array([0, 1, 2, 1])}, {"masks": GOOD["masks"][::-1]},
        {"spacing": np.ones(3)},
    ]  # fmt: skip
    digests = {
        index(saved(tmp_path, **c), wants=("label", "map")).open("stored").facts.digest for c in changes
    }

    assert len(digests) == len(changes)


@pytest.mark.parametrize(("shape", "wanted"), [((4, 6, 6, 6), (6, 6, 6)), ((4, 6, 6), (1, 6, 6))])
def test_files_of_medmnist_are_read_by_split(tmp_path, shape, wanted):
    path = tmp_path / "mnist3d.npz"
    np.savez(
        path,
        train_images=RNG.integers(0, 256, shape, dtype=np.uint8),
        train_labels=np.array([[0], [1], [2], [1]], dtype=np.uint8),
    )
    found = index(path, split="train")

    assert found.layout == Volumes(1, wanted, None, of_bytes=True)
    assert found.open("stored").load(np.arange(4), CPU).targets.tolist() == [0, 1, 2, 1]


NAN = GOOD["volumes"].copy()
NAN[3, 0, 0, 0] = np.nan
FLAT = GOOD["volumes"].copy()
FLAT[1] = 7
THIN = np.zeros((4, 8, 8, 8), np.float32)
THIN[:, 0, 0, :2] = 1, 2
RAGGED = np.empty(2, dtype=object)
RAGGED[0], RAGGED[1] = np.zeros((5, 6, 7)), np.zeros((5, 6, 8))
BAD = {
    "unequal": ({"volumes": RAGGED}, "all volumes of a file must be of one shape; as NIfTI files"),
    "in time": ({"volumes": np.zeros((4, 1, 2, 5, 6, 7), np.float32)}, "a series in time is several volumes"),
    "whole numbers": ({"volumes": np.zeros((4, 5, 6, 7), np.int16)}, "give whole numbers their scale factors first"),
    "empty": ({"volumes": np.zeros((4, 0, 6, 7), np.float32)}, "hold nothing"),
    "nan": ({"volumes": NAN}, "volume 3 has NaN or infinite voxels"),
    "constant": ({"volumes": FLAT}, "volume 1 is 7 everywhere"),
    "nearly constant": (
        {"volumes": THIN, "masks": np.zeros((4, 8, 8, 8), int)}, "volume 0 is 0 at its .5 and its 99.5 percentile",
    ),
    "labels": ({"labels": np.array([0, 1])}, "holds 2 labels for 4 volumes"),
    "too large": ({"labels": np.array([0, 1, 2, 3])}, "labels are 0..3, which do not fit the suite's 3 classes"),
    "several": ({"labels": np.zeros((4, 14), int)}, "are several a volume"),
    "fractions": ({"labels": np.zeros(4)}, "labels must be whole numbers"),
    "other grid": ({"masks": np.zeros((4, 5, 6, 6), int)}, "are of another grid"),
    "no masks": ({"masks": None}, "has no masks"),
    "groups": ({"groups": np.zeros(3, int)}, "groups must be whole numbers"),
    "spacing": ({"spacing": np.array([1.0, 0.0, 1.0])}, "three millimetres above 0, not"),
    "no volumes": ({"volumes": None}, "has no 'test_images'"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_wrong_file_is_one_sentence(tmp_path, what):
    changed, told = BAD[what]
    path = saved(tmp_path, **changed)

    with pytest.raises(UserError, match=told) as caught:
        index(path, wants=("label", "map"))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_coloured_pictures_are_no_slices(tmp_path):
    path = tmp_path / "derma.npz"
    np.savez(path, test_images=np.zeros((4, 8, 8, 3), np.uint8), test_labels=np.zeros((4, 1), np.uint8))

    with pytest.raises(BadFile, match="are coloured pictures"):
        index(path)


def test_files_of_other_kinds_are_named(tmp_path):
    scan, slices, text = tmp_path / "scan.nii.gz", tmp_path / "slice.npz", tmp_path / "text.npz"
    scan.write_bytes(b"\x1f\x8b\x08")
    slices.write_bytes(bytes(128) + b"DICM")
    text.write_text("no archive")

    for path, told in ((scan, "NIfTI"), (slices, "DICOM"), (text, "damaged or no .npz")):
        with pytest.raises(BadFile, match=told):
            index(path)
    with pytest.raises(BadFile, match=r"absent\.npz is neither in"):
        index(tmp_path / "absent.npz")


def test_a_file_that_unpacks_to_more_than_is_read_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("robustbench_ms.datasets.volumes._LARGEST", 1000)

    with pytest.raises(BadFile, match="are read at most"):
        index(saved(tmp_path))
