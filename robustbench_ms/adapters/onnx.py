"""ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.adapters import Adapted
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["OnnxModel", "load"]

KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def load(path: Path, card: Card, index: Index) -> Adapted:
    """The network in a file; where nobody said what it wants to be shown, at the size that the file has.

    UserError where onnxruntime is not installed; BadFile where it cannot read the file.
    """
    del index
    module = OnnxModel(path)
    height, width = module.size
    if card.input.assumed and card.input.size is None and height is not None and height == width:
        card = replace(card, input=replace(card.input, size=height))
    with path.open("rb") as file:
        return Adapted(module, card, hashlib.file_digest(file, "sha256").hexdigest())


class OnnxModel:
    """float32 (n, C, H, W) to the file's outputs: its one tensor, or tensors by name, (n, ...) each.

    It runs on as many threads as torch has. A file with a fixed batch is asked in such batches, the last one filled
    up with its last sample, whose answers are cut off.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "an ONNX file needs onnxruntime, which is not installed: pip install 'robustbench-ms[onnx]'"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 3  # errors come as exceptions
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except (
            Exception
        ) as error:  # onnxruntime has a class for each of its status codes, with no common parent
            raise BadFile(f"{path} is damaged or no ONNX file ({error})".splitlines()[0]) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in KINDS:
            told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise UserError(
                f"{path} wants {told}, and one float tensor (n, channels, height, width) is shown"
            )
        self._name, self._kind = inputs[0].name, KINDS[inputs[0].type]
        # A dimension that may be anything is a name or None.
        self._batch, self._channels, *size = (d if isinstance(d, int) else None for d in inputs[0].shape)
        self.size: tuple[int | None, int | None] = (size[0], size[1])
        """Height and width of its input, None where it takes any."""
        self._outputs = [one.name for one in self._session.get_outputs()]

    def __call__(self, shown: Tensor) -> Tensor | dict[str, Tensor]:
        wanted = (self._channels, *self.size)
        if any(side not in {None, given} for side, given in zip(wanted, shown.shape[1:], strict=True)):
            raise UserError(
                f"it takes (channels, height, width) = {wanted}, and its [input] shows {tuple(shown.shape[1:])}"
            )
        images = shown.cpu().numpy().astype(self._kind)
        step = self._batch or max(1, len(images))
        parts = [self._answered(images[start : start + step], step) for start in range(0, len(images), step)]
        joined = [torch.from_numpy(np.concatenate(one)).to(shown.device) for one in zip(*parts, strict=True)]
        return joined[0] if len(joined) == 1 else dict(zip(self._outputs, joined, strict=True))

    def _answered(self, images: np.ndarray[Any, Any], step: int) -> list[np.ndarray[Any, Any]]:
        n = len(images)
        if self._batch is not None and n < step:
            images = np.concatenate([images, np.repeat(images[-1:], step - n, axis=0)])
        answers = self._session.run(None, {self._name: images})
        for name, answer in zip(self._outputs, answers, strict=True):
            if not isinstance(answer, np.ndarray) or answer.ndim == 0 or len(answer) != len(images):
                raise UserError(f"its output {name!r} is not one answer an image ({np.shape(answer)})")
        return [answer[:n] for answer in answers]
