"""Models of Hugging Face's transformers, from a local folder: its config and safetensors; no code is run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_ms.adapters import Adapted, digest_of
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Input

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["load"]

WEIGHTS = "model.safetensors"
_CLASSIFIES, _DETECTS, _LABELS = "ForImageClassification", "ForObjectDetection", "ForSemanticSegmentation"
_KINDS = (_CLASSIFIES, _DETECTS, _LABELS)
"""Ends of what a config calls its network, and of transformers' classes that load it."""
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of what we resize by."""


def load(folder: Path, card: Card, index: Index) -> Adapted:
    """The folder's model of image classification, object detection or labelling, as its config says which.

    A detector's classes go by the names in its config where the card says none; a segmenter's where they are the data's
    in another order, else its classes are taken in theirs. Who answers is the config, the processor and the weights.
    UserError where transformers is not installed, or nobody says what it wants to be shown; BadFile where the folder
    lacks a file or holds another model.
    """
    config = _told(folder / "config.json")
    weights = _weights(folder)
    kind = next(
        (kind for kind in _KINDS if any(kind in str(name) for name in config.get("architectures") or ())),
        None,
    )
    if kind is None:
        raise BadFile(
            f"{folder / 'config.json'} is of {config.get('architectures')}, and a model of one of "
            f"{', '.join(_KINDS)} is wanted"
        )
    processor = folder / "preprocessor_config.json"
    if card.input.assumed and not card.input.normalised and not processor.is_file():
        raise UserError(
            f"{folder} has no {processor.name}, which says what its model wants to be shown: give --mean and --std"
        )
    try:
        import transformers
    except ImportError:
        raise UserError(
            "a Hugging Face folder needs transformers, which is not installed: pip install 'robustbench-ms[hf]'"
        ) from None
    try:
        module = getattr(transformers, f"AutoModel{kind}").from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False,
            dtype="float32",  # whatever they were saved in: the card says the precision
        )  # fmt: skip
    except Exception as error:  # a folder of another task, a cut file and a config of nothing raise all kinds
        raise BadFile(f"{folder} is no model that transformers reads ({error})".splitlines()[0]) from error
    output = card.output
    if kind == _DETECTS and output.decode == "boxes":
        output = replace(output, decode="detr")
    if kind != _CLASSIFIES and output.labels == "data":
        known = module.config.id2label
        names = tuple(_named(known.get(i, "")) for i in range(max(known) + 1))
        if kind == _DETECTS or sorted(names) == sorted(index.names):
            output = replace(output, labels=names)
    shown = _completed(card.input, processor) if card.input.assumed else card.input
    read = [folder / "config.json", *weights, *([processor] if processor.is_file() else [])]
    return Adapted(module, replace(card, input=shown, output=output), digest_of(read, folder))


def _weights(folder: Path) -> list[Path]:
    """The files of its weights: one, or an index and its shards; BadFile where they are not there."""
    whole, listed = folder / WEIGHTS, folder / f"{WEIGHTS}.index.json"
    if whole.is_file():
        return [whole]
    if not listed.is_file():
        pickled = any(folder.glob("pytorch_model*.bin"))
        raise BadFile(
            f"{folder} has no {WEIGHTS}{' (a pickle, which might run code, is not read)' if pickled else ''}"
        )
    shards = sorted(set(map(str, _told(listed).get("weight_map", {}).values())))
    for name in shards:
        if Path(name).name != name or not (folder / name).is_file():
            raise BadFile(f"{listed} names {name!r}, which is not beside it")
    return [listed, *(folder / name for name in shards)]


def _told(path: Path) -> dict[str, Any]:
    """A file of JSON's; BadFile where it is not there, or none."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"{path.parent} has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(told, dict):
        raise BadFile(f"{path} holds a {type(told).__name__}, and a table is wanted")
    return told


def _named(name: str) -> str:
    return "" if name in {"N/A", "no-object"} else name


def _completed(known: Input, path: Path) -> Input:
    """The input as the folder's processor says it: mean, std, range, resampling, a fixed size or a crop.

    A size by the shorter side without a crop stays what the canvas has. Then, and without such a file where mean and
    std are given, it stays assumed, and the run says what was.
    """
    if not path.is_file():
        return known
    told = _told(path)
    said = told.get("do_normalize", True) and "image_mean" in told and "image_std" in told
    if said and not known.normalised:
        known = replace(known, mean=tuple(told["image_mean"]), std=tuple(told["image_std"]))
    known = replace(known, range=_range(told))
    if told.get("resample") in _RESAMPLE:
        known = replace(known, interpolation=_RESAMPLE[told["resample"]])
    if not told.get("do_resize", True):
        return replace(known, assumed=False)
    size, crop = _sides(told.get("size")), _sides(told.get("crop_size"))
    kind = f"{told.get('image_processor_type')} {told.get('feature_extractor_type')}"
    if size is not None and "ConvNext" in kind:
        # From 384 pixels on all of a picture is resized.
        share = (told.get("crop_pct") or 0.875) if size < 384 else 1.0
        fit = "crop" if share < 1 else "resize"
        return replace(known, size=known.size or size, fit=fit, crop=share, assumed=False)
    if told.get("do_center_crop") and crop is not None and size is not None:
        return replace(known, size=known.size or crop, fit="crop", crop=min(1.0, crop / size), assumed=False)
    side = size if not isinstance(told.get("size"), dict) or "height" in told["size"] else None
    return known if side is None else replace(known, size=known.size or side, fit="resize", assumed=False)


def _range(told: Mapping[str, Any]) -> tuple[float, float]:
    """What the bytes 0 and 255 become before mean and std."""
    if not told.get("do_rescale", True):
        return 0.0, 255.0
    factor = told.get("rescale_factor")
    high = round(255 * factor, 6) if isinstance(factor, (int, float)) else 1.0
    low = -1.0 if told.get("rescale_offset") else 0.0
    return low, high + low


def _sides(told: Any) -> int | None:
    """One side of {"height", "width"} that are alike, of {"shortest_edge"}, or of a number; None otherwise."""
    if isinstance(told, dict):
        found = {told.get("height"), told.get("width")} - {None} or {told.get("shortest_edge")}
        told = found.pop() if len(found) == 1 else None
    return told if isinstance(told, int) and told > 0 else None
