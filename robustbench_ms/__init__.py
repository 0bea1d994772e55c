"""Does an attention model stay right when the picture gets worse, what does that cost, and is it still so?

    import robustbench_ms as rbms

    rbms.run("cifar10-c", models=[module])
    rbms.corrupt(images, "fog", severity=3)

Names are imported on first use: `import robustbench_ms` loads neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustbench_ms.api import run
    from robustbench_ms.catalog.find import find_card, find_suite, register
    from robustbench_ms.corruptions import Corrupt, corrupt
    from robustbench_ms.errors import UserError
    from robustbench_ms.records.record import Record, read_record
    from robustbench_ms.specs.card import Card, Input, Output, Weights
    from robustbench_ms.specs.suite import Suite

__version__ = "0.2.0"

__all__ = [
    "Card",
    "Corrupt",
    "Input",
    "Output",
    "Record",
    "Suite",
    "UserError",
    "Weights",
    "corrupt",
    "find_card",
    "find_suite",
    "read_record",
    "register",
    "run",
]

_HOMES = {
    "Card": "specs.card",
    "Corrupt": "corruptions",
    "Input": "specs.card",
    "Output": "specs.card",
    "Record": "records.record",
    "Suite": "specs.suite",
    "UserError": "errors",
    "Weights": "specs.card",
    "corrupt": "corruptions",
    "find_card": "catalog.find",
    "find_suite": "catalog.find",
    "read_record": "records.record",
    "register": "catalog.find",
    "run": "api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"robustbench_ms.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'robustbench_ms' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
