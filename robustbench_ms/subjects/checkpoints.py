"""Checkpoints as training scripts, wrappers and hubs leave them: read as data, no code of theirs is run.

What torch reads under weights_only, and beside it the plain things that scripts put next to weights: arguments
(argparse.Namespace), numbers and arrays of NumPy, paths, dicts with defaults. Anything else is refused by its name.
"""

from __future__ import annotations

import argparse
import pathlib
import pickle
import re
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.errors import BadFile, suggest

__all__ = ["Held", "read_checkpoint"]

AVERAGES = ("state_dict_ema", "model_ema", "ema", "params_ema")
"""Under which scripts keep the moving average of their weights: taken first, as timm's `load_checkpoint` does."""
PLAIN = ("state_dict", "model_state_dict", "model", "net", "params", "weights", "model_state")
DEPTH = 3
"""So many wrappers may lie in each other."""


@dataclass(frozen=True)
class Held:
    """The weights that a file holds, under the names that it has for them."""

    tensors: Mapping[str, Tensor]
    key: str = ""
    """Under which key they lie, "" where the file is nothing but weights; a key in a key after a dot."""
    others: tuple[str, ...] = ()
    """Keys of other weights beside them."""
    asked: bool = False
    """The key was said."""

    @property
    def averaged(self) -> bool:
        """Whether their key says that they are a moving average."""
        return _averaged(self.key)


def read_checkpoint(path: Path, key: str | None = None) -> Held:
    """The tensors of a .safetensors file or a pickle of tensors, under `key` or the first key that holds any.

    A moving average (EMA) comes before raw weights. A key counts only where it maps names to tensors; arrays of NumPy
    are taken as tensors. BadFile where there are none, where reading might run code, and for what is no such file.
    """
    found = _load(path)
    plain = _tensors(found)
    if key is None and plain is not None:
        return Held(plain)
    choices = dict(_choices(found))
    if key is not None:
        asked = _under(found, key)
        if asked is None:
            known = [*choices, *_unknown(found)] if plain is None else []
            held = f"under {', '.join(known)}" if known else "under no key" if plain is not None else "none"
            raise BadFile(f"{path} holds no weights under {key!r}, but {held}{suggest(key, known)}")
        return Held(asked, key, tuple(name for name in choices if name != key), asked=True)
    if not choices:
        raise BadFile(f"{path} holds no weights: wanted names with tensors, found {_contents(found)}")
    taken = next((name for name in choices if _averaged(name)), next(iter(choices)))
    return Held(choices[taken], taken, tuple(name for name in choices if name != taken))


def _averaged(key: str) -> bool:
    return any(word in AVERAGES for word in key.split("."))


def _tensors(found: Any) -> dict[str, Tensor] | None:
    """The tensors of a mapping from names to tensors or arrays; None for anything else."""
    if not isinstance(found, Mapping) or not found:
        return None
    made = {}
    for name, value in found.items():
        array = isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8
        tensor = torch.from_numpy(value.copy()) if array else value
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            return None
        made[name] = tensor
    return made


def _choices(found: Any, depth: int = DEPTH) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for key in (*AVERAGES, *PLAIN) if isinstance(found, Mapping) and depth else ():
        tensors = _tensors(found.get(key))
        if tensors is not None:
            yield key, tensors
        else:
            yield from ((f"{key}.{inner}", held) for inner, held in _choices(found.get(key), depth - 1))


def _under(found: Any, key: str) -> dict[str, Tensor] | None:
    """What lies under a key, or under "one.two"."""
    if not isinstance(found, Mapping):
        return None
    if key in found:
        return _tensors(found[key])
    first, dot, rest = key.partition(".")
    return _under(found.get(first), rest) if dot else None


def _unknown(found: Any) -> list[str]:
    """Keys that hold weights under names that nobody else has."""
    if not isinstance(found, Mapping):
        return []
    return [str(key) for key in found if key not in (*AVERAGES, *PLAIN) and _tensors(found[key]) is not None]


