"""Contrast, saturate, brightness, pixelate, JPEG and elastic transform: their libraries' bytes, and two paths."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import hsv2rgb, rgb2hsv

from robustbench_ms.corruptions import jpeg_round_trip, keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.cpu import smoothing
from robustbench_ms.corruptions.cpu.fields import narrow
from robustbench_ms.corruptions.defined import contrast, elastic, hsv, jpeg, pixelate
from robustbench_ms.corruptions.table import PROFILES, SEVERITIES
from robustbench_ms.errors import UserError
from tests.oracles.reference import Variant

SHAPES = ((37, 53), (16, 48), (4, 9), (61, 5))


def setting_of(name: str, profile: str, severity: int) -> Setting:
    return Setting(profile, severity, Variant(name, profile, severity).p)


def pictures(kind: str, count: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """uint8 (count, channels, height, width): noise, only black and white, flat, or smooth with noise on it."""
    random = np.random.default_rng(seed)
    shape = (count, channels, height, width)
    if kind == "noise":
        x = random.integers(0, 256, shape)
    elif kind == "black and white":
        x = 255 * random.integers(0, 2, shape)
    elif kind == "flat":
        x = np.broadcast_to(random.integers(0, 256, (count, channels, 1, 1)), shape)
    else:
        y, z = np.mgrid[0:height, 0:width] / 17
        wave = np.sin(y + random.uniform(0, 6)) * np.cos(z + random.uniform(0, 6, (count, channels, 1, 1)))
        x = np.clip(128 + 120 * wave + random.normal(0, 4, shape), 0, 255)
    return torch.from_numpy(x.astype(np.uint8))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Hundreds of small torch operations wait for each other's threads where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


kinds = st.sampled_from(["noise", "black and white", "flat", "smooth"])


def last(images: torch.Tensor) -> np.ndarray:
    return images.permute(0, 2, 3, 1).numpy()


# JPEG


def pillow_jpeg(images: torch.Tensor, quality: int, **options) -> torch.Tensor:
    out = []
    for image in last(images):
        file = BytesIO()
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(
            file, "JPEG", quality=quality, **options
        )
        out.append(np.array(Image.open(file)).reshape(image.shape))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


@settings(max_examples=30, deadline=None)
@given(
    kinds,
    st.integers(1, 3),
    st.sampled_from([1, 3]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(1, 100),
)
def test_jpeg_is_pillows(kind, count, channels, height, width, quality):
    images = pictures(kind, count, channels, height, width, seed=height * 71 + width)
    expected = pillow_jpeg(images, quality)
    assert torch.equal(jpeg_round_trip(images, quality), expected)
    assert torch.equal(jpeg.by_torch(images, None, Setting("any-size", 1, quality)), expected)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (299, 299), (480, 640), (333, 250)])
def test_jpeg_is_pillows_at_full_size(height, width):
    images = pictures("smooth", 2, 3, height, width)
    for quality in (5, 7, 25, 85):
        assert torch.equal(jpeg_round_trip(images, quality), pillow_jpeg(images, quality))


def test_jpeg_does_not_depend_on_how_the_file_is_packed():
    images = pictures("smooth", 1, 3, 64, 48)
    expected = pillow_jpeg(images, 85, optimize=True)
    assert torch.equal(jpeg_round_trip(images, 85), expected)
    assert torch.equal(jpeg_round_trip(images, 85), pillow_jpeg(images, 85, progressive=True))


def test_a_grey_jpeg_is_the_luminance_of_a_coloured_one():
    grey = pictures("smooth", 2, 1, 40, 56)
    coloured = jpeg_round_trip(grey.expand(-1, 3, -1, -1), 20)
    assert torch.equal(coloured, jpeg_round_trip(grey, 20).expand(-1, 3, -1, -1))


@pytest.mark.parametrize("quality", [0, 101, -3])
def test_jpeg_quality_out_of_range(quality):
    with pytest.raises(UserError, match=r"JPEG quality must be in 1\.\.100"):
        jpeg_round_trip(pictures("flat", 1, 3, 8, 8), quality)


# Pixelate


def pillow_pixelate(images: torch.Tensor, scale: float, back: Image.Resampling) -> torch.Tensor:
    """Rows first and then columns, as every Pillow before 13 did; 13 turns that round for tall images."""
    height, width = images.shape[2:]
    out = []
    for image in last(images):
        whole = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        small = whole.resize((int(width * scale), height), Image.Resampling.BOX)
        small = small.resize((int(width * scale), int(height * scale)), Image.Resampling.BOX)
        out.append(np.array(small.resize((width, height), back)).reshape(height, width, -1))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


SCALES = sorted({Variant("pixelate", profile, severity).p for profile in PROFILES for severity in SEVERITIES})


@settings(max_examples=60, deadline=None)
@given(
    kinds,
    st.sampled_from([1, 3]),
    st.integers(5, 130),
    st.integers(5, 130),
    st.sampled_from(SCALES),
    st.sampled_from(["any-size", "imagenet"]),
)
def test_pixelate_is_pillows(kind, channels, height, width, scale, profile):
    images = pictures(kind, 2, channels, height, width)
    back = Image.Resampling.NEAREST if profile == "any-size" else Image.Resampling.BOX
    expected, setting = pillow_pixelate(images, scale, back), Setting(profile, 1, scale)
    assert torch.equal(pixelate.by_loops(images, None, setting), expected)
    assert torch.equal(pixelate.by_torch(images, None, setting), expected)


@pytest.mark.parametrize("profile", PROFILES)
def test_pixelate_is_pillows_in_one_call(profile):
    height, width = {"any-size": (48, 65), "imagenet": (224, 224), "imagenet-299": (299, 299)}.get(
        profile, (64, 64)
    )
    images = pictures("smooth", 1, 3, height, width)
    back = Image.Resampling.NEAREST if profile == "any-size" else Image.Resampling.BOX
    for severity in SEVERITIES:
        setting = setting_of("pixelate", profile, severity)
        small = (int(width * setting.parameters), int(height * setting.parameters))
        image = (
            Image.fromarray(last(images)[0]).resize(small, Image.Resampling.BOX).resize((width, height), back)
        )
        assert np.array_equal(last(pixelate.by_loops(images, None, setting))[0], np.array(image))


# Colour


def colours() -> torch.Tensor:
    """A grid of all colours with every eleventh level, and all greys: uint8 (1, 3, 1, n)."""
    levels = np.unique([*range(0, 256, 11), 1, 127, 128, 254, 255])
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    return (
        torch.from_numpy(np.concatenate([grid, np.repeat(np.arange(256), 3).reshape(-1, 3)]).astype(np.uint8))
        .T[None, :, None]
        .contiguous()
    )


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", ["any-size", "cifar", "imagenet-64"])
def test_saturate_is_scikit_images_in_float64(profile, severity):
    images, setting = colours(), setting_of("saturate", profile, severity)
    factor, offset = setting.parameters
    x = rgb2hsv(last(images) / 255)
    x[..., 1] = np.clip(x[..., 1] * factor + offset, 0, 1)
    expected = (np.clip(hsv2rgb(x), 0, 1) * 255).astype(np.uint8)
    assert np.array_equal(last(hsv.saturate_by_loops(images, None, setting)), expected)
    assert np.array_equal(last(hsv.saturate_by_torch(images, None, setting)), expected)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", ["any-size", "cifar"])
def test_brightness_is_scikit_images_but_for_tosses_of_a_coin(profile, severity):
    images, setting = colours(), setting_of("brightness", profile, severity)
    x = rgb2hsv(last(images) / 255)
    x[..., 2] = np.clip(x[..., 2] + setting.parameters, 0, 1)
    exact = np.clip(hsv2rgb(x), 0, 1) * 255
    ours = last(hsv.brightness_by_loops(images, None, setting))
    assert np.array_equal(ours, last(hsv.brightness_by_torch(images, None, setting)))
    differ = ours != exact.astype(np.uint8)
    assert (np.abs(exact - np.rint(exact))[differ] < 1e-6).all()
    assert (np.abs(ours.astype(int) - exact.astype(np.uint8)) <= 1).all()
    # The largest channel, and so every grey, is cut off where the source cuts it off.
    largest = last(images) == last(images).max(axis=-1, keepdims=True)
    assert not (differ & largest).any()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_grey_is_brightened_as_a_grey_pixel_is(severity):
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    setting = setting_of("brightness", "any-size", severity)
    coloured = hsv.brightness_by_loops(grey.expand(-1, 3, -1, -1).contiguous(), None, setting)
    assert torch.equal(hsv.brightness_by_loops(grey, None, setting), coloured[:, :1])
    assert (coloured == coloured[:, :1]).all()


@settings(max_examples=30, deadline=None)
@given(
    kinds, st.integers(1, 3), st.sampled_from([1, 3]), st.sampled_from(SHAPES), st.sampled_from(SEVERITIES)
)
def test_colour_has_one_meaning_on_two_paths(kind, count, channels, shape, severity):
    images = pictures(kind, count, channels, *shape)
    for profile in ("any-size", "cifar"):
        setting = setting_of("contrast", profile, severity)
        assert torch.equal(contrast.by_loops(images, None, setting), contrast.by_torch(images, None, setting))
        setting = setting_of("brightness", profile, severity)
        assert torch.equal(
            hsv.brightness_by_loops(images, None, setting), hsv.brightness_by_torch(images, None, setting)
        )
        if channels == 3:
            setting = setting_of("saturate", profile, severity)
            assert torch.equal(
                hsv.saturate_by_loops(images, None, setting), hsv.saturate_by_torch(images, None, setting)
            )


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_leaves_flat_images_as_they_are(severity):
    levels = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, 3, 7, 11).contiguous()
    assert torch.equal(contrast.by_loops(levels, None, setting_of("contrast", "any-size", severity)), levels)


# Elastic transform


def drawn(profile: str, severity: int, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Setting]:
    setting = setting_of("elastic_transform", profile, severity)
    keys = keyed.keys("elastic_transform", severity, 3, torch.arange(len(images)))
    return elastic.draw(keys, tuple(images.shape), setting, keyed.words), keys, setting


@settings(max_examples=15, deadline=None)
@given(kinds, st.integers(1, 3), st.sampled_from([1, 3]), st.sampled_from([*SHAPES, (1, 1), (90, 2)]))
def test_elastic_has_one_meaning_on_two_paths(kind, count, channels, shape):
    images = pictures(kind, count, channels, *shape)
    for severity in (1, 5):
        words, keys, setting = drawn("any-size", severity, images)
        expected = elastic.by_torch(images, words, setting)
        assert torch.equal(elastic.by_loops(images, words, setting), expected)
        assert torch.equal(elastic.by_loops_from_keys(images, keys, setting), expected)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(
    ("profile", "side"), [("cifar", 32), ("imagenet-64", 64), ("imagenet", 224), ("imagenet-299", 299)]
)
def test_published_elastic_has_one_meaning_on_two_paths(profile, side, severity):
    images = pictures("smooth", 2 if side < 100 else 1, 3 if side < 100 else 1, side, side)
    words, keys, setting = drawn(profile, severity, images)
    expected = elastic.by_torch(images, words, setting)
    assert torch.equal(elastic.by_loops(images, words, setting), expected)
    assert torch.equal(elastic.by_loops_from_keys(images, keys, setting), expected)


@pytest.mark.parametrize(
    ("height", "width", "sigma"), [(33, 40, 1.3), (64, 64, 19.2), (47, 21, 33.0), (8, 8, 170.8)]
)
def test_smoothing_is_exact_and_scipys(height, width, sigma):
    """Two compiled ways and the product of matrices, bit for bit; and what it means, to 8 digits."""
    setting = Setting("imagenet", 1, (1.0, sigma, 0.0))
    words = keyed.words(torch.tensor([5]), 8 + 2 * height * width)
    expected = elastic.displacements(words, setting, height, width)[0]
    fields = narrow(words)[0][8:].reshape(2, -1)
    halves = (
        *elastic._halves(elastic._matrix(height, sigma).numpy()),
        *elastic._halves(elastic._matrix(width, sigma).numpy()),
    )
    down = smoothing.grouped(elastic._weights(sigma))
    for k in range(2):
        out = np.empty(height * width, np.float32)
        elastic._smoothed_by_matrices(fields[k], height, width, *halves, elastic._UNIT, out)
        assert np.array_equal(out.reshape(height, width), expected[k])
        if len(down) <= min(height, width) + 1:
            smoothing.smoothed_by_sums(fields[k], height, width, down, down, elastic._UNIT, out)
            assert np.array_equal(out.reshape(height, width), expected[k])
        noise = 2 * (fields[k].reshape(height, width) + 0.5) / 65536 - 1
        meant = gaussian_filter(noise, sigma, mode="reflect", truncate=3)
        assert np.abs(meant - expected[k].numpy()).max() < 1e-7


def test_smoothing_stays_exact_on_the_loudest_noise():
    """All words at one end: the largest sums there are, still whole numbers."""
    for word in (0, 65535):
        words = torch.full((1, 8 + 2 * 40 * 40), word, dtype=torch.int32)
        field = elastic.displacements(words, Setting("cifar", 1, (1.0, 3.0, 0.0)), 40, 40)
        assert (field.abs() - 65535 / 65536).abs().max() < 1e-6
        assert (field == field[0, 0, 0, 0]).all()


def test_a_map_gone_wild_is_the_same_on_two_paths():
    """Points thrown so far that the image is read from very far outside; in the sources it never happens."""
    images = pictures("smooth", 8, 3, 32, 32)
    setting = Setting("cifar", 1, (3.2, 1.28, 5000.0))
    keys = torch.arange(8) * 77
    words = elastic.draw(keys, tuple(images.shape), setting, keyed.words)
    words[0, :6] = 32768  # hardly moved
    wild = elastic.affine(words, setting, 32, 32)
    assert torch.equal(elastic.by_loops(images, words, setting), elastic.by_torch(images, words, setting))
    assert wild.isfinite().all()


@pytest.mark.parametrize(("profile", "side"), [("any-size", 50), ("cifar", 32), ("imagenet-64", 64)])
def test_elastic_leaves_flat_images_as_they_are(profile, side):
    images = pictures("flat", 6, 3, side, side)
    for severity in SEVERITIES:
        words, _, setting = drawn(profile, severity, images)
        assert torch.equal(elastic.by_loops(images, words, setting), images)


def test_the_affine_map_takes_the_points_to_where_they_are_drawn():
    setting = setting_of("elastic_transform", "imagenet", 2)
    words = elastic.draw(torch.arange(20), (20, 3, 224, 224), setting, keyed.words)
    u = 2 * (words[:, :6].numpy() + 0.5) / 65536 - 1
    source = np.array([[186, 186], [186, 38], [38, 38]])
    target = source + u.reshape(20, 3, 2) * setting.parameters[2]
    maps = elastic.affine(words, setting, 224, 224).numpy().reshape(20, 2, 3)
    back = np.einsum("nij,npj->npi", maps, np.concatenate([target, np.ones((20, 3, 1))], axis=2))
    assert np.abs(back - source).max() < 1e-4  # the points are kept in float32, as in the source
