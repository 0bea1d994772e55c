"""What every classification data set opens to, and what is said of files that are not what they should be."""

from __future__ import annotations

import functools
import hashlib
import http.server
import itertools
import pickle
import tarfile
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_ms.catalog import find_suite
from robustbench_ms.datasets.arrays import open_arrays
from robustbench_ms.datasets.cifar import open_cifar, open_cifar_c
from robustbench_ms.datasets.digits import _enlarge, open_digits
from robustbench_ms.datasets.images import array_digest, load_array, subset
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.spec import Suite
from robustbench_ms.toml_files import read_suite


def suite_of(dataset, **facts):
    return Suite(
        name="mine", task="classification", dataset=dataset, classes=facts.pop("classes", 10), **facts
    )


# digits


def test_the_test_split_of_the_digits_is_fixed_balanced_and_apart_from_training(places):
    test = open_digits(suite_of("digits"), places, ())
    train = open_digits(suite_of("digits", split="train"), places, ())

    assert (len(test), len(train)) == (597, 1200)
    assert set(np.bincount(test.labels)) == {59, 60}
    assert not set(test.ids) & set(train.ids)
    assert sorted([*test.ids, *train.ids]) == list(range(1797))
    assert hashlib.sha256(test.ids.astype("<i8").tobytes()).hexdigest().startswith("4909a962dd2ac5e2")


def test_digits_are_the_librarys_own_images_enlarged(places):
    from sklearn.datasets import load_digits
    from torch import from_numpy
    from torch.nn.functional import interpolate

    small, labels = load_digits(return_X_y=True)
    data = open_digits(suite_of("digits"), places, ())
    batch = data.batch(0, len(data))
    expected = interpolate(
        from_numpy(small.reshape(-1, 1, 8, 8)[data.ids] / 16 * 255), size=(32, 32), mode="bilinear"
    ).numpy()

    assert batch.shape == (597, 3, 32, 32)
    assert batch.dtype == np.uint8
    assert np.abs(batch - expected).max() <= 0.5 + 1e-9
    assert np.array_equal(labels[data.ids], data.labels)
    assert _enlarge(np.full((1, 8, 8), 16)).min() == 255


def test_the_shipped_digest_of_the_digits_is_checked(places):
    suite = find_suite("quick")
    open_digits(suite, places, ())

    for key in ("images", "labels"):
        with pytest.raises(BadFile, match=f"digits: {key}: its SHA-256 is .* not 000000000000"):
            open_digits(suite_of("digits", sha256={key: "0" * 64}), places, ())


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
    import torch

    suite = read_suite(write_suite(images=LAYOUTS[layout](pictures[0])))

    data = open_arrays(suite, places, ())

    channels = 1 if "grey" in layout else 3
    assert data.shape == (channels, 32, 32)
    assert len(data) == 40
    batch = data.batch(3, 9)
    assert np.array_equal(batch, pictures[0][3:9].transpose(0, 3, 1, 2)[:, :channels])
    assert batch.flags.c_contiguous
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.from_numpy(batch)
    tensor.zero_()
    assert data.batch(3, 9).any()  # a consumer that writes does not write into the data set
    assert isinstance(data.images, np.memmap)
    assert not data.images.flags.writeable


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "<u8"])
def test_labels_of_any_whole_number_type(places, write_suite, kind, pictures):
    suite = read_suite(write_suite(labels=pictures[1].astype(kind)))

    data = open_arrays(suite, places, ())

    assert data.labels.dtype == np.int64
    assert np.array_equal(data.labels, pictures[1])
    assert data.sha256 == open_arrays(read_suite(write_suite(labels=pictures[1])), places, ()).sha256


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
    open_arrays(read_suite(write_suite(replace=[("[files]", f"[sha256]\n{told}[files]")])), places, ())

    for name, digest in right.items():
        path = write_suite(replace=[("[files]", f'[sha256]\n{name} = "{"f" * 64}"\n[files]')])
        with pytest.raises(BadFile, match=rf"{name}\.npy: its SHA-256 is {digest[:12]}"):
            open_arrays(read_suite(path), places, ())


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

    assert np.array_equal(open_arrays(read_suite(path), places, ()).labels, pictures[1])
    (places.data / "labels.npy").unlink()
    with pytest.raises(BadFile, match=r"suite tiny: labels\.npy is neither in .*suites nor in .*data"):
        open_arrays(read_suite(path), places, ())


