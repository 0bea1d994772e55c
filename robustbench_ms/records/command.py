"""What measures a record again, as a line for a shell, as far as the record tells."""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.registry import adapter_names, is_target
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Input

__all__ = ["command_of"]


def command_of(suite: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Of a record's suite and card: "rbms run quick -m digits-resnet8@0 --limit 50"."""
    limit, seed = suite.get("limit"), suite.get("seed")
    name = str(suite["name"])
    for option, given in (("seed", seed), ("limit", limit)):
        name = name.removesuffix(f"-{option}{given}")
    options = (f" --limit {limit}" if limit else "") + (f" --seed {seed}" if seed else "")
    return f"rbms run {quote(name)} {_model(card)}{options}"


def _model(card: Mapping[str, Any]) -> str:
    """The card's name where it is known here under that name; else its file, or its build target and what was said."""
    name, build, weights = str(card["name"]), card.get("build"), card.get("weights") or {}
    known = _found(name)
    if not isinstance(build, str) or (known is not None and known.build == build):
        return f"-m {quote(name)}"
    first, file, shown = build.partition(":")[0], weights.get("file"), _shown(card)
    if card.get("args") or weights.get("seed") is not None or shown is None:  # no option says these
        stem, at, seed = name.partition("@")
        return f"-m {quote(f'{stem}.toml{at}{seed}')}"
    if first == "mmdet" and file:
        build = f"{build}:{file}"
    found = None if first == "__main__" else _found(build)
    if found is None:  # a module that was at hand: only its process knows what it is
        return f"-m {quote(name)}"
    said = {
        "--weights": None if first in adapter_names() else file,
        "--weights-key": weights.get("key"),
        "--name": None if found.name == name else name,
        "--precision": None if card.get("precision", "fp32") == "fp32" else card["precision"],
        **shown,
    }
    return " ".join(["-m", quote(build), *(f"{k} {quote(str(v))}" for k, v in said.items() if v is not None)])


def _shown(card: Mapping[str, Any]) -> dict[str, str] | None:
    """The options that say its input, none where a library or a file knew it; None where a card's file alone can."""
    first, told = str(card["build"]).partition(":")[0], card.get("input") or {}
    if (is_target(first) and "." not in first) or first in adapter_names() or told.get("assumed", True):
        return {}
    plain = Input().described
    other = {
        name: _listed(value) for name, value in told.items() if _listed(value) != _listed(plain.get(name))
    }
    size, mean, std = (other.pop(name, None) for name in ("size", "mean", "std"))
    if other:
        return None
    both = {} if mean is None and std is None else {"--mean": told["mean"], "--std": told["std"]}
    options = {name: ",".join(map(str, value)) for name, value in both.items()}
    return options if size is None else {**options, "--size": str(size)}


def _listed(value: Any) -> Any:
    return [*value] if isinstance(value, tuple) else value


def _found(spelling: str) -> Card | None:
    try:
        return find_card(spelling)
    except UserError:
        return None
