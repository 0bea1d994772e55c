"""What every classification data set opens to, and what is said of files that are not what they should be."""

from __future__ import annotations

import hashlib
import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets import digits
from robustbench_ms.datasets.digits import _enlarge, digit_pictures
from robustbench_ms.datasets.images import array_digest, load_array
from robustbench_ms.datasets.protocol import DataFacts, rows_of_one_shape
from robustbench_ms.datasets.shapes import Images, RaggedImages
from robustbench_ms.errors import BadFile
from tests.running import opened, pixels, suite_of

# digits


def test_the_test_split_of_the_digits_is_fixed_balanced_and_apart_from_training(places):
    test = opened(suite_of("digits"), places, ())
    train = opened(suite_of("digits", split="train"), places, ())

    assert (test.facts.n, train.facts.n) == (597, 1200)
    assert set(np.bincount(test.labels)) == {59, 60}
    assert not set(test.ids) & set(train.ids)
    assert sorted([*test.ids, *train.ids]) == list(range(1797))
    assert hashlib.sha256(test.ids.astype("<i8").tobytes()).hexdigest().startswith("4909a962dd2ac5e2")


def test_digits_are_the_librarys_own_images_enlarged(places):
    from sklearn.datasets import load_digits
    from torch import from_numpy
    from torch.nn.functional import interpolate

    small, labels = load_digits(return_X_y=True)
    data = opened(suite_of("digits"), places, ())
    batch = pixels(data)
    expected = interpolate(
        from_numpy(small.reshape(-1, 1, 8, 8)[data.ids] / 16 * 255), size=(32, 32), mode="bilinear"
    ).numpy()

    assert batch.shape == (597, 3, 32, 32)
    assert batch.dtype == np.uint8
    assert np.abs(batch - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(labels[data.ids], data.labels)
    assert _enlarge(np.full((1, 8, 8), 16)).min() == 255


def test_digits_that_the_library_keeps_elsewhere_are_asked_of_it(monkeypatch):
    found = [digit_pictures.__wrapped__()]
    monkeypatch.setattr(digits, "find_spec", lambda _: None)
    found.append(digit_pictures.__wrapped__())

    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)


def test_the_shipped_digest_of_the_digits_is_checked(places):
    suite = find_suite("quick")
    opened(suite, places, ())

    for key in ("images", "labels"):
        with pytest.raises(BadFile, match=f"digits: {key}: its SHA-256 is .* not 000000000000"):
            opened(suite_of("digits", sha256={key: "0" * 64}), places, ())


# any pair of arrays


LAYOUTS = {
    "NHWC": lambda x: x,
    "NCHW": lambda x: np.ascontiguousarray(x.transpose(0, 3, 1, 2)),
    "grey NHWC": lambda x: np.ascontiguousarray(x[..., :1]),
    "grey NCHW": lambda x: np.ascontiguousarray(x[..., :1].transpose(0, 3, 1, 2)),
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_any_layout_are_shown_alike(places, write_suite, pictures, layout):
    suite = read_suite(write_suite(images=LAYOUTS[layout](pictures[0])))

    data = opened(suite, places, ())

    channels = 1 if "grey" in layout else 3
    assert data.facts.layout == Images(channels, 32, 32)
    assert data.facts.n == 40
    batch = pixels(data, 3, 9)
    assert np.array_equal(batch, pictures[0][3:9].transpose(0, 3, 1, 2)[:, :channels])
    assert batch.flags.c_contiguous
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(batch)
    tensor.zero_()
    assert pixels(data, 3, 9).any()  # a consumer that writes does not write into the data set
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "<u8"])
def test_labels_of_any_whole_number_type(places, write_suite, kind, pictures):
    suite = read_suite(write_suite(labels=pictures[1].astype(kind)))

    data = opened(suite, places, ())

    assert data.labels.dtype == np.int64
    assert np.array_equal(data.labels, pictures[1])
    assert data.sha256 == opened(read_suite(write_suite(labels=pictures[1])), places, ()).sha256


WRONG_ARRAYS = {
    "labels too few": (None, np.zeros(39, np.int64), "holds 39 labels for 40 images"),
    "labels too many": (None, np.zeros(41, np.int64), "holds 41 labels for 40 images"),
    "labels out of range": (
        None,
        np.full(40, 10),
        r"labels 10\.\.10, which do not fit the suite's 10 classes",
    ),
    "labels negative": (None, np.full(40, -1), "do not fit the suite's 10 classes"),
    "labels as floats": (None, np.zeros(40), "whole-number labels"),
    "labels of two axes": (None, np.zeros((40, 1), int), r"whole-number labels \(N,\)"),
    "images as floats": (np.zeros((40, 32, 32, 3)), None, "uint8 images"),
    "images of three axes": (np.zeros((40, 32, 32), np.uint8), None, r"uint8 images \(N, H, W, C\)"),
    "images of two channels": (np.zeros((40, 32, 32, 2), np.uint8), None, "1 or 3 channels"),
    "images without pixels": (np.zeros((40, 0, 32, 3), np.uint8), None, "without pixels"),
    "no images": (np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64), "empty data set"),
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_arrays_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, write_suite, rbms, case):
    import re

    images, labels, words = WRONG_ARRAYS[case]
    path = write_suite(images=images, labels=labels)

    found = rbms("run", path, "-m", "tests.fakes:build")

    assert found.code == 2
    assert re.search(words, found.err)
    assert str(path.parent) in found.err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
