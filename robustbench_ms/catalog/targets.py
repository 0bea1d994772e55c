"""What "package.module:name" names: imported when it is asked for, users' modules from the working folder too."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError, suggest

__all__ = ["load", "no_module", "working_folder"]


@contextmanager
def working_folder() -> Iterator[None]:
    """The working folder on sys.path, for modules of users: the first place in the block, and then the last.

    First as `python -m` has it; last, so that what their functions import later is found, and nothing that lies there
    ("numpy.py") is taken for a package that is imported after the block.
    """
    try:
        folder = str(Path.cwd())
    except OSError:  # it is gone
        yield
        return
    before = list(sys.path)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
        if not {folder, ""} & set(before):
            sys.path.append(folder)


def no_module(module: str, target: str) -> str:
    """What is said where there is none of that name."""
    return f"no module named {module!r} in {target!r} (looked in the working folder and sys.path)"


def load(target: str) -> Any:
    """The object at "package.module:name"; UserError names the part that is not there.

    Modules that are not this package's are looked for in the working folder too.
    """
    module_name, _, attribute = target.partition(":")
    ours = module_name.partition(".")[0] == "robustbench_ms"
    try:
        with nullcontext() if ours else working_folder():
            module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not (module_name + ".").startswith(error.name + "."):
            raise UserError(
                f"{module_name} needs the package {error.name!r}, which is not installed"
            ) from error
        raise UserError(no_module(module_name, target)) from error
    found: Any = module
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [n for n in dir(found) if not n.startswith("_")]
            raise UserError(f"{module_name} has no {part!r}{suggest(part, public)}") from None
    return found
