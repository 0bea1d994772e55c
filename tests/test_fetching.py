"""rbms fetch and rbms doctor: what is offered, whole into its place or not at all."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from robustbench_ms.catalog.cards import read_card
from robustbench_ms.catalog.find import card_names, find_suite
from robustbench_ms.catalog.registry import DATASETS
from robustbench_ms.datasets.located import FOLDERS, found_in, looked_in
from robustbench_ms.errors import BadFile, UnknownName, UserError
from robustbench_ms.fetching import download as downloading
from robustbench_ms.fetching import offers as offering
from robustbench_ms.fetching.fetch import fetch, wanted
from robustbench_ms.fetching.offers import Offer, Remote, find_offer, known_of, offers
from robustbench_ms.subjects.weights import find_weights
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


def test_what_one_offer_left_is_not_taken_for_anothers(places, monkeypatch):
    """Both have a file of one name, without a digest, and neither could be unpacked at first."""
    files = {"/a.tar": b"no archive"}
    with serving(files) as server:
        one = offer_of(server, ("a.tar", {"makes": ("x",)}))
        with pytest.raises(BadFile, match="damaged"):
            fetch(wanted(one, places), places, quiet)
        asked = len(server.asked)
        with pytest.raises(BadFile, match="damaged"):  # the same once more: it is not downloaded again
            fetch(wanted(one, places), places, quiet)
        assert [method for method, *_ in server.asked[asked:]] == ["HEAD"]
        with serving({"/a.tar": tar_of({"x": b"other"})}) as another:
            fetch(
                wanted(offer_of(another, ("a.tar", {"makes": ("x",)}), name="other"), places), places, quiet
            )
            assert (places.data / "x").read_bytes() == b"other"
            (places.data / "x").unlink()
            assert [*(places.data / "downloads/things").glob("a.tar*")]  # it is the first one's yet
            # Nor is what came from another address, or has another size by now, for the same offer.
            fetch(wanted(offer_of(another, ("a.tar", {"makes": ("x",)})), places), places, quiet)
            assert (places.data / "x").read_bytes() == b"other"


def card_of(server, tmp_path, monkeypatch, *files):
    """A card whose weights have addresses."""
    seeds = "".join(
        f'[[weights]]\nseed = {i}\nfile = "{name}"\nurl = "{server.at}/{name}"\n'
        for i, name in enumerate(files)
    )
    path = tmp_path / "mine.toml"
    path.write_text(f'build = "tests.fakes:build"\nlicence = "MIT"\n[input]\nrange = [0, 1]\n{seeds}')
    monkeypatch.setattr(offering, "card_names", lambda: ("mine",))
    monkeypatch.setattr(offering, "find_card", lambda _: read_card(path))
    return read_card(path)


def test_weights_that_are_called_archives_are_not_unpacked(places, tmp_path, monkeypatch):
    with serving({"/net.pth.tar": b"a checkpoint"}) as server:
        card = card_of(server, tmp_path, monkeypatch, "net.pth.tar")
        (came,) = fetch(wanted(find_offer("mine"), places), places, quiet)

    assert came.read_bytes() == b"a checkpoint"
    assert find_weights(card.weights[0], card, places) == came


def test_weights_in_folders_of_their_own_are_found_where_they_come(places, tmp_path, monkeypatch):
    files = {f"/deep/mine-{i}.safetensors": b"%d" % i for i in (0, 1)}
    with serving(files) as server:
        card = card_of(server, tmp_path, monkeypatch, *(name[1:] for name in files))
        fetch(wanted(find_offer("mine"), places), places, quiet)
        (places.data / "weights/deep/mine-1.safetensors").rename(places.data / "weights/elsewhere")
        (places.data / "weights/deep/mine-0.safetensors").unlink()
        (places.data / "weights/deep").rmdir()
        came = fetch(wanted(find_offer("mine"), places), places, quiet)

    assert [path.read_bytes() for path in came] == [b"0", b"1"]
    assert [find_weights(one, card, places) for one in card.weights] == came
    assert [path.name for path in places.data.iterdir()] == ["weights"]


def test_what_lies_here_already_takes_no_more_room(places, monkeypatch):
    body = bytes(10**6)
    free = 3 * 10**5
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
    with serving({"/b.npy": body}, cuts=1) as server:
        what = wanted(offer_of(server, ("b.npy", {"makes": ("b.npy",)})), places)
        with pytest.raises(UserError, match=r"has 0.0 GB free, and things takes 0.0 GB more"):
            fetch(what, places, quiet)
        assert [method for method, *_ in server.asked] == ["HEAD"]
        with monkeypatch.context() as patch:
            patch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
            patch.setattr(downloading, "TRIES", 0)
            with pytest.raises(UserError, match="500,000 of 1,000,000 bytes stay"):
                fetch(what, places, quiet)
        with pytest.raises(UserError, match="free"):
            fetch(what, places, quiet)
        free = 5 * 10**5
        (came,) = fetch(what, places, quiet)

    assert came.read_bytes() == body


def test_what_cannot_take_its_place_is_one_sentence(places, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "b.npy")

    monkeypatch.setattr("shutil.copyfile", refused)
    with serving({"/b.npy": b"2"}) as server:
        what = wanted(offer_of(server, ("b.npy", {"makes": ("b.npy",)})), places)
        with pytest.raises(UserError, match=r"things has no place: .*Permission denied: 'b.npy'"):
            fetch(what, places, quiet)


def test_what_no_program_gets_is_said_with_its_page_and_unpacked(places, tmp_path, monkeypatch):
    for suite, words in {
        "voc-c": r"voc is not published by https: get VOCtrainval_11-May-2012.tar at http://host.robots",
        "cityscapes-c": r"cityscapes stands behind a login: get gtFine_trainvaltest.zip and leftImg8bit_trainvaltest",
        "ade20k-c": r"ade20k is not published by https: get ADEChallengeData2016.zip at http://sceneparsing",
    }.items():
        assert (
            find_suite(suite).dataset == find_offer(suite).name == find_offer(find_suite(suite).dataset).name
        )
        with pytest.raises(UserError, match=words):
            wanted(find_offer(suite), places)
    archive = tmp_path / "VOCtrainval_11-May-2012.tar"
    archive.write_bytes(tar_of({"VOCdevkit/VOC2012/SegmentationClass/a.png": b"1"}))
    with pytest.raises(BadFile, match="its MD5 is"):
        fetch(wanted(find_offer("voc"), places, [archive]), places, quiet)
    voc = find_offer("voc")
    (one,) = voc.files
    voc = replace(voc, files=(replace(one, digest=None),))
    assert fetch(wanted(voc, places, [archive]), places, quiet) == [places.data / "VOCdevkit/VOC2012"]
    assert found_in("voc", places) == places.data / "VOCdevkit/VOC2012"


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
    (voc,) = offers()["voc"].files
    said = datasets.voc.DATASET_YEAR_DICT["2012"]
    assert (voc.file, voc.digest) == (said["filename"], ("md5", said["md5"]))


def test_the_table_is_whole():
    for name, offer in offers().items():
        assert name in DATASETS
        for one in map(known_of, offer.files):
            assert one.url.startswith("https://") or (offer.by_hand and not one.url)
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
    if name == "voc":
        (places.data / "VOCdevkit/VOC2012/SegmentationClass").mkdir()
    if name == "ade20k":
        (places.data / "ADEChallengeData2016/annotations").mkdir()
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
    for name, words in {
        "quick": "the suite quick shows digits, which is made or comes with a package, and needs no download",
        "digits": "digits is made or comes with a package, and needs no download",
        "coco-folder": "coco-folder has no publisher that is known here",
    }.items():
        with pytest.raises(UserError, match=words):
            find_offer(name)
    assert "resnet20" in card_names()


def test_a_mistake_in_the_table_is_named(tmp_path):
    file = tmp_path / "offers.toml"
    file.write_text('[[offer]]\nname = "a"\nlicense = "MIT"\nlicence_at = "x"\n')
    with pytest.raises(UserError, match="did you mean 'licence'"):
        offering.offers(file)


def test_every_data_set_of_the_data_folder_is_looked_for(places):
    by_path = {
        "digits", "quick-scenes", "quick-scenes-one", "quick-volumes", "basic-motions", "coco-folder", "picture-folder",
        "labelled-folder", "arrays", "windows", "volumes", "scan-folder",
    }  # fmt: skip
    assert {*DATASETS.ours} - by_path == {*FOLDERS}


def test_fetch_asks_before_it_takes(rbms, tmp_path, monkeypatch):
    with serving({"/b.npy": b"2"}) as server:
        offer = offer_of(server, ("b.npy", {"makes": ("b.npy",)}), into="things")
        monkeypatch.setattr(offering, "find_offer", lambda _: offer)
        refused = rbms("fetch", "things", "--data", str(tmp_path))
        told = rbms("fetch", "things", "--data", str(tmp_path), "--yes", "--json").json()

    assert refused.code == 2
    assert "--yes does it" in refused.err
    assert "things: 0.00 MB to download" in refused.out
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
    # Each is got by one of the table; what is read from another's files by that.
    fetched = {name: row["fetch"] for name, row in told["datasets"].items()}
    assert {name for name, fetch in fetched.items() if fetch is None} == {
        "har-mini"
    }  # a sub-sample, published nowhere
    assert fetched == {
        name: f"rbms fetch {find_offer(name).name}" if fetch else None for name, fetch in fetched.items()
    }
    assert fetched["imagenet-real"] == "rbms fetch imagenet"
    assert told["devices"]["threads"] >= 1
    assert "threads of torch" in lines
    assert {*told["versions"]} >= {"python", "torch", "torchvision", "numba", "robustbench-ms"}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {*EXTRAS} == {*extras} - {"all", "docs", "test", "lint"}
