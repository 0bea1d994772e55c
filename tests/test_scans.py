"""Volumes in suites: what perturbs them, what models are shown, and a run in small."""

import dataclasses

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.registry import index_of, perturbation_of, rows_of, task_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets.images import ImageStack
from robustbench_ms.datasets.protocol import MAP
from robustbench_ms.datasets.shapes import Images, Signals, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.faults.volumes.api import artefact
from robustbench_ms.faults.volumes.table import NAMES
from robustbench_ms.specs.card import Input
from robustbench_ms.specs.channels import Channel
from robustbench_ms.specs.conditions import conditions
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.inputs import Standardise, preprocess_of
from robustbench_ms.subjects.training import train
from tests.sources import ROOT

CPU = torch.device("cpu")
AT = (("artefact", "shift"), ("level", 4))


@pytest.fixture
def suite(tmp_path):
    """Three volumes of a file, with maps, and a matrix of artefacts."""
    grid = np.indices((8, 8, 8)).sum(axis=0)
    np.savez(
        tmp_path / "scans.npz",
        volumes=np.stack([grid * 9, grid * 8, grid * 7]).astype(np.uint8),
        labels=np.array([0, 1, 1]),
        masks=np.stack([grid > 9] * 3).astype(np.uint8),
        spacing=np.array([2.0, 1.0, 1.0]),
    )
    path = tmp_path / "mine.toml"
    path.write_text(
        'task = "scans"\ndataset = "volumes"\nfile = "scans.npz"\nclasses = 2\n[matrix]\nartefact = ["shift", "blur"]\n'
    )
    return read_suite(path)


def test_the_shipped_suite_has_every_artefact_at_every_level():
    shipped = read_suite(ROOT / "suites" / "quick-volumes.toml")

    assert [dict(c) for c in conditions(shipped)] == [
        {},
        *({"artefact": name, "level": level} for name in NAMES for level in (1, 2, 3, 4, 5)),
    ]
    assert set(shipped.summary) <= set(rows_of("scans").summaries)


def test_a_suite_shows_artefacts_keyed_by_ids_and_moves_maps(suite):
    source = suite.source(("map",))
    data = index_of(source, Places.find(), ()).open("stored")
    batch = data.load(np.array([2, 0]), CPU)
    perturbation = perturbation_of(dataclasses.replace(suite, seed=5), data.facts)
    found = perturbation(batch, AT)
    wanted = artefact(
        batch.samples, "shift", 4, ids=torch.tensor([2, 0]), seed=5, of_bytes=True, spacing=(2.0, 1.0, 1.0),
        labels=batch.maps[MAP],
    )  # fmt: skip

    assert perturbation.moves(AT)
    assert not perturbation.moves((("artefact", "blur"), ("level", 4)))
    assert torch.equal(found.samples, wanted[0])
    assert torch.equal(found.maps[MAP], wanted[1])
    assert not torch.equal(found.maps[MAP], batch.maps[MAP])
    assert perturbation(batch, (("artefact", "blur"), ("level", 4))).maps[MAP] is batch.maps[MAP]
    assert perturbation.question(AT) == {"artefact_protocol": 1, "seed": 5}


def test_artefacts_are_of_volumes_that_are_not_too_small(suite):
    facts = index_of(suite.source(), Places.find(), ()).open("stored").facts
    small = perturbation_of(suite, dataclasses.replace(facts, layout=Volumes(1, (1, 8, 8))))
    images = ImageStack(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, int), np.zeros(1, int), 2, "").facts

    perturbation_of(suite, facts).check(AT)
    with pytest.raises(UserError, match="suite mine: volumes of 1 x 8 x 8 are too small"):
        small.check(AT)
    with pytest.raises(UserError, match="artefacts are of volumes, and volumes has Images"):
        perturbation_of(suite, images)


def test_the_probe_is_of_the_volumes_own_kind(suite):
    task = task_of(suite)
    bytes_of, floats = (
        task.probe(Volumes(2, (3, 4, 5), None, of_bytes=one)).samples for one in (True, False)
    )

    assert bytes_of.shape == (8, 2, 3, 4, 5)
    assert bytes_of.dtype == torch.float32
    assert (float(bytes_of.min()), float(bytes_of.max())) == (0.0, 255.0) or bytes_of.max() > 200
    assert torch.equal(bytes_of, bytes_of.round())
    assert floats.min() < -0.9
    assert floats.max() < 1


def test_models_are_shown_each_channel_standardised():
    layout, x = Volumes(2, (4, 4, 4)), torch.rand(3, 2, 4, 4, 4)
    shown, _ = Standardise(Input(channels="volumes", mean=(1.0, 2.0), std=(0.5, 4.0)), layout, CPU).shown(x)
    wanted = (x - torch.tensor([1.0, 2.0]).view(1, 2, 1, 1, 1)) / torch.tensor([0.5, 4.0]).view(1, 2, 1, 1, 1)

    assert torch.allclose(shown, wanted, atol=1e-6)
    channel = Channel("a", "g", "accelerometer", "x")
    for wanted_input, given, told in (
        (Input(channels="signals"), layout, "are volumes of 2 channels, and its .input. is of signals"),
        (Input(), layout, "are volumes of 2 channels, and its .input. is of images"),
        (Input(channels="volumes", mean=(0.0,) * 3), layout, "3 numbers, and the volumes have 2 channels"),
        (Input(channels="volumes"), Images(3, 8, 8), "it is shown volumes, and these data are images"),
        (Input(channels="volumes"), Signals((channel,), 8, 50.0), "are signals of 1 channels"),
    ):
        with pytest.raises(UserError, match=told):
            preprocess_of(wanted_input, given, CPU)


def test_what_is_done_to_images_in_training_is_refused_of_volumes(monkeypatch, tmp_path):
    none = np.zeros((1200, 1, 28, 28, 28), np.uint8), np.zeros((1200, 28, 28, 28), np.uint8)
    monkeypatch.setattr("robustbench_ms.datasets.quick_volumes._split", lambda name: none)
    card = find_card("volumes-resnet")
    card = dataclasses.replace(card, recipe={**card.recipe, "augment": ["crop"]})

    with pytest.raises(UserError, match="augment is for images, and quick-volumes has none"):
        next(train(card, tmp_path / "w.safetensors", Places.find(cache=tmp_path), device="cpu"))
