"""The scenes of digits: the same bytes in any order, and every promise of theirs seen scene by scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.datasets import DATASETS, scenes
from robustbench_ms.datasets.digits import digit_rows
from robustbench_ms.datasets.scenes import GROUND, GROUNDS, NAMES, index_scenes, scene
from robustbench_ms.datasets.shapes import Images, RaggedImages
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.source import Source

ALL = ("boxes", "masks", "map")
DIGESTS = {
    "test": (
        "2972547c857418c3cdcfe8e273439904856fe2a85c175f2a71f8fa7f94602469",
        "1d6ef07e786fe6ab467edb95570f8e19d742ddbe73c8420f369d5806baac348b",
    ),
    "train": (
        "96ca17b1feac0215f935804d6324b5af21856eb1a9ac59799fca2558bcbb9660",
        "488b0eed261dc1e6e7bb8b0a1e8cb14c8a23175004a8879e12e12b34cd7ebbed",
    ),
    "further": (
        "29868071d1c75dd4544efe1430415a5b17474d0b1518d9adb9923bb038aeff9a",
        "fc5b0f627e86331d348fb102d80f9c9d20c6bb820a9afe06d89b2eabf4d1f8ba",
    ),
}


def data_of(split, wants=ALL):
    return index_scenes(Source("quick-scenes", split, wants=wants), None, ()).open("stored")


def every(data, rows=None):
    rows = np.arange(data.facts.n) if rows is None else np.asarray(rows)
    return data.load(rows, torch.device("cpu"))


@pytest.fixture(scope="module")
def test():
    return every(data_of("test"))


@pytest.mark.parametrize("split", DIGESTS)
def test_the_scenes_never_change(split):
    index = index_scenes(Source("quick-scenes", split, wants=("boxes",)), None, ())

    assert (index.open("stored").images, index.asked) == DIGESTS[split]
    assert len(index.ids) == {"test": 300, "train": 1000, "further": 200}[split]
    assert isinstance(index.layout, RaggedImages)
    assert index.names == NAMES


def test_each_is_keyed_by_its_id_whatever_is_made_before():
    rows = [7, 299, 0, 150]
    data = data_of("test")
    batch = every(data, rows)
    made = {i: scene("test", i) for i in (1299, 1150, 1007, 1000)}

    for place, row in enumerate(rows):
        one = made[1000 + row]
        assert batch.ids[place] == 1000 + row
        assert np.array_equal(batch.samples[place].numpy().transpose(1, 2, 0), one.image)
        assert np.array_equal(batch.targets[place]["labels"], one.labels)
    assert len({one.image.tobytes() for one in made.values()}) == 4
    assert (
        batch.samples.is_contiguous()
    )  # as what a corruption gives: another order in memory is other last bits
    assert not set(data.facts.ids) & set(data_of("further").facts.ids)
    assert not set(digit_rows("train")) & set(digit_rows("test"))
    assert not set(GROUNDS["train"]) & set(GROUNDS["test"])


def test_every_digit_is_large_far_from_its_ground_and_its_box_tight(test):
    """Against the grounds as scikit-image has them, which a crop must be found in again."""
    from skimage import data as own

    grounds = {
        "chelsea.png": own.chelsea(),
        "retina.jpg": own.retina(),
        "motorcycle_left.png": own.stereo_motorcycle()[0],
    }
    luma = np.array([0.299, 0.587, 0.114])
    for row in range(60):
        one, target = scene("test", 1000 + row), test.targets[row]
        assert 1 <= len(one.labels) <= 5
        free = one.owner == 0
        whole = grounds[one.ground]
        top, left = place(whole, one.image, free)
        below = whole[top : top + 128, left : left + 128]
        assert np.array_equal(below[free], one.image[free])
        assert target["ids"].tolist() == list(range(target["ids"][0], target["ids"][0] + len(one.labels)))
        for k, (x0, y0, x1, y1) in enumerate(target["boxes"].astype(int)):
            seen = one.owner == k + 1
            colours = np.unique(one.image[seen], axis=0)
            assert len(colours) == 1
            assert abs(colours[0] @ luma - (below[seen] @ luma).mean()) >= 60 - 1e-6
            assert seen.sum() == target["area"][k] == seen[y0:y1, x0:x1].sum()
            assert all(edge.any() for edge in (seen[y0], seen[y1 - 1], seen[:, x0], seen[:, x1 - 1]))
            assert max(x1 - x0, y1 - y0) <= 56
    assert test.targets[0]["boxes"].dtype == np.float32
    ids = np.concatenate([t["ids"] for t in test.targets])
    assert ids.tolist() == list(range(1, len(ids) + 1))


def place(whole, image, free):
    """Where in a picture a crop lies, by the first row of pixels that no digit covers."""
    rows = np.flatnonzero(free.all(axis=1))
    row, wanted = int(rows[0]), image[rows[0]]
    windows = np.lib.stride_tricks.sliding_window_view(whole, (128, 3), axis=(1, 2))[:, :, 0]
    for y, x in np.argwhere((windows[:, :, 64] == wanted[64]).all(axis=-1)):
        if y >= row and y - row + 128 <= len(whole) and np.array_equal(windows[y, x], wanted):
            below = whole[y - row : y - row + 128, x : x + 128]
            if np.array_equal(below[free], image[free]):
                return y - row, x
    raise AssertionError("the crop is nowhere in its ground")


def test_of_every_digit_most_is_seen(monkeypatch):
    """What was painted is watched; what is seen of it is counted at the end."""
    inks = []
    ink = scenes._ink

    def watching(picture, side):
        made = ink(picture, side)
        inks.append((int(made.sum()), side))
        return made

    monkeypatch.setattr(scenes, "_ink", watching)
    least = 1.0
    for i in range(1000, 1100):
        inks.clear()
        one = scene("test", i)
        seen = np.bincount(one.owner.ravel(), minlength=len(one.labels) + 1)[1:]
        assert all(14 <= side <= 56 for _, side in inks)
        if len(inks) == len(one.labels):  # none was drawn anew
            least = min(least, *(s / painted for s, (painted, _) in zip(seen, inks, strict=True)))
    assert 0.6 <= least < 0.9


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own
def test_masks_and_the_class_map_are_of_the_same_pixels(test):
    from pycocotools import mask

    for row in range(40):
        one, target = scene("test", 1000 + row), test.targets[row]
        found = np.full((128, 128), GROUND)
        for rle, label, (x0, y0, x1, y1) in zip(
            target["rles"], target["labels"], target["boxes"], strict=True
        ):
            coded = {"size": [128, 128], "counts": rle}
            found[mask.decode(coded).astype(bool)] = label
            assert mask.toBbox(coded).tolist() == [x0, y0, x1 - x0, y1 - y0]
        assert np.array_equal(found, test.maps["class"][row].numpy())
        assert np.array_equal(found == GROUND, one.owner == 0)
    plain = every(data_of("test", ("boxes",)), [0])
    assert "rles" not in plain.targets[0]
    assert not plain.maps


ONE_DIGESTS = {
    "test": (
        "169f432ee813f653ba9463f23c11223fb4366bd6af53cdb87e66068b28ab8f86",
        "6032dc8efbf45ee3d3a5c73dbc26e7053716e30857131b38fb08bf364e33c24d",
    ),
    "further": (
        "1c78481f9d39ba11459cf53e98ccec5e238ffb50208eae0683f08bb4dc0c5772",
        "bb815982d5944e21f050a14100fc072e6ad169e0f294f6ec84c56b818a9ab826",
    ),
}


@pytest.mark.parametrize("split", ONE_DIGESTS)
def test_scenes_of_one_digit_never_change_and_have_its_label(split):
    def read(*wants):
        index = index_scenes(Source("quick-scenes-one", split, wants=wants), None, ())
        return index, index.open("stored")

    index, labelled = read("label")
    _, shaped = read("shapes")
    assert (labelled.images, index.asked) == ONE_DIGESTS[split]
    assert index.layout == Images(3, 128, 128)
    assert len(index.ids) == {"test": 300, "further": 400}[split]
    labels = every(labelled).targets
    assert labels.dtype == torch.int64
    some = every(shaped, range(40))
    for row, target in enumerate(some.targets):
        assert target["labels"].tolist() == [int(labels[row])]
        assert target["shapes"].shape == (1, 128, 128)
        (x0, y0, x1, y1), (shape,) = target["boxes"][0].astype(int), target["shapes"]
        assert shape[y0:y1, x0:x1].sum() == shape.sum() == target["area"][0]
        one = scene(split, int(index.ids[row]), scenes.ONE)
        assert np.array_equal(one.owner == 1, shape)
        assert np.array_equal(one.image, some.samples[row].numpy().transpose(1, 2, 0))
    assert np.bincount(labels, minlength=10).min() > 0.4 * len(labels) / 10
    first, last = scenes.ONE.ids["train"]
    assert last - first == DATASETS["quick-scenes-one"].size("train")
    assert not set(range(first, last)) & set(index.ids.tolist())


def test_an_enlarged_digit_is_the_bilinear_one():
    from torch.nn.functional import interpolate

    picture = np.arange(64).reshape(8, 8) % 17
    for side in (14, 31, 56):
        grey = interpolate(torch.from_numpy(picture).double()[None, None], (side, side), mode="bilinear")[
            0, 0
        ]
        sure = (grey - 8).abs() > 1e-9
        assert np.array_equal(scenes._ink(picture, side)[sure], (grey >= 8).numpy()[sure])


def test_all_classes_and_grounds_are_met():
    for split in ("train", "test"):
        data = data_of(split)
        counts = np.bincount(np.concatenate([one.labels for one in data._scenes]), minlength=10)
        assert counts.min() > 0.5 * counts.mean()
        assert {one.ground for one in data._scenes} == set(GROUNDS[split])
    assert data.facts.names == (*NAMES, "ground")
    assert tuple("0123456789") == NAMES
    assert len(NAMES) == DATASETS["quick-scenes"].classes == data.facts.classes - 1


def test_other_pixels_of_a_ground_and_what_scenes_do_not_have_are_told(monkeypatch, places):
    source = Source("quick-scenes", wants=("label",))
    with pytest.raises(
        UserError, match="quick-scenes has boxes, masks, shapes, map and no label of a sample"
    ):
        index_scenes(source, places, ())
    with pytest.raises(BadFile, match=r"quick-scenes: images: its SHA-256 is 2972547c8574"):
        index_scenes(Source("quick-scenes", wants=ALL, sha256={"images": "0" * 64}), places, ())
    assert "further" not in DATASETS["quick-scenes"].splits  # no suite can report it

    scenes._ground.cache_clear()
    monkeypatch.setattr(Image.Image, "convert", lambda self, mode: Image.new("RGB", self.size))
    with pytest.raises(
        BadFile, match=r"the pixels of scikit-image's .*: its SHA-256 .* as the scenes need them"
    ):
        scene("test", 1000)
    scenes._ground.cache_clear()
    monkeypatch.setattr(scenes, "files", lambda name: places.data)
    with pytest.raises(
        BadFile, match=r"scikit-image's \w+\.(png|jpg) cannot be read .*; install scikit-image again"
    ):
        scene("test", 1000)
