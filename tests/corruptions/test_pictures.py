"""Pictures of every mode and depth: what `rbms.Corrupt` and `rbms corrupt` make of them, and what they refuse."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.cli.corrupt import _WITH_ALPHA
from robustbench_ms.corruptions import Corrupt, corrupt
from robustbench_ms.corruptions.pictures import as_bytes
from robustbench_ms.errors import UserError

Y, X = np.mgrid[0:24, 0:36]
GREY = ((X * 7 + Y * 3) % 256).astype(np.uint8)
GREY[0, :2] = 0, 255
RGB = np.stack([GREY, np.roll(GREY, 9, 1), 255 - GREY], axis=2)
DEEP = GREY.astype(int) * 257
ALPHA = np.where((X - 18) ** 2 + (Y - 12) ** 2 < 80, 255, 0).astype(np.uint8)
CONTRAST = Corrupt("contrast", 2)


def corrupted(pixels: np.ndarray) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) as `corrupt` makes it."""
    bands = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)[None]
    return corrupt(bands, "contrast", 2)[0].permute(1, 2, 0).numpy().reshape(pixels.shape)


def of_mode(values: np.ndarray, mode: str) -> Image.Image:
    """A picture of one channel in one of Pillow's deep modes."""
    order = {"I;16B": ">u2", "I;16": "<u2", "I": "<i4", "F": "<f4"}[mode]
    return Image.frombytes(mode, values.shape[::-1], values.astype(order).tobytes())


def read(path: Path, mode: str | None = None) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture if mode is None else picture.convert(mode))


# Depth


@pytest.mark.parametrize(
    ("mode", "values", "white"),
    [
        ("I;16", DEEP, None),
        ("I;16B", DEEP, None),
        ("I", DEEP, None),
        ("I;16", DEEP + 128 * (GREY < 255), None),
        ("I;16", DEEP - 128 * (GREY > 0), None),
        ("I;16", np.round(GREY / 255 * 4095), 4095),
        ("I;16", GREY, 255),
        ("I", GREY * 1000.0, 255_000),
        ("F", GREY / 255, None),
        ("F", GREY * 1.0, None),
        ("F", GREY - 0.49 * (GREY > 0), None),
        ("F", GREY / 85, 3),
    ],
)
def test_deep_pictures_are_scaled_and_rounded_to_the_nearest(mode, values, white):
    found = as_bytes(of_mode(values, mode), white)
    assert found.mode == "L"
    np.testing.assert_array_equal(np.array(found), GREY)
    shown = Corrupt("contrast", 2, white=white)(of_mode(values, mode))
    assert shown.mode == "L"
    np.testing.assert_array_equal(np.array(shown), corrupted(GREY))


@pytest.mark.parametrize(
    ("mode", "values", "white", "message"),
    [
        ("I;16", [0, 4080], None, r"mode I;16: its values end at 4,080: 12 bits in 16\? say white=4095$"),
        ("I;16", [0, 1000], None, r"end at 1,000: 10 bits in 16\? say white=1023$"),
        ("I", [0, 200], None, r"end at 200: 8 bits in 32\? say white=255$"),
        ("I", [0, 65536], None, "end at 65,536, above white, which is 65,535"),
        ("I", [-3, 60000], None, "begin at -3, below black"),
        ("I;16", [0, 5000], 4095, "end at 5,000, above white, which is 4,095"),
        ("F", [0, np.nan], None, "mode F: some of its values are NaN or infinite"),
        ("F", [0, np.inf], 9, "NaN or infinite"),
        ("F", [-0.5, 1], None, "begin at -0.5"),
        ("F", [0, 4080], None, "end at 4,080, and floats are taken in 0..1 or 0..255; say white=VALUE"),
        ("F", [0, 2], 1.5, "end at 2, above white, which is 1.5"),
    ],
)
def test_what_cannot_be_scaled_is_refused(mode, values, white, message):
    with pytest.raises(UserError, match=message):
        Corrupt("fog", 1, white=white)(of_mode(np.array([values]), mode))


def test_white_is_for_deep_pictures():
    with pytest.raises(
        UserError, match="white=4095 is for pictures of 16 bits or of floats; this one, of mode RGB"
    ):
        Corrupt("fog", 1, white=4095)(Image.fromarray(RGB))


def test_a_picture_without_pixels():
    with pytest.raises(UserError, match="a picture of 0 x 3 pixels has none"):
        CONTRAST(Image.new("F", (0, 3)))


# Modes


@pytest.mark.parametrize(
    ("picture", "mode"),
    [
        (Image.fromarray(GREY), "L"),
        (Image.fromarray(GREY > 128), "L"),
        (Image.fromarray(RGB), "RGB"),
        *[
            (Image.fromarray(RGB).convert(mode), "RGB")
            for mode in ("P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX")
        ],
    ],
    ids=lambda one: getattr(one, "mode", one),
)
def test_a_mode_keeps_what_it_promises(picture, mode):
    shown = CONTRAST(picture)
    assert shown.mode == mode
    np.testing.assert_array_equal(np.array(shown), corrupted(np.array(picture.convert(mode))))


