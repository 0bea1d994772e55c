"""One note for networks that stand measured with another number of threads, where that is who they are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from robustbench_ms.evaluation.events import Note
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.places import Places
from tests.fakes import Coarse
from tests.running import measure, only


class Sums(Coarse):
    """Its last bits depend on the number of threads, as a sum's order does."""

    def forward(self, images):
        return super().forward(images) + 1e-6 * torch.get_num_threads()


def sums():
    return Sums()


def steady():
    return Coarse()


@pytest.fixture
def cards(tmp_path):
    save_file(Coarse().state_dict(), tmp_path / "coarse.safetensors")
    weights = (Weights(file=str(tmp_path / "coarse.safetensors")),)
    return [
        Card(name, build=f"tests.test_threads:{build}", weights=weights)
        for name, build in (("one", "sums"), ("two", "sums"), ("steady", "steady"))
    ]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def notes(path, cards, places, threads):
    events = measure(path, cards, places, threads=threads)
    return [note.message for note in only(events, Note) if "--threads" in note.message]


def test_a_record_and_a_cell_of_other_threads_are_one_note(tiny, cards, tmp_path):
    places = Places(tmp_path / "data", tmp_path / "results", tmp_path / "cache")
    assert notes(tiny, cards, places, 2) == []
    told = (
        "one, two: measured before with 2 threads, now with 1, which changes the last bits of the answers: the cells "
        "are measured again; --threads 2 keeps the old ones"
    )
    elsewhere = replace(places, cache=tmp_path / "empty")
    assert notes(tiny, cards, elsewhere, 1) == [told], "of the records alone"
    elsewhere = replace(places, results=tmp_path / "none")
    assert notes(tiny, cards, elsewhere, 1) == [told], "of the cells alone"
    assert notes(tiny, cards, elsewhere, 1) == [], "these answers are finished"
    assert notes(tiny, cards, places, 2) == []
