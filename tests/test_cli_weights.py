"""Files of weights on the command line: broken, another network's, absent."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from robustbench_ms.catalog.find import shipped
from tests import fakes


def broken_weights(folder):
    """name -> (path, words)"""
    import pickle

    good = fakes.weights_of(fakes.Coarse(), folder, "good.safetensors")
    made = {
        "html.pt": b"<html>not found</html>",
        "html.safetensors": b"<html>not found</html>",
        "empty.pt": b"",
        "empty.safetensors": b"",
        "cut.safetensors": good.read_bytes()[:-50],
        "pickle.pt": pickle.dumps({"a": [1, 2]}),
    }
    for name, told in made.items():
        (folder / name).write_bytes(told)
    torch.save(fakes.Coarse(), folder / "module.pt")
    torch.save({"epoch": 3}, folder / "no-tensors.pt")
    torch.save({0: torch.zeros(3)}, folder / "numbered.pt")
    torch.save(fakes.Coarse().state_dict(), folder / "whole.pt")
    (folder / "cut.pt").write_bytes((folder / "whole.pt").read_bytes()[:-700])
    save_file({"head.weight": torch.zeros(10, 47), "body.bias": torch.zeros(3)}, folder / "other.safetensors")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("html.pt", "is no file of weights"),
        ("html.safetensors", "is a web page"),
        ("empty.pt", "is damaged or no file of weights"),
        ("empty.safetensors", "is damaged or no file of weights"),
        ("cut.safetensors", "is damaged or no file of weights"),
        ("cut.pt", "is damaged or no file of weights"),
        ("pickle.pt", "holds more than weights"),
        ("module.pt", "save its state_dict alone"),
        ("no-tensors.pt", "holds no weights"),
        ("numbered.pt", "holds no weights"),
        (
            "other.safetensors",
            "missing head.bias; not in the model: body.bias; of another shape: head.weight (10, 47) for (10, 48)",
        ),
    ],
)
def test_weights_that_are_none_or_another_networks_are_told(rbms, tiny, tmp_path, name, words):
    broken_weights(tmp_path)

    found = rbms("run", tiny, "-m", "tests.fakes:build", "--weights", tmp_path / name)

    assert found.code == 2
    assert str(tmp_path / name) in found.err
    assert words in found.err
    assert found.err.splitlines()[-1].startswith("rbms: model tests.fakes:build: ")
    assert "weights_only" not in found.err
    assert not list((tmp_path / "results").rglob("*.*"))
    assert not list((tmp_path / "cache" / "cells").glob("*.npz"))


def test_a_digest_that_does_not_match_and_weights_that_are_absent(rbms, tiny, tmp_path):
    fakes.weights_of(fakes.Coarse(), tmp_path)
    card = tmp_path / "mine.toml"
    text = (
        'build = "tests.fakes:build"\n[input]\nmean = [0.4]\nstd = [0.2]\n[weights]\nfile = "w.safetensors"\n'
    )
    card.write_text(text + f'sha256 = "{"ab" * 32}"\n')
    found = rbms("run", tiny, "-m", card, "-m", "tests.fakes:build")
    assert found.code == 1  # the other one is measured
    assert "w.safetensors: its SHA-256 is " in found.err
    assert "not abababababab... as the card says" in found.err

    card.write_text(text.replace("w.saf", "v.saf") + 'url = "https://example.org/v.safetensors"\n')
    found = rbms("run", tiny, "-m", card)
    assert found.code == 2
    assert "weights v.safetensors are not in" in found.err
    assert "they come from https://example.org/v.safetensors: put the file into" in found.err
    assert [path.stem for path in (tmp_path / "results").rglob("*.json")] == ["tests.fakes-build"]


def test_published_weights_say_where_they_come_from(rbms, tiny, tmp_path):
    found = rbms("run", tiny, "-m", "resnet20", "--data", tmp_path / "empty")

    assert found.code == 2
    assert "https://github.com/akamaster/pytorch_resnet_cifar10" in found.err
    assert str(tmp_path / "empty" / "weights") in found.err


def test_weights_that_only_the_repository_has_say_so(rbms, tiny, tmp_path):
    """As in a wheel, which holds the card and not its weights."""
    text = (shipped("baselines") / "resnet20-fast.toml").read_text()
    text = "\n\n".join(p for p in text.split("\n\n") if not p.startswith("[[weights]]"))
    card = tmp_path / "resnet20-fast.toml"
    card.write_text(
        text.replace("untrained = true\n", "")
        + '\n[[weights]]\nfile = "weights/gone.safetensors"\nseed = 0\n'
    )
    found = rbms("run", tiny, "-m", card)

    assert found.code == 2
    assert "weights weights/gone.safetensors are not in" in found.err
    assert "they come from the repository's baselines/weights (made by rbms train" in found.err
