"""The gate on real models and real losses, from weights to a verdict."""

from __future__ import annotations

import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

import robustbench_ms as rbms
from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.corruptions.table import COMMON
from robustbench_ms.gating.run import gate_models
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.places import Places
from robustbench_ms.statistics.bounded import CORRELATION
from robustbench_ms.subjects.inputs import Preprocess
from robustbench_ms.subjects.loading import build_module
from robustbench_ms.subjects.weights import find_weights, load_into
from tests.judging import parse_rules
from tests.running import opened

CARD = find_card("digits-resnet8@0")
together = pytest.mark.xdist_group("gate_models")  # of one worker, which asks the models once
LIMIT = 150
QUICK = find_suite("quick").limited(LIMIT)
CLEAN, CORRUPTED = (rule.tolerance for rule in parse_rules(QUICK.gate)[:2])


def network():
    """The shipped network with its weights."""
    module, _ = build_module(CARD, 10)
    load_into(module, CARD.folder / CARD.weights[0].file)
    return module.eval()


def rounded():
    """Its first layer rounded to 3 bits: seven levels, one scale."""
    module = network()
    with torch.no_grad():
        weight = module.conv1.weight
        scale = weight.abs().max() / 3
        weight.copy_((weight / scale).round() * scale)
    return module


def exported():
    """The same network, exported to a graph and taken back: other code, the same function."""
    example = (torch.zeros(2, 3, 32, 32),)
    program = torch.export.export(network(), example, dynamic_shapes=({0: torch.export.Dim.AUTO},))
    graph = program.module()
    return graph.forward  # as a function, because an exported module refuses eval()


def edited():
    """The same weights under another forward, which forgets the first ReLU."""

    def forward(self, x):
        x = self.bn1(self.conv1(x))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

    module = network()
    module.forward = types.MethodType(forward, module)
    return module


def card_of(build):
    return replace(CARD, name="net", build=build, args={}, weights=())


def accuracy(module, images, labels):
    shown = Preprocess(CARD.input, 3, torch.device("cpu"))(images)
    with torch.inference_mode():
        return float((module(shown).argmax(1) == labels).float().mean())


@pytest.fixture(scope="module")
def others():
    """Test images that the gate below does not see, with their labels and ids."""
    data, seen = opened(find_suite("quick")), set(opened(QUICK).facts.ids.tolist())
    keep = np.flatnonzero([i not in seen for i in data.facts.ids])
    batch = data.load(keep, torch.device("cpu"))
    return batch.samples, batch.targets, torch.from_numpy(batch.ids)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("gate")
    return Places(root / "data", root / "results", root / "cache")


CANDIDATES = (rounded, edited, exported)


@pytest.fixture(scope="module")
def references(folders):
    """The network's record under the name of each candidate, as a run writes it."""
    cards = [replace(card_of(network), name=build.__name__) for build in CANDIDATES]
    return rbms.run(QUICK, cards, results=folders.results, cache=folders.cache)


@pytest.fixture(scope="module")
def judged(references, folders):
    """Of each candidate by its name, all asked in one run: every picture is corrupted once."""
    cards = [replace(card_of(build), name=build.__name__) for build in CANDIDATES]
    found = gate_models(QUICK, cards, str(folders.results), folders)
    return {build.__name__: one for build, one in zip(CANDIDATES, found, strict=True)}


@together
def test_a_model_that_truly_loses_fails(judged, others):
    """Its true loss, on images that the gate does not see, is above two tolerances clean and corrupted."""
    images, labels, ids = others
    losses = {rounded: [], edited: []}
    for name in (None, *COMMON):
        shown = images if name is None else rbms.corrupt(images, name, 3, profile="cifar", ids=ids)
        whole = accuracy(network(), shown, labels)
        for build, found in losses.items():
            found.append(whole - accuracy(build(), shown, labels))

    for build, found in losses.items():
        assert found[0] > 2 * CLEAN
        assert np.mean(found[1:]) > 2 * CORRUPTED
        one = judged[build.__name__]
        assert one.state == "fail"
        clean, corrupted, cells = one.verdicts
        assert (clean.state, corrupted.state, cells.state) == ("fail", "fail", "fail")
        assert clean.interval.low > CLEAN
        assert corrupted.interval.low > CORRUPTED
        assert clean.n == LIMIT
        assert one.worse_cells
    assert judged["edited"].notes == ()  # of the same weights, and not taken for the same model


