"""The generator: SplitMix64 as published, the same from torch and from compiled code, and evenly spread."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest, norm

from robustbench_ms.corruptions import dispatch, keyed
from robustbench_ms.corruptions.cpu.words import mix, unsigned, word
from robustbench_ms.corruptions.splitmix import GOLDEN
from robustbench_ms.corruptions.table import NAMES, SEVERITIES

MASK = (1 << 64) - 1
int64 = st.integers(-(1 << 63), (1 << 63) - 1)
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def splitmix(state: int) -> int:
    """One step of SplitMix64 in Python's own integers, from Steele, Lea & Flood's listing."""
    z = (state + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def test_the_published_sequence():
    """The first outputs of SplitMix64 for the seed 1234567, as its reference implementation prints them."""
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    found = keyed.words(torch.tensor([1234567]), 5, 64)[0]
    assert [int(w) & MASK for w in found] == expected


@settings(deadline=None)
@given(int64, st.integers(0, 1 << 40))
def test_torch_and_compiled_words_are_equal(key, start):
    expected = splitmix((key + start * GOLDEN) & MASK)
    keys = torch.tensor([key])
    assert int(keyed.words(keys, 1, 64, start)) & MASK == expected
    assert int(word(unsigned(keys)[0], np.uint64(start))) == expected


@given(st.lists(int64, min_size=1, max_size=4), st.integers(1, 70))
def test_narrow_words_are_lanes_of_wide_ones(values, count):
    keys = torch.tensor(values)
    whole = keyed.words(keys, count, 64).numpy().view(np.uint64)
    for bits, lanes in ((16, 4), (32, 2)):
        found = keyed.words(keys, count, bits)
        assert found.shape == (len(values), count)
        places = np.arange(count)
        shifts = np.uint64(bits) * (places % lanes).astype(np.uint64)
        expected = (whole[:, places // lanes] >> shifts) & np.uint64((1 << bits) - 1)
        np.testing.assert_array_equal(found.numpy(), expected.astype(np.int64))
    top = keyed.words(keys, count, 53)
    np.testing.assert_array_equal(top.numpy(), (whole >> np.uint64(11)).astype(np.int64))


@given(int64, st.integers(1, 50), st.integers(0, 50))
def test_start_skips_words_of_the_generator(key, count, start):
    keys = torch.tensor([key])
    assert torch.equal(keyed.words(keys, count, 64, start), keyed.words(keys, start + count, 64)[:, start:])


def test_dtypes_and_ranges():
    keys = torch.arange(50)
    assert keyed.words(keys, 9).dtype == torch.int32
    assert all(keyed.words(keys, 9, bits).dtype == torch.int64 for bits in (32, 53, 64))
    for bits in (16, 32, 53):
        found = keyed.words(keys, 400, bits)
        assert int(found.min()) >= 0
        assert (1 << bits) * 0.999 < int(found.max()) < 1 << bits


@settings(max_examples=30)
@given(st.sampled_from(NAMES), st.sampled_from(SEVERITIES), st.integers(), int64)
def test_a_key_is_that_of_its_sample_alone(name, severity, seed, number):
    alone = keyed.keys(name, severity, seed, torch.tensor([number]))
    among = keyed.keys(name, severity, seed, torch.tensor([1, number, 2]))
    assert int(alone) == int(among[1])


def test_keys_follow_their_definition():
    """Two mixes, in Python's own integers; what the kept images depend on."""
    name, severity, seed, number = "fog", 3, -7, 41
    base = splitmix_finish((seed + GOLDEN * (8 * keyed.CODES[name] + severity)) & MASK)
    expected = splitmix_finish(splitmix((number) & MASK) ^ base)
    assert int(keyed.keys(name, severity, seed, torch.tensor([number]))) & MASK == expected
    assert int(mix(np.uint64(5))) == splitmix_finish(5)


def splitmix_finish(z: int) -> int:
    return splitmix((z - GOLDEN) & MASK)


