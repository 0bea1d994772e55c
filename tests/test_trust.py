"""What a record names is not run because a record names it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from robustbench_ms.catalog import trust
from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.trust import refuse_code, strangers_code
from robustbench_ms.errors import UserError
from robustbench_ms.gating import speed
from robustbench_ms.specs.card import Card

MODULE = """\
from pathlib import Path
Path(__file__).with_name("ran").touch()
from tests.fakes import build
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A module on the path that leaves a mark when it is imported."""
    (tmp_path / "theirs.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    return tmp_path / "ran"


@pytest.mark.parametrize(
    ("build", "code"),
    [
        ("robustbench_ms.models.cifar:resnet20", False),
        ("timm:resnet18", False),
        ("torchvision:resnet18", False),
        ("onnx:m.onnx", False),
        ("hf:folder", False),
        ("results:folder", False),
        ("mmdet:config.py", True),
        ("export:m.pt2", True),
        ("script:m.pt", True),
        ("theirs:build", True),
        ("robustbench_ms_theirs:build", True),
        ("os:system", True),
        ("robustbench_ms.models.segmenters.tiny_fcn:tiny_fcn", False),
        ("robustbench_ms.models.cifar:nn.Linear", True),
        ("robustbench_ms.files:os.system", True),
        ("robustbench_ms.catalog.targets:load", True),
        ("robustbench_ms.models.attention:importlib.import_module", True),
        ("robustbench_ms.models:AMSRANet.load_state_dict", True),
        ("robustbench_ms.models.segmenters.tiny_fcn:Any", True),
        ("robustbench_ms.models_of_mine:build", True),
        (lambda: None, False),
    ],
)
def test_whose_code_a_card_is(build, code):
    card = Card("m", build)
    assert (strangers_code(card) is not None) == code
    if code:
        with pytest.raises(
            UserError, match=r"the record x would have .* run; name the model with -m .* or say --trust"
        ):
            refuse_code(card, "the record x", trust=False)
    refuse_code(card, "the record x", trust=True)


def test_an_installed_plugin_is_trusted(monkeypatch):
    assert strangers_code(Card("m", "theirs.nets:build"))
    monkeypatch.setattr(trust, "_plugins", lambda: frozenset({"theirs"}))
    assert strangers_code(Card("m", "theirs.nets:build")) is None
    assert strangers_code(Card("m", "theirs.nets:os.system"))


def test_what_a_plugin_imports_is_not_the_plugins(monkeypatch, tmp_path):
    (tmp_path / "theirs.py").write_text(
        "import os\nfrom functools import partial\nfrom shutil import rmtree\nfrom subprocess import run\n"
        "def build(): ...\nsmall, shell = partial(build), partial(run)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    monkeypatch.setattr(trust, "_plugins", lambda: frozenset({"theirs"}))
    names = ("build", "small", "run", "shell", "rmtree", "os.system", "os")

    refused = [name for name in names if strangers_code(Card("m", f"theirs:{name}"))]

    assert refused == ["run", "shell", "rmtree", "os.system", "os"]


def test_a_plugins_adapter_takes_no_word_of_ours(monkeypatch):
    """An adapter "script" of a package is never asked: ours is, and it runs what is in the file."""
    monkeypatch.setattr(trust, "announced", lambda _: {"script": ()})
    assert strangers_code(Card("m", "script:m.pt"))


def test_shipped_cards_are_no_strangers():
    from robustbench_ms.catalog.find import card_names

    assert [name for name in card_names() if strangers_code(find_card(name))] == []


def test_a_record_of_a_strangers_code_is_reproduced_where_it_is_asked_for(
    theirs, rbms, write_suite, tmp_path
):
    suite = write_suite()
    made = rbms("run", suite, "-m", "theirs:build", "--device", "cpu")
    assert made.code == 0, made.err
    (record,) = (tmp_path / "results").rglob("*.json")
    theirs.unlink()
    sys.modules.pop("theirs")
    asked = ("reproduce", record, "--suite", suite, "--device", "cpu")

    for target in (asked, ("reproduce", suite, "--device", "cpu")):
        refused = rbms(*target)
        assert refused.code == 2
        assert "the record of theirs:build would have theirs:build, the code of a module" in " ".join(
            refused.err.split()
        )
        assert not theirs.exists()
    assert rbms("show", record).code == rbms("check", record).code == 0
    assert not theirs.exists()

    assert rbms(*asked, "--trust").code == 0
    assert theirs.exists()
    assert rbms(*asked, "-m", "theirs:build").code == 0
    assert json.loads(record.read_text())["card"]["build"] == "theirs:build"


def test_the_gate_on_speed_builds_no_stranger(monkeypatch):
    """Of a reference whose record names other code only a committed profile counts."""
    from tests.records import record_of

    record = record_of({"clean": 0.9})
    record = replace(record, card={**record.card, "build": "theirs:build"})
    loaded = []

    class Bench:
        def load(self, card):
            loaded.append(card.build)
            return type("Subject", (), {"model": card, "name": card.name})()

    monkeypatch.setattr(speed, "_committed", lambda *_: "committed")
    monkeypatch.setattr(speed, "_together", lambda *_: "together")
    monkeypatch.setattr(
        "robustbench_ms.evaluation.collect.described_card", lambda card: {**record.card, "build": card.build}
    )
    found = type("Found", (), {"record": record})()

    monkeypatch.setattr(speed, "_card", lambda one: Card(one.name, one.card["build"]))
    rule = type("Rule", (), {"cell": ()})()

    def told(build, trusted):
        loaded.clear()
        return speed._found(rule, Card("mine", build), found, None, Bench(), trust=trusted), loaded[1:]

    assert told("mine:build", False) == ("committed", [])
    assert told("mine:build", True) == ("together", ["theirs:build"])
