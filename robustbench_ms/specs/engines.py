"""Engines: who starts a run's workers where one machine is not enough: "ray", "slurm:partition=gpu,workers=8"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from robustbench_ms.errors import UserError, choose

__all__ = ["ENGINES", "Engine", "minutes"]

ENGINES = {
    "ray": ("workers", "cpus"),
    "slurm": (
        "workers", "cpus", "gpus", "time", "mem", "partition", "account", "qos", "constraint", "nodelist", "python",
        "cluster",
    ),
}  # fmt: skip
"""{engine: its options}; docs/clusters.md says what each means."""

_COUNTS = ("workers", "cpus")


@dataclass(frozen=True)
class Engine:
    """One engine, and how it is asked for workers."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    """As they were spelled, checked."""

    @classmethod
    def read(cls, spelling: str) -> Engine:
        """The engine of a spelling, NAME or NAME:OPTION=VALUE,...; UserError for whatever it has none of."""
        name, colon, rest = spelling.partition(":")
        choose(name, ENGINES, "engine", "--on")
        options: dict[str, str] = {}
        for part in rest.split(",") if colon else ():
            option, equals, value = part.partition("=")
            if not equals or not value:
                raise UserError(f"--on {name}: {part!r} is no OPTION=VALUE, as workers=8 is")
            choose(option, ENGINES[name], "option", f"--on {name}")
            if option in options:
                raise UserError(f"--on {name}: {option} stands twice")
            if option in _COUNTS and not re.fullmatch(r"[1-9]\d{0,5}", value):
                raise UserError(f"--on {name}: {option} must be a number of 1 or more, not {value!r}")
            if option == "gpus" and value not in {"0", "1"}:
                raise UserError(f"--on {name}: a worker uses one GPU, not gpus={value}; ask for more workers")
            if option == "cluster" and value not in {"slurm", "local"}:
                raise UserError(f"--on {name}: cluster is slurm or local, not {value!r}")
            if option == "time":
                minutes(value)
            options[option] = value
        return cls(name, options)

    @property
    def workers(self) -> int | None:
        """How many workers were asked for."""
        return int(self.options["workers"]) if "workers" in self.options else None

    @property
    def cpus(self) -> int:
        """Cores of each worker."""
        return int(self.options.get("cpus", "1"))

    def __str__(self) -> str:
        """As it is spelled."""
        told = ",".join(f"{name}={value}" for name, value in self.options.items())
        return f"{self.name}:{told}" if told else self.name


def minutes(time: str) -> int:
    """Whole minutes, rounded up, of a time limit as Slurm spells it.

    That is MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS; UserError for another one, and for none at all.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if found is None:
        raise UserError(f"--on slurm: time is minutes, HH:MM:SS or D-HH:MM:SS, not {time!r}")
    days, first, second, third = (None if part is None else int(part) for part in found.groups())
    if days is not None:
        parts = (first or 0, second or 0, third or 0)
    elif third is None:
        parts = (0, first or 0, second or 0)
    else:
        parts = (first or 0, second or 0, third)
    seconds = (days or 0) * 86_400 + parts[0] * 3600 + parts[1] * 60 + parts[2]
    if seconds == 0:
        raise UserError(f"--on slurm: a time limit of {time} leaves no time to work")
    return -(-seconds // 60)
