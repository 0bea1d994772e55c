"""How a run is carried out, whatever it asks: on which device, by how many processes and threads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustbench_ms.errors import UserError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """None of it is part of a protocol; device and threads can change who answers."""

    device: str | None = None
    """"cpu", "cuda" or "cuda:1"; None takes CUDA where there is one, every device of it with several workers."""
    batch_size: int | None = None
    """How many samples are shown at once; None fits it to the device."""
    executor: str | None = None
    """A name of evaluation.executors; None is "local", and "devices" with several workers."""
    workers: int | None = None
    """Processes; None is one."""
    threads: int | None = None
    """Of each worker; None is torch's own number for one worker, and the cores shared out among several."""

    canvases: str | None = None
    """The folder of decoded canvases, "off" to decode pictures each time; None is `canvases` in the cache."""

    def __post_init__(self) -> None:
        """UserError for a number below 1."""
        for name in ("batch_size", "workers", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, not {value}")
        if self.executor == "local" and (self.workers or 1) > 1:
            raise UserError(f"executor local is one worker, not {self.workers}; take executor devices")

    def keep(self, cache: Path) -> Path | None:
        """The folder of decoded canvases; None where pictures are decoded each time."""
        if self.canvases == "off":
            return None
        return cache / "canvases" if self.canvases is None else Path(self.canvases).expanduser().resolve()

    @property
    def chosen_executor(self) -> str:
        """The executor that is meant."""
        return self.executor or ("devices" if (self.workers or 1) > 1 else "local")
