"""Artefacts of scanners: what each does, held to transcriptions in float64 and to TorchIO."""

import numpy as np
import pytest
import torch

from robustbench_ms.corruptions.cpu.compile import spread
from robustbench_ms.errors import UserError
from robustbench_ms.faults.volumes import pointwise, resampled
from robustbench_ms.faults.volumes.api import artefact, scale_of
from robustbench_ms.faults.volumes.draws import draws_of
from robustbench_ms.faults.volumes.elementary import direction, turned
from robustbench_ms.faults.volumes.sums import _BITS, _MATRIX_BITS, _blocks, along, folded, mean_of
from robustbench_ms.faults.volumes.table import MOVING, NAMES, STRENGTHS
from tests.oracles import artefacts as truth

LEVELS = (1, 2, 3, 4, 5)


def bodies(shape, count=3, seed=0):
    """Smooth bodies on a ground, float32 (n, 1, D, H, W) within 0..255."""
    words = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    made = []
    for _ in range(count):
        away = ((grid - words.uniform(-0.3, 0.3, (3, 1, 1, 1))) ** 2 * words.uniform(2, 8, (3, 1, 1, 1))).sum(
            0
        )
        made.append(40 + 160 * np.exp(-away) + words.normal(0, 6, shape))
    return torch.tensor(np.clip(made, 0, 255), dtype=torch.float32)[:, None]


def shown(x, name, level, ids=None, **how):
    return artefact(x, name, level, ids=torch.arange(len(x)) if ids is None else ids, **how)[0]


def test_there_are_twelve_of_which_gamma_has_two_directions():
    assert tuple(truth.LEVELS) == NAMES
    assert len(NAMES) == 13


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(12, 12, 12), (9, 10, 14)])
def test_each_is_as_the_protocol_has_it(name, shape):
    x = bodies(shape, 2)

    for level in (1, 3, 5):
        found = shown(x, name, level, ids=torch.tensor([7, 40]), seed=3, of_bytes=True) / 255
        for one, given, number in zip(found, x, (7, 40), strict=True):
            wanted = truth.artefact(given[0].double().numpy() / 255, name, level, 3, number)
            assert np.abs(one[0].numpy() - wanted).max() < 1e-5, (level, number)


@pytest.mark.parametrize("name", NAMES)
def test_no_batch_and_no_order_changes_a_byte(name):
    x, ids = bodies((12, 8, 9), 4), torch.tensor([5, 1, 2**40, 9])
    whole = shown(x, name, 4, ids=ids)
    order = torch.tensor([2, 0, 3, 1])

    assert torch.equal(shown(x[order], name, 4, ids=ids[order]), whole[order])
    assert torch.equal(torch.cat([shown(x[i : i + 1], name, 4, ids=ids[i : i + 1]) for i in range(4)]), whole)


@pytest.mark.parametrize("name", NAMES)
def test_level_0_changes_no_bit_and_every_level_changes_more(name):
    x = bodies((28, 28, 28), 4)
    away = [
        float((shown(x, name, level, of_bytes=True) - x).square().mean().sqrt()) for level in (0, *LEVELS)
    ]

    assert torch.equal(shown(x, name, 0), x)
    assert away == sorted(away)
    assert away[1] > 0
    assert np.isfinite(away).all()


@pytest.mark.parametrize("name", NAMES)
def test_seeds_and_ids_draw_apart_and_maps_move_with_what_moves(name):
    x, ids = bodies((12, 12, 12), 1).expand(6, -1, -1, -1, -1).contiguous(), torch.arange(1, 7)
    labels = (x[:, 0] > 100).to(torch.uint8)
    found, moved = artefact(x, name, 5, ids=ids, labels=labels)
    constant = name.startswith("gamma") or name in {"blur", "ringing"}

    assert (len({one.numpy().tobytes() for one in found}) == 1) == constant
    assert torch.equal(shown(x, name, 5, ids=ids, seed=1), found) == constant
    assert (name in MOVING) == (not torch.equal(moved, labels))
    if name in MOVING:
        for i in (0, 1):
            at = np.floor(truth.places(name, (12, 12, 12), 5, 0, i + 1) + 0.5).astype(int)
            inside = ((at >= 0) & (at < 12)).all(axis=0)
            wanted = np.where(inside, labels[i].numpy()[tuple(np.clip(at, 0, 11))], 0)
            assert np.array_equal(moved[i].numpy(), wanted)


