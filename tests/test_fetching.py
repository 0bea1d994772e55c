"""rbms fetch and rbms doctor: what is offered, whole into its place or not at all."""

from __future__ import annotations

import errno
import hashlib

import pytest

from robustbench_ms.catalog.find import card_names
from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets.located import FOLDERS, found_in, looked_in
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.fetching import offers as offering
from robustbench_ms.fetching.fetch import fetch, wanted
from robustbench_ms.fetching.offers import Offer, Remote, find_offer, known_of, offers
from tests.fileserver import quiet, serving, tar_of


def offer_of(server, *files, into="", name="things"):
    return Offer(
        name, "MIT", "here", tuple(Remote(server.at + "/" + f, f, **facts) for f, facts in files), into
    )


def test_fetched_whole_into_its_place(places):
    files = {"/a.tar.gz": tar_of({"one/x": b"1"}), "/b.npy": b"2"}
    with serving(files) as server:
        offer = offer_of(
            server, ("a.tar.gz", {"makes": ("one",)}), ("b.npy", {"makes": ("b.npy",)}), into="things"
        )
        what = wanted(offer, places)
        assert what.bytes == sum(map(len, files.values()))
        came = fetch(what, places, quiet)
        (places.data / "things" / "b.npy").unlink()
        again = wanted(offer, places)
        fetch(again, places, quiet)

    assert came == [places.data / "things/one", places.data / "things/b.npy"]
    assert [one.file for one in again.files] == ["b.npy"]
    assert (places.data / "things/one/x").read_bytes() == b"1"
    assert [path.name for path in places.data.iterdir()] == ["things"]
    assert not wanted(offer, places).files


def test_or_not_at_all(places):
    files = {"/a.tar.gz": tar_of({"one/x": b"1"}), "/b.tar.gz": tar_of({"two/x": b"1", "../out": b""})}
    with serving(files) as server:
        offer = offer_of(server, ("a.tar.gz", {"makes": ("one",)}), ("b.tar.gz", {"makes": ("two",)}))
        with pytest.raises(BadFile):
            fetch(wanted(offer, places), places, quiet)
        other = offer_of(server, ("a.tar.gz", {"makes": ("three",)}))
        with pytest.raises(BadFile, match=r"a.tar.gz has no three"):
            fetch(wanted(other, places), places, quiet)

    assert [path.name for path in places.data.iterdir()] == ["downloads"]


