"""The entry point: what it promises of every corruption, and what it says of bad input."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import robustbench_ms
from robustbench_ms.corruptions import SIDES, corrupt, corruption_of, dispatch, keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.cpu.compile import spread
from robustbench_ms.corruptions.table import NAMES, PROFILES, SEVERITIES, parameters
from robustbench_ms.errors import UserError

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SMALL = {name: max(8, corruption_of(name).smallest) for name in NAMES}


def pictures(count: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth patches with noise on them and one flat corner: uint8 (count, channels, height, width)."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, channels, 4, 5), generator=random) * 255
    x = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    x = (x + 8 * torch.randn(x.shape, generator=random)).clamp(0, 255).to(torch.uint8)
    x[..., : height // 3, : width // 3] = 255
    return x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", PROFILES)
def test_shape_dtype_and_input_are_kept(name, profile):
    side = SIDES.get(profile)
    count = 1 if profile == "imagenet-299" else 2
    for channels in (3, 1):
        images = pictures(count, channels, side or 37, side or 50)
        before = images.clone()
        out = corrupt(images, name, 3, profile=profile)
        assert out.shape == images.shape
        assert out.dtype == torch.uint8
        assert out.is_contiguous()
        assert torch.equal(images, before), "the input was changed"
        assert out.data_ptr() != images.data_ptr()
        assert channels == 1 or not torch.equal(out, images)  # saturate leaves some greys alone


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_sample_does_not_see_its_batch(name, data):
    """Its bytes are the same alone, in any batch, at any place, beside any others, on any number of threads."""
    severity = data.draw(st.sampled_from(SEVERITIES), "severity")
    seed = data.draw(st.integers(-(1 << 70), 1 << 70), "seed")
    channels = data.draw(st.sampled_from((1, 3)), "channels")
    side = st.integers(max(SMALL[name], 20), 41)
    size = data.draw(st.tuples(side, side), "size")
    ids = data.draw(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=2, max_size=11), "ids")
    order = data.draw(st.permutations(range(len(ids))), "order")
    kept = order[: data.draw(st.integers(1, len(ids)), "how many")]
    images = pictures(len(ids), channels, *size)
    whole = corrupt(images, name, severity, seed=seed, ids=ids)
    part = corrupt(images[kept], name, severity, seed=seed, ids=[ids[i] for i in kept])
    assert torch.equal(part, whole[kept])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 if threads == 1 else 1)
        assert torch.equal(corrupt(images, name, severity, seed=seed, ids=ids), whole)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("profile", ["cifar", "imagenet-64"])
def test_published_profiles_do_not_see_the_batch(name, profile):
    side = SIDES[profile]
    images, ids = pictures(9, 3, side, side), torch.arange(9) * 1000
    for severity in SEVERITIES:
        whole = corrupt(images, name, severity, profile=profile, ids=ids)
        part = corrupt(images[4:7], name, severity, profile=profile, ids=ids[4:7])
        assert torch.equal(part, whole[4:7])


@pytest.mark.parametrize("name", [name for name in NAMES if corruption_of(name).loops_from_keys])
@pytest.mark.parametrize("profile", PROFILES)
def test_loops_from_keys_are_the_definition_of_the_draw(name, profile):
    chosen = corruption_of(name)
    sizes = [(SIDES[profile],) * 2] if profile in SIDES else [(33, 47), (41, 32)]
    for height, width in sizes:
        for severity in SEVERITIES:
            for channels in (3, 1):
                images = pictures(2, channels, height, width, severity)
                setting = Setting(profile, severity, parameters(name, profile, severity))
                keys = keyed.keys(name, severity, 11, torch.tensor([3, -4]))
                words = chosen.draw(keys, tuple(images.shape), setting, keyed.words)
                found = chosen.loops_from_keys(images, keys, setting)
                assert torch.equal(found, chosen.definition(images, words, setting)), severity


@pytest.mark.parametrize("name", [name for name in NAMES if corruption_of(name).draw])
def test_the_key_is_what_makes_the_draw(name):
    """The seed, the id, the name and the severity each change it; equal ids do not."""
    images = pictures(1, 3, 40, 40).expand(3, -1, -1, -1)
    out = corrupt(images, name, 3, ids=[5, 5, 6])
    assert torch.equal(out[0], out[1])
    assert not torch.equal(out[0], out[2])
    other = corrupt(images, name, 3, ids=[5, 5, 6], seed=1)
    assert not torch.equal(out[0], other[0])
    assert torch.equal(corrupt(images, name, 3), corrupt(images, name, 3, ids=[0, 1, 2], seed=0))


@pytest.mark.parametrize("name", [name for name in NAMES if not corruption_of(name).draw])
def test_the_others_have_no_key(name):
    images = pictures(2, 3, 40, 40)
    assert torch.equal(corrupt(images, name, 3), corrupt(images, name, 3, ids=[8, 9], seed=1))


@pytest.mark.parametrize("name", NAMES)
def test_any_layout_in_memory(name):
    images = pictures(3, 3, 40, 50)
    plain = corrupt(images, name, 2)
    spaced = torch.zeros(3, 3, 80, 50, dtype=torch.uint8)
    spaced[:, :, ::2] = images
    assert torch.equal(corrupt(images.to(memory_format=torch.channels_last), name, 2), plain)
    assert torch.equal(corrupt(spaced[:, :, ::2], name, 2), plain)


def test_read_only_memory(recwarn):
    array = pictures(2, 3, 40, 40).numpy()
    array.setflags(write=False)
    recwarn.clear()
    with pytest.warns(UserWarning, match="not writable"):  # torch's own, on taking the array
        images = torch.from_numpy(array)
    expected = {name: corrupt(torch.from_numpy(array.copy()), name, 3) for name in NAMES}
    for name in NAMES:
        assert torch.equal(corrupt(images, name, 3), expected[name])


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_none(name):
    out = corrupt(torch.zeros(0, 3, 32, 32, dtype=torch.uint8), name, 1, ids=[])
    assert out.shape == (0, 3, 32, 32)
    assert out.dtype == torch.uint8


def test_ids_of_every_kind():
    images = pictures(3, 3, 32, 32)
    plain = corrupt(images, "gaussian_noise", 1, ids=[2, 0, 1])
    for ids in (
        (2, 0, 1),
        np.array([2, 0, 1]),
        np.array([2, 0, 1], np.uint64),
        np.array([2, 0, 1], np.int8),
        [np.int32(2), 0, 1],
        torch.tensor([2, 0, 1], dtype=torch.int16),
        torch.tensor([2, 0, 1]),
    ):
        assert torch.equal(corrupt(images, "gaussian_noise", 1, ids=ids), plain)
    assert torch.equal(corrupt(images, "gaussian_noise", np.int64(1), seed=np.uint8(0), ids=[2, 0, 1]), plain)


GOOD = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": GOOD.numpy()}, r"torch.uint8 tensor \(N, C, H, W\), not numpy.ndarray"),
        ({"images": None}, "not builtins.NoneType"),
        (
            {"images": Image.new("RGB", (9, 9))},
            r"not PIL.Image.Image; rbms.Corrupt\(name, severity\) takes PIL",
        ),
        ({"images": GOOD.float()}, r"not torch.float32; .*\* 255\)\.round\(\)"),
        ({"images": GOOD.int()}, "uint8 in 0..255, not torch.int32$"),
        ({"images": GOOD.bool()}, "not torch.bool"),
        ({"images": GOOD.to("meta")}, "on the CPU or a CUDA device, not on meta"),
        ({"images": GOOD[0]}, r"of shape \(3, 32, 32\); images\[None\]"),
        ({"images": GOOD[0, 0]}, r"of shape \(32, 32\)$"),
        ({"images": GOOD.permute(0, 2, 3, 1)}, r"\(N, H, W, C\); give .* images.permute\(0, 3, 1, 2\)"),
        ({"images": GOOD[:, :2]}, "3 channels .* not 2"),
        ({"images": GOOD.repeat(1, 2, 1, 1)}, "not 6"),
        ({"images": GOOD[:, :, :0]}, "no pixels"),
        ({"images": GOOD[..., :0]}, "no pixels"),
        ({"name": "fgo"}, "no corruption named 'fgo'; did you mean 'fog'"),
        ({"name": "gaussian noise"}, "did you mean 'gaussian_noise'"),
        ({"name": 3}, "no corruption named 3"),
        ({"profile": "imagnet"}, "no profile named 'imagnet'; did you mean 'imagenet'"),
        ({"profile": None}, "no profile named None"),
        ({"severity": 0}, "severity must be 1, 2, 3, 4 or 5, not 0"),
        ({"severity": 6}, "not 6"),
        ({"severity": -1}, "not -1"),
        ({"severity": 3.0}, "severity must be an integer, not 3.0"),
        ({"severity": True}, "severity must be an integer, not True"),
        ({"severity": np.bool_(True)}, "severity must be an integer"),
        ({"severity": "3"}, "severity must be an integer, not '3'"),
        ({"severity": None}, "severity must be an integer, not None"),
        ({"seed": 1.5}, "seed must be an integer, not 1.5"),
        ({"seed": None}, "seed must be an integer"),
        ({"ids": [1]}, r"2 images, but ids of shape \(1,\)"),
        ({"ids": [1, 2, 3]}, r"ids of shape \(3,\)"),
        ({"ids": [[1, 2]]}, r"ids of shape \(1, 2\)"),
        ({"ids": torch.tensor(1)}, r"ids of shape \(\)"),
        ({"ids": 7}, r"ids of shape \(\)"),
        ({"ids": [1.0, 2.0]}, "ids must be integers"),
        ({"ids": torch.tensor([1.0, 2.0])}, "ids must be integers"),
        ({"ids": [True, False]}, "ids must be integers"),
        ({"ids": ["a", "b"]}, "ids must be integers"),
        ({"ids": np.array([1 << 63, 0], np.uint64)}, "64 bits with a sign"),
        ({"ids": [1 << 63, 0]}, "64 bits with a sign"),
        ({"ids": [1 << 70, 0]}, "64 bits with a sign"),
        ({"profile": "imagenet"}, "'imagenet' is for images of 224 x 224 .* 32 x 32; profile 'cifar' takes"),
        ({"images": GOOD[:, :, :30], "profile": "cifar"}, "not 30 x 32; profile 'any-size' takes these"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_input_is_said(change, message):
    call = {"images": GOOD, "name": "fog", "severity": 3, **change}
    with pytest.raises(UserError, match=message):
        corrupt(call.pop("images"), call.pop("name"), call.pop("severity"), **call)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_size(name):
    """One pixel less is refused, by name and size; from there on everything is taken."""
    smallest = corruption_of(name).smallest
    for severity in SEVERITIES:
        for size in ((smallest, smallest), (smallest, smallest + 3), (smallest + 6, smallest)):
            assert corrupt(pictures(2, 3, *size), name, severity).shape == (2, 3, *size)
    if smallest > 1:
        with pytest.raises(UserError, match=rf"{name} needs images of at least {smallest} x {smallest}"):
            corrupt(pictures(1, 3, smallest, smallest - 1), name, 1)


def test_names_come_without_torch():
    code = (
        "import sys, robustbench_ms.corruptions as c;"
        "assert len(c.COMMON) == 15 and len(c.NAMES) == 19 and len(c.PROFILES) == 5;"
        "heavy = {'torch', 'torchvision', 'PIL', 'numpy', 'numba', 'cv2', 'scipy'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "c.corrupt; assert 'torch' in sys.modules and 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Corrupted(Dataset):
    """What a DataLoader's workers compute on their own."""

    def __len__(self):
        return len(NAMES)

    def __getitem__(self, index):
        return corrupt(pictures(2, 3, 40, 40), NAMES[index], 4, seed=2, ids=[7, 70])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_and_processes_agree(start):
    """Forked after this process has used its threads, as DataLoader does, and in a fresh one."""
    here = [Corrupted()[i] for i in range(len(NAMES))]
    there = list(DataLoader(Corrupted(), batch_size=None, num_workers=2, multiprocessing_context=start))
    for name, ours, theirs in zip(NAMES, here, there, strict=True):
        assert torch.equal(ours, theirs), name


