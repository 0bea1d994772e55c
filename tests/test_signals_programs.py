"""Programs and functions that answer windows of signals: exported, TorchScript, at hand, and a bare callable."""

from __future__ import annotations

import warnings

import pytest
import torch

from robustbench_ms.records.record import read_record
from tests import signalled
from tests.test_activity import CARD, Listens

SHOWN = torch.zeros(4, 9, 128)


def exported(batch=None):
    free = ({0: torch.export.Dim.AUTO},) if batch is None else None
    return torch.export.export(Listens().eval(), (SHOWN[:batch] if batch else SHOWN,), dynamic_shapes=free)


def at_hand():
    """A program of torch.export, as a function of a user's gives it."""
    return exported()


def bare():
    """A function and no module."""
    network = Listens().eval()

    def answer(windows):
        return network(windows)

    return answer


def saved(kind, folder):
    path = folder / {"script": "listens.pt"}.get(kind, "listens.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what torch wants to be called otherwise
        if kind == "script":
            torch.jit.trace(Listens().eval(), SHOWN, check_trace=False).save(str(path))
        else:
            torch.export.save(exported(3 if kind == "export-3" else None), path)
    return f"{kind.partition('-')[0]}:{path}"


def accuracy(rbms, tmp_path, model):
    found = rbms("run", signalled.npz_suite(tmp_path / "own"), "-m", model, "--device", "cpu")
    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    return [m.values["accuracy"]["mean"] for m in record.measurements]


@pytest.mark.parametrize("kind", ["export", "export-3", "script"])
def test_a_file_answers_as_the_network_does(kind, tmp_path, rbms):
    file = saved(kind, tmp_path)
    card = tmp_path / "itself.toml"
    card.write_text(CARD)
    own = accuracy(rbms, tmp_path, card)
    for path in (tmp_path / "results").rglob("*.json"):
        path.unlink()

    assert own[0] > 0.9
    assert accuracy(rbms, tmp_path, file) == own


@pytest.mark.parametrize("name", ["at_hand", "bare"])
def test_so_do_a_program_at_hand_and_a_function(name, tmp_path, rbms):
    card = tmp_path / "made.toml"
    card.write_text(CARD.replace("tests.test_activity:listens", f"tests.test_signals_programs:{name}"))

    assert accuracy(rbms, tmp_path, card)[0] > 0.9


def test_a_program_of_other_windows_is_told_in_a_sentence(tmp_path, rbms):
    path = tmp_path / "six.pt2"
    program = torch.export.export(torch.nn.Flatten(), (torch.zeros(2, 6, 100),))
    torch.export.save(program, path)
    found = rbms("run", signalled.npz_suite(tmp_path / "own"), "-m", f"export:{path}", "--device", "cpu")

    assert found.code != 0
    assert "it takes (channels, samples) = (6, 100), and its [input] shows (9, 128)" in " ".join(
        (found.out + found.err).split()
    )
