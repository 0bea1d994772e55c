"""ONNX files, run by onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from robustbench_ms.adapters import Adapted, digest_of
from robustbench_ms.adapters.programs import in_batches, refuse_shape
from robustbench_ms.errors import BadFile, UserError, choose
from robustbench_ms.specs.card import Card

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["OnnxModel", "external", "load"]

KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_CHANNELS = {1, 3}


def load(path: Path, card: Card, index: Index) -> Adapted:
    """The network in a file; where nobody said what it wants to be shown, at the size that the file has.

    The card's args may name one of several outputs: {"output": "logits"}. Who answers is the file with those of its
    external data. UserError where onnxruntime is not installed; BadFile where it cannot read the file, or where a file
    of its external data is not there.
    """
    del index
    for word in card.args:
        choose(word, ("output",), "argument", f"{path.name}: [args]")
    files = [path, *external(path)]
    module = OnnxModel(path, card.args.get("output"))
    height, width = module.size
    if card.input.assumed and card.input.size is None and height is not None and height == width:
        card = replace(card, input=replace(card.input, size=height))
    return Adapted(module, card, digest_of(files, path.parent))


def external(path: Path) -> list[Path]:
    """The files beside it in which its larger tensors lie.

    UserError where onnx is not installed; BadFile where one is not there, and for what is no ONNX file.
    """
    try:
        import onnx
        from onnx.external_data_helper import ExternalDataInfo, uses_external_data
    except ImportError:
        raise _lacking("onnx") from None
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's
        raise BadFile(f"{path} is damaged or no ONNX file ({type(error).__name__})") from error
    names = {ExternalDataInfo(tensor).location for tensor in _tensors(model) if uses_external_data(tensor)}
    for name in sorted(names):
        beside = (path.parent / name).resolve()
        if not beside.is_relative_to(path.parent.resolve()):
            raise BadFile(f"{path} has tensors in {name!r}, outside of its folder, which is not read")
        if not beside.is_file():
            raise BadFile(f"{path} has tensors in {name}, which is not beside it")
    return [path.parent / name for name in sorted(names)]


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a protocol buffer, at whatever depth of graphs and functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                yield from _tensors(part)


def _lacking(package: str) -> UserError:
    return UserError(
        f"an ONNX file needs {package}, which is not installed: pip install 'robustbench-ms[onnx]'"
    )


class OnnxModel:
    """float32 (n, C, H, W), (n, C, T) or (n, C, D, H, W), to the file's outputs: the one asked for or there, else
    tensors by name.

    A file whose input ends in 1 or 3 channels, and not in pixels, is shown (n, H, W, C). It runs on as many threads as
    torch has. A file with a fixed batch is asked in such batches, see `in_batches`.
    """

    def __init__(self, path: Path, output: str | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise _lacking("onnxruntime") from None
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
        if len(inputs) != 1 or len(inputs[0].shape) not in {3, 4, 5} or inputs[0].type not in KINDS:
            told = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
            raise UserError(
                f"{path} wants {told}, and one float tensor (n, channels, height, width), or of signals (n, channels, "
                "samples), or of volumes (n, channels, depth, height, width), is shown"
            )
        self._name, self._kind = inputs[0].name, KINDS[inputs[0].type]
        # A dimension that may be anything is a name or None.
        self._batch, *sides = (d if isinstance(d, int) else None for d in inputs[0].shape)
        self._last = len(sides) == 3 and sides[2] in _CHANNELS and sides[0] not in _CHANNELS
        """Channels come last."""
        self._channels, *size = [sides[2], *sides[:2]] if self._last else sides
        self._size = tuple(size)
        self.size: tuple[int | None, int | None] = (size[0], size[1]) if len(size) == 2 else (None, None)
        """Height and width of its input, None where it takes any, or signals or volumes."""
        named = [one.name for one in self._session.get_outputs()]
        self._outputs = named if output is None else [choose(output, named, "output", str(path))]

    def __call__(self, shown: Tensor) -> Tensor | dict[str, Tensor]:
        refuse_shape(shown, (self._channels, *self._size))
        found = [one.to(shown.device) for one in in_batches(self._answered, shown.cpu(), self._batch)]
        return found[0] if len(found) == 1 else dict(zip(self._outputs, found, strict=True))

    def _answered(self, images: Tensor) -> list[Tensor]:
        shown = (images.permute(0, 2, 3, 1) if self._last else images).contiguous().numpy()
        answers = self._session.run(self._outputs, {self._name: shown.astype(self._kind, copy=False)})
        for name, answer in zip(self._outputs, answers, strict=True):
            if not isinstance(answer, np.ndarray) or answer.ndim == 0 or len(answer) != len(images):
                raise UserError(f"its output {name!r} is not one answer an image ({np.shape(answer)})")
        return [torch.from_numpy(answer) for answer in answers]
