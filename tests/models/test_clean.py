"""The committed networks for CIFAR-10 have their test images right on any machine."""

from __future__ import annotations

import json

import pytest

from tests.models.clean import CLEAN, networks, right_of

KNOWN = json.loads(CLEAN.read_text())


def test_every_network_is_known():
    assert list(KNOWN) == sorted(networks())


@pytest.mark.parametrize(
    "name", [name if i == 0 else pytest.param(name, marks=pytest.mark.slow) for i, name in enumerate(KNOWN)]
)
def test_a_network_gives_its_clean_accuracy_again(tmp_path, real_data, monkeypatch, name):
    """Another processor may round two answers of 10,000 otherwise."""
    monkeypatch.setenv("RBMS_DATA", str(real_data("cifar10/test_images.npy").parent.parent))

    assert abs(right_of(name, tmp_path) - KNOWN[name]) <= 2
