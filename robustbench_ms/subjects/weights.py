"""Files of weights: found, checked, and loaded name by name."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.checkpoints import Held, read_checkpoint

__all__ = [
    "Loaded",
    "file_digest",
    "find_weights",
    "load_into",
    "read_weights",
    "refuse_other",
    "state_digest",
    "told_of",
]


def find_weights(weights: Weights, card: Card, places: Places, *, folder: bool = False) -> Path:
    """Where a card's weights lie, a file or a folder: as given, beside the card, in the data folder, in a package."""
    if weights.package is not None:
        return _in_package(weights, weights.package)
    folders = [f for f in (card.folder, places.data / "weights", places.data) if f is not None]
    candidates = (
        [Path(weights.file)] if Path(weights.file).is_absolute() else [f / weights.file for f in folders]
    )
    for path in candidates:
        if path.is_dir() if folder else path.is_file():
            return path
    origin = weights.url or card.source
    hint = f"; they come from {origin}: put the file into {places.data / 'weights'}" if origin else ""
    raise BadFile(
        f"weights {weights.file} are not in {' nor in '.join(str(c.parent) for c in candidates)}{hint}"
    )


def _in_package(weights: Weights, package: str) -> Path:
    """A file in the folder of an installed package, none of whose code is run to find it."""
    spec = importlib.util.find_spec(package)
    hint = f"; it comes from {weights.url}" if weights.url else ""
    if spec is None or not spec.submodule_search_locations:
        raise BadFile(
            f"weights {weights.file} lie in the package {package}, which is not installed{hint}; pip may "
            f"know it as {package.replace('_', '-')}"
        )
    folder = Path(spec.submodule_search_locations[0])
    if not (folder / weights.file).is_file():
        raise BadFile(f"weights {weights.file} are not in the package {package}, {folder}{hint}")
    return folder / weights.file


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_other(sha256: str, weights: Weights, path: Path) -> None:
    """BadFile where a file is not the one that a card means."""
    if weights.sha256 not in {None, sha256}:
        raise BadFile(
            f"{path}: its SHA-256 is {sha256[:12]}..., not {str(weights.sha256)[:12]}... as the card says"
        )


def told_of(path: Path) -> dict[str, Any]:
    """What a .safetensors file says of itself beside its tensors, decoded from JSON where it is JSON."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise BadFile(f"{path} is damaged or no file of weights ({error})".splitlines()[0]) from error
    return {key: _decoded(value) for key, value in told.items()}


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_SEGMENTS = ("module.", "_orig_mod.")
_STRAYS = re.compile(
    r"(?i)n_averaged$|(?:loss|losses|loss_fn|loss_func|criterion|metrics?|(?:train|val|valid|validation|test)_\w+)\."
)
"""What trainers keep beside a network: SWA's counter, losses with weights, metrics."""


@dataclass(frozen=True)
class Loaded:
    """What was taken out of a file of weights."""

    key: str | None = None
    """Where several keys hold weights, one was asked for, or it is a moving average: which was taken."""
    notes: tuple[str, ...] = ()
    """What people should know of it."""
    warnings: tuple[str, ...] = ()


