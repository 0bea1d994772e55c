"""Models whose published weights cannot be fetched: one sentence within seconds, and what is cached is taken."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import timm
import torch
from huggingface_hub import constants

from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.subjects import network
from robustbench_ms.subjects.loading import build_module


@pytest.fixture
def silent(monkeypatch, tmp_path):
    """A local address that takes connections and does not answer, as the hub's, with empty caches."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", f"http://{address}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(network, "WAIT", 0.2)
        monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        yield address


def card(build):
    return Card(name=build, build=build, input=Input(assumed=True))


@pytest.mark.parametrize("build", ["timm:resnet18", "timm:resnet18.a1_in1k"])
def test_timm_without_a_network_is_one_sentence(silent, build, capfd):
    with pytest.raises(UserError) as told:
        build_module(card(build), 10)

    assert str(told.value) == (
        f"{build}: its published weights are in no cache here, and {silent} cannot be reached (timed out); "
        "give weights of your own with --weights"
    )
    assert capfd.readouterr() == ("", "")
    assert not constants.HF_HUB_OFFLINE  # as it was


def test_it_waits_for_less_than_five_seconds():
    """For the answer, and for the name, which no socket's timeout covers."""
    assert network.WAIT + 1 < 5


def test_a_name_that_is_looked_up_for_ever_ends_too(monkeypatch):
    forever = threading.Event()

    def looking_up(*_, **__):
        forever.wait(60)
        raise OSError

    monkeypatch.setattr(network, "WAIT", -0.9)
    monkeypatch.setattr(network, "urlopen", looking_up)
    before = time.monotonic()

    told = network.silence("http://nowhere.invalid")
    forever.set()

    assert "no answer" in told
    assert time.monotonic() - before < 30


def test_what_the_cache_holds_is_taken(silent, monkeypatch):
    """The hub's library asks its cache alone."""
    asked = []

    def create(name, **options):
        asked.append((name, options, constants.HF_HUB_OFFLINE))
        return torch.nn.Flatten()

    monkeypatch.setattr(timm, "create_model", create)

    assert isinstance(build_module(card("timm:resnet18"), 10)[0], torch.nn.Flatten)
    assert asked == [("resnet18", {"pretrained": True}, True)]


def test_what_is_wrong_with_a_card_is_not_taken_for_the_network(silent, monkeypatch):
    def create(name, **options):
        raise TypeError("no argument 'depht'")

    monkeypatch.setattr(timm, "create_model", create)

    with pytest.raises(UserError, match=r"could not be made \(TypeError: no argument 'depht'\)"):
        build_module(card("timm:resnet18"), 10)


def test_a_file_at_an_address(silent, tmp_path):
    """As torchvision's: nothing is asked where it lies in torch's cache."""
    url = f"http://{silent}/weights/net-1234.pth"
    with pytest.raises(UserError, match=f"{silent} cannot be reached"), network.fetching(url, hub=False):
        raise AssertionError
    kept = tmp_path / "torch" / "checkpoints" / "net-1234.pth"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with network.fetching(url, hub=False):
        pass


def test_an_answer_of_any_kind_is_an_answer():
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()

        assert network.silence(f"http://127.0.0.1:{server.server_port}") is None
