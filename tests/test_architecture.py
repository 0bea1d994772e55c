"""The rules of ARCHITECTURE.md, read off the imports and calls of every module."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "robustbench_ms"
FILES = sorted(PACKAGE.rglob("*.py"))

HEAVY = {"torch", "torchvision", "timm", "numba", "cv2", "scipy", "skimage", "sklearn", "safetensors", "PIL"}
TORCH = {
    "api", "assembly", "devices", "environment", "identity", "inputs", "loading", "runner", "training", "weights",
    "corruptions", "models", "tasks", "datasets", "profiling",
}  # fmt: skip
"""Modules and packages that may import torch when they are imported; all the others are read without it."""

OPTIONAL = {"pytest_plugin"}
"""Needs an extra to be imported at all."""

LONG: dict[str, str] = {}
"""Files over 450 lines, each with its reason."""


def module_of(path):
    """ "cli/run.py" -> "cli.run", "tasks/__init__.py" -> "tasks"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def is_typing_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(path, *, everywhere=False):
    """Full names that a module imports: when it is itself imported, or anywhere in it."""
    package = "robustbench_ms." + module_of(path) if path.name == "__init__.py" else None
    package = package or ".".join(["robustbench_ms", *module_of(path).split(".")[:-1]])
    found = []

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if is_typing_only(child):
                continue
            if not everywhere and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(child, ast.Import):
                found.extend(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package.rstrip(".").split(".")
                origin = child.module or ""
                if child.level:
                    origin = ".".join(
                        [*base[: len(base) - child.level + 1], *([child.module] if child.module else [])]
                    )
                found.extend(f"{origin}.{alias.name}" for alias in child.names)
            else:
                visit(child)

    visit(tree_of(path))
    return found


MODULES = {module_of(path): path for path in FILES}


def ours(path, *, everywhere=False):
    """Modules of this package that a module imports, by the longest name that is a module."""
    found = set()
    for name in imports(path, everywhere=everywhere):
        if name.split(".")[0] != "robustbench_ms":
            continue
        inner = name.split(".")[1:]
        while inner and ".".join(inner) not in MODULES:
            inner.pop()
        found.add(".".join(inner))
    return found - {module_of(path)}


def test_there_is_something_to_read():
    assert {"runner", "cli.run", "corruptions.api", "tasks.classification"} <= set(MODULES)
    assert "robustbench_ms.errors.UserError" in imports(MODULES["places"])
    assert "torch" in imports(MODULES["runner"])
    assert "planning" in ours(MODULES["runner"])
    assert "corruptions.table" in ours(MODULES["corruptions"])


def test_arrows_point_one_way():
    graph = {name: ours(path) for name, path in MODULES.items()}

    order = list(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle
    assert order.index("errors") < order.index("spec") < order.index("runner") < order.index("api")


NARROW = {
    "errors": set(),
    "places": {"errors"},
    "markdown": set(),
    "stats": set(),
    "toml_reader": {"errors"},
    "spec": {"errors"},
    "planning": {"spec"},
    "metrics": {"errors"},
    "record": {"errors", "metrics"},
    "cells": {"record"},
    "events": {"record"},
    "devices": {"errors"},
    "summary": {"errors", "metrics", "record", "stats", "corruptions.table"},
}
"""What the foundations may import, and nothing else."""


@pytest.mark.parametrize("name", NARROW)
def test_a_foundation_stands_on_little(name):
    assert ours(MODULES[name]) <= NARROW[name]


def offenders(paths, found):
    """{module: what was found in it}, where something was."""
    return {module_of(path): sorted(names) for path in paths if (names := found(path))}


def within(room):
    return [p for p in FILES if top(p) == room]


def top(path):
    return module_of(path).split(".")[0]


def test_corruptions_know_nothing_of_the_other_rooms():
    allowed = {name for name in MODULES if name.startswith("corruptions")} | {"errors"}

    assert not offenders(within("corruptions"), lambda p: ours(p, everywhere=True) - allowed)


def test_models_know_nothing_of_suites_and_runs():
    foreign = {
        "runner", "tasks", "datasets", "record", "cells", "planning", "catalog", "toml_files", "places", "api",
    }  # fmt: skip

    assert not offenders(within("models"), lambda p: ours(p, everywhere=True) & foreign)


def test_the_loop_names_no_task_and_no_model():
    found = ours(MODULES["runner"], everywhere=True)

    assert not {name for name in found if name.startswith(("tasks.", "models", "datasets", "corruptions"))}


LIGHT = [p for p in FILES if top(p) not in TORCH]


def test_the_spine_imports_nothing_heavy():
    assert not offenders(LIGHT, lambda p: {name.split(".")[0] for name in imports(p)} & HEAVY)


def test_and_what_it_stands_on_does_not_either():
    """The whole of it at once, in a process that has imported nothing."""
    names = [f"robustbench_ms.{module_of(p)}".rstrip(".") for p in LIGHT if top(p) not in OPTIONAL]
    names += [
        "robustbench_ms.datasets",
        "robustbench_ms.tasks",
        "robustbench_ms.models",
        "robustbench_ms.corruptions",
    ]
    names.remove("robustbench_ms.__main__")
    script = (
        "import sys, importlib\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        f"    assert not {HEAVY!r} & set(sys.modules), (name, {HEAVY!r} & set(sys.modules))\n"
    )

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def words(path):
    """What a module reads as an attribute, dotted ("sys.exit"), and the plain names that it calls ("print()")."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield f"{node.func.id}()"


NOT_CLI = [p for p in FILES if top(p) not in {"cli", "__main__"}]


def test_only_the_command_line_prints_exits_and_reads_its_arguments():
    forbidden = {
        "print()", "input()", "exit()", "quit()", "sys.exit", "sys.argv", "sys.stdout", "sys.stderr", "os._exit",
    }  # fmt: skip

    assert not offenders(NOT_CLI, lambda p: set(words(p)) & forbidden)
    assert not offenders(
        NOT_CLI,
        lambda p: {name.split(".")[0] for name in imports(p, everywhere=True)} & {"rich", "typer", "click"},
    )
    assert not offenders(
        NOT_CLI, lambda p: {name for name in ours(p, everywhere=True) if name.split(".")[0] == "cli"}
    )


def test_only_places_reads_the_environment():
    others = [p for p in FILES if module_of(p) != "places"]

    assert not offenders(
        others, lambda p: set(words(p)) & {"os.environ", "os.getenv", "getenv()", "os.environb"}
    )


def test_no_drawer_and_no_book():
    lengths = {module_of(p): len(p.read_text(encoding="utf-8").splitlines()) for p in FILES}

    assert not {p.stem for p in FILES} & {"utils", "util", "helpers", "misc", "common", "tools"}
    assert {name: n for name, n in lengths.items() if n > 450 and name not in LONG} == {}
    assert all(lengths[name] > 450 for name in LONG)


def test_assert_is_not_for_mistakes_of_the_user():
    """`python -O` drops asserts: they may narrow a type, with nothing said to anybody."""
    told = offenders(
        FILES, lambda p: [n.lineno for n in ast.walk(tree_of(p)) if isinstance(n, ast.Assert) and n.msg]
    )

    assert not told


def test_importing_the_package_costs_nothing():
    script = "import sys, robustbench_ms; assert not {'torch', 'numpy', 'typer', 'rich'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
