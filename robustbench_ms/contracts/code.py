"""Which code a card runs that is nobody's whom the user installed as a library: said before it runs.

Whether it may run is not asked here.
"""

from __future__ import annotations

from importlib.util import find_spec

from robustbench_ms.catalog.packages import said
from robustbench_ms.catalog.registry import adapter_names
from robustbench_ms.catalog.targets import working_folder
from robustbench_ms.specs.card import Card

__all__ = ["code_of"]


def code_of(card: Card) -> str:
    """What a card runs, as "mypkg.nets:build (.../mypkg/nets.py)"; of a library's network or a file its own words.

    What lies above a module "a.b" is imported to find it, as Python does; the module itself is not.
    """
    build = card.build if isinstance(card.build, str) else f"{card.build!r} of this process"
    module, colon, _ = build.partition(":")
    if not colon or module in {"timm", "torchvision", *adapter_names()}:
        return build
    try:
        with working_folder():  # where it will be looked for too
            spec = find_spec(module)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told, and told again where it is built
        return f"{build} (cannot be found: {said(error)})"
    return f"{build} ({spec.origin})" if spec is not None and spec.origin else f"{build} (no such module)"