def _contents(found: Any) -> str:
    if not isinstance(found, Mapping):
        return type(found).__name__
    if others := _unknown(found):
        return f"them under {', '.join(others[:3])}: --weights-key {others[0]} takes those"
    told = [f"{key} ({type(value).__name__})" for key, value in found.items()]
    return f"{', '.join(told[:3])}{f' and {len(told) - 3} more' if len(told) > 3 else ''}" or "an empty dict"


def _load(path: Path) -> Any:
    """Whatever the file holds."""
    _refuse_known(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_harmless()):
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols, before it is refused or read
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise a dozen kinds for damaged files
        if isinstance(error, pickle.UnpicklingError):
            # torch's own words advise to load it all the same.
            named = _unsafe(path, str(error))
            if named:
                raise BadFile(
                    f"{path} holds more than weights, and what reads {named} might run code: save its state_dict alone"
                ) from error
            if _begins(path, 1) == b"\x80":
                raise BadFile(
                    f"{path} holds more than weights, or was not written by torch.save: save its state_dict alone"
                ) from error
            raise BadFile(f"{path} is no file of weights") from error
        told = f"{type(error).__name__}: {error}".splitlines()[0].split(". ")[0]
        raise BadFile(f"{path} is damaged or no file of weights ({told})") from error


def _refuse_known(path: Path) -> None:
    """What people take for weights, told by its first bytes."""
    begin = _begins(path, 200)
    text = begin.lstrip().lower()
    if not begin:
        why = "is empty: it is damaged or no file of weights"
    elif begin.startswith(b"version https://git-lfs"):
        why = "is a pointer of Git LFS, and not the file: git lfs pull fetches it"
    elif text.startswith((b"<!doctype", b"<html")):
        why = "is a web page that was saved in place of the file: it is no file of weights"
    elif zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise BadFile(f"{path} is damaged or no file of weights ({error})") from error
        inner = {name.partition("/")[2] for name in names}
        if "constants.pkl" in inner or "archive_format" in inner or "models/model.json" in inner:
            why = (
                "is a program (TorchScript or torch.export) and not weights: load it in Python and hand the module to "
                "rbms.run, or save its state_dict alone"
            )
        elif "data.pkl" not in inner:
            why = f"is a zip archive of other files ({', '.join(names[:3]) or 'none'}): unpack it"
        else:
            return
    else:
        return
    raise BadFile(f"{path} {why}")


def _begins(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _unsafe(path: Path, message: str) -> str:
    """What a pickle would call, three names of it, those that are not torch's first; "" where none is known."""
    try:
        with torch.serialization.safe_globals(_harmless()):
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - an older form, or a damaged one: torch's own message may name it
        names = re.findall(r"GLOBAL ([\w.]+\.\w+)", message)
    names = sorted(names, key=lambda name: (name.startswith(("torch.", "collections.", "builtins.")), name))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _harmless() -> list[Any]:
    """Classes and functions that make plain data and do nothing else; under the names of both NumPy 1 and 2."""
    array = np.array(0.0)
    scalar: Any
    again: Any
    scalar, again = np.float64(0).__reduce__()[0], array.__reduce__()[0]
    paths = {
        "PosixPath": pathlib.PurePosixPath,
        "WindowsPath": pathlib.PureWindowsPath,
        "PurePosixPath": pathlib.PurePosixPath,
        "PureWindowsPath": pathlib.PureWindowsPath,
    }
    kinds = {type(np.dtype(code)) for code in np.typecodes["All"]}
    return [
        argparse.Namespace,
        np.dtype,
        np.ndarray,
        defaultdict,
        list, dict, int, float, str, tuple,  # what a defaultdict makes
        *((made, f"numpy.{core}.multiarray.{made.__name__}") for core in ("core", "_core") for made in (scalar, again)),
        *kinds,
        *((made, f"{home}.{name}") for home in ("pathlib", "pathlib._local") for name, made in paths.items()),
    ]  # fmt: skip
