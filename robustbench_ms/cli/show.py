"""rbms show: one suite or model, whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import Json, print_json
from robustbench_ms.spec import Card, Suite

__all__ = ["command"]


def command(
    name: Annotated[str, typer.Argument(help="A suite or a model, by name or file.")], as_json: Json = False
) -> None:
    """Show all that is known of a suite or a model without loading it."""
    found = _find(name)
    told = {k: v for k, v in asdict(found).items() if v not in (None, False, "", (), {}) and k != "folder"}
    if as_json:
        print_json({"kind": type(found).__name__.lower(), **told})
        return
    print(f"{type(found).__name__} {found.name}")
    for key, value in told.items():
        if key != "name":
            for line in _lines(key, value):
                print(f"  {line}")


def _find(name: str) -> Suite | Card:
    from robustbench_ms.catalog import card_names, find_card, find_suite, suite_names
    from robustbench_ms.errors import UnknownName, UserError, suggest
    from robustbench_ms.toml_reader import read_toml

    if name in suite_names():
        return find_suite(name)
    try:
        return find_card(name)
    except UnknownName:
        if "@" in name:
            raise
        raise UnknownName(
            f"no suite or model named {name!r}{suggest(name, [*suite_names(), *card_names()])}"
        ) from None
    except UserError:
        # A file is taken for what it begins to be, so that its mistake is told and not the other kind's.
        if not name.endswith(".toml") or not read_toml(Path(name)).has("dataset"):
            raise
        return find_suite(name)


def _lines(key: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}:", *(f"  {k}: {_word(v)}" for k, v in value.items() if v not in (None, False, ()))]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        return [
            f"{key}:",
            *("  " + ", ".join(f"{k} {_word(v)}" for k, v in row.items() if v is not None) for row in value),
        ]
    return [f"{key}: {_word(value)}"]


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
