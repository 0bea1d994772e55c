"""Writes what the committed networks are: `python -m tests.models.committed`.

committed.json beside this module has one line for each file of weights: the digest of the names, types
and shapes that it holds, and what the network of its card answers with it. Neither may move, whatever
becomes a block's default: a change here is a change of results that are published already, so what
stands there stays: only files that are new get a line.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.subjects.costs import input_of
from robustbench_ms.subjects.loading import build_module
from robustbench_ms.subjects.weights import load_into
from tests.models.golden import CARDS, maps_of, written

COMMITTED = Path(__file__).with_name("committed.json")
FILES = {
    Path(w.file).stem: name
    for name in CARDS
    for w in find_card(name).weights
    if w.file.startswith("weights/")
}


def network_of(stem):
    """The network of a file of weights, with them, what it answers as one tensor, and the shape of one sample."""
    card = find_card(FILES[stem])
    module, card = build_module(card, 10)
    load_into(module, card.folder / "weights" / f"{stem}.safetensors")
    module.eval()
    return module, maps_of(module) if "detection" in card.tasks else module, input_of(card, module)


def facts_of(stem):
    """The digest of what its state is called and shaped, and the first ten outputs on a wave that covers the input."""
    module, answer, size = network_of(stem)
    state = [(name, str(t.dtype), list(t.shape)) for name, t in module.state_dict().items()]
    x = torch.arange(torch.Size(size).numel(), dtype=torch.float64).mul(0.37).sin().float()
    with torch.no_grad():
        outputs = answer(x.view(1, *size))
    return {
        "state": hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16],
        "outputs": [float(f"{v:.6g}") for v in outputs.flatten()[:10].tolist()],
    }


if __name__ == "__main__":
    known = json.loads(COMMITTED.read_text(encoding="utf-8"))
    COMMITTED.write_text(
        written({stem: known.get(stem) or facts_of(stem) for stem in FILES}), encoding="utf-8"
    )
