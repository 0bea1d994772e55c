"""Cards whose build target is a file: which adapter loads it, and from where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustbench_ms.adapters import Adapted
from robustbench_ms.catalog.targets import load, working_folder
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects import LOADERS
from robustbench_ms.subjects.network import fetching
from robustbench_ms.subjects.weights import file_digest, find_weights, refuse_other

__all__ = ["adapted", "files_of", "is_adapted"]


_FOLDERS = {"hf", "results"}
"""What lies in a folder; the others are files."""
_READ = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
"""What of a model on the hub is fetched."""


def is_adapted(card: Card) -> bool:
    """Whether a card's build target is a file."""
    return isinstance(card.build, str) and card.build.partition(":")[0] in LOADERS


def adapted(card: Card, index: Index, places: Places) -> Adapted:
    """What a card's file is, its digest held to the card's where that says one.

    The file stands in the build target; one [[weights]] table may say its sha256 and url, under the same name. A config
    of mmdet stands there alone, and [[weights]] are its checkpoint.
    """
    adapter, _, name = str(card.build).partition(":")
    if adapter == "mmdet":
        return _configured(find_weights(Weights(name), card, places), card, index, places)
    weights = card.weights[0] if card.weights else Weights(name)
    if Path(weights.file).name != Path(name).name:
        raise UserError(
            f"its build target is {name}, and its [[weights]] speak of another file, {weights.file}"
        )
    try:
        path = find_weights(weights, card, places, folder=adapter in _FOLDERS)
    except BadFile:
        if adapter != "hf" or Path(weights.file).is_absolute():
            raise
        path = _from_hub(weights.file)
    made: Adapted = load(LOADERS[adapter])(path, replace(card, weights=(weights,)), index)
    refuse_other(made.sha256, weights, path)
    return made


def files_of(card: Card, weights: Weights, places: Places) -> tuple[Path, list[Path]]:
    """Where a card's weights lie, a file or a folder, and every file that is read there: of ONNX its external data too.

    BadFile as in `find_weights`, and where a file of those is not there.
    """
    adapter = str(card.build).partition(":")[0] if is_adapted(card) else ""
    path = find_weights(weights, card, places, folder=adapter in _FOLDERS)
    if path.is_dir():
        return path, sorted(file for file in path.rglob("*") if file.is_file())
    if adapter == "onnx":
        from robustbench_ms.adapters.onnx import external

        return path, [path, *external(path)]
    return path, [path]


def _from_hub(name: str) -> Path:
    """The folder of a model of Hugging Face's hub, in its own cache: what is data of it, and nothing else.

    UserError where there is no such model, and where neither the cache has it nor the hub can be reached.
    """
    try:
        from huggingface_hub import snapshot_download

        with fetching(None, hub=True):
            return Path(snapshot_download(name, allow_patterns=_READ))
    except UserError as error:
        raise UserError(f"hf:{name} is no folder here, and as a name on the hub: {error}") from error
    except Exception as error:  # the hub's own, and those of what it is made with
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"hf:{name} is no folder here, and the hub gives no model of that name ({told})"
        ) from error


def _configured(config: Path, card: Card, index: Index, places: Places) -> Adapted:
    """What a config builds, with the weights in the card's checkpoint, where it has one."""
    checkpoint = find_weights(card.weights[0], card, places) if card.weights else None
    if checkpoint is not None:  # before it is opened
        refuse_other(file_digest(checkpoint), card.weights[0], checkpoint)
    build = load(LOADERS["mmdet"])
    with working_folder():  # where a config's custom_imports may lie
        made: Adapted = build(config, card, index, checkpoint)
    return made
