"""rbms show: one suite or model, whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import Json, print_json
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Output, Published
from robustbench_ms.specs.metrics import COSTS
from robustbench_ms.specs.suite import Suite

__all__ = ["command"]


def command(
    name: Annotated[str, typer.Argument(help="A suite or a model, by name or file.")],
    measure: Annotated[
        bool, typer.Option("--measure", help="Build the model and count what it costs; needs no weights.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show all that is known of a suite or a model without loading it, a shipped model's costs among it."""
    found = _find(name)
    told = {k: v for k, v in asdict(found).items() if v not in (None, False, "", (), {}) and k != "folder"}
    if isinstance(found, Card) and found.output == Output():
        told.pop("output", None)
    costs = _costs(found, measure)
    if as_json:
        print_json({"kind": type(found).__name__.lower(), **told, **({"costs": costs} if costs else {})})
        return
    print(f"{type(found).__name__} {told.pop('name')}" + (f": {told.pop('about')}" if found.about else ""))
    if isinstance(found, Card) and costs:  # what was published of them stands beside them
        told["published"] = [row for row in told.pop("published", ()) if row["metric"] not in COSTS]
        told["costs"] = list(_cost_lines(costs, found.published))
    for key, value in told.items():
        for line in value if key == "costs" else _lines(key, value):
            print(f"  {line}")


def _costs(found: Suite | Card, measure: bool) -> Mapping[str, Any] | None:
    """What `models.costs` counted: now, or for a shipped card when its file was made; else None."""
    if not isinstance(found, Card):
        if measure:
            raise UserError(f"--measure counts what a model costs, and {found.name} is a suite")
        return None
    if measure:
        from robustbench_ms.subjects.costs import card_costs

        return card_costs(found)
    from robustbench_ms.catalog.find import shipped

    folder = shipped("baselines")
    if found.folder != folder:  # a stranger's card of the same name
        return None
    counted: dict[str, dict[str, Any]] = json.loads((folder / "costs.json").read_text())
    return counted.get(found.name.partition("@")[0])


def _cost_lines(costs: Mapping[str, Any], published: Sequence[Published]) -> Iterator[str]:
    blocks = costs["attention"]
    shape = " x ".join(map(str, costs["input"]))
    yield f"costs of one sample of {shape}" + (
        f", and of its {blocks['blocks']} attention blocks:" if blocks["blocks"] else ":"
    )
    if own := blocks.get("own"):
        yield f"  its backbone keeps {own} of its own beside the {blocks['blocks'] - own} that were put in"
    for key, title in COSTS.items():
        whole, part = costs[key], blocks[key]
        share = f"{part:15,} {part / whole:6.1%}" if blocks["blocks"] and whole else ""
        cited = "".join(f"   published {p.value:,.0f}: {p.source}" for p in published if p.metric == key)
        yield f"  {title:36} {whole:15,}{share}{cited}"


def _find(name: str) -> Suite | Card:
    from robustbench_ms.catalog.find import card_names, find_card, find_suite, suite_names
    from robustbench_ms.catalog.table import read_toml
    from robustbench_ms.errors import UnknownName, suggest

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
    if isinstance(value, (list, tuple)) and all(isinstance(row, dict) for row in value):
        rows = [", ".join(f"{k} {_word(v)}" for k, v in row.items() if v is not None) for row in value]
        return [f"{key}:", *(f"  {row}" for row in rows)] if rows else []
    return [f"{key}: {_word(value)}"]


def _word(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