@pytest.mark.parametrize("keep", [0, 3, 40, 100, 0.5, 0.99, "absent", "text", "pickle", "npz"])
def test_a_file_that_is_missing_cut_off_or_another_kind_is_named(tmp_path, write_suite, rbms, name, keep):
    path = write_suite()
    file = path.parent / name
    whole = file.read_bytes()
    if keep == "absent":
        file.unlink()
    elif keep == "text":
        file.write_text("<html>not found</html>")
    elif keep == "pickle":
        np.save(file, np.array([{}], dtype=object))
    elif keep == "npz":
        with file.open("wb") as out:
            np.savez(out, a=np.zeros(3))
    else:
        file.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])

    found = rbms("run", path, "-m", "tests.fakes:build")

    assert found.code == 2
    assert name in found.err
    assert found.err.count("\n") == 1
    assert not (tmp_path / "results").exists()


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 127), byte=st.integers(0, 255))
def test_a_damaged_header_is_a_bad_file_or_another_array(tmp_path_factory, position, byte):
    path = tmp_path_factory.getbasetemp() / "header.npy"
    np.save(path, np.zeros((2, 4, 4, 3), np.uint8))
    told = bytearray(path.read_bytes())
    told[position] = byte
    path.write_bytes(told)

    try:
        array = load_array(path, "mine")
    except BadFile as error:
        found = str(error)
    else:
        found = f"{path} holds {type(array).__name__}"
    assert str(path) in found


def test_a_suites_digest_names_the_array_that_is_another(places, write_suite, pictures):
    right = {
        "images": hashlib.sha256(pictures[0].tobytes()).hexdigest(),
        "labels": hashlib.sha256(pictures[1].astype("<i8").tobytes()).hexdigest(),
    }
    told = "".join(f'{k} = "{v}"\n' for k, v in right.items())
    opened(read_suite(write_suite(replace=[("[files]", f"[sha256]\n{told}[files]")])), places, ())

    for name, digest in right.items():
        path = write_suite(replace=[("[files]", f'[sha256]\n{name} = "{"f" * 64}"\n[files]')])
        with pytest.raises(BadFile, match=rf"{name}\.npy: its SHA-256 is {digest[:12]}"):
            opened(read_suite(path), places, ())


def test_a_digest_is_remembered_until_the_file_changes(places, tmp_path):
    path = tmp_path / "a.npy"
    first, second = np.zeros(1000, np.uint8), np.ones(1000, np.uint8)
    np.save(path, first)

    assert (
        array_digest(load_array(path, "a"), path, places.cache) == hashlib.sha256(first.tobytes()).hexdigest()
    )
    assert len(list((places.cache / "digests").iterdir())) == 1
    np.save(path, second)
    assert (
        array_digest(load_array(path, "a"), path, places.cache)
        == hashlib.sha256(second.tobytes()).hexdigest()
    )


def test_files_beside_the_suite_come_before_the_data_folder(places, write_suite, pictures):
    path = write_suite()
    places.data.mkdir()
    for name in ("images", "labels"):
        (path.parent / f"{name}.npy").rename(places.data / f"{name}.npy")

    assert np.array_equal(opened(read_suite(path), places, ()).labels, pictures[1])
    (places.data / "labels.npy").unlink()
    with pytest.raises(BadFile, match=r"arrays: labels\.npy is neither in .*suites nor in .*data"):
        opened(read_suite(path), places, ())


# a keyed subset


def test_a_smaller_subset_is_a_part_of_a_larger_one(places):
    whole = opened(suite_of("digits"), places)
    sizes = (1, 10, 100, 596, 597, 10_000)
    parts = [opened(suite_of("digits", limit=size), places) for size in sizes]

    for part, size in zip(parts, sizes, strict=True):
        ids = part.facts.ids
        batch = part.load(np.arange(part.facts.n), torch.device("cpu"))
        assert part.facts.n == min(size, 597)
        assert list(ids) == sorted(ids)
        assert np.array_equal(batch.ids, ids)
        assert np.array_equal(batch.rows, np.arange(len(ids)))
        assert np.array_equal(batch.samples.numpy(), pixels(whole)[np.isin(whole.ids, ids)])
        assert np.array_equal(batch.targets.numpy(), whole.labels[np.isin(whole.ids, ids)])
    for small, large in itertools.pairwise(parts):
        assert set(small.facts.ids) <= set(large.facts.ids)
    assert parts[2].facts.digest == whole.sha256
    labels = parts[2].load(np.arange(100), torch.device("cpu")).targets.numpy()
    assert np.bincount(labels, minlength=10).min() > 0


def test_any_rows_in_any_order_are_those_rows(places):
    data = opened(suite_of("digits"), places)
    every, some = pixels(data), np.array([5, 3, 590, 4])

    batch = data.load(some, torch.device("cpu"))

    assert np.array_equal(batch.samples.numpy(), every[some])
    assert np.array_equal(batch.targets.numpy(), data.labels[some])
    part = batch.part(1, 3)
    assert (part.rows.tolist(), part.ids.tolist()) == ([3, 590], data.ids[[3, 590]].tolist())
    assert torch.equal(part.samples, batch.samples[1:3])


def test_helpings_hold_every_row_once_and_ragged_ones_are_of_one_size():
    sizes = np.array([(32, 32), (32, 40), (32, 32), (40, 32), (32, 40), (32, 32)])
    facts = DataFacts(6, "", np.arange(6), None, 2, corrupted=False, layout=RaggedImages(3, sizes))

    helpings = list(rows_of_one_shape(facts, 2 * 3 * 32 * 32))

    assert sorted(np.concatenate(helpings)) == list(range(6))
    assert all(len({tuple(sizes[row]) for row in rows}) == 1 for rows in helpings)
    assert [len(rows) for rows in helpings] == [2, 1, 1, 1, 1]  # the larger ones do not fit twice
    assert [len(rows) for rows in rows_of_one_shape(facts, 1)] == [1] * 6
    assert facts.layout.part(np.array([1, 3])).sizes.tolist() == [[32, 40], [40, 32]]
