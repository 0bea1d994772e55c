"""Errors that the user can mend.

UserError
├── UnknownName      a word that is none of the known ones; names the likely right one
├── BadFile          a file that is missing, cut off, of another format or of another content
├── Misbehaved       a model's own code failed; that model alone is stopped
└── Incomparable     numbers that do not answer the same question

The command line shows these without a traceback and ends with exit code 2. Every other exception is a
defect of ours and keeps its traceback. DeviceLost alone has its own exit code (3): the process cannot go
on, and starting it again does.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import takewhile

__all__ = [
    "BadFile", "DeviceLost", "Incomparable", "Misbehaved", "UnknownName", "UserError", "choose", "suggest",
]  # fmt: skip


class UserError(Exception):
    """Something that the user can mend; the message is one sentence that says what and where."""


class UnknownName(UserError):
    """A name that is none of the known ones."""


class BadFile(UserError):
    """A file that is missing, damaged, of another format or of another content than was promised."""


class Incomparable(UserError):
    """Numbers that were measured under different protocols."""


class Misbehaved(UserError):
    """A model's own code failed: it raised whatever, took too long, or changed what others are shown."""

    def __init__(self, told: str, kind: str = "") -> None:
        super().__init__(f"{kind}: {told}" if kind else told)
        self.told = told
        self.kind = kind
        """The class of what it raised; empty where it raised nothing."""


class DeviceLost(Exception):
    """A device error that poisons this process; what was finished is kept, and a new process goes on."""


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of an error message: "; did you mean 'fog'?", or the known words if none is near and they are few."""
    known = sorted(set(known))
    near = [(*_nearness(word.lower(), name.lower()), name) for name in known]
    if near and max(near)[0] >= 0.6:
        return f"; did you mean {max(near)[2]!r}?"
    return f"; known: {', '.join(known)}" if 0 < len(known) <= 40 else ""


def _nearness(word: str, name: str) -> tuple[float, int]:
    """How much two words share, and of equals how long they begin alike."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(word, name, strict=False))
    return difflib.SequenceMatcher(None, word, name).ratio(), len(list(alike))


def choose(word: object, known: Iterable[str], what: str, where: str = "") -> str:
    """Return `word` if it is one of `known`; raise UnknownName, naming the nearest, if not."""
    known = list(known)
    if isinstance(word, str) and word in known:
        return word
    place = f"{where}: " if where else ""
    raise UnknownName(f"{place}no {what} named {word!r}{suggest(str(word), known)}")
