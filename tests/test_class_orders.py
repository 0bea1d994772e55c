"""Which class a label means: the words decide."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robustbench_ms.datasets import imagenet
from robustbench_ms.datasets.imagenet import list_imagenet
from robustbench_ms.datasets.orders import imagenet_ids, order_of, read_order, real_labels, subset_ids
from robustbench_ms.datasets.picture_folder import list_picture_folder
from robustbench_ms.datasets.tiny_imagenet import list_tiny_imagenet
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.source import Source
from tests.photo_sets import PLACES, WNIDS, class_folders, flat, jpeg, name_of, six

LABELS = [PLACES[place] for place, _ in six().values()]


def places_of(path, dataset="imagenet"):
    return Places(path, path, path, {dataset: path})


def labels_of(path, **options):
    source = Source("imagenet", "val", options=options, folder=path)
    return list_imagenet(source, places_of(path), ()).labels.tolist()


def of_path(path, **options):
    source = Source("picture-folder", folder=path.parent, options={"path": path.name, **options})
    return list_picture_folder(source, Places(path, path, path))


def test_the_words_decide_and_not_how_many_they_are(tmp_path):
    assert order_of(WNIDS, "here").index == dict(zip(WNIDS, PLACES, strict=True))
    assert order_of(WNIDS, "here").classes == 1000
    numbers = [str(i) for i in range(12)]
    assert order_of(sorted(numbers), "here").index["10"] == 10  # and not 2, as among sorted names
    assert order_of(["000", "001"], "here").kind == "numbers"
    assert order_of(["1", "2"], "here").kind == "sorted"  # no 0
    assert order_of([*WNIDS, "n99999999"], "here").kind == "sorted"
    assert order_of(["dog", "cat"], "here").index == {"cat": 0, "dog": 1}


def test_imagenets_ids_are_sorted_and_as_published():
    found = imagenet_ids()

    assert len({*found}) == 1000
    assert list(found) == sorted(found)
    assert [found.index(wnid) for wnid in WNIDS] == list(PLACES)


def test_folders_have_the_order_that_their_names_say(tmp_path):
    root = class_folders(tmp_path / "root")
    assert of_path(root).labels.tolist() == LABELS
    assert of_path(root).classes == 1000
    root = class_folders(tmp_path / "numbers", names=("1", "0", "2"))
    assert of_path(root).labels.tolist() == [(1, 0, 2)[place] for place, _ in six().values()]
    root = class_folders(tmp_path / "words", names=("dog", "ant", "cat"))
    found = of_path(root)
    assert (found.labels.tolist(), found.names) == (
        [(2, 0, 1)[place] for place, _ in six().values()],
        ("ant", "cat", "dog"),
    )
    assert any("ant, cat, dog" in note for note in found.notes)


def test_a_file_says_another_order(tmp_path):
    root = class_folders(tmp_path / "root", names=("dog", "ant", "cat"))
    meant = [(1, 3, 0)[place] for place, _ in six().values()]
    (tmp_path / "o.json").write_text(json.dumps({"cat": 0, "dog": 1, "owl": 2, "ant": 3}))
    (tmp_path / "o.csv").write_text("name,index\ncat,0\ndog,1\nowl,2\nant,3\n")
    (tmp_path / "list.json").write_text(json.dumps(["cat", "dog", "owl", "ant"]))
    (tmp_path / "turned.json").write_text(
        json.dumps({str(i): [name, "x"] for i, name in enumerate(["cat", "dog", "owl", "ant"])})
    )

    for name in ("o.json", "o.csv", "list.json", "turned.json"):
        found = of_path(root, labels=name)
        assert (found.labels.tolist(), found.classes) == (meant, 4), name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"cat": 0, "dog": 1}', "names no class 'ant' of"),
        ('{"cat": 0, "dog": "one"}', "'dog' must have one class index"),
        ("[1]", "1 must have one class index"),
        ("7", "must hold"),
        ("{", "cannot be read"),
        ("{}", "names no class$"),
    ],
)
def test_a_file_of_another_form_is_named(tmp_path, text, words):
    (tmp_path / "o.json").write_text(text)

    with pytest.raises(BadFile, match=words):
        read_order(tmp_path / "o.json", ["cat", "dog", "ant"], "here")


def test_an_empty_class_folder_is_an_error_where_its_place_counts(tmp_path):
    root = class_folders(tmp_path / "words", names=("dog", "ant", "cat"))
    (root / "bat").mkdir()
    with pytest.raises(BadFile, match=r"the class folder 'bat' has no picture.*remove it"):
        of_path(root)
    root = class_folders(tmp_path / "wnids")
    (root / "n01443537").mkdir()
    found = of_path(root)
    assert found.labels.tolist() == LABELS
    assert any("'n01443537' has no picture" in note for note in found.notes)


# --- ImageNet's flat validation set


def devkit(root, text=None):
    """Ground truth in an order of its own, and the meta.mat that tells it."""
    from scipy.io import savemat

    fields = [("ILSVRC2012_ID", float), ("WNID", object), ("words", object), ("num_children", float)]
    rows = [(7, WNIDS[0], "tench", 0), (3, WNIDS[1], "springer", 0), (9, WNIDS[2], "parachute", 0)]
    rows.append((1001, "n00001740", "entity", 5))
    savemat(str(root / "meta.mat"), {"synsets": np.array(rows, dtype=fields)})
    numbers = [(7, 3, 9)[place] for place, _ in six().values()]
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text(text or "".join(f"{n}\n" for n in numbers))


def caffe(root):
    lines = [f"{name_of(number)} {PLACES[place]}\n" for number, (place, _) in reversed(six().items())]
    (root / "val.txt").write_text("".join(lines))


def synsets(root):
    lines = [f"{WNIDS[place]}\n" for place, _ in six().values()]
    (root / "imagenet_2012_validation_synset_labels.txt").write_text("".join(lines))


def kaggle(root):
    lines = [
        f"{name_of(number).removesuffix('.JPEG')},{WNIDS[place]} 1 2 30 40 {WNIDS[place]} 5 6 70 80\n"
        for number, (place, _) in reversed(six().items())
    ]
    (root / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(lines))


@pytest.mark.parametrize("write", [devkit, caffe, synsets, kaggle])
def test_a_label_file_is_told_by_its_content(tmp_path, write):
    root = flat(tmp_path / "up" / "val")
    write(root.parent)
    assert labels_of(root) == LABELS
    file = next(path for path in root.parent.iterdir() if path.suffix in {".txt", ".csv"})
    file.rename(root / "other.txt")
    if (root.parent / "meta.mat").exists():
        (root.parent / "meta.mat").rename(root / "meta.mat")
    assert labels_of(root, labels="other.txt") == LABELS


def test_the_devkits_numbers_mean_nothing_without_its_meta(tmp_path):
    root = flat(tmp_path / "val")
    devkit(root)
    (root / "meta.mat").write_bytes(b"nothing")
    with pytest.raises(BadFile, match=r"is not the devkit's meta.mat"):
        labels_of(root)
    (root / "meta.mat").unlink()
    with pytest.raises(BadFile, match=r"mean nothing without its meta.mat"):
        labels_of(root)


@pytest.mark.parametrize("write", [devkit, caffe, synsets, kaggle])
def test_a_line_too_few_is_an_error(tmp_path, write):
    root = flat(tmp_path / "val")
    write(root)
    file = next(path for path in root.iterdir() if path.suffix in {".txt", ".csv"})
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))

    with pytest.raises(BadFile, match=r"has 5 lines, and there are 6 pictures|has no label for"):
        labels_of(root)


@pytest.mark.parametrize("write", [devkit, synsets])
def test_lines_that_go_by_their_place_are_as_many_as_pictures(tmp_path, write):
    """Of more, or of fewer that reach the last picture, each could be another's."""
    root = flat(tmp_path / "val")
    write(root)
    (root / name_of(2)).unlink()
    with pytest.raises(BadFile, match=r"has 6 lines, and there are 5 pictures \(50,000 as published\)"):
        labels_of(root)


