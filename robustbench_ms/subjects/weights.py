"""Files of weights: found, checked, read as data, and loaded name by name."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.places import Places

__all__ = [
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


_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")
_PREFIXES = ("module.", "_orig_mod.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in a .safetensors file or a pickle of tensors, which runs no code (weights_only).

    A checkpoint's wrapper ("state_dict", "model", ...) and a prefix common to all names ("module.") are taken off.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", UserWarning
                )  # of pickle protocols, before it is refused or read
                found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and torch raise a dozen kinds for damaged files
        if _is_program(path):
            raise BadFile(
                f"{path} is a program (TorchScript, or of torch.export) and holds no weights alone"
            ) from error
        if isinstance(error, pickle.UnpicklingError):
            # torch's own words advise to load it all the same.
            if "allowed global" in str(error) or _begins_as_pickle(path):
                raise BadFile(
                    f"{path} holds more than weights, or is cut off: it is a pickle that might run code; "
                    "save its state_dict alone"
                ) from error
            raise BadFile(f"{path} is no file of weights") from error
        raise BadFile(
            f"{path} is damaged or no file of weights ({type(error).__name__}: {error})".splitlines()[0]
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if (
        not isinstance(found, Mapping)
        or not found
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items())
    ):
        raise BadFile(f"{path} holds no weights: wanted names with tensors, found {type(found).__name__}")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return dict(found)


def _begins_as_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def _is_program(path: Path) -> bool:
    """Whether a file is what torch.jit.save or torch.export.save writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return False
    return "constants.pkl" in names or any(name.startswith("models/") for name in names)


def load_into(module: Any, path: Path, *, by: str = "name") -> None:
    """Load weights into a module, every name and shape of it; UserError shows the first that do not fit.

    `by` "position" takes them in their order, and a name's last word ("running_var") alone has to be the same.
    """
    if not isinstance(module, nn.Module):
        raise UserError(
            f"it is a {type(module).__name__} and no torch module, so weights cannot be loaded into it"
        )
    found, wanted = read_weights(path), module.state_dict()
    if by == "position":
        found = _renamed(found, wanted, path)
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    extra = [name for name in found if name not in wanted]
    shapes = [
        f"{name} {tuple(found[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    trouble = [
        f"{what} {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in (("missing", missing), ("not in the model:", extra), ("of another shape:", shapes))
        if names
    ]
    if trouble:
        raise UserError(f"{path} holds the weights of another architecture: {'; '.join(trouble)}")
    module.load_state_dict(found, strict=False)


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
