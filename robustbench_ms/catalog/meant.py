"""What a word that is no card may have meant: a model of timm or torchvision, or a module on the path.

Nothing is imported to know it: the libraries' sources, and the module's, are read as text.
"""

from __future__ import annotations

import ast
import re
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from robustbench_ms.catalog.registry import adapter_names
from robustbench_ms.catalog.targets import no_module, working_folder
from robustbench_ms.errors import suggest

__all__ = ["meant", "not_there"]

_LIBRARIES = ("timm", "torchvision")
_MODEL = r"^@register_model\b[^\n]*\n(?:@[^\n]*\n)*def (\w+)\("
"""A function that a library registers as a model."""
_FUNCTION = r'(?:^def |^@register_model\(name=")(\w+)'
"""Any function, and what a model is called otherwise than its function."""


def meant(word: str) -> str | None:
    """The whole spelling: "timm:resnet18" of "resnet18", "small:build" of "small"; None where nothing has that name."""
    name = word.partition(".")[0]
    if re.fullmatch(r"\w+", name):
        for library in _LIBRARIES:
            if name in _named(library, _MODEL):
                return f"{library}:{word}"
    module = word.removesuffix(".py").replace("/", ".")
    function = _function(module)
    return None if function is None else f"{module}:{function}"


def not_there(build: str) -> str | None:
    """Why a build target names nothing, of libraries' models and of modules; None where only building it tells."""
    first, _, name = build.partition(":")
    if first in adapter_names():
        return None
    if first in _LIBRARIES:
        # Some are registered in more lines than one, and under names of more words: any function's name may be one.
        known, word = _named(first, _FUNCTION), name.partition(".")[0]
        if not known or word in known:
            return None
        return f"{first} has no model named {name!r}{suggest(word, _named(first, _MODEL))}"
    top = first.partition(".")[0]  # to look for a module in a package would import the package
    with working_folder():
        there = not top.isidentifier() or top in sys.modules or find_spec(top) is not None
    return None if there else no_module(first, build)


def _named(library: str, pattern: str) -> set[str]:
    """The functions that a pattern finds in the sources of a library's models; empty where it is not installed."""
    spec = PathFinder.find_spec(library)
    names: set[str] = set()
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder, "models").rglob("*.py"):
            text = path.read_text(encoding="utf-8", errors="replace")
            names.update(re.findall(pattern, text, re.MULTILINE))
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
