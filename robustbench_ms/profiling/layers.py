"""Where a network's time and memory go, module by module; what its attention takes, and what the plain network does."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, record_function

from robustbench_ms.catalog.targets import load
from robustbench_ms.errors import UserError
from robustbench_ms.models.insertion import attention_blocks
from robustbench_ms.profiling.machine import synchronize
from robustbench_ms.profiling.run import Bench, Timed
from robustbench_ms.profiling.subject import Setting, Subject
from robustbench_ms.specs.card import Card
from robustbench_ms.statistics.intervals import Interval
from robustbench_ms.statistics.timings import BLOCKS, ratio
from robustbench_ms.subjects.guard import Guard
from robustbench_ms.subjects.loading import blame

__all__ = ["Layer", "Layers", "layers", "over_plain", "plain_of"]

_CALLS, _WARM = 10, 3
_MARK = "module: "
_WHOLE = ""
"""The network's own name among its modules."""


@dataclass(frozen=True)
class Layer:
    """One module: an attention block, or one outside of them that holds no others."""

    name: str
    kind: str
    """Its class."""
    seconds: float
    """Of one pass, with all that it calls: on a CPU the host's, on CUDA those of its kernels."""
    memory: int
    """Bytes that a pass leaves allocated, freed ones taken off."""
    attention: bool


@dataclass(frozen=True)
class Layers:
    """A network by its modules."""

    name: str
    batch: int
    seconds: float
    """Of one pass; what its modules lack of it is arithmetic between them, and the profiler's own."""
    layers: tuple[Layer, ...]

    @property
    def attention(self) -> float | None:
        """The share of its attention blocks in the time, 0..1; None where it has none."""
        blocks = [layer.seconds for layer in self.layers if layer.attention]
        return sum(blocks) / self.seconds if blocks else None


def layers(subject: Subject, setting: Setting, trace: Path | None = None) -> Layers:
    """One network's passes under torch's profiler, each module named by record_function in forward hooks.

    `trace` is where a trace for Chrome (chrome://tracing, Perfetto) goes. UserError for what is no torch module or
    raises, and where the trace cannot be written.
    """
    with blame(subject.model.card), Guard(subject.name):
        profiler, chosen, blocks = _profiled(subject.in_setting(setting), setting)
    if trace is not None:
        try:
            trace.touch()
            profiler.export_chrome_trace(str(trace))
        except OSError as error:
            raise UserError(f"--trace: {trace} cannot be written ({error.strerror})") from error
    where = "device" if subject.model.device.type == "cuda" else "cpu"
    took: dict[str, tuple[float, int]] = {}
    for event in profiler.key_averages():
        if event.key.startswith(_MARK):
            spent = getattr(event, f"{where}_time_total") / 1e6 / _CALLS
            took[event.key.removeprefix(_MARK)] = spent, getattr(event, f"{where}_memory_usage") // _CALLS
    found = tuple(
        Layer(name, type(part).__name__, *took[name], name in blocks)
        for name, part in chosen.items()
        if name in took
    )
    return Layers(subject.name, setting.batch, took[_WHOLE][0], found)


def _profiled(subject: Subject, setting: Setting) -> tuple[Any, dict[str, nn.Module], dict[str, nn.Module]]:
    """The profiler after its calls, the modules that they name, and the attention blocks among these."""
    module, device = subject.model.module, subject.model.device
    if not isinstance(module, nn.Module):
        raise UserError("it is no torch module, so it has no layers")
    blocks = attention_blocks(module)
    chosen = _parts(module, blocks)
    run = subject.call(setting)
    for _ in range(_WARM):
        run()
    synchronize(device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with (
        _named({_WHOLE: module, **chosen}),
        torch.profiler.profile(activities=activities, profile_memory=True, acc_events=True) as profiler,
    ):
        for _ in range(_CALLS):
            run()
        synchronize(device)
    return profiler, chosen, blocks


def _parts(module: nn.Module, blocks: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The attention blocks, and outside of them the modules without others in them."""
    inside = tuple(f"{name}." for name in blocks)
    return {
        name: part
        for name, part in module.named_modules()
        if name and (name in blocks or not (name.startswith(inside) or any(part.children())))
    }


@contextmanager
def _named(parts: dict[str, nn.Module]) -> Iterator[None]:
    """While the block runs, each module's pass is an event of its name."""
    opened: list[Any] = []
    hooks = []
    for name, part in parts.items():

        def enter(_module: nn.Module, _inputs: Any, name: str = name) -> None:
            event = record_function(f"{_MARK}{name}")
            event.__enter__()  # type: ignore[no-untyped-call]
            opened.append(event)

        def leave(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            opened.pop().__exit__(None, None, None)

        # The attention that hangs on a module as a hook of its own runs between the two.
        hooks.append(part.register_forward_pre_hook(enter, prepend=True))
        hooks.append(part.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def plain_of(card: Card) -> Card | None:
    """The card's network without its attention; None where its args name none."""
    if not isinstance(card.build, str) or card.args.get("attention") is None or ":" not in card.build:
        return None
    known = inspect.signature(load(card.build)).parameters.values()
    # What the function does not name goes to the attention.
    named = {p.name for p in known if p.kind is not p.VAR_KEYWORD} - {"attention", "position"}
    args = {name: value for name, value in card.args.items() if name in named}
    return replace(card, name=f"{card.group} without {card.args['attention']}", args=args, weights=())


def over_plain(card: Card, setting: Setting, bench: Bench) -> tuple[str, Interval | None] | None:
    """The plain network's name and the card's time over its, both in turns without the profiler.

    None where the card names no attention; no interval where one of them cannot be called.
    """
    plain = plain_of(card)
    if plain is None:
        return None
    pair = [bench.load(card), bench.load(plain)]
    events = list(bench.time(pair, setting, BLOCKS, whole=False))
    times = {event.name: event.row.times for event in events if isinstance(event, Timed)}
    one, other = (times[side.name].get("host", ()) for side in pair)
    return plain.name, ratio(one, other) if one and other else None