def read_weights(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The tensors in a file of weights; prefixes of wrappers that all names have ("module.") are taken off."""
    found = dict(read_checkpoint(path, key).tensors)
    while prefix := next((p for p in _SEGMENTS if all(name.startswith(p) for name in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def load_into(module: Any, path: Path, *, by: str = "name", key: str | None = None) -> Loaded:
    """Load weights into a module, every name and shape of it; UserError shows the first that do not fit.

    `by` "position" takes them in their order, and a name's last word ("running_var") alone has to be the same. `key` is
    that of a checkpoint, see `read_checkpoint`.
    """
    if not isinstance(module, nn.Module):
        raise UserError(
            f"it is a {type(module).__name__} and no torch module, so weights cannot be loaded into it"
        )
    held, wanted = read_checkpoint(path, key), _state(module)
    which = f" under {held.key!r} (others: {', '.join(held.others)})" if held.others else ""
    left: list[str] = []
    prefix = ""
    if by == "position":
        found = _renamed(held.tensors, wanted, path)
    else:
        named, prefix = _named(held.tensors, wanted, f"{path}{which}")
        found = {name.removeprefix(prefix): t for name, t in named.items() if name.startswith(prefix)}
        left = [name for name in named if not name.startswith(prefix)]
        strays = [name for name in found if name not in wanted and _STRAYS.match(name)]
        left += strays
        found = {name: tensor for name, tensor in found.items() if name not in strays}
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    extra = [name for name in found if name not in wanted]
    shapes = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    if missing and not extra and all(name.endswith(("running_mean", "running_var")) for name in missing):
        raise UserError(
            f"{path}{which} holds parameters without the statistics of batch normalisation ({_some(missing)}): save "
            "the model's state_dict(), and not its parameters"
        )
    trouble = [
        f"{what} {_some(names)}"
        for what, names in (("missing", missing), ("not in the model:", extra), ("of another shape:", shapes))
        if names
    ]
    if trouble:
        off = f" (their prefix {prefix!r} taken off)" if prefix else ""
        raise UserError(f"{path}{which} holds the weights of another architecture{off}: {'; '.join(trouble)}")
    module.load_state_dict(found, strict=False)
    return _told(path, held, found, prefix, left)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _named(
    found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], place: str
) -> tuple[Mapping[str, Tensor], str]:
    """The tensors, and the prefix after which their names are the network's; where none fits, that which most have.

    Compiled parts have "_orig_mod." amidst their names. Of two prefixes that fit, a network and its moving average,
    the latter is taken, as of two keys; UserError for any other two.
    """
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in found.items()}
    for named in (found, plain) if len(plain) == len(found) else (found,):
        if not needed or all(name in named for name in needed):
            return named, ""
        ends = [name.removesuffix(needed[0]) for name in named if name.endswith(f".{needed[0]}")]
        fits = [
            prefix
            for prefix in ends
            if all(
                prefix + name in named and named[prefix + name].shape == wanted[name].shape for name in needed
            )
        ]
        averaged = [prefix for prefix in fits if "ema" in re.split(r"[._]", prefix)]
        if len(fits) > 1 and len(averaged) != 1:
            raise UserError(
                f"{place} holds the weights of several such networks, under the prefixes {', '.join(fits)}: save those "
                "of one alone"
            )
        if fits:
            return named, (averaged or fits)[0]
    # Nothing fits: what all names begin with is no part of what is told of them.
    names, prefix = [name for name in plain if not _STRAYS.match(name)], ""
    while names:
        first = {name.removeprefix(prefix).partition(".")[0] for name in names}
        word = next(iter(first))
        if (
            len(first) > 1
            or f"{prefix}{word}" in names
            or any(name.startswith(f"{word}.") for name in wanted)
        ):
            break
        prefix += f"{word}."
    return plain, prefix


def _told(path: Path, held: Held, found: Mapping[str, Tensor], prefix: str, left: Sequence[str]) -> Loaded:
    """What there is to say of weights that were loaded."""
    key = held.key if held.key and (held.others or held.asked or held.averaged) else None
    notes = []
    if key is not None:
        average = ", a moving average (EMA)" if held.averaged else ""
        beside = f"; --weights-key takes what lies beside: {', '.join(held.others)}" if held.others else ""
        notes.append(f"its weights are those under {key!r} of {path.name}{average}{beside}")
    if "ema" in re.split(r"[._]", prefix):
        notes.append(
            f"its weights are those under the prefix {prefix!r} of {path.name}, a moving average (EMA)"
        )
    if left:
        outside = f" (outside of {prefix!r})" if prefix else ""
        notes.append(f"{path.name} holds more than its weights{outside}, which is left: {_some(left)}")
    broken = [name for name, tensor in found.items() if tensor.is_floating_point() and tensor.isnan().any()]
    return Loaded(key, tuple(notes), (f"its weights hold NaN: {_some(broken)}",) if broken else ())


def _renamed(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights under the network's own names, one after the other, but for counters of batches."""
    theirs, ours = (
        [name for name in state if not name.endswith("num_batches_tracked")] for state in (found, wanted)
    )
    for their, own in zip_longest(theirs, ours):
        alike = their and own and their.rpartition(".")[2] == own.rpartition(".")[2]
        if not alike or found[their].shape != wanted[own].shape:
            told, meant = (
                f"{name} {tuple(state[name].shape)}" if name else "nothing"
                for name, state in ((their, found), (own, wanted))
            )
            raise UserError(
                f"{path} holds the weights of another architecture: by position {told} would be {meant}"
            )
    return {own: found[their] for their, own in zip(theirs, ours, strict=True)}


def state_digest(module: Any) -> str | None:
    """SHA-256 over the names, types, shapes and bytes of a module's state; None for a bare callable."""
    if not isinstance(module, nn.Module):
        return None
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor):
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
