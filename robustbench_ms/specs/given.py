"""Numbers that callers give, who from Python may give anything."""

from __future__ import annotations

from numbers import Integral, Real

from robustbench_ms.errors import UserError

__all__ = ["refuse_no_seconds", "refuse_no_whole"]


def refuse_no_whole(name: str, value: object) -> None:
    """UserError for what is neither a whole number nor None; numpy's are some too."""
    if not (value is None or isinstance(value, Integral)):
        raise UserError(f"{name} must be a whole number, not {value!r}")


def refuse_no_seconds(name: str, value: object) -> None:
    """UserError for what is neither a number nor None."""
    if not (value is None or isinstance(value, Real)):
        raise UserError(f"{name} must be some seconds, not {value!r}")
