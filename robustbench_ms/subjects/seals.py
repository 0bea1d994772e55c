"""Whether a batch is still what all models are shown: a model may find it by the garbage collector, and change it."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_ms.errors import UserError

__all__ = ["CHANGES", "DataChanged", "Seals", "checksums"]

CHANGES = "it changes the images that other models are shown"


class DataChanged(UserError):
    """A model changed the data that lie in memory: nothing that would be measured after it could be trusted."""


def checksums(samples: Tensor) -> Tensor:
    """A number a sample, int64 (n,), that nearly every change of its bytes, or of their order, changes."""
    rows = samples.detach().contiguous().flatten(1).view(torch.uint8)
    if rows.shape[1] % 8 == 0 and rows.storage_offset() % 8 == 0:
        rows = rows.view(torch.int64)  # an eighth of the additions
    # Odd weights, no two alike, so that a flipped picture has another sum.
    weights = torch.arange(1, 2 * rows.shape[1], 2, device=rows.device)
    # On a CPU without products in memory; CUDA has no such products of whole numbers.
    return rows.long().mv(weights) if rows.device.type == "cpu" else (rows * weights).sum(dim=1)


class Seals:
    """Checksums of the batches of one condition; on CUDA they are compared at its end: no batch is waited for."""

    def __init__(self, device: torch.device) -> None:
        self._late: dict[str, Tensor] | None = {} if device.type == "cuda" else None

    def begin(self, samples: Tensor) -> None:
        """A new batch."""
        self._sums = checksums(samples)

    def broken(self, model: str, samples: Tensor) -> bool:
        """Whether the model that has just answered changed the batch; on CUDA `late` says it."""
        now = checksums(samples)
        if self._late is None:
            return not torch.equal(now, self._sums)
        changed = (now != self._sums).any()
        self._late[model] = changed | self._late[model] if model in self._late else changed
        self._sums = now
        return False

    def whole(self, model: str, samples: Tensor) -> None:
        """DataChanged where a batch that was made again is another, as what it is made of was changed too."""
        if not torch.equal(self._sums, checksums(samples)):
            raise DataChanged(
                f"model {model} changes the data that all models are shown, in memory: the run ends here; what was "
                "finished before is kept, and the same command without that model goes on"
            )

    def late(self) -> list[str]:
        """The models that changed a batch and were not told yet."""
        return [model for model, changed in (self._late or {}).items() if bool(changed)]
