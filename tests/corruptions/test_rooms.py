"""Which folder of the corruptions may import which, lazy imports and names of modules in strings included.

Every list of exceptions here is exact: a name that does not exist, or needs no exception any more, fails.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import robustbench_ms.corruptions
from robustbench_ms.corruptions import NAMES, corruption_of, dispatch
from robustbench_ms.corruptions.corruption import Corruption

PACKAGE = "robustbench_ms.corruptions"
ROOT = Path(robustbench_ms.corruptions.__file__).parent
FACE = "__init__"
"""The package's own lazy face, which stands over everything."""

UNFUSED = {
    "gaussian_noise", "impulse_noise", "speckle_noise", "brightness", "contrast", "pixelate", "jpeg_compression",
}  # fmt: skip
"""What runs on CUDA as it is defined."""

UPWARDS = (
    ("table", "splitmix", "corruption", "pictures"), ("cpu",), ("keyed",), ("defined",), ("cuda",),
    ("dispatch",), ("api",), ("transform",),
)  # fmt: skip
"""Rooms and modules from the ground up: each may import what stands before it, and its own room."""

ASKING = {
    "keyed:_of_ids": "numpy takes a tenth of the time on a CPU",
    "defined.snow:_streaks": "the size of the pieces is a matter of speed",
    "cuda.launch:usable": "it answers dispatch",
    "api:_check": "it refuses what is on another device",
}
"""Functions outside `dispatch` that ask what device a tensor is on, each with its reason: none chooses a form."""


def name_of(path):
    """ "cpu/words.py" -> "cpu.words", "cpu/__init__.py" -> "cpu"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree_of(name):
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def room_of(name):
    return name.split(".")[0]


def imported(name):
    """Modules of the corruptions that one imports anywhere in it, or names to `import_module` in strings."""
    path, found = MODULES[name], set()
    here = [*PACKAGE.split("."), *path.relative_to(ROOT).parts[:-1]]
    dynamic = "import_module" in path.read_text(encoding="utf-8")
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            base = [*base, node.module] if node.module else base
            found |= {".".join([*base, alias.name]) for alias in node.names}
        elif dynamic and isinstance(node, ast.Constant) and isinstance(node.value, str):
            target = node.value.partition(":")[0]
            found |= {f"{PACKAGE}.{target}"} if target in MODULES else set()
    inner = {target.removeprefix(f"{PACKAGE}.") for target in found if target.startswith(f"{PACKAGE}.")}
    known = {t if t in MODULES else t.rpartition(".")[0] for t in inner}
    return {t for t in known if t in MODULES} - {name}


ARROWS = {(name, target) for name in MODULES if name != FACE for target in imported(name)}


def test_every_module_has_its_place():
    assert {room for rooms in UPWARDS for room in rooms} == {room_of(name) for name in MODULES} - {FACE}
    assert ("cpu.words", "splitmix") in ARROWS
    assert ("dispatch", "defined.noise") in ARROWS  # by a string
    assert ("dispatch", "cuda.words") in ARROWS
    assert ("api", "transform") not in ARROWS


def test_arrows_point_one_way():
    height = {room: level for level, rooms in enumerate(UPWARDS) for room in rooms}
    back = {
        (name, target)
        for name, target in ARROWS
        if height[room_of(name)] <= height[room_of(target)] and room_of(name) != room_of(target)
    }
    assert not back


def test_there_is_no_circle():
    graph = {name: set() for name in MODULES}
    for name, target in ARROWS:
        graph[name].add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


def test_the_compiled_ground_knows_constants_alone():
    outside = {target for name, target in ARROWS if room_of(name) == "cpu" and room_of(target) != "cpu"}
    assert outside <= {"splitmix", "corruption"}


def asks(node):
    """`x.device.type`, `device.type`, `x.is_cuda` or a call of `fused_on`."""
    if isinstance(node, ast.Attribute):
        return node.attr in {"is_cuda", "is_cpu"} or (
            node.attr == "type" and ast.unparse(node.value).split(".")[-1] == "device"
        )
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "fused_on"


def test_dispatch_alone_asks_for_the_device_but_for_those():
    found = set()
    for name in set(MODULES) - {"dispatch"}:
        functions = [n for n in tree_of(name).body if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
        found |= {f"{name}:{f.name}" for f in functions if any(map(asks, ast.walk(f)))}
    assert found == set(ASKING)


def test_the_tables_name_what_is_there():
    """The forms on CUDA by their source: their modules need Triton to be imported."""
    assert tuple(dispatch.DEFINED) == NAMES
    assert set(dispatch.FUSED) == set(NAMES) - UNFUSED
    assert all(isinstance(corruption_of(name), Corruption) for name in NAMES)
    for target in (*dispatch.FUSED.values(), dispatch.WORDS, dispatch.PROBE):
        module, _, name = target.partition(":")
        assert name in {node.name for node in tree_of(module).body if isinstance(node, ast.FunctionDef)}
