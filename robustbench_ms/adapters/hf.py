"""Models of Hugging Face's transformers from a local folder, config.json and model.safetensors; no code is run.

Detectors, and networks that label every pixel: the config's `architectures` say which.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_ms.adapters import Adapted
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Input

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["load"]

WEIGHTS = "model.safetensors"


def load(folder: Path, card: Card, index: Index) -> Adapted:
    """The folder's detector or segmenter, its classes by the names in its config where the card says none.

    A segmenter's names count where they are the data's in another order; else its classes are taken in theirs.

    UserError where transformers is not installed; BadFile where the folder lacks a file or holds another model.
    """
    for name in ("config.json", WEIGHTS):
        if not (folder / name).is_file():
            pickled = (
                " (a pickle, which might run code, is not read)"
                if (folder / "pytorch_model.bin").is_file()
                else ""
            )
            raise BadFile(f"{folder} has no {name}{pickled}")
    try:
        from transformers import AutoModelForObjectDetection, AutoModelForSemanticSegmentation
    except ImportError:
        raise UserError(
            "a Hugging Face folder needs transformers, which is not installed: pip install 'robustbench-ms[hf]'"
        ) from None
    labels = _labels(folder / "config.json")
    kind = AutoModelForSemanticSegmentation if labels else AutoModelForObjectDetection
    try:
        module = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # a folder of another task, a cut file and a config of nothing raise all kinds
        what = "segmenter" if labels else "detector"
        raise BadFile(f"{folder} is no {what} that transformers reads ({error})".splitlines()[0]) from error
    output = card.output
    if output.decode == "boxes" and not labels:
        output = replace(output, decode="detr")
    known = module.config.id2label
    names = tuple(_named(known.get(i, "")) for i in range(max(known) + 1))
    if output.labels == "data" and (not labels or sorted(names) == sorted(index.names)):
        output = replace(output, labels=names)
    shown = _completed(card.input, folder / "preprocessor_config.json") if card.input.assumed else card.input
    with (folder / WEIGHTS).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Adapted(module, replace(card, input=shown, output=output), sha256)


def _labels(config: Path) -> bool:
    """Whether a config speaks of a network that labels every pixel; what is damaged is told by transformers itself."""
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    named = told.get("architectures") if isinstance(told, dict) else None
    return any("SemanticSegmentation" in str(name) for name in named or ())


def _named(name: str) -> str:
    return "" if name in {"N/A", "no-object"} else name


def _completed(known: Input, path: Path) -> Input:
    """Mean, std and a fixed size as the folder says them; a size by the shorter side stays what the canvas has.

    Then, and without such a file, it stays assumed, and the run says what was.
    """
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return known
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} cannot be read as JSON ({error})") from error
    if told.get("do_normalize", True) and "image_mean" in told and "image_std" in told:
        known = replace(known, mean=tuple(told["image_mean"]), std=tuple(told["image_std"]))
    size = told.get("size")
    side = size.get("height") if isinstance(size, dict) and size.get("height") == size.get("width") else None
    if told.get("do_resize", True) and side is None:
        return known
    return replace(known, size=known.size or side, fit="resize", assumed=False)
