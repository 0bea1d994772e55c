"""Photographs: digested as they lie, decoded by Pillow, shown on canvases."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from types import SimpleNamespace as Usage

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.catalog.find import find_card
from robustbench_ms.datasets import kept, remembered
from robustbench_ms.datasets.canvases import drawn
from robustbench_ms.datasets.photographs import index_photographs
from robustbench_ms.datasets.protocol import limited
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.events import CellStarted, RecordDone
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Input
from robustbench_ms.specs.suite import Suite
from tests import photographs
from tests.photographs import CANVAS, cards, measured, opened, samples, suite_on
from tests.running import only


@pytest.fixture(autouse=True)
def pictures():
    return photographs.eight()


def test_two_crops_of_one_size_are_two_cells_where_the_canvas_is_the_models(places):
    events = measured(suite_on("model"), cards(0.875, 0.95), places)
    one, other = (done.record for done in only(events, RecordDone))

    assert one.measurements[0].protocol == other.measurements[0].protocol
    assert one.subject["outputs"] == other.subject["outputs"]
    assert one.subject["digest"] != other.subject["digest"]
    assert (one.subject["crop"], other.subject["crop"]) == (0.875, 0.95)
    assert one.suite["protocol"]["canvas"] == "model"
    assert [len(started.cards) for started in only(events, CellStarted)] == [1] * 4


def test_on_one_canvas_for_all_a_crop_is_dropped_and_the_canvas_is_the_protocols(places):
    events = measured(suite_on(Canvas(40, 32)), cards(0.875, 0.95), places)
    one, other = (done.record for done in only(events, RecordDone))

    assert one.subject == other.subject
    assert "crop" not in one.subject
    assert one.suite["protocol"]["canvas"] == {"short": 40, "crop": 32, "interpolation": "bilinear"}
    assert one.card["input"]["fit"] == "resize"


def test_the_digest_is_over_ids_labels_and_the_files_bytes(pictures, places):
    found = hashlib.sha256()
    for row in range(8):
        data = hashlib.sha256(photographs.picture(row)).digest()
        found.update(
            int(pictures.ids[row]).to_bytes(8, "little") + int(pictures.labels[row]).to_bytes(8, "little")
        )
        found.update(data)

    for canvas in ("stored", CANVAS):
        assert opened(pictures, places, canvas).facts.digest == found.hexdigest()


def test_pictures_come_as_pillow_decodes_them_on_the_canvas(pictures, places):
    data = opened(pictures, places, CANVAS)

    assert data.facts.layout == Images(3, 32, 32)
    for row, shown in enumerate(samples(data)):
        with Image.open(io.BytesIO(photographs.picture(row))) as picture:
            assert np.array_equal(shown, drawn(picture.convert("RGB"), CANVAS))


def test_stored_pictures_have_their_own_sizes(pictures, places):
    data = opened(pictures, places)

    assert np.array_equal(data.facts.layout.sizes, photographs.SIZES)
    seen = np.concatenate(list(data.batches(1)))
    assert sorted(seen) == list(range(8))


def test_exif_turns_a_picture_where_the_listing_says_so(places):
    turned = Image.Exif()
    turned[0x0112] = 6
    files = photographs.InMemory({"1.jpg": photographs.picture(0, kind="JPEG", exif=turned)})
    plain = opened(photographs.listing_of(files=files), places)
    upright = opened(photographs.listing_of(files=files, exif=True), places)

    assert samples(plain).shape[2:] == (60, 80)
    assert samples(upright).shape[2:] == (80, 60)
    assert "exif" not in plain.facts.told
    assert upright.facts.told["exif"] == "applied"
    assert plain.facts.digest == upright.facts.digest


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("1", "PNG")]
)
def test_modes_are_converted_as_pillow_does(places, mode, kind):
    data = photographs.picture(0, kind=kind, mode=mode)
    shown = samples(opened(photographs.listing_of(files=photographs.InMemory({"1": data})), places))
    with Image.open(io.BytesIO(data)) as picture:
        assert np.array_equal(shown[0], np.asarray(picture.convert("RGB")).transpose(2, 0, 1))


def test_what_was_digested_is_remembered_by_size_and_time(pictures, places):
    opened(pictures, places)
    pictures.files.reads.clear()

    opened(pictures, places)
    assert pictures.files.reads == []

    pictures.files.files["3.png"] += b"more"  # another size
    opened(pictures, places)
    assert pictures.files.reads == [3]


def test_a_limit_shows_some_of_the_rows_and_digests_all(pictures, places):
    whole, part = index_photographs(pictures, places), limited(index_photographs(pictures, places), 3)
    data = part.open(CANVAS, places.cache / "canvases")

    assert data.facts.n == 3
    assert data.facts.digest == whole.open(CANVAS).facts.digest
    chosen = np.flatnonzero(np.isin(whole.ids, part.ids))
    assert np.array_equal(samples(data), samples(whole.open(CANVAS))[chosen])
    assert len(part.broken(np.arange(3))) == 0


def test_canvases_are_decoded_once_and_are_the_same(pictures, places):
    keep = places.cache / "canvases"
    each = samples(opened(pictures, places, CANVAS))
    kept = samples(opened(pictures, places, CANVAS, keep))
    (path,) = keep.glob("*.npy")
    pictures.files.reads.clear()

    assert np.array_equal(each, kept)
    again = opened(pictures, places, CANVAS, keep)
    assert np.array_equal(samples(again), each)
    assert np.array_equal(again.load(np.array([5, 2]), torch.device("cpu")).samples, each[[5, 2]])
    assert pictures.files.reads == []
    assert np.load(path).shape == (8, 3, 32, 32)


def test_a_run_keeps_canvases_only_where_several_conditions_show_the_same(places):
    measured(suite_on(CANVAS, matrix={}), cards(0.9), places)
    assert not (places.cache / "canvases").exists()

    measured(suite_on(CANVAS), cards(0.9), places, canvases="off")
    assert not (places.cache / "canvases").exists()

    measured(suite_on(CANVAS, seed=1), cards(0.9), places)
    assert len(list((places.cache / "canvases").glob("*.npy"))) == 1


def test_a_build_that_was_stopped_goes_on_after_the_last_whole_picture(pictures, places, monkeypatch):
    keep = places.cache / "canvases"
    monkeypatch.setattr(kept, "_CHUNK", 2)
    steps = index_photographs(pictures, places).opening(CANVAS, keep)
    for step in steps:
        if step.done == 4 and "canvases" in step.what:
            break
    steps.close()  # as a process that is interrupted; one that is killed leaves the same file
    (building,) = keep.glob("*.building")
    with building.open("ab") as file:
        file.write(b"half a picture")
    pictures.files.reads.clear()

    data = opened(pictures, places, CANVAS, keep)
    assert sorted(pictures.files.reads) == [4, 5, 6, 7]
    assert np.array_equal(samples(data), samples(opened(pictures, places, CANVAS)))
    assert not list(keep.glob("*.building"))


def test_without_room_pictures_are_decoded_each_time_and_it_is_said(pictures, places, monkeypatch):
    keep = places.cache / "canvases"
    size = 8 * 3 * 32 * 32
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda _: Usage(free=int(1.2 * size) - 1))
    steps = list(told_by(index_photographs(pictures, places).opening(CANVAS, keep)))

    assert "decoded each time" in steps[-1].what
    assert not list(keep.glob("*.npy*[!k]"))
    assert len(samples(opened(pictures, places, CANVAS, keep))) == 8


def test_a_disk_that_runs_full_leaves_nothing_half_written(pictures, places, monkeypatch):
    keep = places.cache / "canvases"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "_drawn", full)
    steps = list(told_by(index_photographs(pictures, places).opening(CANVAS, keep)))

    assert "No space left on device" in steps[-1].what
    assert [path.suffix for path in keep.iterdir()] == [".lock"]
    assert len(samples(opened(pictures, places, CANVAS, keep))) == 8


def test_a_damaged_file_of_canvases_is_built_again(pictures, places):
    keep = places.cache / "canvases"
    each = samples(opened(pictures, places, CANVAS, keep))
    (path,) = keep.glob("*.npy")
    path.write_bytes(path.read_bytes()[:-5])

    assert np.array_equal(samples(opened(pictures, places, CANVAS, keep)), each)


def test_decoding_runs_ahead_of_who_takes_it_and_no_further(pictures, places):
    data = opened(pictures, places, CANVAS)
    pictures.files.reads.clear()
    helpings = data.batches(2 * 3 * 32 * 32)
    first = next(helpings)
    data.load(first, torch.device("cpu"))
    helpings.close()

    assert set(pictures.files.reads) <= {0, 1, 2, 3}


def test_what_is_decoded_ahead_is_decoded_once_though_helpings_are_asked_for_early(pictures, places):
    """As a loop does that loads in another thread."""
    data = opened(pictures, places, CANVAS)
    each = samples(data)
    pictures.files.reads.clear()
    early = data.batches(2 * 3 * 32 * 32)
    first, second = next(early), next(early)
    seen = [data.load(rows, torch.device("cpu")).samples for rows in (first, second)]
    seen += [data.load(rows, torch.device("cpu")).samples for rows in early]

    assert np.array_equal(np.concatenate(seen), each)
    assert sorted(pictures.files.reads) == list(range(8))
    list(data.batches(2 * 3 * 32 * 32))  # of which none is loaded: no more than some are decoded
    assert len(pictures.files.reads) <= 8 + 6


def test_where_nothing_can_be_locked_no_canvases_are_kept(pictures, places, monkeypatch):
    monkeypatch.setattr(remembered, "lock", lambda _: None)
    steps = list(told_by(index_photographs(pictures, places).opening(CANVAS, places.cache / "canvases")))

    assert "decoded each time" in steps[-1].what
    assert not list((places.cache / "canvases").glob("*.npy"))


def test_a_file_of_canvases_with_more_in_it_is_built_again(pictures, places):
    keep = places.cache / "canvases"
    each = samples(opened(pictures, places, CANVAS, keep))
    (path,) = keep.glob("*.npy")
    path.write_bytes(path.read_bytes() + b"more")

    assert np.array_equal(samples(opened(pictures, places, CANVAS, keep)), each)
    assert path.stat().st_size == 128 + each.nbytes


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"canvas": "model", "profile": "imagenet"}, "profile must be 'any-size'"),
        ({"canvas": Canvas(30, 20), "profile": "cifar"}, "20"),
    ],
)
def test_a_profile_that_is_not_for_the_canvas_is_refused_before_anything_runs(places, pictures, facts, told):
    with pytest.raises(UserError, match=told):
        measured(suite_on(**facts), cards(0.9), places)
    assert pictures.files.reads == []


def test_images_of_one_size_have_no_canvas(places):
    suite = Suite("mine", "classification", "digits", canvas="model", classes=10)
    with pytest.raises(UserError, match="must be 'stored', not 'model'"):
        measured(suite, cards(0.9), places)


def test_models_load_before_a_picture_is_read(pictures, places):
    with pytest.raises(UserError, match="give --size"):
        measured(suite_on("model"), cards(0.9, size=None), places)
    assert pictures.files.reads == []


def told_by(steps):
    """The progress of an opening, to its end."""
    yield from steps


@pytest.mark.slow
def test_several_workers_share_digests_and_canvases_and_end_in_the_records_of_one(places, tmp_path):
    """Pictures on the disk, which every process can open."""
    folder = tmp_path / "pictures"
    for row in range(8):
        (folder / str(row % 2)).mkdir(parents=True, exist_ok=True)
        (folder / str(row % 2) / f"{row}.png").write_bytes(photographs.picture(row))
    suite = replace(suite_on("model"), dataset="picture-folder", classes=2, options={"path": str(folder)})
    models = [
        replace(
            find_card("tests.fakes:pair"), name=f"crop{crop}", input=Input(size=32, fit="crop", crop=crop)
        )
        for crop in (0.8, 0.9)
    ]
    found = []
    for workers, name in ((1, "one"), (2, "two")):
        here = replace(places, results=tmp_path / name, cache=tmp_path / name / "cache")
        events = measured(suite, models, here, workers=workers, threads=1)
        found.append([done.record.answers() for done in only(events, RecordDone)])
        assert len(list((here.cache / "canvases").glob("*.npy"))) == 2

    assert found[0] == found[1]
    assert len(found[0]) == 2
