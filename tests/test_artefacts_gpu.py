"""Artefacts on a GPU give the bytes that a CPU gives, on volumes of several shapes, channels and kinds."""

import numpy as np
import pytest
import torch

from robustbench_ms.faults.volumes.api import artefact
from robustbench_ms.faults.volumes.table import MOVING, NAMES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
IDS = torch.tensor([3, 2**40, 17])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("shape", "of_bytes"), [((1, 28, 28, 28), True), ((2, 13, 16, 9), False), ((1, 24, 5, 31), False)]
)
def test_every_byte_is_the_cpus(name, shape, of_bytes):
    words = np.random.default_rng(len(name))
    x = torch.tensor(words.normal(40, 300, (3, *shape)), dtype=torch.float32)
    if of_bytes:
        x = x.clamp(0, 255).round()
    labels = torch.tensor(words.integers(0, 4, (3, *shape[1:])), dtype=torch.uint8)
    how = {"ids": IDS, "seed": 1, "of_bytes": of_bytes, "spacing": (3.0, 1.0, 0.7)}

    for level in (0, 1, 3, 5):
        here, map_here = artefact(x, name, level, labels=labels, **how)
        there, map_there = artefact(x.cuda(), name, level, labels=labels.cuda(), **how)

        assert there.device.type == map_there.device.type == "cuda"
        assert torch.equal(there.cpu(), here), level
        assert torch.equal(map_there.cpu(), map_here), level
        assert (level > 0 and name in MOVING) != torch.equal(map_here, labels)
