"""Writes how many of CIFAR-10's 10,000 test images the committed networks have right: `python -m tests.models.clean`.

Through the suite `cifar10`, as anybody would measure it; needs RBMS_DATA. What stands in clean.json already stays.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import robustbench_ms as rbms
from robustbench_ms.catalog.find import find_card, shipped

CLEAN = Path(__file__).with_name("clean.json")
N = 10_000


def networks():
    """Cards with seeds whose weights for CIFAR-10 lie in the repository."""
    cards = [find_card(path.stem) for path in sorted(shipped("baselines").glob("*.toml"))]
    trained = [card for card in cards if card.recipe.get("dataset") == "cifar10"]
    return [f"{card.name}@{w.seed}" for card in trained for w in card.weights if w.url is None]


def right_of(name, folder):
    """How many test images a network has right."""
    (record,) = rbms.run("cifar10", [name], device="cpu", results=folder / "results", cache=folder / "cache")
    cell = record.cell("clean")
    assert cell.n == N
    return round(cell.values["accuracy"]["mean"] * N)


if __name__ == "__main__":
    known = json.loads(CLEAN.read_text()) if CLEAN.exists() else {}
    for name in networks():
        if name not in known:
            with tempfile.TemporaryDirectory() as folder:
                known[name] = right_of(name, Path(folder))
    CLEAN.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
