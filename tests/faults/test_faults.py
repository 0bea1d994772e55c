"""The faults of sensors: held to a transcription of the protocol, nested, keyed and the same on every path."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from robustbench_ms.errors import UserError
from robustbench_ms.faults import draws
from robustbench_ms.faults.api import fault
from robustbench_ms.faults.frame import Frame
from robustbench_ms.faults.table import NAMES, SENSOR_LOSS, STRENGTHS
from robustbench_ms.faults.touching import axes_hit
from robustbench_ms.specs.channels import Channel, Scale
from tests.faults import oracle
from tests.faults.windows import FRAME, IDS, LARGEST, MEAN, SD, WINDOWS, windows


def bits(x):
    return x.view(torch.int32)


def drawn(name):
    """What the product draws for each window, as the transcription takes it."""
    keys = draws.keys_of(name, 0, IDS)
    n, T = WINDOWS.shape[0], WINDOWS.shape[2]
    ranks = draws.order(keys, 6).numpy()
    # The product counts axes as the channels come: accelerometer, then gyroscope.
    noise = torch.stack([draws.normals(keys, T, 16 + axis) for axis in range(6)], dim=1).numpy()
    return [
        {
            "order": np.argsort(ranks[i]),
            "sign": draws.signs(keys, 6)[i].numpy(),
            "u": float(draws.uniforms(keys, 1)[i, 0]),
            "us": draws.uniforms(keys, 2 * T)[i].view(2, T).numpy(),
            "ut": draws.uniforms(keys, T)[i].numpy(),
            "n": noise[i],
            "times": draws.places_of(keys, T - 1, 5)[i].numpy() + 1,
            "four": draws.normals(keys, 4)[i].numpy(),
            "three": draws.normals(keys, 3)[i].numpy(),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_what_the_protocol_says(name):
    known = drawn(name)
    for level in range(1, 6):
        found = fault(WINDOWS, name, level, FRAME, ids=IDS).numpy()
        wanted = np.stack(
            [
                oracle.faulty(oracle.Window(x, MEAN, SD, LARGEST), name, level, d)
                for x, d in zip(WINDOWS.numpy(), known, strict=True)
            ]
        )
        apart = np.abs(found - wanted)
        assert apart.max() < 5e-5 or (name == "quantisation" and (apart > 5e-5).mean() < 1e-4), level
        assert np.abs(found - WINDOWS.numpy()).max() > 1e-3, level


@pytest.mark.parametrize("name", STRENGTHS)
def test_a_window_has_the_same_bytes_in_any_batch_and_order(name):
    long = torch.from_numpy(windows(400))  # more than one helping
    ids = torch.arange(400)
    whole = fault(long, name, 3, FRAME, ids=ids)
    order = torch.from_numpy(np.random.default_rng(1).permutation(400))
    again = fault(long[order], name, 3, FRAME, ids=ids[order])

    assert torch.equal(bits(whole)[order], bits(again))
    assert torch.equal(bits(whole[7:8]), bits(fault(long[7:8], name, 3, FRAME, ids=ids[7:8])))
    assert not torch.equal(whole, fault(long, name, 3, FRAME, ids=ids, seed=1)) or name in {
        "saturation", "quantisation", "low_rate",
    }  # fmt: skip


@pytest.mark.parametrize("name", STRENGTHS)
def test_levels_grow_and_nothing_is_no_fault(name):
    # The bits of zeros of both signs are kept as well.
    some, ids = torch.from_numpy(windows(200)), torch.arange(200)
    some[:, :, 5], some[:, :, 6] = 0.0, -0.0
    found = [fault(some, name, level, FRAME, ids=ids) for level in range(6)]
    apart = [float((one - some).abs().mean()) for one in found]

    assert torch.equal(bits(found[0]), bits(some))
    assert found[0].data_ptr() != some.data_ptr()
    assert all(a < b for a, b in itertools.pairwise(apart))
    assert all(bool(one.isfinite().all()) for one in found)


@pytest.mark.parametrize(
    "name", ["bias", "drift", "gain", "attenuation", "noise", "spike", "stuck", "missing"]
)
def test_channels_that_are_not_hit_keep_their_bits(name):
    some = WINDOWS.clone()
    some[:, :, 5] = -0.0
    found = fault(some, name, 5, FRAME, ids=IDS)
    kept = (bits(found) == bits(some)).all(dim=2)

    hit = 5 if name == "missing" else 3
    for row in kept.tolist():
        axes = {axis for axis, same in zip(FRAME.axis_of, row, strict=True) if not same}
        assert len(axes) == hit
    if name in {"bias", "drift"}:
        assert kept[:, :3].all(), "what is left without gravity stays"


def test_levels_are_nested():
    for name in ("noise", "spike", "dropout_zero", "missing"):
        moved = [fault(WINDOWS, name, level, FRAME, ids=IDS) != WINDOWS for level in range(1, 6)]
        assert all(bool((more | ~less).all()) for less, more in itertools.pairwise(moved)), name


def test_errors_of_the_sensor_are_those_of_its_parts():
    for name in ("noise", "spike"):
        found = fault(WINDOWS, name, 4, FRAME, ids=IDS) - WINDOWS
        assert (found[:, :3] - found[:, 6:]).abs().max() < 1e-6


def test_saturation_keeps_what_was_not_clipped():
    found = fault(WINDOWS, "saturation", 3, FRAME, ids=IDS)
    whole, part = WINDOWS[:, 6:], WINDOWS[:, :3]
    most = 0.5 * max(LARGEST[6:])
    inside = (whole.abs() <= most) & ((whole - part).abs() <= most)

    assert inside.any()
    assert not inside.all()
    assert torch.equal(bits(found[:, :3])[inside], bits(part)[inside])


def test_a_lost_sensor_is_silent_as_a_whole_at_the_last_level():
    found = fault(WINDOWS, SENSOR_LOSS, 5, FRAME, ids=IDS)
    gone = (found == FRAME.means(found)).all(dim=2)

    assert set(map(tuple, gone.tolist())) == {
        tuple(s == lost for s in FRAME.sensor_of) for lost in range(len(FRAME.sensors))
    }
    assert SENSOR_LOSS not in NAMES
    assert len(NAMES) == 18


def test_how_many_axes_are_hit():
    assert [axes_hit(level, 6) for level in range(1, 6)] == [1, 1, 2, 2, 3]
    assert [axes_hit(level, 1) for level in range(1, 6)] == [1] * 5


def test_the_exponential_is_that_of_the_library():
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64)

    assert ((draws.exponential(x) - x.exp()) / x.exp()).abs().max() < 1e-15


def test_rotations_are_rotations_of_any_direction():
    from robustbench_ms.faults.moving import rotations

    keys = draws.keys_of("rotation", 0, torch.arange(4000))
    found = rotations(keys, 4)
    eye = torch.eye(3, dtype=torch.float64)

    assert (found @ found.transpose(1, 2) - eye).abs().max() < 1e-14
    assert torch.allclose(torch.linalg.det(found), torch.ones(4000, dtype=torch.float64))
    axis = torch.stack(
        [found[:, 2, 1] - found[:, 1, 2], found[:, 0, 2] - found[:, 2, 0], found[:, 1, 0] - found[:, 0, 1]], 1
    )
    assert axis.mean(dim=0).abs().max() < 0.08
    assert torch.allclose(
        (axis / axis.norm(dim=1, keepdim=True)).square().mean(dim=0), torch.tensor(1 / 3).double(), atol=0.03
    )


def test_what_cannot_be_done_is_said():
    alone = Frame([Channel("a", "V", "probe", "a")], [Scale(0.0, 1.0, 2.0)])
    one = torch.ones(2, 1, 8)
    with pytest.raises(UserError, match="no channel is of one"):
        fault(one, "rotation", 1, alone, ids=torch.arange(2))
    with pytest.raises(UserError, match="did you mean 'drift'"):
        fault(one, "drfit", 1, alone, ids=torch.arange(2))
    with pytest.raises(UserError, match="level must be 0 to 5, not 6"):
        fault(one, "bias", 6, alone, ids=torch.arange(2))
    with pytest.raises(UserError, match=r"float32 \(n, 1, T\)"):
        fault(one.double(), "bias", 1, alone, ids=torch.arange(2))
    with pytest.raises(UserError, match="need 2 or more"):
        fault(one[:, :, :1], "bias", 1, alone, ids=torch.arange(2))
    for name in NAMES:
        if name != "rotation":
            assert fault(torch.ones(2, 1, 2), name, 5, alone, ids=torch.arange(2)).isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", STRENGTHS)
def test_a_gpu_gives_the_same_bytes(name):
    for level in range(1, 6):
        here = fault(WINDOWS, name, level, FRAME, ids=IDS)
        assert torch.equal(bits(fault(WINDOWS.cuda(), name, level, FRAME, ids=IDS).cpu()), bits(here)), level