def test_spread_covers_every_item_once_and_passes_errors_on():
    for items, grain in ((0, 1), (1, 1), (7, 3), (100, 1), (100, 1000)):
        seen = np.zeros(items, int)

        def run(start, stop, seen=seen):
            seen[start:stop] += 1

        spread(run, items, grain=grain)
        assert (seen == 1).all()

    def fail(start, stop):
        raise RuntimeError(f"{start}..{stop}")

    with pytest.raises(RuntimeError):
        spread(fail, 100)


def test_two_threads_at_once():
    images = pictures(8, 3, 40, 40)
    expected = {name: corrupt(images, name, 3) for name in NAMES}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: corrupt(images, name, 3), NAMES * 4))
    for name, out in zip(NAMES * 4, found, strict=True):
        assert torch.equal(out, expected[name]), name


def test_nowhere_to_keep_machine_code():
    """A read-only installation and no writable home: compiled in each process, and the same."""
    code = (
        "from numba.core.caching import CacheImpl; CacheImpl._locator_classes = [];"
        "import torch; from robustbench_ms.corruptions import corrupt;"
        "from robustbench_ms.corruptions.cpu import words;"
        "assert type(words.word._cache).__name__ == 'NullCache';"
        "x = torch.arange(3072).remainder(256).to(torch.uint8).view(1, 3, 32, 32);"
        "print(int(corrupt(x, 'impulse_noise', 5).long().sum()))"
    )
    x = torch.arange(3072).remainder(256).to(torch.uint8).view(1, 3, 32, 32)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == int(corrupt(x, "impulse_noise", 5).long().sum())


