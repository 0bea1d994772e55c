"""Volumes in NIfTI files: their orientation, spacing and units, and what is wrong with such files."""

import gzip
import json

import nibabel
import numpy as np
import pytest
import torch

from robustbench_ms.datasets.protocol import MAP
from robustbench_ms.datasets.scan_folder import index_scans
from robustbench_ms.datasets.shapes import Volumes
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source

CPU = torch.device("cpu")
RNG = np.random.default_rng(5)
VALUES = RNG.random((4, 5, 6)).astype(np.float32)
"""To the right, front and top."""
AFFINE = np.array([[2.0, 0, 0, -7], [0, 1.5, 0, 11], [0, 0, 3.0, 13], [0, 0, 0, 1]])


def save(path, values=VALUES, affine=AFFINE, code="RAS", unit="mm"):
    """A file whose axes point where `code` says, of voxels that are to the right, front and top."""
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units(unit)
    turned = nibabel.orientations.ornt_transform(
        nibabel.orientations.axcodes2ornt("RAS"), nibabel.orientations.axcodes2ornt(code)
    )
    image = image.as_reoriented(turned)
    nibabel.save(image, path)
    return path


def table(folder, rows, wants=("label",), classes=3):
    path = folder / "scans.csv"
    path.write_text("path,label\n" + "".join(f"{a},{b}\n" for a, b in rows))
    return index_scans(
        Source("scan-folder", classes=classes, folder=folder, wants=wants, options={"path": "scans.csv"}),
        Places.find(data=folder),
        (),
    )


def folder(root, cases=("a", "b"), channels=2, labels=None, ending=".nii.gz"):
    for name in ("imagesTs", "labelsTs"):
        (root / name).mkdir(exist_ok=True)
    for k, case in enumerate(cases):
        for channel in range(channels):
            save(root / f"imagesTs/{case}_{channel:04d}{ending}", VALUES + 10 * k + channel)
        save(root / f"labelsTs/{case}{ending}", (VALUES > 0.5).astype(np.uint8))
    told = {
        "channel_names": {str(k): "T1" for k in range(channels)},
        "labels": {"ground": 0, "tumour": 1} if labels is None else labels,
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(told))
    return root


def opened(root, wants=("map",), classes=None):
    source = Source(
        "scan-folder", classes=classes, folder=root.parent, wants=wants, options={"path": root.name}
    )
    return index_scans(source, Places.find(data=root), ())


@pytest.mark.parametrize("code", ["RAS", "LPS", "PIR", "SAL", "ARI"])
def test_a_volume_is_the_same_however_its_axes_point(tmp_path, code):
    save(tmp_path / "a.nii.gz", code=code)
    data = table(tmp_path, [("a.nii.gz", 2)]).open("stored")

    assert data.facts.layout == Volumes(1, (6, 5, 4), (3.0, 1.5, 2.0))
    assert np.array_equal(data.load(np.array([0]), CPU).samples[0, 0].numpy(), VALUES.transpose(2, 1, 0))
    assert data.load(np.array([0]), CPU).targets.tolist() == [2]


def test_spacing_is_in_millimetres_and_scale_factors_are_applied(tmp_path):
    stored = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    header_of(
        tmp_path / "a.nii",
        112,
        "<f4",
        [0.5, -3],
        values=stored,
        affine=np.diag([0.002, 0.001, 0.003, 1]),
        unit="meter",
    )
    data = table(tmp_path, [("a.nii", 0)]).open("stored")

    assert data.facts.layout.spacing == pytest.approx((3.0, 1.0, 2.0))
    assert np.array_equal(
        data.load(np.array([0]), CPU).samples[0, 0].numpy(), stored.transpose(2, 1, 0) * np.float32(0.5) - 3
    )


def test_a_fourth_axis_of_one_place_is_no_series(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VALUES[..., None], AFFINE), tmp_path / "a.nii.gz")

    assert table(tmp_path, [("a.nii.gz", 0)]).layout.shape == (6, 5, 4)


