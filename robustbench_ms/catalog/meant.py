"""What a word that is no card may have meant: a model of timm or torchvision, or a module on the path.

Nothing is imported to know it: the libraries' sources, and the module's, are read as text.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

__all__ = ["meant"]

_LIBRARIES = ("timm", "torchvision")


def meant(word: str) -> str | None:
    """The whole spelling: "timm:resnet18" of "resnet18", "small:build" of "small"; None where nothing has that name."""
    name = word.partition(".")[0]
    if re.fullmatch(r"\w+", name):
        for library in _LIBRARIES:
            if name in _registered(library):
                return f"{library}:{word}"
    module = word.removesuffix(".py").replace("/", ".")
    function = _function(module)
    return None if function is None else f"{module}:{function}"


def _registered(library: str) -> set[str]:
    """The functions that a library registers as models, by its sources; empty where it is not installed."""
    spec = PathFinder.find_spec(library)
    names: set[str] = set()
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder, "models").glob("*.py"):
            text = path.read_text(encoding="utf-8", errors="replace")
            names.update(
                re.findall(r"^@register_model\b[^\n]*\n(?:@[^\n]*\n)*def (\w+)\(", text, re.MULTILINE)
            )
    return names


def _function(module: str) -> str | None:
    """What a module defines that may build a model: "build", else the first public function or class."""
    path = _source(module)
    if path is None:
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return None
    names = [
        node.name
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]
    return "build" if "build" in names else next(iter(names), None)


def _source(module: str) -> Path | None:
    """The file of a module "package.module", the working folder first."""
    if not all(map(str.isidentifier, module.split("."))):
        return None
    where: list[str] | None = ["", *sys.path]
    spec: ModuleSpec | None = None
    for part in module.split("."):
        spec = None if where is None else PathFinder.find_spec(part, where)
        if spec is None:
            return None
        found = spec.submodule_search_locations
        where = None if found is None else list(found)
    return (
        Path(spec.origin)
        if spec and spec.has_location and spec.origin and spec.origin.endswith(".py")
        else None
    )
