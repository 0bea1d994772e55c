"""A network's modules as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from robustbench_ms.reports.markdown import code, escape, grid
from robustbench_ms.statistics.intervals import Interval

if TYPE_CHECKING:
    from robustbench_ms.profiling.layers import Layer, Layers

__all__ = ["layers_json", "layers_markdown"]

_SHOWN = 0.01
"""The share of the time from which a module has a line of its own."""


def layers_markdown(found: Layers, plain: tuple[str, Interval | None] | None = None) -> str:
    """Time and memory by class and by module; `plain` is the plain network's name, and the time over its."""
    kinds: dict[str, list[Layer]] = {}
    for layer in found.layers:
        kinds.setdefault(layer.kind, []).append(layer)
    by_kind = sorted(kinds.items(), key=lambda item: -sum(one.seconds for one in item[1]))
    rows = [["class", "modules", "ms", "share", "MB"]]
    rows += [[code(kind), str(len(some)), *_told(some, found)] for kind, some in by_kind]
    rest = found.seconds - sum(layer.seconds for layer in found.layers)
    rows.append(["between them", "", f"{1e3 * rest:.3f}", f"{rest / found.seconds:.1%}", ""])
    slow = sorted(
        (layer for layer in found.layers if layer.seconds >= _SHOWN * found.seconds),
        key=lambda one: -one.seconds,
    )
    modules = [["module", "class", "ms", "share", "MB"]]
    modules += [[code(layer.name), code(layer.kind), *_told([layer], found)] for layer in slow]
    lines = [
        f"{escape(found.name)}, batch {found.batch}: {1e3 * found.seconds:.3f} ms a pass, the profiler's part in it",
        "",
        *grid(rows),
        "",
        *grid(modules, left={0, 1}),
        "",
        f"Modules of less than {_SHOWN:.0%} are left out; MB is what a pass leaves allocated.  ",
    ]
    if found.attention is not None:
        lines.append(f"Attention: {found.attention:.1%} of the time, that of the modules of its class.  ")
    if plain is not None:
        name, ratio = plain
        told = "too few blocks" if ratio is None else f"{ratio.mean:.3f} ({ratio.low:.3f}-{ratio.high:.3f})"
        lines.append(f"Time over that of {escape(name)}, in turns without the profiler: {told}.")
    return "\n".join(lines) + "\n"


def _told(layers: list[Layer], found: Layers) -> list[str]:
    seconds = sum(layer.seconds for layer in layers)
    memory = sum(layer.memory for layer in layers)
    return [f"{1e3 * seconds:.3f}", f"{seconds / found.seconds:.1%}", f"{memory / 1e6:.2f}"]


def layers_json(found: Layers, plain: tuple[str, Interval | None] | None = None) -> Mapping[str, Any]:
    """Plain data: seconds and bytes of one pass."""
    over = None if plain is None or plain[1] is None else {"model": plain[0], **plain[1]._asdict()}
    return {**asdict(found), "attention": found.attention, "over_plain": over}