def test_a_folder_of_nnu_net_has_channels_maps_and_names(tmp_path):
    data = opened(folder_in(tmp_path, "mr", "ab")).open("stored")
    batch = data.load(np.array([1, 0]), CPU)

    assert (data.facts.classes, data.facts.names) == (2, ("ground", "tumour"))
    assert batch.samples.shape == (2, 2, 6, 5, 4)
    assert np.allclose(batch.samples[0, 1].numpy(), VALUES.transpose(2, 1, 0) + 11)
    assert np.array_equal(batch.maps[MAP][0].numpy(), (VALUES > 0.5).transpose(2, 1, 0))
    assert len(set(data.facts.ids.tolist())) == 2


def test_ids_are_of_names_and_not_of_places(tmp_path):
    one, two = (folder_in(tmp_path, name, cases) for name, cases in (("x", "ab"), ("y", "b")))

    assert opened(two).ids.tolist() == opened(one).ids.tolist()[1:]


def folder_in(tmp_path, name, cases, **more):
    (tmp_path / name).mkdir()
    return folder(tmp_path / name, tuple(cases), **more)


def dicom(path):
    path.write_bytes(bytes(128) + b"DICM" + bytes(300))


def header_of(path, place, kind, words, **more):
    """A header changed by hand, where nibabel would not write it so."""
    raw = bytearray(save(path, **more).read_bytes())
    words = np.array(words, kind).tobytes()
    raw[place : place + len(words)] = words
    path.write_bytes(bytes(raw))


WRONG = {
    "is of 4 x 5 x 6 x 3, and a volume has three axes; a series in time": lambda p: nibabel.save(
        nibabel.Nifti1Image(np.stack([VALUES] * 3, axis=-1), AFFINE), p
    ),
    "neither sform nor qform is set": lambda p: header_of(p, 252, "<i2", [0, 0]),
    "an affine that is singular": lambda p: header_of(p, 280, "<f4", [0.0] * 12),
    "is a DICOM file: convert the series to NIfTI first, as dcm2niix": dicom,
    "has 2 voxels of NaN or infinity, outside the brain perhaps": lambda p: save(
        p, np.where(np.arange(120).reshape(4, 5, 6) < 2, np.nan, VALUES).astype(np.float32)
    ),
    "is 7 everywhere": lambda p: save(p, np.full((4, 5, 6), 7, np.float32)),
    "is 0 at its .5 and its 99.5 percentile, so that artefacts cannot be scaled": lambda p: save(
        p, np.eye(10, dtype=np.float32)[:, :, None] * (np.arange(100) == 3).astype(np.float32)
    ),
    "is damaged or no NIfTI file": lambda p: p.write_bytes(b"nothing"),
    "is cut off or damaged": lambda p: p.write_bytes(save(p).read_bytes()[:500]),
    "unpacks to 32 GiB, and 8 GiB are read at most": lambda p: header_of(p, 42, "<i2", [2048, 2048, 2048]),
}


@pytest.mark.parametrize("told", WRONG)
def test_a_wrong_file_is_one_sentence(tmp_path, told):
    WRONG[told](tmp_path / "a.nii")

    with pytest.raises(BadFile, match=told) as error:
        table(tmp_path, [("a.nii", 0)])
    assert "a.nii" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_compressed_bomb_is_refused_by_its_header(tmp_path):
    header_of(tmp_path / "a.nii", 42, "<i2", [2048, 2048, 2048])
    with gzip.open(tmp_path / "b.nii.gz", "wb") as file:
        file.write((tmp_path / "a.nii").read_bytes()[:352] + bytes(1 << 20))

    with pytest.raises(BadFile, match=r"b\.nii\.gz unpacks to 32 GiB"):
        table(tmp_path, [("b.nii.gz", 0)])


def test_volumes_of_unequal_spacing_and_channels_of_unequal_shape_are_refused(tmp_path):
    save(tmp_path / "a.nii.gz")
    save(tmp_path / "c.nii.gz", affine=AFFINE * 2)

    told = r"a.nii.gz has .*c.nii.gz has 6 x 5 x 4 voxels of 6 x 3 x 4 mm: .* of one spacing; resample them first"
    with pytest.raises(BadFile, match=told):
        table(tmp_path, [("a.nii.gz", 0), ("c.nii.gz", 1)])
    root = folder_in(tmp_path, "mr", "ab")
    save(root / "imagesTs/b_0001.nii.gz", VALUES[:, :, :4])
    told = r"b_0000.nii.gz has 6 x 5 x 4 voxels .*b_0001.nii.gz has 4 x 5 x 4 voxels .*: channels of one volume are"
    with pytest.raises(BadFile, match=told):
        opened(root)


