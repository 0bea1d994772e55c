"""Cards that are made in Python: what people hand over, checked as a card's file is."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from robustbench_ms.catalog.registry import TASKS, adapter_names
from robustbench_ms.errors import UserError, choose
from robustbench_ms.specs.card import PRECISIONS, Card, Input, Weights

__all__ = ["given_card"]

FACTS = tuple(one.name for one in fields(Card) if one.name not in {"name", "build", "input"})


def given_card(
    build: Callable[..., Any] | str, name: str, shown: Input | None, facts: Mapping[str, Any]
) -> Card:
    """A card by its fields; UserError for a field that no card has, and for a value that it cannot have."""
    for fact in facts:
        choose(fact, FACTS, "field of a card", "register")
    libraries = "|".join(map(re.escape, ("timm", "torchvision", *adapter_names())))
    spelled = rf"({libraries}):.+|[A-Za-z_][\w.]*:[A-Za-z_][\w.]*"
    if not callable(build) and not (isinstance(build, str) and re.fullmatch(spelled, build)):
        raise UserError(
            "register: build is a model, a function that returns one, or 'package.module:function', "
            f"'timm:NAME', 'torchvision:NAME', not {build!r}"
        )
    if shown is not None and not isinstance(shown, Input):
        raise UserError(f"register: input is an Input, not {type(shown).__name__}")
    made = dict(facts)
    if "weights" in made:
        made["weights"] = _weights(made["weights"])
        if made["weights"] and made.get("untrained"):
            raise UserError("register: untrained=True and weights exclude each other")
        if made["weights"] and not isinstance(build, str) and not _can_load(build):
            raise UserError(
                "register: weights are loaded into what a function builds, or into a torch module"
            )
    if "tasks" in made:
        tasks = (made["tasks"],) if isinstance(made["tasks"], str) else tuple(made["tasks"])
        made["tasks"] = tuple(choose(task, TASKS, "task", "register: tasks") for task in tasks)
    if "args" in made and not isinstance(made["args"], Mapping):
        raise UserError(f"register: args are names with values, not {type(made['args']).__name__}")
    if "precision" in made:
        choose(made["precision"], PRECISIONS, "precision", "register: precision")
    return Card(name=name, build=build, input=shown or Input(assumed=True), **made)


def _weights(given: Any) -> tuple[Weights, ...]:
    """One file or several; a path is one of the working folder."""
    several = given if isinstance(given, Iterable) and not isinstance(given, (str, os.PathLike)) else (given,)
    made = tuple(one if isinstance(one, Weights) else _file(one) for one in several)
    seeds = [one.seed for one in made]
    if len(made) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
        raise UserError(
            f"register: several weights need a seed each, all different, not {seeds}: Weights(file, seed=0)"
        )
    return made


def _file(given: Any) -> Weights:
    if not isinstance(given, (str, os.PathLike)):
        raise UserError(f"register: weights are a file or a Weights, not {type(given).__name__}")
    path = Path(given).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"register: weights: no file {os.fspath(given)}")
    return Weights(str(path))


def _can_load(build: Any) -> bool:
    return hasattr(build, "load_state_dict") or not hasattr(build, "forward")
