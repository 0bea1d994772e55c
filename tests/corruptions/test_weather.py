"""Snow, frost, fog and spatter: two paths with one meaning, the libraries' parts, and what lies at the edges."""

from __future__ import annotations

import subprocess
import sys
import warnings
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.cpu.fields import fill, narrow
from robustbench_ms.corruptions.cpu.smoothing import grouped
from robustbench_ms.corruptions.defined import fog, frost, snow, spatter
from robustbench_ms.corruptions.defined.gaussian_blur import gaussian_weights
from robustbench_ms.corruptions.table import PROFILES, SEVERITIES
from robustbench_ms.errors import BadFile
from tests.oracles.reference import Variant

MODULES = {"snow": snow, "frost": frost, "fog": fog, "spatter": spatter}
SIDES = {"cifar": 32, "imagenet-64": 64, "imagenet": 224, "imagenet-299": 299}


def setting_of(name: str, profile: str, severity: int) -> Setting:
    return Setting(profile, severity, Variant(name, profile, severity).p)


def photograph(count: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Waves with noise on them and black, white and grey patches: uint8 (count, channels, height, width)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 13
    wave = np.sin(y + random.uniform(0, 6)) * np.cos(x + random.uniform(0, 6, (count, channels, 1, 1)))
    images = np.clip(128 + 120 * wave + random.normal(0, 9, (count, channels, height, width)), 0, 255)
    images[..., : height // 4, :] = np.array([0, 255, 77])[np.arange(count) % 3, None, None, None]
    return torch.from_numpy(images.astype(np.uint8))


def same_on_two_paths(name: str, images: torch.Tensor, setting: Setting, seed: int = 0) -> None:
    module, count = MODULES[name], len(images)
    keys = keyed.keys(name, setting.severity, seed, torch.arange(count))
    words = module.draw(keys, tuple(images.shape), setting, keyed.words)
    assert len(words) == count
    expected = module.by_torch(images, words, setting)
    assert torch.equal(module.by_loops(images, words, setting), expected)
    if hasattr(module, "by_loops_from_keys"):
        assert torch.equal(module.by_loops_from_keys(images, keys, setting), expected)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Hundreds of small torch operations wait for each other's threads where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", SIDES)
@pytest.mark.parametrize("name", MODULES)
def test_one_meaning_on_two_paths(name, profile, severity):
    side = SIDES[profile]
    images = photograph(3 if side < 100 else 1, 3, side, side, seed=severity)
    same_on_two_paths(name, images, setting_of(name, profile, severity))


@pytest.mark.parametrize("name", MODULES)
@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    channels=st.sampled_from([1, 3]),
    severity=st.sampled_from(SEVERITIES),
    seed=st.integers(0, 1000),
)
def test_one_meaning_at_any_size(name, size, channels, severity, seed):
    same_on_two_paths(
        name, photograph(2, channels, *size, seed=seed), setting_of(name, "any-size", severity), seed
    )


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(1, 50))
def test_fill_gives_the_generators_words(key, count):
    buffer = np.empty(count, np.uint64)
    fill(np.uint64(key % (1 << 64)), buffer)
    expected = keyed.words(torch.tensor([key]), 4 * count)
    assert np.array_equal(buffer.view(np.uint16), narrow(expected)[0])
    assert np.array_equal(buffer.view(np.uint16), expected[0].numpy())


# Fog


def test_the_map_is_as_wide_as_published_or_holds_the_image():
    assert [fog.map_side(profile, 32, 32) for profile in PROFILES] == [32, 256, 32, 64, 512]
    for height, width, side in (
        (480, 640, 1024),
        (512, 3, 512),
        (513, 3, 1024),
        (33, 47, 64),
        (2, 2, 4),
        (1, 1, 4),
    ):
        assert fog.map_side("any-size", height, width) == side


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_keeps_what_is_brightest(severity):
    """The cloud's highest point becomes the image's brightest value at most; a black image stays black."""
    setting = setting_of("fog", "cifar", severity)
    keys = torch.arange(8) * 31
    white = torch.full((8, 3, 32, 32), 255, dtype=torch.uint8)
    out = fog.by_loops_from_keys(white, keys, setting)
    assert out.amax() >= 254  # where the map is 1
    assert out.amin() >= int(255 / (1 + setting.parameters[0]))
    assert torch.equal(fog.by_loops_from_keys(white * 0, keys, setting), white * 0)
    dim = torch.full_like(white, 90)
    assert fog.by_loops_from_keys(dim, keys, setting).amax() <= 90


