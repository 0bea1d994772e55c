"""Numbers over cells as functions of what one measure has in each: plain values, or replicates of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from robustbench_ms.records.normalised import mce, mean_of, plain, relative_mce
from robustbench_ms.records.terms import Quantity

__all__ = ["value_of", "weights_of"]

_BY_LEVEL = {"weighted", "degradation"}
_FALLING = 2 / 3
"""By how much each level weighs less than the one below it (Boone et al., arXiv 2203.06060)."""


def value_of(quantity: Quantity, values: Mapping[str, Any]) -> Any:
    """The number, of its measure's value in each cell {key: value}.

    The values are floats, or arrays of one shape, which are replicates: the number is then one for each. A drop and a
    ratio have no value (nan) where nothing can be lost, what is over a normaliser's errors where it is unfit.
    Incomplete where a normaliser has other cells.
    """
    if quantity.unfit:
        return math.nan
    if quantity.how == "worst":
        found = [mean_of([values[key] for key in keys]) for keys in _by_first_axis(quantity.keys).values()]
        worst = min if quantity.row.sign > 0 else max
        return worst(found) if plain(found) else getattr(np, worst.__name__)(np.stack(found), axis=0)
    if quantity.how in {"normalised", "relative"}:
        errors: dict[str, list[Any]] = {}
        for key in quantity.keys:
            errors.setdefault(key.partition(",")[0].partition("=")[2], []).append(1 - values[key])
        if quantity.beside:
            return relative_mce(errors, 1 - values[quantity.beside[0]], quantity.normaliser)
        return mce(errors, quantity.normaliser)
    if quantity.how in _BY_LEVEL:
        return sum(weight * values[key] for key, weight in _by_level(quantity).items())
    found = _before(quantity, values)
    return 1 - found if quantity.how in {"complement", "drop"} else found


def _before(quantity: Quantity, values: Mapping[str, Any]) -> Any:
    """The mean over the cells, or its share of the clean value; of these a complement and a drop are what is left."""
    mean = mean_of([values[key] for key in quantity.keys])
    if quantity.how not in {"drop", "ratio"}:
        return mean
    clean = values[quantity.beside[0]]
    return math.nan if isinstance(clean, (float, int)) and clean < quantity.least else _over(mean, clean)


def weights_of(quantity: Quantity) -> Mapping[str, float] | None:
    """How much one unit of its measure in each cell {key: weight} adds to what is good about the number.

    None where it is no weighted sum (a drop, a ratio, the worst of several).
    """
    sign = quantity.row.sign
    if quantity.how in {"mean", "complement"}:
        one = (sign if quantity.how == "mean" else -sign) / len(quantity.keys)
        return dict.fromkeys(quantity.keys, one)
    if quantity.how in _BY_LEVEL:
        return {key: sign * weight for key, weight in _by_level(quantity).items()}
    # Both are linear in the errors, so that the value of one error alone is its weight.
    return (
        None
        if quantity.how in {"drop", "ratio", "worst"}
        else {key: -sign * one for key, one in _linear(quantity).items()}
    )


@cache
def _linear(quantity: Quantity) -> Mapping[str, float]:
    """By how much one more error in each cell moves a normalised number."""
    right = dict.fromkeys(quantity.cells, 1.0)
    return {key: value_of(quantity, {**right, key: 0.0}) for key in (*quantity.keys, *quantity.beside)}


@cache
def _by_level(quantity: Quantity) -> Mapping[str, float]:
    """The weight of each cell in a number over levels: the clean one is level 0, and a level's cells share its own."""
    levels = {key: int(key.rpartition("=")[2]) for key in quantity.keys}
    shared = Counter(levels.values())
    weights = {key: _FALLING**level / shared[level] for key, level in levels.items()}
    whole = sum(weights.values())
    if quantity.how == "weighted":
        return {key: weight / (1 + whole) for key, weight in {quantity.beside[0]: 1.0, **weights}.items()}
    lost = {key: -weight / whole for key, weight in weights.items()}
    return {key: quantity.sign * weight for key, weight in {quantity.beside[0]: 1.0, **lost}.items()}


def _by_first_axis(keys: Sequence[str]) -> dict[str, list[str]]:
    """The cells of each value of the first axis: {"fault=bias": ["fault=bias,level=1", ...]}."""
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(key.partition(",")[0], []).append(key)
    return found


def _over(part: Any, whole: Any) -> Any:
    if isinstance(whole, (float, int)):
        return part / whole if whole else math.nan
    return part / np.where(whole == 0, np.nan, whole)
