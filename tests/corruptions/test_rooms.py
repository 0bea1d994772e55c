"""Which folder of the corruptions may import which, lazy imports and names of modules in strings included.

Every list of exceptions here is exact: a name that does not exist, or needs no exception any more, fails.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import robustbench_ms.corruptions

PACKAGE = "robustbench_ms.corruptions"
ROOT = Path(robustbench_ms.corruptions.__file__).parent
FACE = "__init__"
"""The package's own lazy face, which stands over everything."""

UPWARDS = (
    ("table", "splitmix", "corruption"), ("cpu",), ("keyed",), ("defined",), ("cuda",),
    ("blur", "digital", "weather"), ("api",), ("transform",),
)  # fmt: skip
"""Rooms and modules from the ground up: each may import what stands before it, and its own room."""

BACK = {
    ("keyed", "cuda.launch"), ("keyed", "cuda.words"),
    ("defined.defocus", "cuda.blur"), ("defined.defocus", "cuda.launch"),
    ("defined.elastic", "cuda.launch"), ("defined.elastic", "cuda.pixels"),
    ("defined.fog", "cuda.launch"), ("defined.fog", "cuda.weather"),
    ("defined.frost", "cuda.launch"), ("defined.frost", "cuda.weather"),
    ("defined.glass", "cuda.glass"), ("defined.glass", "cuda.launch"),
    ("defined.hsv", "cuda.launch"), ("defined.hsv", "cuda.pixels"),
    ("defined.motion", "cuda.blur"), ("defined.motion", "cuda.launch"),
    ("defined.noise", "cuda.launch"), ("defined.noise", "cuda.pixels"),
    ("defined.gaussian_blur", "cuda.gaussian"), ("defined.gaussian_blur", "cuda.launch"),
    ("defined.snow", "cuda.launch"), ("defined.snow", "cuda.weather"),
    ("defined.spatter", "cuda.launch"), ("defined.spatter", "cuda.weather"),
    ("defined.zoom", "cuda.blur"), ("defined.zoom", "cuda.launch"),
}  # fmt: skip
"""Arrows that run back up, as long as the definitions themselves hand over to their fused forms."""

PROBE = {("cuda.launch", "cuda.gaussian")}
"""An arrow that makes a circle: whether fused forms run on a device is found out by running one."""

ASKING = {
    "keyed:keys", "keyed:words", "defined.snow:_streaks",
    "defined.contrast:contrast", "defined.defocus:_apply", "defined.elastic:apply", "defined.fog:apply",
    "defined.frost:apply", "defined.glass:_apply", "defined.hsv:brightness", "defined.hsv:saturate",
    "defined.jpeg:jpeg_round_trip", "defined.motion:_apply", "defined.noise:_shot", "defined.pixelate:pixelate",
    "defined.gaussian_blur:soften", "defined.gaussian_blur:soften_exactly", "defined.snow:apply",
    "defined.spatter:apply", "defined.zoom:_apply",
}  # fmt: skip
"""Functions below the fused forms that ask what device a tensor is on. The first three may: numpy's keys and the
pieces of snow's lines are a matter of speed. The others hand over to another form."""


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
    assert ("api", "defined.noise") in ARROWS  # by a string
    assert ("api", "transform") not in ARROWS


def test_arrows_point_one_way():
    height = {room: level for level, rooms in enumerate(UPWARDS) for room in rooms}
    back = {
        (name, target)
        for name, target in ARROWS
        if height[room_of(name)] <= height[room_of(target)] and room_of(name) != room_of(target)
    }
    assert back == BACK


def test_there_is_no_circle_but_those():
    assert PROBE <= ARROWS
    graph = {name: set() for name in MODULES}
    for name, target in ARROWS - BACK - PROBE:
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


def test_who_asks_for_the_device_is_named():
    found = set()
    for name in MODULES:
        if room_of(name) not in {"splitmix", "corruption", "cpu", "keyed", "defined"}:
            continue
        functions = [node for node in tree_of(name).body if isinstance(node, ast.FunctionDef)]
        found |= {f"{name}:{f.name}" for f in functions if any(map(asks, ast.walk(f)))}
    assert found == ASKING