def test_extremes_are_found_by_their_bits():
    random = np.random.default_rng(0)
    for size in (4, 64, 1000):
        for shift in (-2, 0, 2):
            values = (random.normal(shift, 1, size) * 10.0 ** random.integers(-30, 30, size)).astype(
                np.float32
            )
            assert fog._extremes(values) == (values.min(), values.max())


# Snow


LOST = {1.25: 153, 1.75: 25, 2.25: 1060, 2.5: 156, 3: 85, 4.5: 572}
"""For each enlargement where it happens, the smallest size at which the last coordinate exceeds the last index."""


@pytest.mark.parametrize("package", [True, False])
@pytest.mark.parametrize("factor", sorted({Variant("snow", p, s).p[2] for p in PROFILES for s in SEVERITIES}))
def test_flakes_are_enlarged_as_scipy_does(factor, package):
    """On one axis, over many sizes; at some SciPy loses the last value to rounding (`LOST`), and so do we."""
    lost = 0
    for size in [*range(1, 130), 224, 299, 480, 640, *LOST.values()]:
        axis = snow._axis(size, factor, package=package)
        values = np.random.default_rng(size).normal(size=axis.drawn) + 5
        expected = zoom(values, factor, order=1)
        lost += expected[-1] == 0
        if not package:
            cut = (len(expected) - size) // 2
            expected = expected[cut : cut + size]
            assert len(expected) == size
        ours = values[axis.first] * axis.near + values[axis.second] * axis.far
        assert len(ours) == len(expected) >= size
        assert np.abs(ours - expected).max() < 1e-13
    assert bool(lost) == (factor in LOST)


def test_the_streaks_fall_down():
    words = torch.tensor([[0, 0, 9, 9], [65535, 65535, 9, 9], [0, 32768, 9, 9]], dtype=torch.int32)
    assert snow.angle(words).tolist() == pytest.approx([-135, -45, -90], abs=1e-7)


@pytest.mark.parametrize("profile", ["any-size", "cifar"])
def test_snow_whitens_and_never_darkens(profile):
    images = photograph(4, 3, 32, 32)
    for severity in SEVERITIES:
        out = snow.by_loops_from_keys(images, torch.arange(4) * 7, setting_of("snow", profile, severity))
        assert (out >= images).all()
        assert (out == 255).any()


def test_snow_is_the_same_turned_by_half():
    """On a flat image the layer and its turned self are all there is."""
    for profile in ("any-size", "cifar"):
        flat = torch.full((3, 3, 32, 32), 60, dtype=torch.uint8)
        out = snow.by_loops_from_keys(flat, torch.arange(3), setting_of("snow", profile, 2))
        assert torch.equal(out, out.flip(2, 3))
        assert not (out == out[:, :, :1, :1]).all()


# Frost


def test_the_first_five_photographs_are_drawn_evenly():
    words = frost.draw(torch.arange(5000), (5000, 3, 32, 32), setting_of("frost", "cifar", 1), keyed.words)
    ice = frost._ice("cifar", ())
    first, _ = frost._corners(words, ice.sizes, 32, 32)
    drawn = np.bincount(np.searchsorted(ice.sizes[:, 0], first.numpy(), side="right") - 1, minlength=5)
    assert len(frost.PHOTOGRAPHS) == len(ice.sizes) == 5
    assert (np.abs(drawn - 1000) < 5 * np.sqrt(800)).all()