def test_a_flat_folder_needs_a_label_file(tmp_path):
    root = flat(tmp_path / "a" / "b" / "c" / "d" / "e" / "val")
    with pytest.raises(BadFile, match="no label file is near"):
        labels_of(root)
    (root / "val.txt").write_text("what is this\n")
    with pytest.raises(BadFile, match=r"is no label file that is known.*'what is this'"):
        labels_of(root)


def test_other_folders_are_no_imagenet(tmp_path):
    root = class_folders(tmp_path / "root", names=(*WNIDS[:2], "cat"))
    with pytest.raises(BadFile, match="the folder 'cat' is none of ImageNet's 1,000"):
        labels_of(root)
    (root / "o.json").write_text(json.dumps({WNIDS[0]: 0, WNIDS[1]: 217, "cat": 701}))
    assert labels_of(root, labels="o.json") == LABELS


# --- its relatives


def test_imagenet_v2_has_numbers_for_names(tmp_path):
    root = class_folders(
        tmp_path / "imagenet-v2" / "imagenetv2-top-images-format-val", names=("10", "9", "999")
    )
    places = Places(tmp_path, tmp_path, tmp_path)
    found = list_imagenet(Source("imagenet-v2", "top-images"), places, ())
    assert found.labels.tolist() == [(10, 9, 999)[place] for place, _ in six().values()]
    (root / "1000").mkdir()
    with pytest.raises(BadFile, match="class 1000 is none of the 1,000 classes"):
        list_imagenet(Source("imagenet-v2", "top-images"), places, ())


def test_imagenet_c_is_a_folder_a_condition(tmp_path):
    worse = (("corruption", "fog"), ("severity", 3))
    class_folders(tmp_path / "ImageNet-C" / "weather" / "fog" / "3")
    class_folders(tmp_path / "imagenet" / "val", {1: six()[1], 2: six()[2]})
    places = Places(tmp_path, tmp_path, tmp_path)
    source = Source("imagenet-c", "val")

    assert list_imagenet(source, places, worse).ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert list_imagenet(source, places, ()).ids.tolist() == [1, 2]
    with pytest.raises(BadFile, match="ImageNet-C has no folder snow/3"):
        list_imagenet(source, places, (("corruption", "snow"), ("severity", 3)))


