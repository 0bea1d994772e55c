"""CIFAR from plain arrays, torchvision's folder and archive, and the published corrupted sets."""

from __future__ import annotations

import functools
import hashlib
import http.server
import pickle
import tarfile
import threading

import numpy as np
import pytest

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.errors import BadFile, UserError
from tests.running import opened, pixels, suite_of


def cifar_files(folder, pictures):
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        np.save(folder / f"{split}_images.npy", pictures[0] if split == "test" else 255 - pictures[0])
        np.save(folder / f"{split}_labels.npy", pictures[1].astype(np.uint8))


def test_cifar_from_plain_arrays(places, pictures):
    cifar_files(places.data / "cifar10", pictures)

    test = opened(suite_of("cifar10"), places, ())
    train = opened(suite_of("cifar10", split="train"), places, ())

    assert np.array_equal(pixels(test, 0, 40), pictures[0].transpose(0, 3, 1, 2))
    assert np.array_equal(pixels(train, 0, 40), 255 - pictures[0].transpose(0, 3, 1, 2))
    assert test.sha256 != train.sha256
    assert np.array_equal(test.ids, np.arange(40))
    (places.data / "cifar10" / "test_labels.npy").unlink()
    with pytest.raises(BadFile, match=r"test_labels\.npy is missing"):
        opened(suite_of("cifar10"), places, ())


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
    from robustbench_ms.specs.places import Places

    official_archive(tmp_path / "official", *pictures, monkeypatch, kind, served)
    plain = Places(tmp_path / "plain", places.results, places.cache)
    cifar_files(plain.data / kind, pictures)

    for split in ("test", "train"):
        suite = suite_of(kind, split=split, classes=100 if kind == "cifar100" else 10)
        fetched, kept = opened(suite, places, ()), opened(suite, plain, ())

        assert np.array_equal(pixels(fetched, 0, 40), pixels(kept, 0, 40))
        assert np.array_equal(fetched.labels, kept.labels)
        assert fetched.sha256 == kept.sha256
    for name in ("images", "labels"):
        with pytest.raises(BadFile, match=f"{name}: its SHA-256"):
            opened(suite_of(kind, sha256={name: "0" * 64}), places, ())


def test_a_damaged_folder_of_torchvisions_is_not_unpickled(tmp_path, places, pictures, monkeypatch, served):
    from torchvision import datasets

    official_archive(tmp_path / "official", *pictures, monkeypatch, "cifar10", served)
    opened(suite_of("cifar10"), places, ())
    from robustbench_ms.datasets import cifar

    cifar._torchvision.cache_clear()
    batch = places.data / "cifar10" / datasets.CIFAR10.base_folder / "test_batch"
    batch.write_bytes(batch.read_bytes()[:-10])
    (places.data / "cifar10" / datasets.CIFAR10.filename).unlink()
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{served}/nowhere")

    with pytest.raises(
        BadFile, match=r"cifar10 is neither under .*nor could it be downloaded.*test_images\.npy"
    ):
        opened(suite_of("cifar10"), places, ())


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
            data = opened(suite, places, (("corruption", name), ("severity", s)))
            assert data.facts.n == 40
            assert np.array_equal(pixels(data, 0, 40), (pictures[0] // s + shift).transpose(0, 3, 1, 2))
            assert np.array_equal(data.labels, pictures[1])
            assert np.array_equal(data.ids, np.arange(40))
            assert data.corrupted


def test_what_is_wrong_with_a_published_set_is_named(places, pictures):
    fog = (("corruption", "fog"), ("severity", 1))
    suite = suite_of("cifar10-c")
    with pytest.raises(BadFile, match=r"CIFAR-10-C is missing; rbms fetch cifar10-c, or unpack .*zenodo"):
        opened(suite, places, fog)
    folder = places.data / "CIFAR-10-C"
    cifar_c_files(folder, pictures)
    with pytest.raises(BadFile, match=r"frost\.npy is missing"):
        opened(suite, places, (("corruption", "frost"), ("severity", 1)))
    with pytest.raises(BadFile, match=r"fog\.npy: its SHA-256"):
        opened(suite_of("cifar10-c", sha256={"fog": "0" * 64}), places, fog)
    with pytest.raises(BadFile, match=r"labels\.npy: its SHA-256"):
        opened(suite_of("cifar10-c", sha256={"labels": "0" * 64}), places, fog)
    np.save(folder / "labels.npy", pictures[1])
    with pytest.raises(BadFile, match=r"labels\.npy holds 40 labels for 200 images"):
        opened(suite, places, fog)
    np.save(folder / "fog.npy", np.zeros((41, 32, 32, 3), np.uint8))
    np.save(folder / "labels.npy", np.zeros(41, np.int64))
    with pytest.raises(UserError, match="no five severities"):
        opened(suite, places, fog)


def test_the_real_cifar_is_the_official_one(places, real_data):
    from robustbench_ms.specs.places import Places

    found = Places(real_data("cifar10/test_images.npy").parent.parent, places.results, places.cache)
    suite = find_suite("cifar10-c")

    test = opened(suite, found, ())

    assert test.facts.n == 10_000
    assert set(np.bincount(test.labels)) == {1000}
    assert list(test.labels[:5]) == [
        3,
        8,
        8,
        0,
        6,
    ]  # cat, ship, ship, airplane, frog: as the official order begins
    assert opened(suite.limited(500), found).facts.n == 500
