"""The harness on a CUDA device, held to the CPU's answers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import robustbench_ms as rbms
from robustbench_ms.subjects.untrained import seeded

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture
def run(tmp_path):
    def measure(device, **options):
        return rbms.run(
            "quick",
            ["digits-resnet8@0"],
            device=device,
            limit=64,
            results=tmp_path / device,
            cache=tmp_path / "cache",
            **options,
        )[0]

    return measure


def test_cuda_and_cpu_ask_the_same_question_and_nearly_agree(run):
    cpu, cuda = run("cpu"), run("cuda")

    assert [m.protocol for m in cpu.measurements] == [m.protocol for m in cuda.measurements]
    assert cpu.subject["digest"] != cuda.subject["digest"]  # another device rounds otherwise
    # Draws are equal on every device; a corruption differs by a grey level in few values, so few answers change.
    assert np.mean(cpu.samples().correct != cuda.samples().correct) < 0.005


def test_inputs_on_cuda_do_not_depend_on_the_batch(run):
    assert run("cuda", batch_size=7).answers() == run("cuda", batch_size=64).answers()


def test_the_devices_generator_goes_on_as_if_nothing_was_built():
    torch.cuda.manual_seed_all(5)
    expected = torch.rand(3, device="cuda")
    torch.cuda.manual_seed_all(5)
    drawn = []
    for _ in range(2):
        with seeded(1):
            drawn.append(torch.rand(3, device="cuda"))

    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(3, device="cuda"), expected)


POISON = """
import sys
import torch
from robustbench_ms.catalog.find import register
from robustbench_ms.cli import main

class Poison(torch.nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        rows = torch.zeros(4, device=x.device)
        if self.calls > 6:
            rows[torch.full((1,), 10**6, device=x.device)].cpu()
        return x.mean(dim=(1, 2, 3))[:, None].expand(-1, 10) * torch.arange(10, device=x.device)

register(Poison, name="poison")
sys.argv = ["rbms", "run", "quick", "-m", "poison", "--device", "cuda", "--limit", "32", *sys.argv[1:]]
main()
"""


def test_a_poisoned_process_ends_with_3_and_says_that_it_goes_on(tmp_path):
    words = [sys.executable, "-c", POISON, "--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)

    assert done.returncode == 3, done.stderr
    assert "start the same run again" in done.stderr
