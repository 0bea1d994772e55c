"""What a model is made of beside its weights: arguments, plain attributes, source.

The probe of eight samples shows most of that and not all: a threshold of its own may lie where no sample of the probe
does. So what is a user's own is named, and a finished cell is reused where it is the same.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from robustbench_ms.specs.card import Card

__all__ = ["made_of", "own"]

_OURS = Path(__file__).parent.parent


def made_of(card: Card, module: Any, *, every: bool) -> dict[str, Any]:
    """What tells a model from another of the same weights, readable: args, attributes, source.

    Of classes and builders of the user's own; {} where there is none of these, as of a shipped card, whose digest of
    weights and raw answers says enough. With `every` of all classes, the library's too: of a model that gives no
    answer twice the probe shows nothing.
    """
    parts = dict(_parts(module))
    kinds = {_kind(part) for part in parts.values()} | {_builder(card)}
    sources = {file for kind in kinds if (file := _source(kind)) is not None and (every or own(file))}
    loose = {kind for kind in kinds if kind is not None and _source(kind) is None and _written_here(kind)}
    if not every and not sources and not loose:
        return {}
    told = {
        name: _attributes(part)
        for name, part in parts.items()
        if every or own(_source(_kind(part))) or _kind(part) in loose
    }
    found = hashlib.sha256()
    for file in sorted(sources):
        found.update(Path(file).read_bytes())
    for text in sorted(map(_text, loose)):
        found.update(text.encode())
    return {
        "args": {name: _plain(value) for name, value in card.args.items()},
        "attributes": {name: row for name, row in told.items() if row},
        "source": found.hexdigest(),
    }


@cache
def own(file: str | None) -> bool:
    """Whether a source file is a user's: no part of Python, of this package, or of what is installed beside it."""
    if file is None:
        return False
    path = Path(file).resolve()
    places = {
        Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    return not any(path.is_relative_to(place) for place in (*places, _OURS.resolve()))


def _parts(module: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(module, nn.Module):
        yield from module.named_modules()
    else:
        yield "", module


def _kind(part: Any) -> Any:
    return part if inspect.isfunction(part) else type(part)


def _builder(card: Card) -> Any:
    """The function that built it, or nothing where a module was given or a library builds."""
    if isinstance(card.build, str):
        module, _, name = card.build.partition(":")
        return getattr(sys.modules.get(module), name, None)
    return None if isinstance(card.build, nn.Module) else _kind(card.build)


def _source(kind: Any) -> str | None:
    name = getattr(kind, "__module__", None) or ""
    return None if name.startswith("torch.") else getattr(sys.modules.get(name), "__file__", None)


def _written_here(kind: Any) -> bool:
    """Of a notebook or a prompt, which have no file."""
    return getattr(kind, "__module__", None) == "__main__"


def _text(kind: Any) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return str(getattr(kind, "__qualname__", kind))


def _attributes(part: Any) -> dict[str, str]:
    """Of an object its plain public attributes, of a function what it closes over and its defaults."""
    if inspect.isfunction(part):
        closed = inspect.getclosurevars(part).nonlocals if part.__closure__ else {}
        values = {**closed, **(part.__kwdefaults__ or {}), "defaults": part.__defaults__ or ()}
    else:
        values = {
            name: value
            for name, value in getattr(part, "__dict__", {}).items()
            if not name.startswith("_") and name != "training"
        }
    return {name: told for name, value in values.items() if (told := _plain(value)) != _OTHER}


_OTHER = "..."


def _plain(value: Any) -> str:
    """A plain value, or plain ones in a list or a table, as Python writes it; of anything else nothing.

    An address differs each time, and so may what a model keeps of what it was shown.
    """
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return repr(value)
    if isinstance(value, Mapping):
        value = [one for pair in value.items() for one in pair]
    if not isinstance(value, (tuple, list)):
        return _OTHER
    told = [_plain(one) for one in value]
    return f"[{', '.join(told)}]" if told and _OTHER not in told else _OTHER