@pytest.mark.parametrize(
    ("profile", "height", "width"),
    [
        *((p, s, s) for p, s in SIDES.items()),
        ("any-size", 1, 1),
        ("any-size", 700, 333),
        ("any-size", 200, 1300),
    ],
)
def test_crops_lie_within_their_photographs(profile, height, width):
    ice = frost._ice(profile, frost._scales(profile, height, width))
    most = (1 << 32) - 1
    for index in range(5):
        at = (index * (1 << 32)) // 5 + 1
        begin, rows, columns = ice.sizes[index]
        words = torch.tensor([[at, 0, 0], [at, most, most]])
        first, stride = frost._corners(words, ice.sizes, height, width)
        assert stride.tolist() == [columns, columns]
        assert first[0] == begin
        top, left = divmod(int(first[1] - begin), int(columns))
        # randint leaves the last of all corners out, in the sources as here
        assert (top, left) == (rows - height - 1, columns - width - 1)
    assert ice.planes.shape[1] == (ice.sizes[:, 1] * ice.sizes[:, 2]).sum()


def test_the_package_of_the_photographs_is_not_imported():
    code = (
        "import sys, torch; from robustbench_ms.corruptions import corrupt;"
        "corrupt(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), 'frost', 1, profile='cifar');"
        "sys.exit('imagecorruptions' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_photographs_are_said(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(frost, "find_spec", lambda _: None)
    with pytest.raises(BadFile, match="pip install imagecorruptions-imaug"):
        frost.photograph.__wrapped__(0)
    spec = ModuleSpec("imagecorruptions", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(frost, "find_spec", lambda _: spec)
    with pytest.raises(BadFile, match=r"frost2\.png cannot be read"):
        frost.photograph.__wrapped__(1)
    (tmp_path / "frost").mkdir()
    (tmp_path / "frost" / "frost4.jpg").write_bytes(b"no picture")
    with pytest.raises(BadFile, match=r"frost4\.jpg .* is damaged"):
        frost.photograph.__wrapped__(3)


# Spatter


@pytest.mark.parametrize(
    ("height", "width", "sigma"), [(33, 47, 2.0), (3, 50, 4.0), (224, 224, 3.5), (40, 1, 0.5)]
)
def test_the_layer_is_scipys_to_the_last_bit(height, width, sigma):
    words = keyed.words(torch.tensor([3]), height * width)
    z = keyed.normal_quantiles()[words[0].numpy()].reshape(height, width)
    expected = gaussian_filter(0.65 + 0.3 * z, sigma, mode="nearest", truncate=4)
    out = np.empty((height, width))
    weights = grouped(gaussian_weights(sigma))
    spatter._layer(narrow(words)[0], keyed.normal_quantiles()[32768:], 0.65, 0.3, weights, out)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_where_nothing_splashes_the_image_stays(channels):
    """The sources divide 0 by 0 here and blacken the image."""
    images, keys = photograph(3, channels, 20, 31), torch.arange(3)
    for mud in (0, 1):
        setting = Setting("any-size", 1, (0.65, 0.3, 2, 9.0, 0.6, mud))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(spatter.by_loops_from_keys(images, keys, setting), images)
            words = spatter.draw(keys, tuple(images.shape), setting, keyed.words)
            assert torch.equal(spatter.by_torch(images, words, setting), images)


@pytest.mark.parametrize("mud", [0, 1])
def test_where_all_is_wet_it_is_the_liquids_colour(mud):
    """A threshold below all noise: one flood, without the edges that the water's relief is made of."""
    images, keys = photograph(2, 3, 40, 40), torch.arange(2)
    setting = Setting("any-size", 1, (0.65, 0.1, 2, -9.0, 1.5, mud))
    out = spatter.by_loops_from_keys(images, keys, setting)
    if mud:
        assert (out == torch.tensor([63, 42, 20]).view(1, 3, 1, 1)).all()
    else:
        assert (out >= images).all()


def test_sizes_that_enlarge_the_photographs_alike_share_them():
    """A folder of photographs has many sizes, and to enlarge five pictures for each costs more than all the rest."""
    frost._ice.cache_clear()
    for height, width in ((300, 640), (310, 640), (240, 640), (480, 640)):
        words = torch.zeros(1, 3, dtype=torch.int64)
        frost.by_loops(
            torch.zeros(1, 3, height, width, dtype=torch.uint8), words, setting_of("frost", "any-size", 1)
        )

    assert frost._ice.cache_info().misses == 2
