"""Three artefacts against TorchIO 1.2.1's own code, on what the oracle draws.

TorchIO's ghosts count planes from plane 0, and meet the centre at 64^3 with 4 and at 28^3 with 7 alone; below release 2
only are they those of the protocol.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

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
