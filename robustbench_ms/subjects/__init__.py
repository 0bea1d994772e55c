"""From a card to who answers: its model and weights, what it is shown, who it is."""

from __future__ import annotations

from robustbench_ms.catalog.registry import Registry, is_target

__all__ = ["LOADERS"]

LOADERS: Registry[str] = Registry(
    "adapter",
    "adapters",
    str,
    {
        "onnx": "robustbench_ms.adapters.onnx:load",
        "export": "robustbench_ms.adapters.export:load",
        "script": "robustbench_ms.adapters.script:load",
        "hf": "robustbench_ms.adapters.hf:load",
        "mmdet": "robustbench_ms.adapters.mmdet:load",
        "results": "robustbench_ms.adapters.results:load",
    },
    taken=is_target,
)
"""First word of a build target -> "package.module:function" of (path, card, index); mmdet's takes a checkpoint too."""
