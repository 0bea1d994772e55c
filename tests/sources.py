"""The modules of the package as a test reads them: which others each imports, and what stands in it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "robustbench_ms"
FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path):
    """ "cli/run.py" -> "cli.run", "tasks/__init__.py" -> "tasks"."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def room_of(module):
    """ "cli.run" -> "cli"."""
    return module.split(".")[0]


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


def named(name):
    """The module of ours that a full name lies in, by the longest name that is one; None for a stranger's."""
    first, *inner = name.split(".")
    while inner and ".".join(inner) not in MODULES:
        inner.pop()
    return ".".join(inner) if first == "robustbench_ms" else None


def strings(path):
    """Full names in strings that are the whole of one: "robustbench_ms.models:resnet18"."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.replace(":", ".")
            if name.startswith("robustbench_ms.") and all(map(str.isidentifier, name.split("."))):
                yield name


@cache
def tables():
    """Full names in the tables that are asked at their first use: {module: names}."""
    import robustbench_ms
    from robustbench_ms import datasets, models
    from robustbench_ms.catalog import registry
    from robustbench_ms.corruptions import dispatch
    from robustbench_ms.evaluation import executors
    from robustbench_ms.models import attention

    return {
        "": [f"robustbench_ms.{home}.{name}" for name, home in robustbench_ms._HOMES.items()],
        "corruptions.dispatch": [
            f"robustbench_ms.corruptions.{target.replace(':', '.')}"
            for target in [
                *dispatch.DEFINED.values(),
                *dispatch.FUSED.values(),
                dispatch.WORDS,
                dispatch.PROBE,
            ]
        ],
        "datasets": [
            target.replace(":", ".")
            for info in datasets.DATASETS.values()
            for target in (info.target, info.counter)
            if target is not None
        ],
        "catalog.registry": [
            target.replace(":", ".")
            for target in (
                *(
                    target
                    for row in registry.TASKS.ours.values()
                    for target in (row.task, row.rows, row.measures, row.drawing)
                    if target is not None
                ),
                *(info.target for info in registry.PERTURBATIONS.ours.values()),
            )
        ],
        "evaluation.executors": [target.replace(":", ".") for target in executors.EXECUTORS.ours.values()],
        "models": [f"robustbench_ms.models.{home}.{name}" for name, home in models._HOME.items()],
        "models.attention": [
            f"robustbench_ms.models.{home}.{name}" for home, name in attention.ATTENTIONS.values()
        ],
    }


@cache
def ours(module, *, everywhere=True):
    """Modules of this package that a module imports: anywhere in it and by its strings, or when it is imported."""
    path = MODULES[module]
    names = list(imports(path, everywhere=everywhere))
    if everywhere:
        names += [*strings(path), *tables().get(module, ())]
    return {found for name in names if (found := named(name)) is not None} - {module}


def offenders(paths, found):
    """{module: what was found in it}, where something was."""
    return {module_of(path): sorted(names) for path in paths if (names := found(path))}