def test_more_volumes_than_fit_into_memory_are_refused_by_their_headers(tmp_path, monkeypatch):
    monkeypatch.setattr("robustbench_ms.datasets.scan_folder.LARGEST", 4 * 120 // 2)
    with pytest.raises(BadFile, match="GiB of volumes, and all are kept in memory"):
        opened(folder_in(tmp_path, "mr", "ab"))


def test_labels_are_held_to_their_volume(tmp_path):
    save(tmp_path / "a.nii.gz")
    save(
        tmp_path / "moved.nii.gz", (VALUES > 0.5).astype(np.uint8), AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 0.5
    )
    save(tmp_path / "half.nii.gz", np.where(VALUES > 0.5, 0.5, 0).astype(np.float32))
    save(tmp_path / "seven.nii.gz", np.full((4, 5, 6), 7, np.uint8))
    save(tmp_path / "good.nii.gz", (VALUES > 0.5).astype(np.uint8), code="LPS")

    for name, told in (
        ("moved", "moved.nii.gz is of another grid than .*a.nii.gz"),
        ("half", "labels that are no whole numbers"),
        ("seven", "labels 7..7, which do not fit 2 classes"),
        ("none", "none.nii.gz is not there"),
    ):
        with pytest.raises(BadFile, match=told):
            table(tmp_path, [("a.nii.gz", f"{name}.nii.gz")], ("map",), 2)
    found = (
        table(tmp_path, [("a.nii.gz", "good.nii.gz")], ("map",), 2).open("stored").load(np.array([0]), CPU)
    )
    assert np.array_equal(found.maps[MAP][0].numpy(), (VALUES > 0.5).transpose(2, 1, 0))


def test_what_is_wrong_with_a_folder(tmp_path):
    root = folder_in(tmp_path, "mr", "a")

    with pytest.raises(UserError, match="2 classes, which do not fit the suite's 5"):
        opened(root, classes=5)
    with pytest.raises(UserError, match="it is for segmentation"):
        opened(root, ("label",))
    for labels, told in (
        ({"a": 0, "b": [1, 2]}, "regions"),
        ({"a": 0, "b": 2}, "numbered 0 to 1"),
        ([], "names with"),
    ):
        folder(root, "a", labels=labels)
        with pytest.raises(BadFile, match=told):
            opened(root)
    folder(root, "a", labels={"0": "ground", "1": "tumour"})
    assert opened(root).names == ("ground", "tumour")
    (root / "imagesTs/a_0001.nii.gz").unlink()
    with pytest.raises(BadFile, match=r"a_0001.nii.gz is not there$"):
        opened(root)
    (root / "imagesTs/a_0000.nii.gz").unlink()
    dicom(root / "imagesTs/1.dcm")
    with pytest.raises(BadFile, match="holds DICOM files"):
        opened(root)
    (root / "dataset.json").unlink()
    with pytest.raises(BadFile, match=r"has no dataset.json"):
        opened(root)


def test_what_is_wrong_with_a_table(tmp_path):
    save(tmp_path / "a.nii.gz")

    for rows, told in (
        ([("a.nii.gz", "cat")], "line 2: label 'cat' is no whole number of 0 to 2"),
        ([("a.nii.gz", 3)], "label '3' is no whole"),
        ([("a.nii.gz", "0,1")], "line 2: a path and a label are wanted, not 3 words"),
        ([("a.nii.gz", 0), ("a.nii.gz", 1)], "names a volume twice"),
        ([], "names no volume"),
        ([("b.nii.gz", 0), ("c.nii.gz", 0)], r"b.nii.gz is not there, nor are 1 others"),
    ):
        with pytest.raises(BadFile, match=told):
            table(tmp_path, rows)
    with pytest.raises(UserError, match="the suite must say how many classes"):
        table(tmp_path, [("a.nii.gz", 0)], classes=None)
