"""Programs that torch.export saved (.pt2). They are unpickled, and so are code: whoever names one trusts it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from robustbench_ms.adapters import Adapted, digest_of
from robustbench_ms.adapters.batches import in_batches, refuse_shape
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Index

__all__ = ["ExportedModel", "load"]


def load(path: Path, card: Card, index: Index) -> Adapted:
    """The program in a file; where nobody said what it wants to be shown, at the size that it was exported with.

    BadFile where torch cannot read it, UserError where it does not take one batch of images.
    """
    del index
    try:
        with warnings.catch_warnings():
            # Its buffers are read from the file's own bytes, and nobody writes to them.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            program = torch.export.load(path)
    except (
        Exception
    ) as error:  # another version's file, a cut one and a pickle that is refused raise all kinds
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BadFile(
            f"{path} is damaged, or no program that torch {torch.__version__} has exported or can read ({told})"
        ) from error
    module = ExportedModel(program)
    height, width = module.size
    if card.input.assumed and card.input.size is None and height is not None and height == width:
        card = replace(card, input=replace(card.input, size=height))
    return Adapted(module, card, digest_of([path], path.parent))


class ExportedModel:
    """float32 (n, C, H, W) to the program's own answers; one of a fixed batch is asked in such batches."""

    def __init__(self, program: Any) -> None:
        inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        shapes = [tuple(getattr(node.meta.get("val"), "shape", ())) for node in inputs]
        if len(shapes) != 1 or len(shapes[0]) != 4:
            raise UserError(
                f"the program takes {len(shapes)} inputs of shapes {shapes}, and one batch (n, channels, height, "
                "width) is shown"
            )
        # A dimension that may be anything is a symbol.
        self._batch, self._channels, *size = (side if isinstance(side, int) else None for side in shapes[0])
        self.size: tuple[int | None, int | None] = (size[0], size[1])
        """Height and width of its input, None where it takes any."""
        self._program, self._module, self._device = program, program.module(), torch.device("cpu")

    def __call__(self, shown: Tensor) -> Any:
        refuse_shape(shown, (self._channels, *self.size))
        if shown.device != self._device:
            from torch.export.passes import move_to_device_pass

            self._program = move_to_device_pass(self._program, shown.device)
            self._module, self._device = self._program.module(), shown.device
        if self._batch is None:
            return self._module(shown)
        form: list[Any] = []

        def answered(images: Tensor) -> list[Tensor]:
            leaves, spec = pytree.tree_flatten(self._module(images))
            form[:] = [spec]
            return leaves

        return pytree.tree_unflatten(in_batches(answered, shown, self._batch), form[0])
