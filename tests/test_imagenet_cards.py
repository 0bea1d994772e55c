"""Cards with ImageNet's weights: how these are found and fitted, and what the networks answer to real pictures."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import squeezenet1_0 as torchvisions

from robustbench_ms.catalog.cards import read_card
from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.evaluation.run import run
from robustbench_ms.models import squeezenet1_0
from robustbench_ms.specs.card import Card, Weights
from robustbench_ms.specs.settings import Settings
from robustbench_ms.specs.suite import Suite
from robustbench_ms.subjects.weights import find_weights, load_into
from tests.running import only

# weights in a package, and by position


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of an installed package that nobody can import."""
    folder = tmp_path / "site" / "some_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    torch.save(nn.Linear(2, 3).state_dict(), folder / "models" / "w.pth")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def test_weights_lie_in_a_package_that_is_never_imported(package, places):
    weights = Weights("models/w.pth", package="some_weights", url="https://example.org/w")

    assert find_weights(weights, Card("net", "a:b"), places) == package / "models" / "w.pth"
    assert "some_weights" not in sys.modules
    for odd, told in (
        (
            replace(weights, package="no_weights"),
            "package no_weights, which is not installed; it comes from https",
        ),
        (replace(weights, file="models/v.pth"), "models/v.pth are not in the package some_weights"),
    ):
        with pytest.raises(BadFile, match=told):
            find_weights(odd, Card("net", "a:b"), places)


def test_a_card_says_package_and_position_and_is_written_so(tmp_path):
    path = tmp_path / "net.toml"
    path.write_text(
        'build = "a:b"\n[weights]\nfile = "models/w.pth"\npackage = "some_weights"\nby = "position"\n'
    )
    card = read_card(path)

    assert card.weights == (Weights("models/w.pth", package="some_weights", by="position"),)
    assert read_card(card.save(tmp_path / "again.toml")).weights == card.weights
    assert "by" not in Card("n", "a:b", weights=(Weights("w.pt"),)).save(tmp_path / "n.toml").read_text()
    for text, told in (("some.weights", "one package's import name"), ("../up", "one package's import name")):
        path.write_text(f'build = "a:b"\n[weights]\nfile = "w.pth"\npackage = "{text}"\n')
        with pytest.raises(UserError, match=told):
            read_card(path)


class Renamed(nn.Module):
    """The parts of `Plain` under other names."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)


def test_by_position_names_do_not_matter_but_for_their_last_word(tmp_path):
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    plain[1].running_var.fill_(7.0)
    torch.save(plain.state_dict(), tmp_path / "w.pt")
    renamed = Renamed()

    load_into(renamed, tmp_path / "w.pt", by="position")

    assert torch.equal(renamed.stem.weight, plain[0].weight)
    assert torch.equal(renamed.norm.running_var, plain[1].running_var)
    with pytest.raises(UserError, match="another architecture: missing"):
        load_into(renamed, tmp_path / "w.pt")
    turned = nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(3, 4, 1))  # alike in number alone
    with pytest.raises(UserError, match=r"by position 0.weight \(4, 3, 1, 1\) would be 0.weight \(4,\)"):
        load_into(turned, tmp_path / "w.pt", by="position")
    state = plain.state_dict()
    swapped = {
        **{k: v for k, v in state.items() if k != "1.running_var"},
        "1.running_var": state["1.running_var"],
    }
    swapped = dict(sorted(swapped.items(), key=lambda item: (item[0][0], item[0] != "1.running_var")))
    torch.save(swapped, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=r"1.running_var \(4,\) would be norm.weight \(4,\)"):
        load_into(renamed, tmp_path / "odd.pt", by="position")
    with pytest.raises(UserError, match="would be nothing"):
        load_into(nn.Sequential(nn.Conv2d(3, 4, 1)), tmp_path / "w.pt", by="position")


def test_squeezenets_last_convolution_is_padded():
    """The frame of the map is the biases', and the mean over places has it too."""
    torch.manual_seed(0)
    ours, theirs = squeezenet1_0(7).eval(), torchvisions(num_classes=7).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        ours.classifier[1].bias.copy_(torch.linspace(-1, 2, 7))
        theirs.classifier[1].bias.copy_(ours.classifier[1].bias)
        x = torch.randn(2, 3, 97, 97)
        side = theirs.features(x).shape[-1]
        frame = (side + 2) ** 2 - side**2
        expected = (theirs(x) * side**2 + frame * ours.classifier[1].bias.relu()) / (side + 2) ** 2

        assert torch.allclose(ours(x), expected, atol=1e-5)
        assert not torch.allclose(ours(x), theirs(x), atol=0.1)


# on real pictures


def right(suite, name, real_data, places):
    """How many of the 500 are right at first and among five."""
    real_data("imagenet-val-500")
    card = find_card(name)
    if card.weights[0].package is not None:
        pytest.importorskip(card.weights[0].package, reason="the extra `lite` is not installed")
    folder = real_data("weights").parent
    (done,) = only(run(suite, [card], replace(places, data=folder), Settings(device="cpu")), RecordDone)
    (cell,) = done.record.measurements
    assert done.record.health["warnings"] == []
    return [round(cell.values[name]["mean"] * 500) for name in ("accuracy", "top5_accuracy")]


@pytest.mark.slow  # half a minute each
@pytest.mark.parametrize(
    ("name", "top1", "top5"),
    [
        ("squeezenet", 288, 403),
        ("efficientnet-lite0", 348, 461),
        ("efficientnet-lite1", 364, 462),
        ("efficientnet-lite2", 369, 460),
    ],
)
def test_a_card_is_right_as_often_as_its_own_evaluation_is(name, top1, top5, real_data, places):
    assert right(find_suite("imagenet-500"), name, real_data, places) == [
        pytest.approx(top1, abs=1), pytest.approx(top5, abs=1)
    ]  # fmt: skip


@pytest.mark.slow
def test_on_a_canvas_for_all_the_models_own_crop_is_dropped(real_data, places):
    """Another 348, 455 would be of the stored pictures, uncut."""
    suite: Suite = replace(find_suite("imagenet-c-500"), matrix={}, profile=None, summary=("clean_accuracy",))

    assert right(suite, "efficientnet-lite0", real_data, places) == [
        pytest.approx(346, abs=1), pytest.approx(457, abs=1)
    ]  # fmt: skip