@together
def test_the_same_model_exported_again_passes(judged, references, folders):
    one = judged["exported"]

    assert one.state == "pass"
    assert max(v.changed for v in one.verdicts) <= 20
    assert not list(folders.results.rglob("*.part"))
    for kept in references:
        assert read_record(kept.path).answers() == kept.answers()  # the gate wrote no record


def changes_correlate(one, other):
    """The correlation of the changed answers of one image between two cells."""
    keys = [key for key in one.keys if key != "clean"]
    rows = [one.keys.index(key) for key in keys]
    changes = one.correct[rows].astype(int) - other.correct[rows]
    variance, of_means, cells = changes.var(axis=1).mean(), changes.mean(axis=0).var(), len(keys)
    return (of_means / variance - 1 / cells) / (1 - 1 / cells)


RECORDS = [
    ("quick/digits-resnet8@0", "quick/digits-resnet8@1"),
    ("quick/digits-resnet8@0", "quick/digits-resnet8-se@0"),
    ("quick/digits-resnet8-cbam@1", "quick/digits-resnet8-se@2"),
    ("cifar10-c/resnet20", "cifar10-c/resnet32"),
]


@pytest.mark.parametrize(("one", "other"), RECORDS)
def test_changed_answers_of_an_image_correlate_no_more_than_the_default_rules_assume(one, other, request):
    folder = request.config.rootpath / "results"
    found = changes_correlate(*(read_record(folder / f"{name}.json").samples() for name in (one, other)))

    assert 0.02 < found < CORRELATION


RESNET20 = find_card("resnet20")


def pruned(share):
    """ResNet-20 with that share of its weights, the smallest, set to 0."""

    def build():
        module, _ = build_module(RESNET20, 10)
        load_into(module, find_weights(RESNET20.weights[0], RESNET20, Places.find()))
        layers = [m for m in module.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
        prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=share)
        return module

    return replace(RESNET20, build=build, args={}, weights=())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "state"),
    [(replace(RESNET20, precision="bf16"), "pass"), (pruned(0.6), "fail")],
    ids=["bf16", "60 % pruned"],
)
def test_the_committed_record_of_resnet20_is_a_reference(changed, state, request, real_data, tmp_path):
    """Against the whole of CIFAR-10-C in memory, by the suite's own rules; ten minutes a model."""
    real_data("cifar10/test_images.npy")
    real_data("weights/resnet20-12fca82f.th")
    suite = find_suite("cifar10-c")
    places = Places.find(cache=tmp_path / "cache", results=tmp_path / "results")
    against = request.config.rootpath / "results" / "cifar10-c" / "resnet20.json"
    (judged,) = gate_models(suite, [changed], str(against), places)

    assert judged.state == state
    assert [v.n for v in judged.verdicts] == [10_000] * 3
    clean, corrupted, _ = judged.verdicts
    if state == "pass":
        assert 0 < clean.changed < 100  # some 17 of 10,000
        assert abs(clean.loss) < 0.002
    else:
        assert clean.interval.low > clean.margin
        assert corrupted.interval.low > corrupted.margin


def test_resnet20_passes_in_bf16_and_fails_pruned_on_a_part(real_data, tmp_path):
    """The same on 400 images of three corruptions, where a tolerance must be wider to be settled."""
    real_data("cifar10/test_images.npy")
    real_data("weights/resnet20-12fca82f.th")
    matrix = {"corruption": ("brightness", "contrast", "jpeg_compression"), "severity": (2,)}
    suite = replace(find_suite("cifar10-c"), name="part", matrix=matrix, limit=400)
    rules = ["accuracy[clean]=3pp", "accuracy[severity=2]=3pp"]
    places = Places.find(cache=tmp_path / "cache", results=tmp_path / "results")
    whole = replace(suite, summary=("clean_accuracy",))
    rbms.run(whole, RESNET20, cache=places.cache, results=places.results)

    def judge(card):
        (judged,) = gate_models(whole, [card], str(places.results), places, rules=rules)
        return judged

    bf16, light, heavy = judge(replace(RESNET20, precision="bf16")), judge(pruned(0.3)), judge(pruned(0.6))
    assert bf16.state == "pass"
    assert light.state != "fail"
    assert heavy.state == "fail"