def test_a_turn_is_in_millimetres():
    x = bodies((8, 12, 12), 1)
    found = shown(x, "rotation", 5, spacing=(3.0, 1.0, 1.5), of_bytes=True)[0, 0].numpy() / 255
    wanted = truth.artefact(x[0, 0].double().numpy() / 255, "rotation", 5, 0, 0, spacing=(3, 1, 1.5))

    assert np.abs(found - wanted).max() < 1e-5


def test_scales_are_percentiles_of_each_channel_and_are_taken_back():
    x = torch.cat([bodies((9, 10, 11), 1) * 40 - 1000, bodies((9, 10, 11), 1, seed=1) / 255], dim=1)
    low, width = scale_of(x[0])

    for channel in (0, 1):
        a, b = np.percentile(x[0, channel].double().numpy(), [0.5, 99.5])
        assert float(low[channel]) == np.float32(a)
        assert float(width[channel]) == np.float32(b - a)
        scaled = (x[0, channel].double().numpy() - a) / (b - a)
        wanted = truth.artefact(scaled, "gamma_up", 2, 0, 0) * (b - a) + a
        assert np.allclose(shown(x, "gamma_up", 2)[0, channel].numpy(), wanted, rtol=0, atol=1e-5 * (b - a))


def test_what_cannot_be_done_is_one_sentence():
    x = bodies((8, 8, 8), 1)
    flat = torch.full_like(x, 3.0)
    flat[0, 0, 0, 0, 0] = 9.0

    for given, name, level, told in (
        (x.byte(), "blur", 1, "must be float32"),
        (x[0], "blur", 1, "must be float32"),
        (x, "blurr", 1, "did you mean 'blur'"),
        (x, "blur", 6, "level must be 0 to 5, not 6"),
        (x[:, :, :1], "blur", 1, "1 x 8 x 8 are too small"),
        (flat, "blur", 1, "volume 0 is constant between"),
    ):
        with pytest.raises(UserError, match=told):
            shown(given, name, level)


def test_products_are_the_same_bytes_in_any_order_of_addition():
    words = torch.Generator().manual_seed(0)
    x = torch.randn(1, 50, 40, 3, generator=words) * torch.tensor([1e6, 1.0, 1e-6])
    matrix = np.random.default_rng(0).normal(size=(30, 50))
    back = torch.arange(49, -1, -1)

    made = along(x, matrix, 1)
    assert torch.equal(along(x[:, back], matrix[:, ::-1].copy(), 1), made)
    assert np.allclose(
        made.numpy(), np.einsum("mn,cnab->cmab", matrix, x.double()), rtol=0, atol=3e-5 * float(x.abs().max())
    )
    # Rounding to float32 hides most of what larger sums would lose, so the budget itself is held too.
    assert _BITS + _MATRIX_BITS < 53
    assert torch.equal(along(torch.zeros(1, 2, 3, 4), np.ones((5, 3)), 2), torch.zeros(1, 2, 5, 4))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 28])
def test_a_folded_sum_is_the_sum(n):
    assert (
        folded(torch.arange(2.0 * n).view(n, 2)).tolist() == torch.arange(2.0 * n).view(n, 2).sum(0).tolist()
    )


def test_nan_is_refused_by_name_and_passes_at_level_0():
    x = bodies((8, 8, 8), 2)
    x[1, 0, 3, 3, 3] = float("nan")

    with pytest.raises(UserError, match="volume 9 has NaN or infinite voxels"):
        shown(x, "blur", 1, ids=torch.tensor([4, 9]), of_bytes=True)
    assert torch.equal(shown(x, "blur", 0).view(torch.int32), x.view(torch.int32))


@pytest.mark.parametrize("shape", [(2, 4, 7, 9), (1, 16, 16, 16)])
def test_loops_read_the_bytes_that_torch_reads(shape):
    """Far outside, on voxels and on borders too."""
    random = np.random.default_rng(3)
    x = torch.from_numpy(random.standard_normal(shape).astype(np.float32))
    for far in (0.0, 1.0, 8.0):
        by = far * random.standard_normal(3)
        matrix = turned(direction(*random.random(2)), far * random.random() / 8)
        places = resampled.rigid(shape[1:], (1.0, 1.0, 1.0), matrix, by, x.device)
        wanted = resampled.read_by_torch(x, places).numpy().tobytes()

        assert resampled.read(x, places).numpy().tobytes() == wanted
        assert resampled.read_turned(x, matrix, by).numpy().tobytes() == wanted


