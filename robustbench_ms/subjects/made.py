"""What a model is made of beside its weights: arguments, plain attributes, source.

The probe of eight samples shows most of that and not all: a threshold of its own may lie where no sample of the probe
does. So what is a user's own is named, and a finished cell is reused where it is the same.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_ms.specs.card import Card

__all__ = ["made_of", "own", "unchanged"]

_OURS = Path(__file__).parent.parent
_TORCHS = {*vars(nn.Module())}
"""What every module has: its parts and weights, which are told by their own digest, its hooks and its mode."""


def made_of(card: Card, module: Any, *, every: bool) -> dict[str, Any]:
    """What tells a model from another of the same weights, readable: args, attributes, source.

    Of classes and builders of the user's own; {} where there is none of these, as of a shipped card, whose digest of
    weights and raw answers says enough. With `every` of all classes, the library's too: of a model that gives no
    answer twice the probe shows nothing.
    """
    parts = dict(_parts(module))
    kinds = {kind for part in (*parts.values(), _builder(card)) for kind in _kinds(part)}
    sources = {file for kind in kinds if (file := _source(kind)) is not None and (every or own(file))}
    loose = {kind for kind in kinds if _source(kind) is None and _written_here(kind)}
    if not every and not sources and not loose:
        return {}

    def told(part: Any) -> bool:
        of = _kinds(part)
        return every or isinstance(part, functools.partial) or any(own(_source(k)) or k in loose for k in of)

    found = hashlib.sha256()
    for file in sorted(sources):
        found.update(Path(file).read_bytes())
    for text in sorted(_texts(loose)):
        found.update(text.encode())
    attributes = {name: _attributes(part) for name, part in parts.items() if told(part)}
    return {
        "args": {name: _plain(value) for name, value in card.args.items()},
        "attributes": {name: row for name, row in attributes.items() if row},
        "source": found.hexdigest(),
    }


def unchanged(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the attributes that changed while a model answered: a counter, what it keeps of a sample."""
    if not before:
        return {}
    then = after["attributes"]
    rows = {
        part: {name: told for name, told in row.items() if then.get(part, {}).get(name) == told}
        for part, row in before["attributes"].items()
    }
    return {**before, "attributes": {part: row for part, row in rows.items() if row}}


@functools.cache
def own(file: str | None) -> bool:
    """Whether a source file is a user's: no part of Python, of this package, or of what is installed beside it."""
    if file is None:
        return False
    path = Path(file).resolve()
    places = {
        Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    return not any(path.is_relative_to(place) for place in (*places, _OURS.resolve()))


def _parts(module: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """What a model is put together of, by name: modules, and what a partial or a method is of."""
    if isinstance(module, functools.partial):
        yield f"{at}partial", module
        yield from _parts(module.func, f"{at}partial.")
    elif inspect.ismethod(module):
        yield f"{at}method", module.__func__
        yield from _parts(module.__self__, f"{at}self.")
    elif isinstance(module, nn.Module):
        yield from ((f"{at}{name}", part) for name, part in module.named_modules())
    else:
        yield at, module


def _kinds(part: Any) -> tuple[Any, ...]:
    """A function, or the classes of an object from its own to the last but `object`."""
    return (part,) if inspect.isfunction(part) else type(part).__mro__[:-1]


def _builder(card: Card) -> Any:
    """The function or class that built it, or nothing where a module was given or a library builds."""
    if not isinstance(card.build, str):
        return None if isinstance(card.build, nn.Module) else _maker(card.build)
    module, _, names = card.build.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, name, None)
    return _maker(found)


def _maker(found: Any) -> Any:
    """Of a class a bare function of its module, which is all that is asked of it; a partial's own function."""
    while isinstance(found, functools.partial) or inspect.ismethod(found):
        found = found.func if isinstance(found, functools.partial) else found.__func__
    return vars(found).get("__init__", found) if inspect.isclass(found) else found


def _source(kind: Any) -> str | None:
    name = getattr(kind, "__module__", None) or ""
    return None if name.startswith("torch.") else getattr(sys.modules.get(name), "__file__", None)


def _written_here(kind: Any) -> bool:
    """Of a notebook or a prompt, which have no file."""
    return getattr(kind, "__module__", None) == "__main__"


def _texts(kinds: set[Any]) -> Iterator[str]:
    """Of what was written in a notebook: its source, and what it names there, plain values and functions too."""
    here, waiting, seen = vars(sys.modules["__main__"]), [*kinds], {*kinds}
    while waiting:
        kind = waiting.pop()
        try:
            yield inspect.getsource(kind)
        except (OSError, TypeError):
            yield str(getattr(kind, "__qualname__", kind))
        for name in sorted(_named(kind)):
            value = here.get(name)
            if inspect.isfunction(value) or inspect.isclass(value):
                if _written_here(value) and value not in seen:
                    seen.add(value)
                    waiting.append(value)
            elif name in here and not isinstance(value, types.ModuleType):
                yield f"{name} = {_plain(value)}"


def _named(kind: Any) -> set[str]:
    """The names that the code of a function, or of a class's functions, may look up."""
    functions = vars(kind).values() if inspect.isclass(kind) else [kind]
    codes = [one.__code__ for one in functions if inspect.isfunction(one)]
    found: set[str] = set()
    while codes:
        code = codes.pop()
        found |= {*code.co_names}
        codes += [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return found


def _attributes(part: Any) -> dict[str, str]:
    """Of an object its plain attributes, of a function what it closes over and its defaults, of a partial both."""
    values: dict[str, Any]
    if isinstance(part, functools.partial):
        values = {"args": part.args, "keywords": part.keywords}
    elif inspect.isfunction(part):
        closed = inspect.getclosurevars(part).nonlocals if part.__closure__ else {}
        values = {**closed, **(part.__kwdefaults__ or {}), "defaults": part.__defaults__ or ()}
    else:
        values = {name: value for name, value in getattr(part, "__dict__", {}).items() if name not in _TORCHS}
    return {name: told for name, value in values.items() if (told := _plain(value)) != _OTHER}


_OTHER = "..."


def _plain(value: Any) -> str:
    """A plain value as Python writes it, an array by its digest; of anything else nothing: an address differs."""
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return repr(value)
    if isinstance(value, Tensor):
        value = value.detach().cpu().contiguous()
        kind, raw = (
            f"{value.dtype} {tuple(value.shape)}",
            value.reshape(-1).view(torch.uint8).numpy().tobytes(),
        )
        return f"{kind} {hashlib.sha256(raw).hexdigest()}"
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_plain(name)}: {_plain(one)}' for name, one in value.items())}}}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_plain, value))}]"
    return _OTHER
