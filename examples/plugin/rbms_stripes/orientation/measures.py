"""How the task is scored; numpy alone, so that records are read without torch."""

from __future__ import annotations

from robustbench_ms.tasks.measure import Mean

SCORERS = (Mean("angle", "angle", kept="scores"), Mean("accuracy", "correct", kept="bits", answers=True))
