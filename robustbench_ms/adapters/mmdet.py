"""Detectors of mmdet: a config, which is Python and is run, and a checkpoint, which is read as data."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from robustbench_ms.adapters import Adapted
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Input

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index
    from robustbench_ms.specs.card import Output

__all__ = ["MMDetector", "load"]

BYTES = Input(range=(0, 255), channels="BGR")
"""What its own test pipeline takes: a picture as OpenCV reads it, at its own size."""


def load(path: Path, card: Card, index: Index, checkpoint: Path | None = None) -> Adapted:
    """The detector that a config describes, with a checkpoint's weights; without one it is untrained.

    Who answers is the checkpoint's digest (the config's where there is none), and the state holds the config's.
    UserError where mmdet is not installed, where [input] prepares what its own pipeline prepares, and where it has
    another number of classes than the data without a name for each; BadFile for what cannot be read.
    """
    try:
        from mmdet.registry import MODELS
        from mmdet.utils import register_all_modules
        from mmengine.config import Config

        register_all_modules(init_default_scope=True)
    except ImportError as error:
        raise UserError(
            f"a config of mmdet needs mmdet, which is not installed ({error}): `make test-mmdet` in a checkout makes "
            "an environment with it, baselines/README.md says how a run takes it"
        ) from None
    if (card.input.normalised or not card.input.assumed) and card.input != BYTES:
        raise UserError(
            "the test pipeline in its config prepares the samples, so its [input] is range = [0, 255] and "
            f'channels = "BGR" alone, and not {card.input.describe()}'
        )
    try:
        config = Config.fromfile(path)
    except Exception as error:  # a config is a program
        raise BadFile(f"{path} is no config that mmdet reads ({_told(error)})") from error
    if "model" not in config:
        raise BadFile(f"{path} is no config of mmdet: it has no `model`")
    text = json.dumps(config.to_dict(), sort_keys=True, default=str)
    _settle(config.model, card.output)
    told = {} if checkpoint is None else _read(checkpoint)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)  # two runs of an untrained one answer alike
            detector = MODELS.build(config.model)
            if checkpoint is None:
                # Without it heads keep torch's own start, from which the loss is NaN in a few steps.
                with _quietly():
                    detector.init_weights()
        pipeline = _pipeline(config)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: mmdet cannot build it ({_told(error)})") from error
    if checkpoint is not None:
        _fill(detector, told["state_dict"], checkpoint)
    output = _named(card.output, detector, _classes(config, told), index)
    module = MMDetector(detector, pipeline, hashlib.sha256(text.encode()).digest())
    with (checkpoint or path).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    untrained = card.untrained or checkpoint is None
    return Adapted(module, replace(card, input=BYTES, output=output, untrained=untrained), sha256)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without mmengine's line for every parameter."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


class MMDetector(nn.Module):
    """float32 (n, 3, H, W), BGR in 0..255, to boxes, scores, labels and, where it gives some, masks of each image.

    Each image goes through the config's test pipeline (resize), all of them through its preprocessor (padding,
    normalisation) and the network; boxes and masks come back in the images' own pixels.
    """

    config: Tensor

    def __init__(self, detector: nn.Module, pipeline: Any, digest: bytes) -> None:
        super().__init__()
        self.detector = detector
        self.register_buffer("config", torch.tensor(list(digest), dtype=torch.uint8))
        self._pipeline = pipeline

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        detector: Any = self.detector
        if detector.data_preprocessor.device != images.device:
            detector.to(images.device)  # its preprocessor hears of a device by its own `to` alone
        pixels = images.round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        shown = [
            self._pipeline({"img": np.ascontiguousarray(one), "img_id": i}) for i, one in enumerate(pixels)
        ]
        answers = detector.test_step({key: [one[key] for one in shown] for key in ("inputs", "data_samples")})
        return [_row(one.pred_instances) for one in answers]


def _row(found: Any) -> dict[str, Tensor]:
    row = {"boxes": _tensor(found.bboxes), "scores": found.scores, "labels": found.labels}
    if "masks" in found:
        row["masks"] = torch.as_tensor(found.masks)
    return row


def _tensor(boxes: Any) -> Tensor:
    """Boxes are a tensor or mmdet's own class of boxes around one."""
    tensor: Tensor = getattr(boxes, "tensor", boxes)
    return tensor


def _settle(model: Any, output: Output) -> None:
    """The card's score threshold and maximum in place of the config's; those of proposals are left alone."""
    settings = model.get("test_cfg") or {}
    for part in (settings, settings.get("rcnn") or {}):
        if "score_thr" in part and output.score is not None:
            part["score_thr"] = output.score
        if "max_per_img" in part:
            part["max_per_img"] = output.maximum