def test_two_do_not_fetch_one_thing(places):
    import fcntl

    with serving({"/b.npy": b"2"}) as server:
        what = wanted(offer_of(server, ("b.npy", {"makes": ("b.npy",)})), places)
        (places.data / "downloads").mkdir(parents=True)
        with (places.data / "downloads/.things.lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(UserError, match="by another process"):
                fetch(what, places, quiet)
            assert (places.data / "downloads/.things.lock").exists()
        fetch(what, places, quiet)


def test_a_full_disk_leaves_nothing_unpacked(places, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving({"/a.tar.gz": tar_of({"one/x": b"1"}), "/b.npy": b"2"}) as server:
        for file, where in (("a.tar.gz", "tarfile.TarFile.extract"), ("b.npy", "shutil.copyfile")):
            monkeypatch.setattr(where, full)
            with pytest.raises(UserError, match="is full"):
                fetch(wanted(offer_of(server, (file, {"makes": ("one",)})), places), places, quiet)

    assert [path.name for path in places.data.iterdir()] == ["downloads"]


def test_imagenet_stands_behind_a_login_and_takes_what_was_got_by_hand(places, tmp_path, monkeypatch):
    with pytest.raises(
        UserError, match=r"behind a login: get ILSVRC2012_img_val.tar .*image-net.org.*--from"
    ):
        wanted(find_offer("imagenet"), places)
    val, devkit = tmp_path / "ILSVRC2012_img_val.tar", tmp_path / "ILSVRC2012_devkit_t12.tar.gz"
    val.write_bytes(tar_of({"ILSVRC2012_val_00000001.JPEG": b"1"}))
    devkit.write_bytes(tar_of({"ILSVRC2012_devkit_t12/data/meta.mat": b"1"}))
    with pytest.raises(BadFile, match=r"its MD5 is .*, not 29b22e2961454d5413ddabcf34fc5622"):
        fetch(wanted(find_offer("imagenet"), places, [val]), places, quiet)
    md5 = {"val": val, "devkit": devkit}
    known = {key: (path.name, hashlib.md5(path.read_bytes()).hexdigest()) for key, path in md5.items()}
    monkeypatch.setattr(offering, "torchvision_says", lambda *_: known)

    fetch(wanted(find_offer("imagenet"), places, [val, devkit]), places, quiet)

    assert (places.data / "imagenet/val/ILSVRC2012_val_00000001.JPEG").is_file()
    assert (places.data / "imagenet/ILSVRC2012_devkit_t12/data/meta.mat").is_file()
    assert val.is_file()
    with pytest.raises(UserError, match=r"no file of that name; it has ILSVRC2012_img_val.tar"):
        wanted(find_offer("imagenet"), places, [tmp_path / "val.tar"])


def test_a_torchvision_that_says_nothing_is_named():
    with pytest.raises(UserError, match=r"does not say CIFAR10.address of its cifar.py"):
        offering.torchvision_says("cifar", "CIFAR10", "address")
    with pytest.raises(UserError, match=r"does not say A of its none.py"):
        offering.torchvision_says("none", "A")


@pytest.mark.slow
def test_what_is_read_off_torchvision_is_what_it_has():
    from torchvision import datasets
    from torchvision.datasets import imagenet

    for name in ("CIFAR10", "CIFAR100"):
        kind = getattr(datasets, name)
        for fact in ("url", "filename", "tgz_md5"):
            assert offering.torchvision_says("cifar", name, fact) == getattr(kind, fact)
    assert offering.torchvision_says("imagenet", "ARCHIVE_META") == imagenet.ARCHIVE_META


def test_the_table_is_whole():
    for name, offer in offers().items():
        assert name in DATASETS
        for one in map(known_of, offer.files):
            assert one.url.startswith("https://") or offer.login
            assert one.digest is None or (
                one.said_by and len(one.digest[1]) == {"md5": 32, "sha256": 64}[one.digest[0]]
            )
    cifar = known_of(offers()["cifar10"].files[0])
    assert (cifar.file, cifar.said_by) == ("cifar-10-python.tar.gz", "torchvision")


@pytest.mark.parametrize("name", [name for name in offers() if name != "imagenet-c"])
def test_what_is_fetched_is_found(name, places):
    """What each offer makes is where its reader looks."""
    offer = offers()[name]
    assert found_in(name, places) is None
    for one in offer.files:
        for made in one.makes:
            (places.data / offer.into / made).mkdir(parents=True)
    if name == "coco":
        (places.data / "coco/annotations/instances_val2017.json").touch()
    if name == "visdrone":
        (places.data / "VisDrone2019-DET-val/annotations").mkdir()

    assert found_in(name, places) in looked_in(name, places)


def test_names_of_suites_and_cards():
    assert find_offer("tiny-imagenet-c").name == "tiny-imagenet"
    assert find_offer("imagenet-real").name == "imagenet"
    assert "rbms fetch cifar10" in find_offer("cifar10-c").note
    weights = find_offer("resnet20")
    assert (weights.into, weights.files[0].file, weights.files[0].said_by) == (
        "weights",
        "resnet20-12fca82f.th",
        "the card",
    )
    with pytest.raises(UnknownName, match="did you mean 'cifar10-c'"):
        find_offer("cifar10c")
    with pytest.raises(UserError, match="names no address of weights; it comes from https"):
        find_offer("squeezenet")
    with pytest.raises(UserError, match="needs no download"):
        find_offer("quick")
    assert "resnet20" in card_names()


def test_a_mistake_in_the_table_is_named(tmp_path):
    file = tmp_path / "offers.toml"
    file.write_text('[[offer]]\nname = "a"\nlicense = "MIT"\nlicence_at = "x"\n')
    with pytest.raises(UserError, match="did you mean 'licence'"):
        offering.offers(file)


def test_every_data_set_of_the_data_folder_is_looked_for(places):
    by_path = {"digits", "quick-scenes", "coco-folder", "picture-folder", "labelled-folder", "arrays"}
    assert {*DATASETS.ours} - by_path == {*FOLDERS}


def test_fetch_asks_before_it_takes(rbms, tmp_path, monkeypatch):
    with serving({"/b.npy": b"2"}) as server:
        offer = offer_of(server, ("b.npy", {"makes": ("b.npy",)}), into="things")
        monkeypatch.setattr(offering, "find_offer", lambda _: offer)
        refused = rbms("fetch", "things", "--data", str(tmp_path))
        told = rbms("fetch", "things", "--data", str(tmp_path), "--yes", "--json").json()

    assert refused.code == 2
    assert "--yes does it" in refused.err
    assert "licence: MIT (here)" in refused.out
    assert "not verified" in refused.out
    assert told["came"] == [str(tmp_path / "things/b.npy")]


def test_doctor(rbms, tmp_path):
    import tomllib

    from robustbench_ms.fetching.doctor import EXTRAS
    from tests.sources import ROOT

    (tmp_path / "imagenet-r").mkdir()
    told = rbms("doctor", "--data", str(tmp_path), "--json").json()
    lines = rbms("doctor", "--data", str(tmp_path)).out

    assert told["broken"] == []
    assert told["datasets"]["imagenet-r"]["found"] == str(tmp_path / "imagenet-r")
    assert told["datasets"]["imagenet-a"]["found"] is None
    assert f"not in {tmp_path / 'imagenet-a'}; rbms fetch imagenet-a" in lines
    assert {*told["versions"]} >= {"python", "torch", "torchvision", "numba", "robustbench-ms"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*EXTRAS} == {*extras} - {"test", "lint"}
