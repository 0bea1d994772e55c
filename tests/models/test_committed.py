"""Every committed network has the names, the shapes and the answers that it had when it was committed."""

from __future__ import annotations

import json

import pytest

from robustbench_ms.catalog.find import shipped
from tests.models.committed import COMMITTED, FILES, facts_of


def _committed():
    return json.loads(COMMITTED.read_text(encoding="utf-8"))


def test_every_committed_file_of_weights_is_held():
    files = {path.stem for path in (shipped("baselines") / "weights").glob("*.safetensors")}

    assert set(_committed()) == set(FILES) == files


@pytest.mark.parametrize("stem", sorted(FILES))
def test_a_committed_network_is_what_it_was(stem):
    found, kept = facts_of(stem), _committed()[stem]

    assert found["state"] == kept["state"]
    assert found["outputs"] == pytest.approx(kept["outputs"], rel=1e-4, abs=1e-5)