@pytest.mark.parametrize("shape", [(2, 4, 7, 9), (1, 16, 16, 16)])
def test_fused_loops_give_the_bytes_that_torch_gives(shape, monkeypatch):
    """Whatever they are given, and as the artefacts call them."""
    random = np.random.default_rng(4)
    x = torch.from_numpy(random.standard_normal(shape).astype(np.float32))
    given = []

    def noted(run, items, *arguments):
        given.append(arguments)
        spread(run, items, *arguments)

    monkeypatch.setattr(pointwise, "spread", noted)
    for level in (1, 5):
        drawn = draws_of("bias_field", 2, torch.tensor([level]))[0]
        found = pointwise.bias_field(x, drawn, level)
        _, first, planes, _ = given[-1]
        wanted = pointwise.biased_by_torch(x, torch.from_numpy(first), torch.from_numpy(planes))
        assert found.numpy().tobytes() == wanted.numpy().tobytes()
        found = pointwise.spike(x, drawn, level)
        _, size, *waves, _ = given[-1]
        wanted = pointwise.waved_by_torch(
            x, torch.from_numpy(size).view(-1, 1, 1, 1), *map(torch.from_numpy, waves)
        )
        assert found.numpy().tobytes() == wanted.numpy().tobytes()


@pytest.mark.parametrize("shape", [(4, 7, 9), (16, 16, 16), (5, 31, 64)])
def test_places_of_an_elastic_displacement_are_the_bytes_that_torch_makes(shape):
    draws = draws_of("elastic", 1, torch.tensor([3]))[0]
    places = resampled.elastic(shape, (1.0, 1.0, 1.0), draws, 5, torch.device("cpu"))
    drawn = STRENGTHS["elastic"][4] * draws.signed(375).reshape(3, 5, 5, 5)
    points = torch.from_numpy(drawn * np.array(shape)[:, None, None, None])

    for found, wanted in zip(places, resampled.displaced(points, shape), strict=True):
        assert found.numpy().tobytes() == wanted.numpy().tobytes()


def test_half_the_products_give_the_same_bytes(monkeypatch):
    """Of what turns around a side, alone and as several pieces; a matrix of no blocks takes all products."""
    words = np.random.default_rng(6)
    x = torch.from_numpy(words.standard_normal((1, 6, 8, 24)).astype(np.float32)) * 1e3

    def around(side):
        row = words.normal(size=side)
        return np.stack([np.roll(row, i) for i in range(side)])

    cases = [
        (around(24), 3),
        (np.concatenate([around(8) for _ in range(3)], axis=1), 3),
        (around(6), 1),
        (around(8), 2),
    ]
    halved = [along(x, matrix, axis) for matrix, axis in cases]
    assert all(_blocks(np.rint(matrix * 2**20)) is not None for matrix, _ in cases)
    assert _blocks(words.normal(size=(8, 8)).round(2) * 100) is None
    assert _blocks(around(7).round()) is None
    full = np.full((4, 4), 2.0**28 + 1)
    assert _blocks(full) is None  # sums of halves would need a bit that there is not
    assert _blocks(full - 1) is not None
    monkeypatch.setattr("robustbench_ms.faults.volumes.sums._blocks", lambda left: None)
    for (matrix, axis), found in zip(cases, halved, strict=True):
        assert torch.equal(along(x, matrix, axis), found)
        wanted = torch.from_numpy(matrix).unflatten(1, (-1, len(matrix)))
        pieces = x.double().unflatten(axis, (-1, len(matrix))).movedim((axis, axis + 1), (-2, -1))
        wanted = torch.einsum("mkn,...kn->...m", wanted, pieces).movedim(-1, axis)
        assert torch.allclose(found.double(), wanted, rtol=0, atol=3e-5 * float(x.abs().max()))


@pytest.mark.parametrize("shape", [(1, 4, 4, 4), (2, 5, 7, 9), (1, 8, 8, 8)])
def test_a_mean_is_the_folded_sum(shape):
    x = torch.from_numpy(np.random.default_rng(8).standard_normal(shape).astype(np.float32))
    flat = x.double().flatten(1).T

    assert torch.equal(mean_of(x).flatten(), folded(flat) / len(flat))