def test_a_list_chooses_pictures(tmp_path, monkeypatch):
    class_folders(tmp_path / "imagenet" / "val")
    places = Places(tmp_path, tmp_path, tmp_path)
    source = Source("imagenet", "val", options={"list": "robustbench"})
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    with pytest.raises(BadFile, match="the list of 5,000 pictures is missing: install"):
        list_imagenet(source, places, ())
    (tmp_path / "imagenet_test_image_ids.txt").write_text(
        f"{WNIDS[2]}/{name_of(1)}\n{WNIDS[0]}/{name_of(3)}\n"
    )
    assert list_imagenet(source, places, ()).ids.tolist() == [1, 3]
    inside = tmp_path / "site" / "robustbench" / "data"
    inside.mkdir(parents=True)
    (inside / "imagenet_test_image_ids.txt").write_text(f"{WNIDS[2]}/{name_of(4)}\n")
    spec = type("Spec", (), {"origin": str(inside.parent / "__init__.py")})
    monkeypatch.setattr(imagenet, "find_spec", lambda name: spec)
    assert list_imagenet(source, places, ()).ids.tolist() == [4]
    (inside / "imagenet_test_image_ids.txt").write_text(f"{WNIDS[2]}/{name_of(44)}\n")
    with pytest.raises(BadFile, match="such as ILSVRC2012_val_00000044"):
        list_imagenet(source, places, ())


def test_real_labels_are_sets_and_pictures_without_one_are_left_out(tmp_path):
    class_folders(tmp_path / "imagenet")
    (tmp_path / "real.json").write_text(json.dumps([[5, 7], [], [999], [0], [], [3]]))
    source = Source("imagenet-real", "val", options={"labels": "real.json"})
    found = list_imagenet(source, Places(tmp_path, tmp_path, tmp_path), ())

    assert found.ids.tolist() == [1, 3, 4, 6]
    assert [np.flatnonzero(row).tolist() for row in found.labels] == [[5, 7], [999], [0], [3]]
    assert any("2 pictures have no ReaL label" in note for note in found.notes)
    (tmp_path / "real.json").write_text(json.dumps([[5], [1000]]))
    with pytest.raises(BadFile, match="lists of class indices 0 to 999"):
        list_imagenet(source, Places(tmp_path, tmp_path, tmp_path), ())
    assert len(real_labels()) == 50_000


def test_tiny_imagenets_classes_are_sorted(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    wnids = [WNIDS[2], WNIDS[0], WNIDS[1]]
    flat(root / "val" / "images")
    (root / "wnids.txt").write_text("\n".join(wnids))
    lines = [f"{name_of(number)}\t{WNIDS[place]}\t0\t0\t9\t9\n" for number, (place, _) in six().items()]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    source, places = Source("tiny-imagenet", "val"), Places(tmp_path, tmp_path, tmp_path)
    found = list_tiny_imagenet(source, places)
    assert found.labels.tolist() == [place for place, _ in six().values()]
    assert (found.classes, found.names) == (3, WNIDS)
    with pytest.raises(BadFile, match="names 3 classes, and tiny-imagenet has 200"):
        list_tiny_imagenet(Source("tiny-imagenet", "val", classes=200), places)


def test_a_subset_is_named_or_a_file(tmp_path):
    assert [len(subset_ids(name)) for name in ("imagenet-a", "imagenet-r")] == [200, 200]
    assert subset_ids("imagenet-r")[0] == 1  # the goldfish
    (tmp_path / "mine.txt").write_text(f"{WNIDS[2]}\n{WNIDS[0]}\n")
    assert subset_ids("mine.txt", tmp_path) == (0, 701)
    (tmp_path / "mine.txt").write_text("cat\n")
    with pytest.raises(BadFile, match="'cat' is none of ImageNet's"):
        subset_ids("mine.txt", tmp_path)
    with pytest.raises(UserError, match="no subset named 'imagenet-b'; did you mean 'imagenet-"):
        subset_ids("imagenet-b")


def test_the_real_pictures_are_ten_of_a_thousand(real_data):
    root = real_data("imagenet-val-500")
    found = list_imagenet(Source("imagenet", "val"), places_of(root), ())

    assert (len(found.ids), found.classes, found.ids[0]) == (500, 1000, 293)
    assert np.unique(found.labels, return_counts=True)[1].tolist() == [50] * 10
    assert np.unique(found.labels).tolist() == [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]


def test_pictures_of_one_class_tell_nothing(tmp_path):
    (tmp_path / "one" / "cat").mkdir(parents=True)
    (tmp_path / "one" / "cat" / "a.png").write_bytes(jpeg(0))
    with pytest.raises(BadFile, match="has one class, 'cat'"):
        of_path(tmp_path / "one")
