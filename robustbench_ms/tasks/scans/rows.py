"""The numbers of volumes that are classified, and those over 13 artefacts at five levels: the same as activities'."""

from __future__ import annotations

from robustbench_ms.tasks.activity.rows import rows

__all__ = ["ROWS"]

ROWS = rows("volume", "artefact", "13 artefacts")