# a keyed subset


def test_a_smaller_subset_is_a_part_of_a_larger_one(places):
    whole = open_digits(suite_of("digits"), places, ())
    sizes = (1, 10, 100, 596, 597, 10_000)
    parts = [subset(whole, size) for size in sizes]

    for part, size in zip(parts, sizes, strict=True):
        assert len(part) == min(size, 597)
        assert list(part.ids) == sorted(part.ids)
        assert np.array_equal(part.batch(0, len(part)), whole.batch(0, 597)[np.isin(whole.ids, part.ids)])
        assert np.array_equal(part.labels, whole.labels[np.isin(whole.ids, part.ids)])
    for small, large in itertools.pairwise(parts):
        assert set(small.ids) <= set(large.ids)
    assert parts[2].sha256 == whole.sha256
    assert np.bincount(parts[2].labels, minlength=10).min() > 0


# CIFAR


def cifar_files(folder, pictures):
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        np.save(folder / f"{split}_images.npy", pictures[0] if split == "test" else 255 - pictures[0])
        np.save(folder / f"{split}_labels.npy", pictures[1].astype(np.uint8))


def test_cifar_from_plain_arrays(places, pictures):
    cifar_files(places.data / "cifar10", pictures)

    test = open_cifar(suite_of("cifar10"), places, ())
    train = open_cifar(suite_of("cifar10", split="train"), places, ())

    assert np.array_equal(test.batch(0, 40), pictures[0].transpose(0, 3, 1, 2))
    assert np.array_equal(train.batch(0, 40), 255 - pictures[0].transpose(0, 3, 1, 2))
    assert test.sha256 != train.sha256
    assert np.array_equal(test.ids, np.arange(40))
    (places.data / "cifar10" / "test_labels.npy").unlink()
    with pytest.raises(BadFile, match=r"test_labels\.npy is missing"):
        open_cifar(suite_of("cifar10"), places, ())


