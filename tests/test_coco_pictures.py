"""Pictures in files: turned or not, cut off, deep and grey; every fault named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.errors import BadFile, UserError
from tests.cocofolders import CPU, changed, folder_at, opened, shown


@pytest.fixture
def turned(tmp_path):
    """A function: the first picture as a JPEG whose EXIF says that orientation, of stored size (height, width)."""

    def write(orientation, size):
        exif = Image.Exif()
        exif[0x0112] = orientation
        folder_at(tmp_path, changed(("images", 0, "file_name"), "1.jpg"))
        image = np.zeros((*size, 3), np.uint8)
        image[: size[0] // 2] = 250  # light above, as it is stored
        Image.fromarray(image).save(tmp_path / "val" / "1.jpg", exif=exif, quality=95)
        return tmp_path

    return write


def test_exif_turns_a_picture_where_the_annotated_size_says_so(turned, places):
    data = opened(turned(6, (48, 40)), places)  # a quarter clockwise: what is above comes to the right
    first = shown(data)[0].samples[0, 0].numpy()

    assert first.shape == (40, 48)
    assert first[:, 30:].min() > 200
    assert first[:, :18].max() < 50
    assert data.facts.notes == ()


def test_and_not_where_the_stored_size_is_the_annotated_one(turned, places):
    data = opened(turned(6, (40, 48)), places)

    assert shown(data)[0].samples[0, 0, :18].min() > 200
    assert data.facts.notes == ()


def test_where_both_fit_it_is_not_turned_and_a_note_counts_it(turned, places):
    data = opened(turned(3, (40, 48)), places)

    assert shown(data)[0].samples[0, 0, :18].min() > 200
    assert len(data.facts.notes) == 1
    assert "EXIF would turn 1 of the pictures" in data.facts.notes[0]


def test_where_neither_fits_the_picture_is_named(turned, places):
    with pytest.raises(BadFile, match=r"1\.jpg has 44 x 44 pixels"):
        opened(turned(6, (44, 44)), places)


def test_a_picture_that_is_cut_off_or_none_is_named(tmp_path, places):
    folder_at(tmp_path)
    path = tmp_path / "val" / "2.png"
    whole = path.read_bytes()
    data = opened(tmp_path, places)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadFile, match=r"2\.png is cut off or damaged"):
        data.load(np.array([1]), CPU)
    path.write_bytes(b"no picture")
    with pytest.raises(BadFile, match=r"2\.png is no picture that Pillow can read"):
        opened(tmp_path, places)


def test_deep_and_grey_pictures_are_scaled_to_bytes(tmp_path, places):
    folder_at(tmp_path)
    deep = np.full((40, 48), 0x8080, np.uint16)
    deep[:8] = 0xFFFF
    Image.fromarray(deep).save(tmp_path / "val" / "1.png")
    Image.fromarray(np.full((40, 48), 7, np.uint8)).save(tmp_path / "val" / "2.png")
    one, two, _ = (batch.samples for batch in shown(opened(tmp_path, places)))

    assert torch.unique(one).tolist() == [128, 255]
    assert torch.unique(two).tolist() == [7]
    Image.fromarray(deep // 16).save(tmp_path / "val" / "1.png")
    with pytest.raises(BadFile, match=r"1\.png: .*say --white 4095"):
        shown(opened(tmp_path, places))
    assert opened(tmp_path, places, white=4095).load(np.array([0]), CPU).samples.max() == 255
    assert opened(tmp_path, places, white=4095).facts.digest != opened(tmp_path, places).facts.digest
    with pytest.raises(UserError, match="white must be"):
        opened(tmp_path, places, white="bright")
