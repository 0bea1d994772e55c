"""Each shipped suite of photographs on three classes of two pictures, and suites of a path."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from robustbench_ms.catalog.find import find_suite, suite_names
from robustbench_ms.catalog.registry import DATASETS, index_of, size_of
from robustbench_ms.datasets.orders import imagenet_ids, subset_ids
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import RecordDone, Trouble
from robustbench_ms.evaluation.run import run
from robustbench_ms.records.record import read_record
from robustbench_ms.reports.pages import to_markdown
from robustbench_ms.reports.tables import tables
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.settings import Settings
from tests.fakes import Coarse
from tests.photo_sets import PLACES, WNIDS, class_folders, flat, jpeg, name_of, six
from tests.running import only

SUITES = [
    name
    for name in suite_names()
    if DATASETS[find_suite(name).dataset].photographs or find_suite(name).dataset == "cifar10.1"
]
CONDITIONS = {"corruption": ("brightness", "contrast"), "severity": (1,)}
V2 = {
    "matched-frequency": "imagenetv2-matched-frequency-format-val",
    "threshold0.7": "imagenetv2-threshold0.7-format-val",
    "top-images": "imagenetv2-top-images-format-val",
}


def of_subset(name):
    return tuple(imagenet_ids()[place] for place in subset_ids(name)[:3])


def made(suite, data):
    """The data set of a suite as it is published, small; its places in the order of ids."""
    if suite.dataset == "cifar10.1":
        data.mkdir()
        np.save(data / f"cifar10.1_{suite.split}_data.npy", np.zeros((6, 32, 32, 3), np.uint8))
        np.save(data / f"cifar10.1_{suite.split}_labels.npy", np.arange(6, dtype=np.int32))
    elif suite.dataset == "tiny-imagenet":
        root = data / "tiny-imagenet-200"
        flat(root / "val" / "images", six(64))
        others = [wnid for wnid in imagenet_ids() if wnid not in WNIDS][:197]
        (root / "wnids.txt").write_text("\n".join([*others, *WNIDS]))
        lines = [f"{name_of(number)}\t{WNIDS[place]}\t0\t0\t9\t9\n" for number, (place, _) in six().items()]
        (root / "val" / "val_annotations.txt").write_text("".join(lines))
    elif suite.dataset == "imagenet-v2":
        class_folders(data / "imagenet-v2" / V2[suite.split], names=tuple(map(str, PLACES)))
    elif suite.dataset in {"imagenet-r", "imagenet-a"}:
        class_folders(data / suite.dataset, names=of_subset(suite.dataset), called=lambda n: f"art_{n}.jpg")
    elif suite.dataset == "imagenet-sketch":
        class_folders(data / "sketch", called=lambda n: f"sketch_{n}.JPEG")
    else:
        class_folders(data / suite.options.get("folders", ["imagenet"])[0], six(240))
        for corruption in CONDITIONS["corruption"]:
            class_folders(data / "ImageNet-C" / corruption / "1", six(224))
        lines = [f"{WNIDS[place]}/{name_of(number)}\n" for number, (place, _) in six().items()]
        (data / "imagenet_test_image_ids.txt").write_text("".join(lines))


@pytest.mark.parametrize(
    ("name", "count"), [("imagenet-c-5k", 5_000), ("imagenet-c-500", 500), ("imagenet-c", 50_000)]
)
def test_a_plan_counts_the_pictures_that_are_shown(name, count):
    assert size_of(find_suite(name).source()) == count


def card(classes=1000):
    return Card("coarse", build=Coarse(classes=classes), input=Input(size=32, fit="crop", crop=0.875))


def measured(suite, places, classes=1000, **settings):
    events = list(run(suite, [card(classes)], places, Settings(device="cpu", **settings)))
    assert not only(events, Trouble), only(events, Trouble)
    return events


@pytest.mark.parametrize("name", SUITES)
def test_a_shipped_suite_runs(name, places):
    suite = find_suite(name)
    made(suite, places.data)
    if suite.matrix:
        # mCE is of whole groups, and of more pictures.
        columns = tuple(column for column in suite.summary if column != "mce")
        suite = dataclasses.replace(suite, matrix=CONDITIONS, summary=columns)
    (done,) = only(measured(suite, places, suite.classes), RecordDone)
    keys = [cell.key for cell in done.record.measurements]
    lost = name == "imagenet-real"  # one of the six has no ReaL label

    assert keys == ["clean", *(f"corruption={c},severity=1" for c in suite.matrix.get("corruption", ()))]
    assert {cell.n for cell in done.record.measurements} == {6 - lost}
    assert read_record(done.path) == dataclasses.replace(done.record, path=done.path)
    (table,) = tables([done.record])
    assert not table.left_out
    if suite.dataset != "cifar10.1":
        size = DATASETS[suite.dataset].size(suite.split)
        classes = done.record.suite["protocol"]["classes_present"]
        of = f" of {size:,}" if size else ""
        assert f"n = {6 - lost}{of} images a cell, {classes} of {suite.classes:,} classes;" in to_markdown(
            [table]
        )


def test_real_labels_count_top_one_alone_and_say_why(places):
    suite = find_suite("imagenet-real")
    made(suite, places.data)
    (places.data / "real.json").write_text(json.dumps([list(range(1000))] * 3 + [[]] * 3))
    suite = dataclasses.replace(suite, options={"labels": "real.json"}, folder=places.data)
    (done,) = only(measured(suite, places), RecordDone)
    (cell,) = done.record.measurements

    assert cell.values["accuracy"]["mean"] == 1
    assert cell.absent == dict.fromkeys(
        ("top5_accuracy", "nll", "brier", "ece"), "a sample has several right labels"
    )


class Sure(Coarse):
    """Says class 5, and then the class of a number."""

    def __init__(self, second):
        super().__init__(classes=1000)
        self.second = second

    def forward(self, images):
        logits = super().forward(images) * 0
        logits[:, 5], logits[:, self.second] = 9.0, 8.0
        return logits


def test_a_subset_restricts_the_answers(places):
    suite = find_suite("imagenet-r")
    made(suite, places.data)
    chosen = subset_ids("imagenet-r")
    assert 5 not in chosen
    model = Card("sure", build=Sure(chosen[1]), input=Input(size=32))
    (done,) = only(list(run(suite, [model], places, Settings(device="cpu"))), RecordDone)
    (cell,) = done.record.measurements
    whole = dataclasses.replace(suite, options={})
    (other,) = only(list(run(whole, [model], places, Settings(device="cpu"))), RecordDone)

    assert cell.values["accuracy"]["mean"] == pytest.approx(1 / 3)
    # exp(8) to 199 times exp(0), whatever class 5 says.
    nll = -np.log(np.exp(8) / (np.exp(8) + 199)) / 3 - 2 * np.log(1 / (np.exp(8) + 199)) / 3
    assert cell.values["nll"]["mean"] == pytest.approx(nll, rel=1e-5)
    assert other.record.measurements[0].values["accuracy"]["mean"] == 0
    assert done.record.suite["protocol"]["subset"].startswith("200 classes, ")
    assert "subset" not in other.record.suite["protocol"]


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (1001, "answers for 1001 classes.*a background class"),
        (21841, "answers for 21841 classes.*larger set"),
    ],
)
def test_answers_for_other_classes_are_refused_with_their_number(places, classes, words):
    suite = find_suite("imagenet")
    made(suite, places.data)

    with pytest.raises(UserError, match=words):
        list(run(suite, [card(classes)], places, Settings(device="cpu")))


def test_published_pictures_that_are_cut_already_are_not_cut_again(places):
    suite = find_suite("imagenet-c-disk")
    made(suite, places.data)
    worse = (("corruption", "contrast"), ("severity", 1))
    data = index_of(suite.source(), places, worse).open(suite.canvas)
    import io

    import torch
    from PIL import Image

    shown = data.load(np.array([0]), torch.device("cpu")).samples[0].numpy()
    assert np.array_equal(
        shown.transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(six(224)[1][1])).convert("RGB"))
    )


def test_skipped_pictures_are_in_the_protocol(places, tmp_path):
    suite = find_suite("imagenet-500")
    made(suite, places.data)
    text = (suite.folder / "imagenet-500.toml").read_text()
    (tmp_path / "mine.toml").write_text(f"skip = [5, 2]\n{text}")
    (done,) = only(measured(find_suite(str(tmp_path / "mine.toml")), places), RecordDone)

    assert done.record.suite["protocol"]["skip"] == [2, 5]
    assert done.record.measurements[0].n == 4


# --- a path


def test_a_folder_is_run_clean_with_its_own_classes(rbms, tmp_path, places):
    class_folders(tmp_path / "my pets", names=("dog", "ant", "cat"))
    (tmp_path / "card.toml").write_text(
        'build = "tests.fakes:build"\nargs = { classes = 3 }\n[input]\nsize = 32\n'
    )
    found = rbms("run", tmp_path / "my pets", "-m", tmp_path / "card.toml", "--device", "cpu")

    assert found.code == 0, found.err
    assert "ant, cat, dog" in " ".join(found.err.split())
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    assert path.parent.name == find_suite(str(tmp_path / "my pets"), places=places).name
    assert path.parent.name.startswith("my-pets-")
    assert [cell.key for cell in record.measurements] == ["clean"]
    assert record.suite["protocol"]["canvas"] == "model"
    assert record.suite["protocol"]["exif"] == "applied"
    assert str(tmp_path) not in path.read_text()
    (tmp_path / "ten.toml").write_text('build = "tests.fakes:build"\n[input]\nsize = 32\n')
    wrong = rbms("run", tmp_path / "my pets", "-m", tmp_path / "ten.toml", "--device", "cpu")
    assert wrong.code == 2
    assert "answers for 10 classes, and the data set has 3" in " ".join((wrong.out + wrong.err).split())


def test_the_name_is_of_data_labels_and_matrix(tmp_path, places):
    root = class_folders(tmp_path / "pets", names=("dog", "ant", "cat"))

    def name(**more):
        return find_suite(str(root), places=places, **more).name

    first = name()
    class_folders(tmp_path / "other" / "pets", names=("dog", "ant", "cat"))
    assert find_suite(str(tmp_path / "other" / "pets"), places=places).name == first
    (tmp_path / "o.json").write_text(json.dumps({"dog": 0, "ant": 1, "cat": 2}))
    names = {first, name(corruptions="fog"), name(labels=str(tmp_path / "o.json"))}
    (root / "ant" / name_of(2)).write_bytes(jpeg(99))
    assert len(names | {name()}) == 4


def test_a_path_under_corruptions(tmp_path, places):
    root = class_folders(tmp_path / "pets", six(64), names=("dog", "ant", "cat"))
    suite = find_suite(str(root), places=places, corruptions="contrast")
    assert (suite.profile, suite.canvas, suite.summary[0]) == (
        "any-size",
        "model",
        "mean_corruption_accuracy",
    )
    assert not {"mce", "relative_mce"} & {*suite.summary}
    suite = dataclasses.replace(suite, matrix={"corruption": ("contrast",), "severity": (1,)})
    (done,) = only(measured(suite, places, 3), RecordDone)
    assert [cell.key for cell in done.record.measurements] == ["clean", "corruption=contrast,severity=1"]


def test_broken_pictures_are_named_or_skipped(tmp_path, rbms, places):
    root = class_folders(tmp_path / "pets", names=("dog", "ant", "cat"))
    broken = root / "ant" / name_of(2)
    broken.write_bytes(broken.read_bytes()[:200])
    (root / "cat" / name_of(1)).write_bytes(b"no picture")
    (tmp_path / "card.toml").write_text(
        'build = "tests.fakes:build"\nargs = { classes = 3 }\n[input]\nsize = 32\n'
    )
    found = rbms("run", root, "-m", tmp_path / "card.toml", "--device", "cpu")
    assert found.code == 2
    assert "digesting the pictures of" in found.err
    assert "skip = [" in found.err
    found = rbms("run", root, "-m", tmp_path / "card.toml", "--device", "cpu", "--skip-broken")
    assert found.code == 0, found.err
    assert "skip = [1, 2]" in found.err
    assert "decoding every picture" in found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    assert (record.measurements[0].n, record.suite["protocol"]["skip"]) == (4, [1, 2])


def test_a_data_set_lies_where_it_is_said(tmp_path, rbms):
    class_folders(tmp_path / "elsewhere" / "val")
    (tmp_path / "card.toml").write_text(
        'build = "tests.fakes:build"\nargs = { classes = 1000 }\n[input]\nsize = 32\n'
    )
    given = f"imagenet={tmp_path / 'elsewhere'}"
    found = rbms("run", "imagenet", "-m", tmp_path / "card.toml", "--device", "cpu", "--data", given)
    assert found.code == 0, found.err
    for wrong, words in (
        (f"imagnet={tmp_path}", "no data set named 'imagnet'; did you mean 'imagenet'"),
        (f"cifar10={tmp_path}", "only sets of pictures have a place of their own"),
    ):
        found = rbms("run", "imagenet", "-m", tmp_path / "card.toml", "--data", given, "--data", wrong)
        assert (found.code, words in " ".join(found.err.split())) == (2, True), found.err
    places = Places.find([str(tmp_path), given])
    assert (places.data, places.of("imagenet"), places.of("x")) == (tmp_path, tmp_path / "elsewhere", None)
