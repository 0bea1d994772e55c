"""What each attention block costs, alone and inside ResNet-50; EMA and DMSCA against their literal equations.

    make bench FILE=tests/benchmarks/bench_attention.py

Time and peak memory of a forward pass in inference mode and of forward + backward, on RBMS_BENCH_THREADS
threads (default 2) and, where there is one, on a CUDA device, there also compiled. Both sides of a ratio run in
turns in the same process on the same input, and each time is the least of several, so that other work on the
machine weighs little. Peak memory is what the process held more than before (CPU, Linux) or what the
allocator held more (CUDA). That both sides answer the same is asserted; nothing is asserted about time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from robustbench_ms.models import attention_blocks, create_attention, resnet50
from robustbench_ms.models.attention import ATTENTIONS
from robustbench_ms.profiling.memory import peak_bytes
from tests.benchmarks.devices import DEVICES
from tests.models import literal

THREADS = int(os.environ.get("RBMS_BENCH_THREADS", "2"))
BATCH = int(os.environ.get("RBMS_BENCH_BATCH", "8"))
PATIENCE = float(os.environ.get("RBMS_BENCH_PATIENCE", "1.0"))
"""Seconds that one side of one cell is measured at least."""

STAGES = {  # the maps of ResNet-50's four stages, and of ResNet-20's first
    "256x56x56": (256, 56),
    "512x28x28": (512, 28),
    "1024x14x14": (1024, 14),
    "2048x7x7": (2048, 7),
    "16x32x32": (16, 32),
}
EQUATIONS = {"ema": literal.ema, "dmsca": literal.dmsca}
PASSES = ("forward", "both")


class Literal(nn.Module):
    """The same weights under the equations one by one."""

    def __init__(
        self, block: nn.Module, equations: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.block = block
        self.equations = equations

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.equations(self.block, x)


@pytest.fixture(scope="module", autouse=True)
def threads():
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def table():
    """Collects rows and prints them at the end."""
    rows: dict[str, list[str]] = {}
    yield rows
    for title, lines in rows.items():
        print(f"\n\n{title}; batch {BATCH}, {THREADS} threads, torch {torch.__version__}")
        print("\n".join(lines))


def sized(name: str, channels: int) -> dict[str, int]:
    """The paper's arguments; in a CIFAR network those that fit its 16 channels."""
    small = {"ema": {"factor": 8}, "sa": {"groups": 8}}
    return small.get(name, {}) if channels < 128 else {}


def runner(module: nn.Module, x: torch.Tensor, kind: str) -> Callable[[], object]:
    if kind == "forward":

        def forward() -> torch.Tensor:
            with torch.inference_mode():
                return module(x)

        return forward

    def both() -> None:
        module.zero_grad(set_to_none=True)
        module(x.detach().requires_grad_()).sum().backward()

    return both


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def least(runs: dict[str, Callable[[], object]], device: str) -> dict[str, float]:
    """Seconds of each, the least of several rounds in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    begin, rounds = time.perf_counter(), 0
    while rounds < 5 or time.perf_counter() - begin < PATIENCE * len(runs):
        for name, run in runs.items():
            synchronize(device)
            start = time.perf_counter()
            run()
            synchronize(device)
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return best


def megabytes(count: int | None) -> str:
    return "      -" if count is None else f"{count / 1e6:7.1f}"


def prepared(name: str, channels: int, device: str) -> nn.Module:
    torch.manual_seed(0)
    return create_attention(name, channels, device=device, **sized(name, channels)).eval()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", PASSES)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", sorted(EQUATIONS))
def bench_against_the_equations(benchmark, table, name, stage, kind, device):
    channels, side = STAGES[stage]
    block = prepared(name, channels, device)
    plain = Literal(block, EQUATIONS[name])
    x = torch.randn(BATCH * (8 if channels < 128 else 1), channels, side, side, device=device)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), plain(x), rtol=1e-5, atol=1e-5)
    sides = {"literal": plain, "ours": block}
    if device == "cuda":
        sides |= {"literal compiled": torch.compile(plain), "ours compiled": torch.compile(block)}
    runs = {side: runner(module, x, kind) for side, module in sides.items()}
    seconds = least(runs, device)
    peaks = {side: peak_bytes(run, torch.device(device)) for side, run in runs.items()}
    benchmark.pedantic(runs["ours"], rounds=3, iterations=1)
    ratio = seconds["literal"] / seconds["ours"]
    benchmark.extra_info.update(
        ratio=round(ratio, 2), **{f"{s} ms": round(1e3 * v, 3) for s, v in seconds.items()}
    )
    table.setdefault(f"{name}, {kind}, {device} (ms, MB, literal over ours)", []).append(
        f"{stage:12s}"
        + "".join(f"  {s} {1e3 * seconds[s]:8.2f} {megabytes(peaks[s])}" for s in runs)
        + f"  ratio {ratio:5.2f}"
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", PASSES)
@pytest.mark.parametrize("name", sorted(ATTENTIONS))
def bench_alone(benchmark, table, name, kind, device):
    """Each block at the largest map of ResNet-50."""
    channels, side = STAGES["256x56x56"]
    run = runner(
        prepared(name, channels, device), torch.randn(BATCH, channels, side, side, device=device), kind
    )
    seconds = least({"it": run}, device)["it"]
    benchmark.pedantic(run, rounds=3, iterations=1)
    table.setdefault(f"blocks alone at 256x56x56, {kind}, {device} (ms, MB)", []).append(
        f"{name:10s} {1e3 * seconds:8.2f} {megabytes(peak_bytes(run, torch.device(device)))}"
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", PASSES)
@pytest.mark.parametrize("name", ["none", *sorted(set(ATTENTIONS) - {"sk"}), "ema literal", "dmsca literal"])
def bench_inside_resnet50(benchmark, table, name, kind, device):
    """The whole network at 224 x 224, and what it takes beside the plain one in the same run."""
    torch.manual_seed(0)
    attention = name.partition(" ")[0]
    plain = resnet50().eval().to(device)
    model = resnet50(attention=None if attention == "none" else attention).eval().to(device)
    if name.endswith("literal"):
        for place, block in attention_blocks(model).items():
            parent, _, child = place.rpartition(".")
            setattr(model.get_submodule(parent), child, Literal(block, EQUATIONS[attention]))
    x = torch.randn(BATCH, 3, 224, 224, device=device)
    runs = {"plain": runner(plain, x, kind), "it": runner(model, x, kind)}
    seconds = least(runs, device)
    benchmark.pedantic(runs["it"], rounds=3, iterations=1)
    ratio = seconds["it"] / seconds["plain"]
    benchmark.extra_info.update(over_plain=round(ratio, 3))
    table.setdefault(f"inside ResNet-50, {kind}, {device} (ms, MB, over the plain network)", []).append(
        f"{name:14s} {1e3 * seconds['it']:9.1f} {megabytes(peak_bytes(runs['it'], torch.device(device)))}  {ratio:5.2f}"
    )