def test_machine_code_is_dropped_when_a_file_that_it_draws_on_changes(tmp_path):
    """Impulse noise takes its words from another folder's file."""
    package = Path(robustbench_ms.__file__).parent
    copy = shutil.copytree(
        package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors")
    )
    code = (
        "import torch; from robustbench_ms.corruptions import corrupt;"
        "from robustbench_ms.corruptions.defined import noise;"
        "x = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8);"
        "print(int(corrupt(x, 'impulse_noise', 5).long().sum()), sum(noise._impulse_chunks.stats.cache_hits.values()))"
    )

    def run():
        environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    first, hits = run()
    assert hits == "0"
    assert run() == [first, "1"]
    file = copy / "corruptions" / "cpu" / "words.py"
    text = file.read_text()
    assert text.count("return mix(key + ") == 1
    file.write_text(text.replace("return mix(key + ", "return mix(key ^ "))
    changed, hits = run()
    assert changed != first
    assert hits == "0"


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_a_device_gives_the_same_but_for_rounding(name):
    for profile, side in (("any-size", 50), ("cifar", 32)):
        images, ids = pictures(5, 3, side, side), [9, -3, 0, 1 << 40, 2]
        for severity in SEVERITIES:
            here = corrupt(images, name, severity, profile=profile, ids=ids)
            there = corrupt(images.cuda(), name, severity, profile=profile, ids=ids)
            assert there.is_cuda
            moved = (here.int() - there.cpu().int()).abs()
            assert int(moved.max()) <= 1
            assert float((moved > 0).float().mean()) <= 0.01
            chosen = corruption_of(name)
            if chosen.draw is None:
                continue
            setting = Setting(profile, severity, parameters(name, profile, severity))
            keys = keyed.keys(name, severity, 0, torch.tensor(ids))
            words = chosen.draw(keys, tuple(images.shape), setting, keyed.words)
            made = chosen.draw(keys.cuda(), tuple(images.shape), setting, dispatch.words_on(there.device))
            assert torch.equal(words, made.cpu())


@gpu
@pytest.mark.gpu
def test_ids_may_lie_on_another_device():
    images, ids = pictures(3, 3, 32, 32), torch.tensor([4, 5, 6])
    plain = corrupt(images, "impulse_noise", 2, ids=ids)
    assert torch.equal(corrupt(images, "impulse_noise", 2, ids=ids.cuda()), plain)
    assert torch.equal(corrupt(images.cuda(), "impulse_noise", 2, ids=ids).cpu(), plain)