@pytest.fixture
def served(tmp_path):
    """A web server in this process, of the folder "official"."""
    (tmp_path / "official").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "official")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def official_archive(folder, images, labels, monkeypatch, kind, served):
    """A tiny archive of the official form, and torchvision told to take it for the official one."""
    from torchvision import datasets

    dataset = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[kind]
    key = "labels" if kind == "cifar10" else "fine_labels"
    root = folder / dataset.base_folder
    root.mkdir(parents=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)

    def keep(name, told):
        (root / name).write_bytes(pickle.dumps(told, protocol=2))
        return hashlib.md5((root / name).read_bytes()).hexdigest()

    part = 40 // len(dataset.train_list)
    train = [
        [
            name,
            keep(
                name,
                {
                    "data": 255 - rows[i * part : (i + 1) * part],
                    key: labels[i * part : (i + 1) * part].tolist(),
                },
            ),
        ]
        for i, (name, _) in enumerate(dataset.train_list)
    ]
    test = [[name, keep(name, {"data": rows, key: labels.tolist()})] for name, _ in dataset.test_list]
    meta = dict(dataset.meta)
    meta["md5"] = keep(meta["filename"], {meta["key"]: [str(i) for i in range(10)]})
    archive = folder / dataset.filename
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root, dataset.base_folder)
    monkeypatch.setattr(dataset, "train_list", train)
    monkeypatch.setattr(dataset, "test_list", test)
    monkeypatch.setattr(dataset, "meta", meta)
    monkeypatch.setattr(dataset, "url", f"{served}/{dataset.filename}")
    monkeypatch.setattr(dataset, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
def test_cifar_is_fetched_through_torchvision_and_is_the_same_data_as_plain_arrays(
    tmp_path, places, pictures, monkeypatch, kind, served
):
    from robustbench_ms.places import Places

    official_archive(tmp_path / "official", *pictures, monkeypatch, kind, served)
    plain = Places(tmp_path / "plain", places.results, places.cache)
    cifar_files(plain.data / kind, pictures)

    for split in ("test", "train"):
        suite = suite_of(kind, split=split, classes=100 if kind == "cifar100" else 10)
        fetched, kept = open_cifar(suite, places, ()), open_cifar(suite, plain, ())

        assert np.array_equal(fetched.batch(0, 40), kept.batch(0, 40))
        assert np.array_equal(fetched.labels, kept.labels)
        assert fetched.sha256 == kept.sha256
    for name in ("images", "labels"):
        with pytest.raises(BadFile, match=f"{name}: its SHA-256"):
            open_cifar(suite_of(kind, sha256={name: "0" * 64}), places, ())


def test_a_damaged_folder_of_torchvisions_is_not_unpickled(tmp_path, places, pictures, monkeypatch, served):
    from torchvision import datasets

    official_archive(tmp_path / "official", *pictures, monkeypatch, "cifar10", served)
    open_cifar(suite_of("cifar10"), places, ())
    from robustbench_ms.datasets import cifar

    cifar._torchvision.cache_clear()
    batch = places.data / "cifar10" / datasets.CIFAR10.base_folder / "test_batch"
    batch.write_bytes(batch.read_bytes()[:-10])
    (places.data / "cifar10" / datasets.CIFAR10.filename).unlink()
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{served}/nowhere")

    with pytest.raises(
        BadFile, match=r"cifar10 is neither under .*nor could it be downloaded.*test_images\.npy"
    ):
        open_cifar(suite_of("cifar10"), places, ())


def cifar_c_files(folder, pictures, names=("fog", "snow")):
    folder.mkdir(parents=True)
    for shift, name in enumerate(names):
        rows = np.concatenate([pictures[0] // s + shift for s in range(1, 6)])
        np.save(folder / f"{name}.npy", rows)
    np.save(folder / "labels.npy", np.tile(pictures[1], 5))


@pytest.mark.parametrize("folder", ["CIFAR-10-C", "cifar10-c"])
def test_severity_s_on_disk_is_the_sth_fifth_of_the_rows(places, pictures, folder):
    cifar_c_files(places.data / folder, pictures)
    suite = suite_of("cifar10-c")

    for shift, name in enumerate(("fog", "snow")):
        for s in range(1, 6):
            data = open_cifar_c(suite, places, (("corruption", name), ("severity", s)))
            assert len(data) == 40
            assert np.array_equal(data.batch(0, 40), (pictures[0] // s + shift).transpose(0, 3, 1, 2))
            assert np.array_equal(data.labels, pictures[1])
            assert np.array_equal(data.ids, np.arange(40))
            assert data.corrupted


def test_what_is_wrong_with_a_published_set_is_named(places, pictures):
    fog = (("corruption", "fog"), ("severity", 1))
    suite = suite_of("cifar10-c")
    with pytest.raises(BadFile, match=r"CIFAR-10-C is missing; unpack .*zenodo"):
        open_cifar_c(suite, places, fog)
    folder = places.data / "CIFAR-10-C"
    cifar_c_files(folder, pictures)
    with pytest.raises(BadFile, match=r"frost\.npy is missing"):
        open_cifar_c(suite, places, (("corruption", "frost"), ("severity", 1)))
    with pytest.raises(BadFile, match=r"fog\.npy: its SHA-256"):
        open_cifar_c(suite_of("cifar10-c", sha256={"fog": "0" * 64}), places, fog)
    with pytest.raises(BadFile, match=r"labels\.npy: its SHA-256"):
        open_cifar_c(suite_of("cifar10-c", sha256={"labels": "0" * 64}), places, fog)
    np.save(folder / "labels.npy", pictures[1])
    with pytest.raises(BadFile, match=r"labels\.npy holds 40 labels for 200 images"):
        open_cifar_c(suite, places, fog)
    np.save(folder / "fog.npy", np.zeros((41, 32, 32, 3), np.uint8))
    np.save(folder / "labels.npy", np.zeros(41, np.int64))
    with pytest.raises(UserError, match="no five severities"):
        open_cifar_c(suite, places, fog)


def test_the_real_cifar_is_the_official_one(places, real_data):
    from robustbench_ms.places import Places

    found = Places(real_data("cifar10/test_images.npy").parent.parent, places.results, places.cache)
    suite = find_suite("cifar10-c")

    test = open_cifar(suite, found, ())

    assert len(test) == 10_000
    assert set(np.bincount(test.labels)) == {1000}
    assert list(test.labels[:5]) == [
        3,
        8,
        8,
        0,
        6,
    ]  # cat, ship, ship, airplane, frog: as the official order begins
    assert len(subset(test, 500)) == 500