def test_no_two_keys_meet():
    ids = torch.arange(2000)
    found = [
        keyed.stream(keyed.keys(name, severity, seed, ids), number)
        for name, severity, seed, number in product(NAMES, SEVERITIES, (0, 1), (0, 1, 2))
    ]
    assert len(torch.cat(found).unique()) == len(found) * len(ids)


def test_the_numbers_of_the_names_stand():
    """They enter the keys: a changed number changes every image of that name."""
    kept = "d93781c9b9360170"
    assert len(set(keyed.CODES.values())) == len(keyed.CODES)
    assert set(keyed.CODES) == set(NAMES)
    assert hashlib.sha256(json.dumps(keyed.CODES, sort_keys=True).encode()).hexdigest()[:16] == kept


@pytest.mark.parametrize("bits", [16, 32, 53])
def test_words_are_even_and_do_not_follow_each_other(bits):
    keys = keyed.keys("snow", 2, 0, torch.arange(256))
    unit = keyed.uniform(keyed.words(keys, 4096, bits), bits).numpy()
    assert kstest(unit.ravel(), "uniform").pvalue > 1e-3
    cells = (unit[:, :-1] * 16).astype(int) * 16 + (unit[:, 1:] * 16).astype(int)  # neighbours in one image
    assert chisquare(np.bincount(cells.ravel(), minlength=256)).pvalue > 1e-3
    cells = (unit[:-1] * 16).astype(int) * 16 + (unit[1:] * 16).astype(int)  # one place in two images
    assert chisquare(np.bincount(cells.ravel(), minlength=256)).pvalue > 1e-3


def test_every_bit_of_a_key_moves_half_of_a_word():
    base = torch.tensor([0x0123456789ABCDEF])
    flipped = torch.stack([base[0] ^ (1 << i if i < 63 else -(1 << 63)) for i in range(64)])
    changed = keyed.words(base, 256, 64) ^ keyed.words(flipped, 256, 64)
    share = np.unpackbits(changed.numpy().view(np.uint8)).reshape(64, -1).mean(1)
    assert np.abs(share - 0.5).max() < 5 * 0.5 / np.sqrt(256 * 64)


def test_uniform_covers_its_range():
    assert keyed.uniform(torch.tensor([0, (1 << 53) - 1]), 53, -45, 45).tolist() == pytest.approx([-45, 45])
    assert float(keyed.uniform(torch.tensor([(1 << 53) - 1]), 53)) < 1
    assert keyed.uniform(torch.tensor([0, 65535]), 16).tolist() == [0.5 / 65536, 65535.5 / 65536]


def test_normal_quantiles():
    table = keyed.normal_quantiles()
    np.testing.assert_allclose(table, norm.ppf((np.arange(65536) + 0.5) / 65536), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(table, -table[::-1])
    assert table.std() == pytest.approx(1, abs=2e-5)
    assert (table**4).mean() == pytest.approx(3, abs=1e-3)
    with pytest.raises(ValueError, match="read-only"):
        table[0] = 0


def test_another_process_draws_the_same():
    code = (
        "import torch; from robustbench_ms.corruptions import keyed;"
        "print(keyed.words(keyed.keys('frost', 4, 9, torch.arange(7)), 11).tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(other.stdout) == keyed.words(keyed.keys("frost", 4, 9, torch.arange(7)), 11).tolist()


@gpu
@pytest.mark.gpu
@pytest.mark.parametrize("bits", [16, 32, 53, 64])
def test_a_device_draws_the_same(bits):
    ids = torch.arange(100) * 7919
    here = keyed.words(keyed.stream(keyed.keys("fog", 5, 3, ids), 2), 1001, bits)
    keys = keyed.stream(keyed.keys("fog", 5, 3, ids.cuda()), 2)
    for words in (keyed.words, dispatch.words_on(keys.device)):
        assert torch.equal(here, words(keys, 1001, bits).cpu())
