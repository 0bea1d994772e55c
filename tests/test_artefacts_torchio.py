"""Four artefacts against TorchIO 1.2.1's own code, on what the oracle draws.

TorchIO's ghosts count planes from plane 0, and meet the centre at 64^3 with 4 and at 28^3 with 7 alone; below release 2
only are they those of the protocol.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.oracles import artefacts as truth
from tests.test_artefacts import bodies, shown

tio = pytest.importorskip(
    "torchio", minversion="1.2.1", reason="torchio below 2, an oracle, is not installed"
)


def test_ghosts_are_torchios():
    x = bodies((8, 8, 16), 1)[0, 0] / 255
    for number in range(12):
        axis = int(truth.Drawn("ghosting", 0, number).uniform(1)[0] * 3)
        theirs = tio.Ghosting(num_ghosts=4, axis=axis, intensity=0.5, restore=None)
        wanted = theirs.add_artifact(x.double(), 4, axis, 0.5, None).clamp(min=0)
        found = (
            shown(x[None, None] * 255, "ghosting", 1, ids=torch.tensor([number]), of_bytes=True)[0, 0] / 255
        )
        assert (found - wanted).abs().max() < 1e-5


def test_spikes_are_torchios():
    x = bodies((28, 28, 28), 1)[0, 0] / 255
    drawn = truth.Drawn("spike", 0, 6)
    cycles = np.rint((1.5 + 8.5 * drawn.uniform(1, 1)[0]) * drawn.direction())
    place = (cycles + 14 + 0.5) / 28
    wanted = tio.Spike(np.array([place]), 0.6).add_artifact(x.double(), np.array([place]), 0.6)
    found = shown(x[None, None] * 255, "spike", 3, ids=torch.tensor([6]), of_bytes=True)[0, 0] / 255

    assert (found - wanted).abs().max() < 1e-5


def test_bias_fields_are_torchios():
    x = torch.ones(1, 1, 12, 12, 12)
    x[..., 0] = 0.5  # constant volumes are refused elsewhere; bytes are not looked at
    coefficients = [0.0, *(0.4 * (2 * truth.Drawn("bias_field", 0, 2).uniform(19) - 1))]
    field = tio.BiasField.generate_bias_field(x[0], 3, coefficients)
    found = shown(x, "bias_field", 3, ids=torch.tensor([2]), of_bytes=True)[0, 0] / x[0, 0]

    assert np.abs(found.numpy() - field).max() < 1e-5 * field.max()


def test_moves_are_torchios():
    """It turns about the world's origin, so that is the volume's centre; at a margin of 0, as its borders are others.

    Volumes of which a move falls between the central plane and a half are left out: it takes the stretch before it for
    the one that holds the centre.
    """
    shape, middle = (16, 20, 24), np.array([15, 19, 23]) / 2
    away = (np.indices(shape).T - middle) / middle
    x = torch.from_numpy(np.maximum(1 - 2 * (away**2).sum(-1), 0).T.astype(np.float32))
    affine = np.eye(4)
    affine[:3, 3] = -middle
    image = tio.data.io.nib_to_sitk(x[None].numpy(), affine)
    to_lps = np.diag([-1.0, -1.0, 1.0])
    for number in range(4):
        drawn, (degrees, level) = truth.Drawn("motion", 0, number), (6.0, 3)
        times, which = drawn.uniform(10), drawn.uniform(20, 1)
        angles, steps = (2 * drawn.uniform(count, stream) - 1 for count, stream in ((10, 2), (30, 3)))
        order = np.argsort(times[: round(degrees)])
        transforms = [tio.Motion.matrix_to_transform(np.eye(4))]
        for move in order:
            vector = truth.direction(*which[2 * move : 2 * move + 2])
            turn = Rotation.from_rotvec(np.radians(degrees * angles[move]) * np.array(vector)).as_matrix().T
            matrix = np.eye(4)
            matrix[:3, :3] = to_lps @ turn @ to_lps
            matrix[:3, 3] = -to_lps @ turn @ (degrees / 100 * steps[3 * move : 3 * move + 3] * shape)
            transforms.append(tio.Motion.matrix_to_transform(matrix))
        theirs = tio.Motion(np.zeros((6, 3)), np.zeros((6, 3)), times[order], "linear")
        wanted = theirs.add_artifact(image, transforms, times[order], "linear")
        found = (
            shown(x[None, None] * 255, "motion", level, ids=torch.tensor([number]), of_bytes=True)[0, 0] / 255
        )

        assert (found - wanted).abs().max() < 2e-5
        assert (found - x).abs().max() > 0.02
