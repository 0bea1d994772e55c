"""How a run is carried out, whatever it asks: on which device, by how many processes and threads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from robustbench_ms.errors import UserError
from robustbench_ms.specs.engines import ENGINES, Engine
from robustbench_ms.specs.given import refuse_no_seconds, refuse_no_whole

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
    on: Engine | None = None
    """Where the workers are started if not on this machine; their devices are not this machine's."""

    canvases: str | None = None
    """The folder of decoded canvases, "off" to decode pictures each time; None is `canvases` in the cache."""

    timeout: float | None = None
    """Seconds that one batch of one model may take; None is any."""
    trust: bool = False
    """Whether code is run that only a record names, and nobody here."""

    def __post_init__(self) -> None:
        """UserError for a number below 1 or none, and for a time that is none."""
        for name in ("batch_size", "workers", "threads"):
            value = getattr(self, name)
            refuse_no_whole(name, value)
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, not {value}")
        refuse_no_seconds("timeout", self.timeout)
        if self.timeout is not None and not 0 < self.timeout < float("inf"):
            raise UserError(f"timeout must be some seconds, not {self.timeout:g}")
        if self.executor == "local" and (self.workers or 1) > 1:
            raise UserError(f"executor local is one worker, not {self.workers}; take executor devices")
        if self.on is None:
            return
        if self.executor is not None:
            raise UserError(
                f"executor {self.executor} and on {self.on.name} both say who starts the workers; say one"
            )
        if self.workers is not None and self.on.workers not in {None, self.workers}:
            raise UserError(f"{self.workers} workers and {self.on} are not the same number; say one")

    @property
    def engine(self) -> Engine | None:
        """Who starts the workers where it is not this machine, with the number of them if one is given."""
        engine = Engine(self.executor) if self.executor in ENGINES else self.on
        if engine is None or self.workers is None:
            return engine
        return Engine(engine.name, {**engine.options, "workers": str(self.workers)})

    def keep(self, cache: Path) -> Path | None:
        """The folder of decoded canvases; None where pictures are decoded each time."""
        if self.canvases == "off":
            return None
        return cache / "canvases" if self.canvases is None else Path(self.canvases).expanduser().resolve()

    @property
    def chosen_executor(self) -> str:
        """The executor that is meant."""
        if self.on is not None:
            return self.on.name
        return self.executor or ("devices" if (self.workers or 1) > 1 else "local")