def keyed(mode: str) -> Image.Image:
    """A picture with one value that is clear, as PNG and GIF have them."""
    if mode == "I;16":
        picture = of_mode(DEEP, mode)
        picture.info["transparency"] = 257 * 9
    else:
        picture = Image.fromarray({"L": GREY, "RGB": RGB}[mode])
        picture.info["transparency"] = {"L": 9, "RGB": (9, int(RGB[GREY == 9][0][1]), 246)}[mode]
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(np.dstack([RGB, ALPHA])),
        Image.fromarray(np.dstack([GREY, ALPHA])),
        Image.fromarray(np.dstack([RGB, ALPHA])).convert("RGBa"),
        keyed("L"),
        keyed("RGB"),
    ],
    ids=lambda one: one.mode,
)
def test_alpha_is_kept_and_left_alone(picture):
    grey = picture.mode in {"L", "LA"}
    before = np.array(picture.convert("LA" if grey else "RGBA"))
    assert 0 in before[..., -1]
    shown = CONTRAST(picture)
    assert shown.mode == ("LA" if grey else "RGBA")
    after = np.array(shown)
    np.testing.assert_array_equal(after[..., -1], before[..., -1])
    colour = before[..., 0] if grey else before[..., :3]
    np.testing.assert_array_equal(
        after[..., 0] if grey else after[..., :3], corrupted(np.ascontiguousarray(colour))
    )


def test_a_clear_value_of_16_bits_becomes_alpha():
    shown = np.array(as_bytes(keyed("I;16")))
    np.testing.assert_array_equal(shown[..., 0], GREY)
    np.testing.assert_array_equal(shown[..., 1], np.where(GREY == 9, 0, 255))


# The command line


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colour: int, size: tuple[int, int], rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", size[0], size[1], depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def deep_png(values: np.ndarray) -> bytes:
    """(H, W) or (H, W, 3) of 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(16, 0 if values.ndim == 2 else 2, values.shape[1::-1], rows)


def test_a_picture_of_16_bits_through_the_command_line(rbms, tmp_path):
    source, out = tmp_path / "in.png", tmp_path / "out.png"
    for values in (DEEP, RGB.astype(int) * 257):
        source.write_bytes(deep_png(values))
        assert rbms("corrupt", source, "-o", out, "--name", "contrast", "--severity", 2).code == 0
        np.testing.assert_array_equal(read(out), corrupted((values // 257).astype(np.uint8)))
    source.write_bytes(deep_png(GREY.astype(int) * 16))
    done = rbms("corrupt", source, "-o", out, "--name", "contrast", "--severity", 2)
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith("mode I;16: its values end at 4,080: 12 bits in 16? say --white 4095\n")
    done = rbms("corrupt", source, "-o", out, "--name", "contrast", "--severity", 2, "--white", 4080)
    assert done.code == 0
    np.testing.assert_array_equal(read(out), corrupted(GREY))
    source.write_bytes(deep_png(RGB.astype(int) * 16))
    assert (
        "12 bits in 16? Pillow reads the upper 8" in rbms("corrupt", source, "-o", out, "--name", "fog").err
    )


DAMAGED = {
    "cut": png(8, 0, (36, 24), b"".join(b"\0" + row.tobytes() for row in GREY))[:-40],
    "bomb": png(8, 2, (30_000, 30_000), b"\0" * 1000),
    "check sum": png(8, 0, (4, 4), b"\0" * 20).replace(b"IDAT", b"IDAU"),
    "page": b"<html>404</html>",
    "empty": b"",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_picture_is_one_sentence(rbms, tmp_path, name):
    source = tmp_path / "in.png"
    source.write_bytes(DAMAGED[name])
    done = rbms("corrupt", source, "-o", tmp_path / "out.png", "--name", "fog")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert str(source) in done.err
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.filterwarnings("ignore:IM image format")
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_is_written_in_a_format_that_has_it(rbms, tmp_path, grey):
    """And said to be gone in one that has none: what Pillow reads again decides which have it."""
    source = tmp_path / "in.png"
    Image.fromarray(
        np.dstack([np.resize(GREY if grey else RGB, (32, 32, 1 if grey else 3)), np.resize(ALPHA, (32, 32))])
    ).save(source)
    kept = set()
    endings = {name: ending for ending, name in Image.registered_extensions().items() if name in Image.SAVE}
    for name, ending in endings.items():
        out = tmp_path / f"out{ending}"
        done = rbms("corrupt", source, "-o", out, "--name", "contrast", "--profile", "cifar")
        assert done.code in {0, 2}, name
        assert ("has no alpha" in done.err) == (name not in _WITH_ALPHA), name
        if done.code == 0 and name not in {"EPS", "PDF"}:
            kept |= {name} if read(out, "RGBA")[..., -1].min() == 0 else set()
    assert kept == _WITH_ALPHA & set(endings)


def test_turned_pictures_and_palettes(rbms, tmp_path):
    turn = Image.Exif()
    turn[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "in.tif", exif=turn)
    out = tmp_path / "out.png"
    assert rbms("corrupt", tmp_path / "in.tif", "-o", out, "--name", "contrast", "--severity", 2).code == 0
    np.testing.assert_array_equal(read(out), corrupted(np.ascontiguousarray(np.rot90(RGB, -1))))
    Image.fromarray(RGB).convert("P").save(tmp_path / "in.png", transparency=0)
    assert rbms("corrupt", tmp_path / "in.png", "-o", out, "--name", "fog").code == 0
    assert read(out).shape[2] == 4


def test_a_format_that_is_only_read_is_named(rbms, tmp_path):
    Image.fromarray(RGB).save(tmp_path / "in.png")
    done = rbms("corrupt", tmp_path / "in.png", "-o", tmp_path / "out.psd", "--name", "fog")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no picture format that Pillow writes has the ending '.psd'" in done.err
