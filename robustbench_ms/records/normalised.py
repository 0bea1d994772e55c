"""Errors over those of another network on the same cells, as mCE and relative mCE have it; numbers or arrays."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

import numpy as np

from robustbench_ms.errors import UserError

__all__ = ["Incomplete", "mce", "mean_of", "others_mce", "plain", "relative_mce"]


class Incomplete(UserError):
    """A mean over cells of which some are missing."""


def mce(errors: Mapping[str, Sequence[Any]], normaliser: str | None = "alexnet") -> Any:
    """Mean corruption error: the mean over 15 corruptions of sum_s E / sum_s E_AlexNet, a fraction (AlexNet is 1).

    `errors` holds per corruption the top-1 errors at severities 1..5. Hendrycks and Dietterich, ICLR 2019, section 4.
    """
    base, _ = _normaliser(normaliser)
    _whole(errors, base)
    return mean_of([sum(errors[name]) / sum(base[name]) for name in base])


def relative_mce(
    errors: Mapping[str, Sequence[Any]], clean_error: Any, normaliser: str | None = "alexnet"
) -> Any:
    """Relative mCE: the mean over corruptions of sum_s (E - E_clean) / sum_s (E_AlexNet - E_AlexNet,clean)."""
    base, base_clean = _normaliser(normaliser)
    _whole(errors, base)
    return mean_of(
        [
            sum(e - clean_error for e in errors[name]) / sum(e - base_clean for e in base[name])
            for name in base
        ]
    )


def others_mce(normaliser: str) -> dict[str, float]:
    """What others published as mCE over a normaliser's errors, by model; fractions."""
    return dict(_read_normaliser(normaliser)["others"])


def _whole(errors: Mapping[str, Sequence[Any]], base: Mapping[str, Sequence[float]]) -> None:
    missing = [name for name in base if len(errors.get(name, ())) != len(base[name])]
    if missing:
        levels = len(next(iter(base.values())))
        raise Incomplete(
            f"mCE needs {len(base)} corruptions at {levels} severities; missing or partial: {', '.join(missing)}"
        )


def _normaliser(name: str | None) -> tuple[dict[str, list[float]], float]:
    told = _read_normaliser(name)
    return told["error"], told["clean"]


@cache
def _read_normaliser(name: str | None) -> dict[str, Any]:
    text = files("robustbench_ms.datasets").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def plain(values: Sequence[Any]) -> bool:
    """Whether they are numbers, and no arrays."""
    return all(isinstance(value, (float, int)) for value in values)


def mean_of(values: Sequence[Any]) -> Any:
    """Of numbers a number, of arrays one of their shape."""
    if plain(values):
        return fmean(values)
    return np.mean(np.stack(values), axis=0)
