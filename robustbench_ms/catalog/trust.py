"""What of a card is code, and whose.

Who names a card on the command line trusts it. A card that a record names, or another's file, was named by somebody
else: of such only the networks of this package, timm, torchvision and installed plugins are run, and what is data.
"""

from __future__ import annotations

from functools import cache, partial

from robustbench_ms.catalog.packages import announced
from robustbench_ms.catalog.targets import load
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card

__all__ = ["refuse_code", "strangers_code"]

_OURS = f"{__name__.partition('.')[0]}.models"
"""Where our networks stand: with arguments of a stranger's choice, what else is in the package may do anything."""
_DATA = {"timm", "torchvision", "onnx", "hf", "results"}
"""First words of build targets that name a library's own networks, or files that are read as data."""
_CODE = {
    "mmdet": "a config of mmdet, which is Python",
    "export": "an exported program, which is unpickled",
    "script": "a TorchScript program, which is run as it is",
}

_KINDS = ("adapters", "datasets", "executors", "folders", "formats", "perturbations", "tasks")
"""Ends of the groups of entry points by which an installed package is a plugin."""


def strangers_code(card: Card) -> str | None:
    """What code a card's build target is that nobody here brought, a phrase; None where it is none.

    What was registered in this process, or is at hand, is whose process it is.
    """
    if not isinstance(card.build, str):
        return None
    first, _, rest = card.build.partition(":")
    if first in _CODE:
        return f"{rest}, {_CODE[first]}"
    if first in _DATA or first in announced("adapters"):
        return None
    top = first.partition(".")[0]
    home = _OURS if _lies_in(first, _OURS) else top if top in _plugins() else None
    if home is not None and "." not in rest and _lies_in(_defined_in(card.build), home):
        return None
    return f"{card.build}, the code of a module of that name"


def refuse_code(card: Card, whence: str, *, trust: bool) -> None:
    """UserError where somebody else's word would have a stranger's code run; `whence` is whose, "the record x.json"."""
    code = None if trust else strangers_code(card)
    if code is not None:
        raise UserError(
            f"{whence} would have {code} run; name the model with -m if it is yours, or say --trust"
        )


def _lies_in(module: str, package: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _defined_in(target: str) -> str:
    """The module that made what a target names: "nets:run" may be what nets has only imported. Imports the module."""
    try:
        found = load(target)
    except (Exception, SystemExit):  # noqa: BLE001 - nothing is there to run, and whoever builds it says why
        return target.partition(":")[0]
    while isinstance(found, partial):
        found = found.func
    return str(getattr(found, "__module__", ""))


@cache
def _plugins() -> frozenset[str]:
    """Top modules of what installed packages announce to this one."""
    return frozenset(
        one.point.value.partition(":")[0].partition(".")[0]
        for kinds in _KINDS
        for several in announced(kinds).values()
        for one in several
    )
