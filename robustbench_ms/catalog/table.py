"""Read a TOML table key by key, so that every mistake names its file, its key and the likely right one."""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from robustbench_ms.errors import BadFile, UserError, choose, suggest

__all__ = ["Table", "inside", "read_toml", "sha256"]

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAMES: dict[type, str] = {
    str: "a string", int: "a whole number", float: "a number", bool: "true or false",
    list: "a list", dict: "a table",
}  # fmt: skip


def read_toml(path: Path) -> Table:
    """The table in a file; BadFile names the file, and the line where it is not TOML."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadFile(f"{path}: not a text file in UTF-8") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # tomllib lets a number of 5,000 digits or a deep nest through
        raise BadFile(f"{path}: not valid TOML: {error}") from error
    return Table(values, str(path))


class Table:
    """A mapping whose keys are taken one by one; `done` refuses the ones that nobody took."""

    def __init__(self, values: dict[str, Any], place: str) -> None:
        self.place = place
        self._left = dict(values)
        self._known: list[str] = []

    def __bool__(self) -> bool:
        """Whether something is left to take."""
        return bool(self._left)

    def has(self, key: str) -> bool:
        """Whether `key` is left to take."""
        return key in self._left

    def take(self, key: str, kind: type[T], default: T | None = None, *, required: bool = False) -> Any:
        """The value under `key`, of type `kind`; `default` where it is absent and not `required`."""
        self._known.append(key)
        if key not in self._left:
            if required:
                near = difflib.get_close_matches(key, self._left, n=1)
                raise UserError(
                    f"{self.place}: no key named {near[0]!r}; did you mean {key!r}?"
                    if near
                    else f"{self.place}: the key {key!r} is missing"
                )
            return default
        value = self._left.pop(key)
        if kind is float:
            value = _finite(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{self.place}: {key} must be {_NAMES[kind]}, not {_shown(value)}")
        return value

    def anything(self, key: str) -> Any:
        """The value under `key`, of whatever type, which is there."""
        self._known.append(key)
        return self._left.pop(key)

    def word(
        self, key: str, known: Iterable[str], what: str, default: str | None = None, *, required: bool = False
    ) -> Any:
        """A string that is one of `known`."""
        value = self.take(key, str, default, required=required)
        return (
            value if value is None or value == default else choose(value, known, what, f"{self.place}: {key}")
        )

    def strings(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of strings."""
        return self._sequence(key, str, default)

    def numbers(self, key: str, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """A list of numbers."""
        return self._sequence(key, float, default)

    def table(self, key: str) -> Table:
        """The table under `key`; an empty one where it is absent."""
        return Table(self.take(key, dict, {}), f"{self.place}: [{key}]")

    def tables(self, key: str) -> list[Table]:
        """One table, or a list of tables ([[key]]), under `key`."""
        self._known.append(key)
        value = self._left.pop(key, [])
        rows = value if isinstance(value, list) else [value]
        if not all(isinstance(row, dict) for row in rows):
            raise UserError(f"{self.place}: {key} must be a table or a list of tables, not {_shown(value)}")
        single = not isinstance(value, list)
        return [Table(row, f"{self.place}: [{key}{'' if single else f' {i}'}]") for i, row in enumerate(rows)]

    def rest(self) -> dict[str, Any]:
        """Everything not taken yet, for a table whose keys are free."""
        left, self._left = self._left, {}
        return left

    def done(self) -> None:
        """Raise UserError for the first key that nobody took."""
        for key in self._left:
            raise UserError(f"{self.place}: no key named {key!r}{suggest(key, self._known)}")

    def check(self, key: str, value: T, test: Callable[[T], bool], wanted: str) -> T:
        """Return `value` if it passes `test`; raise UserError that says what is wanted if not."""
        if not test(value):
            raise UserError(f"{self.place}: {key} must be {wanted}, not {_shown(value)}")
        return value

    def _sequence(self, key: str, kind: type, default: tuple[Any, ...]) -> tuple[Any, ...]:
        values = self.take(key, list, list(default))
        values = [_finite(v) if kind is float else v for v in values]
        for value in values:
            if not isinstance(value, kind):
                raise UserError(
                    f"{self.place}: {key} must be a list of {_NAMES[kind][2:]}s, not with {_shown(value)}"
                )
        return tuple(values)


def inside(name: str, where: str) -> str:
    """A relative path that stays inside its folder; anything else is refused."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise UserError(f"{where} must be a path inside its folder, not {name!r}")
    return name


def sha256(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise UserError(f"{where} must be a SHA-256 in 64 lower-case hexadecimal digits, not {value!r}")
    return value


def _finite(value: Any) -> Any:
    """A whole number as float; None, which is no number, for what no float holds and for nan and inf."""
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> str:
    """A wrong value as the message shows it: short."""
    text = "nan, inf or a number too large" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
