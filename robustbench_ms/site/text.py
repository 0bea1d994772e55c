"""What others wrote, before it stands on a page: one line, and nothing that is obeyed or turns its order."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from robustbench_ms.reports.markdown import printable

__all__ = ["as_json", "capital", "link", "plain", "shown_key"]

_LONGEST = 400


def plain(value: Any) -> Any:
    """The same plain data, every text in it printable, on one line and of at most 400 characters; NaN is None."""
    if isinstance(value, str):
        text = printable(re.sub(r"\s+", " ", value))
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    if isinstance(value, Mapping):
        return {plain(str(name)): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def capital(label: str) -> str:
    """A label as a sentence begins with it: "Corrupted"; mPC stays as it is."""
    return f"{label[:1].upper()}{label[1:]}" if label[1:2].islower() else label


def link(text: str) -> str:
    """The first address of the web in a text, "" without one: no other scheme becomes a link."""
    found = re.search(r"https?://[^\s<>\"')\]]+", text)
    return found.group().rstrip(".,;") if found else ""


def shown_key(key: str) -> str:
    """A cell's key for people: "fog, severity 3"; "clean" stays as it is."""
    (name, first), *others = (part.partition("=")[::2] for part in key.split(","))
    return ", ".join([first or name, *(f"{axis} {value}" for axis, value in others)])


def as_json(value: Any) -> str:
    """JSON that can stand inside a script element: no "<" ends it, and no line separator of JavaScript's."""
    text = json.dumps(plain(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
