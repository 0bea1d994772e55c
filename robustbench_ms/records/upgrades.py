"""Records of older formats made into the present one, a step a version, as plain data.

KeyError, TypeError and the like where what is read was never a whole record.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from robustbench_ms.catalog.registry import axes_of

__all__ = ["GROUPS", "UPGRADES"]

_CORRUPTION, _SEVERITY = axes_of(("corruption", "severity")) or ()
GROUPS: dict[str, dict[str, Any]] = {
    "common": {"axis": _CORRUPTION.name, "values": list(_CORRUPTION.groups["common"])}
}
"""The group of corruptions that format 1's summaries are over, as a record says it."""


def _from_1(told: dict[str, Any]) -> dict[str, Any]:
    """Format 1 knew neither its suite's matrix, limit and seed nor which environment a cell was measured in."""
    protocol, rows = told["suite"]["protocol"], told["measurements"]
    # The same question may stand in what all cells share or in each cell's own.
    asked = [protocol, *(row["condition"] for row in rows)]
    label = re.fullmatch(r".+?(?:-limit(?P<limit>\d+))?(?:-seed(?P<seed>\d+))?", told["suite"]["name"])
    named = {} if label is None else {key: int(found) for key, found in label.groupdict().items() if found}
    facts = {
        key: next((fields[key] for fields in asked if key in fields), named.get(key, default))
        for key, default in (("limit", None), ("seed", 0))
    }
    axes = [dict(part.partition("=")[::2] for part in row["key"].split(",")) for row in rows]
    names = dict.fromkeys(axis["corruption"] for axis in axes if axis.get("corruption"))
    # Whole, so that the mean of a record that lacks cells is refused and not taken over what there is.
    matrix = {
        "corruption": list(dict.fromkeys([*_CORRUPTION.groups["common"], *names])),
        "severity": [*_SEVERITY.values],
    }
    return {
        **told,
        "format": 2,
        "suite": {
            **told["suite"],
            "matrix": matrix if names else {},
            "groups": GROUPS if names else {},
            **facts,
        },
        "task": protocol.get("task", "classification"),
        "measures": dict.fromkeys((name for row in rows for name in row["values"]), 1),
        "environments": [told["environment"]],
        "arrays": None,
        "digest": None,
        "measurements": [{**row, "absent": {}, "environment": None} for row in rows],
    }


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""UPGRADES[1] makes a record of format 2 out of one of format 1."""
