"""The fused forms for CUDA: interpreted, compiled for a device that is not there, and on one that is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robustbench_ms.corruptions import SIDES, corrupt, dispatch, keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.cuda.launch import usable
from robustbench_ms.corruptions.table import SEVERITIES, parameters

pytest.importorskip("triton")

FUSED = sorted(dispatch.FUSED)


@pytest.mark.parametrize("marked", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_interpreted_kernels_are_the_definitions(marked):
    file = Path(__file__).with_name("interpreted.py")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", marked, str(file)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environment, cwd=file.parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


# Compiled for an H100 or H200, without one.


class Absent:
    """A driver of Triton for a device of compute capability 9.0 that is not there: code for it, and no launch."""

    def get_current_device(self):
        return "absent"  # kernels are kept by device: none of these is launched on a real one

    def get_current_stream(self, _):
        return 0

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """{kernel's name: {PTX}} of what was launched."""
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    run, found = JITFunction.run, {}

    def compile_only(self, *arguments, grid, warmup, **options):
        kernel = run(self, *arguments, grid=grid, warmup=True, **options)
        found.setdefault(self.__name__, set()).add(kernel.asm["ptx"])

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setattr(driver, "_active", Absent())
    monkeypatch.setattr(JITFunction, "run", compile_only)
    monkeypatch.setattr(dispatch, "usable", lambda *_: True)
    return found


def on(device, name, severity, count, side, profile="imagenet"):
    """(images, keys, setting) of one corruption."""
    setting = Setting(profile, severity, parameters(name, profile, severity))
    random = torch.Generator().manual_seed(severity)
    images = torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=random).to(device)
    return images, keyed.keys(name, severity, 0, torch.arange(count)).to(device), setting


@pytest.mark.parametrize("name", FUSED)
def test_kernels_compile_once_and_round_every_product(name, compiled):
    """On the device "meta", where tensors have no values, the fused path is taken as on CUDA."""
    for severity in SEVERITIES if name != "spatter" else (4, 5):  # spatter's water is finished on the CPU
        images, keys, setting = on("meta", name, severity, 2, 224)
        assert dispatch.run(name, images, keys, setting).shape == images.shape
    dispatch.run(name, *on("meta", name, 5, 1, 31, "any-size"))
    for kernel, codes in compiled.items():
        assert len(codes) <= 4, (
            kernel
        )  # a width that 16 divides or not, float32 or float64; no severity and no size
        for ptx in codes:
            assert ".target sm_90" in ptx
            assert not re.search(r"\b(fma|mad)\.r[nzmp]", ptx), kernel
            assert not re.search(r"\b(div|sqrt|rcp)\.(full|approx)", ptx), kernel


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_where_the_kernels_fail_the_definitions_run():
    with pytest.warns(UserWarning, match="corruptions run unfused on cuda:0: Triton fails"):
        assert not usable.__wrapped__(torch.device("cuda", 0), dispatch._probe)
    assert not dispatch.fused_on(torch.device("cpu"))
    assert not dispatch.fused_on(torch.device("meta"))


# On a device.


@pytest.fixture
def unfused(monkeypatch):
    """A function: corrupt without fused forms."""

    def run(*arguments, **options):
        with monkeypatch.context() as patch:
            patch.setattr(dispatch, "usable", lambda *_: False)
            return corrupt(*arguments, **options)

    return run


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", FUSED)
def test_fused_is_the_definition_on_cuda(name, severity, unfused):
    images = on("cuda", "contrast", severity, 64, SIDES["imagenet"])[0]
    assert dispatch.fused_on(images.device)
    found = corrupt(images, name, severity, profile="imagenet")
    assert torch.equal(found, unfused(images, name, severity, profile="imagenet"))
    alone = corrupt(images[17:18], name, severity, profile="imagenet", ids=[17])
    assert torch.equal(alone, found[17:18])
    odd = images[:5, :, 3:, 6:]
    assert torch.equal(corrupt(odd, name, severity), unfused(odd, name, severity))
