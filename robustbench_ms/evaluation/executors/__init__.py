"""Ways to start the workers of a run: each passes its workers' events on and returns the store that they met in."""

from __future__ import annotations

from robustbench_ms.catalog.registry import Registry

__all__ = ["EXECUTORS"]

EXECUTORS: Registry[str] = Registry(
    "executor",
    "executors",
    str,
    {
        "local": "robustbench_ms.evaluation.executors.local:execute",
        "devices": "robustbench_ms.evaluation.executors.devices:execute",
        "ray": "robustbench_ms.evaluation.executors.ray:execute",
        "slurm": "robustbench_ms.evaluation.executors.slurm:execute",
    },
)
"""name -> "package.module:name" of a `protocol.Executor`."""
