"""Profiling that does not wait: what its tests share."""

from __future__ import annotations

from robustbench_ms.profiling import loop, subject
from robustbench_ms.specs.card import Card, Input


def hurry(monkeypatch):
    """A small yardstick, and turns and warm-ups that do not wait for quiet."""
    small = Card("resnet18", "tests.fakes:other", input=Input(size=32), untrained=True)
    monkeypatch.setattr(subject, "YARDSTICK", small)
    monkeypatch.setattr(loop, "_LONGEST", 0.01)
    monkeypatch.setattr(loop, "_CALLS", (3, 4))