def _pipeline(config: Any) -> Any:
    """The config's test pipeline, fed with arrays in place of files."""
    from mmcv.transforms import Compose
    from mmdet.utils import get_test_pipeline_cfg

    steps = get_test_pipeline_cfg(config.copy())
    reader = steps[0]
    if str(reader.get("type")).rpartition(".")[2] != "LoadImageFromFile" or not reader.get(
        "color_type", "color"
    ).startswith("color"):
        raise UserError(
            f"its test pipeline begins with {dict(reader)}, and not with LoadImageFromFile in colour"
        )
    steps[0] = {"type": "mmdet.LoadImageFromNDArray", "to_float32": reader.get("to_float32", False)}
    # Annotations are the data set's, and no part of what a detector is shown.
    return Compose([step for step in steps if "LoadAnnotations" not in str(step["type"])])


def _read(path: Path) -> dict[str, Any]:
    """A checkpoint's weights (state_dict) and what it says of itself (meta); no code in it is run."""
    from mmengine.logging import HistoryBuffer
    from numpy._core.multiarray import _reconstruct, scalar

    def method(kind: Any, name: str) -> Any:
        # As which a history's statistics are pickled: getattr itself would reach everything.
        if kind is not HistoryBuffer or name not in {"min", "max", "current", "mean"}:
            raise pickle.UnpicklingError(f"allowed global getattr is not asked for {name}")
        return getattr(kind, name)

    # What mmengine's runner writes beside the weights: losses as arrays.
    numbers = [type(np.dtype(code)) for code in "dfqli?"]
    harmless = [
        HistoryBuffer,
        _reconstruct,
        scalar,
        np.ndarray,
        np.dtype,
        *numbers,
        (method, "builtins.getattr"),
    ]
    try:
        with torch.serialization.safe_globals(harmless):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for damaged files
        with path.open("rb") as file:
            pickled = file.read(2) in {b"PK", b"\x80\x02"}
        if not isinstance(error, pickle.UnpicklingError) or not pickled:
            raise BadFile(f"{path} is damaged or no checkpoint ({type(error).__name__})") from error
        raise BadFile(
            f"{path} holds more than weights, or is cut off: it is a pickle that might run code; save its "
            "state_dict and its meta alone (mmdet's tools/model_converters/publish_model.py)"
        ) from error
    if not isinstance(found, dict):
        raise BadFile(f"{path} is no checkpoint of mmdet: it holds a {type(found).__name__}")
    state = found.get("state_dict", found)
    return {"state_dict": state, "meta": found.get("meta", {}) if state is not found else {}}


def _fill(detector: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    try:
        missing, other = detector.load_state_dict(state, strict=False)
    except Exception as error:  # another shape, or no tensors at all
        raise BadFile(f"{path} does not fit the config ({' '.join(str(error).split())[:200]})") from error
    if missing or other:
        told = f"it lacks {missing[0]}" if missing else f"it has {other[0]}, which the config's model has not"
        raise BadFile(f"{path} does not fit the config: {told}")


def _classes(config: Any, told: dict[str, Any]) -> tuple[str, ...]:
    """Names of the classes: the checkpoint's, else the config's, else those of its data set's kind; () for none."""
    from mmdet.registry import DATASETS

    meta = told.get("meta", {})
    data = (config.get("test_dataloader") or {}).get("dataset") or {}
    kind = DATASETS.get(data["type"]) if isinstance(data.get("type"), str) else data.get("type")
    for said in (
        meta.get("dataset_meta"),
        meta,
        config.get("metainfo"),
        data.get("metainfo"),
        getattr(kind, "METAINFO", None),
    ):
        named = (said or {}).get("classes") or (said or {}).get("CLASSES")
        if named:
            return (named,) if isinstance(named, str) else tuple(map(str, named))
    return ()


def _named(output: Output, detector: Any, names: tuple[str, ...], index: Index) -> Output:
    """Labels by name, where the card says none and the names are as many as the head's classes."""
    if output.labels != "data":
        return output
    head = getattr(detector, "bbox_head", None) or getattr(
        getattr(detector, "roi_head", None), "bbox_head", None
    )
    if isinstance(head, nn.ModuleList):  # a cascade's stages have one each, of the same classes
        head = head[0]
    count = getattr(head, "num_classes", None)
    if names and index.names and count in {None, len(names)}:
        return replace(output, labels=names)
    if count not in {None, index.classes}:
        raise UserError(
            f"its head has {count} classes, the data {index.classes}, and neither checkpoint nor config names "
            f"{count}: say them in [output] labels"
        )
    return output


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
