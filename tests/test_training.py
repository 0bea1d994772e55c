"""The one training loop: the same weights for a seed, stopped or not, and never a test image."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from robustbench_ms.datasets.images import Images
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects import training
from robustbench_ms.subjects.training import augment, read_recipe, train
from robustbench_ms.subjects.weights import file_digest, load_into
from tests import fakes

RECIPE = {"dataset": "digits", "epochs": 12, "batch_size": 200, "lr": 0.05, "warmup_epochs": 1}


class Dropping(torch.nn.Module):
    """Draws from torch's generator while it learns, and keeps statistics."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.body = fakes.Coarse()

    def forward(self, images):
        return self.body(torch.nn.functional.dropout(self.norm(images), 0.2, self.training))


def dropping():
    return Dropping()


def card_of(**recipe):
    return Card(
        "net", "tests.test_training:dropping", input=Input(mean=(0.3,), std=(0.35,)), recipe=RECIPE | recipe
    )


VARIANTS = {
    "plain": {},
    "augmented": {"augment": ["crop", "flip"], "label_smoothing": 0.1, "optimizer": "adamw", "lr": 0.001},
    "mixed and averaged": {"mixup": 0.2, "cutmix": 1.0, "average": 0.9},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_seed_gives_its_weights_stopped_or_not(tmp_path, places, variant):
    card = card_of(**VARIANTS[variant])

    whole = list(train(card, tmp_path / "whole.safetensors", places, device="cpu"))
    torch.rand(5), np.random.rand(3)  # other draws of this process
    again = list(train(card, tmp_path / "again.safetensors", places, device="cpu"))
    for _ in itertools.islice(train(card, tmp_path / "stopped.safetensors", places, device="cpu"), 11):
        pass  # a checkpoint was written after ten epochs
    assert (tmp_path / "stopped.checkpoint").exists()
    assert not (tmp_path / "stopped.safetensors").exists()
    torch.rand(7), np.random.rand(1)
    resumed = list(train(card, tmp_path / "stopped.safetensors", places, device="cpu"))
    other = list(train(card, tmp_path / "other.safetensors", places, device="cpu", seed=1))

    assert [e.number for e in whole] == list(range(1, 13))
    assert [e.number for e in resumed] == [11, 12]
    assert [e.loss for e in resumed] == [e.loss for e in whole[10:]]
    assert [(e.loss, e.lr) for e in again] == [(e.loss, e.lr) for e in whole]
    digests = {n: file_digest(tmp_path / f"{n}.safetensors") for n in ("whole", "again", "stopped", "other")}
    assert digests["whole"] == digests["again"] == digests["stopped"] != digests["other"]
    assert [e.loss for e in other] != [e.loss for e in whole]
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.is_file()) == [".safetensors"] * 4
    assert whole[-1].loss < whole[0].loss
    load_into(dropping(), tmp_path / "whole.safetensors")


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path, places):
    output = tmp_path / "net.safetensors"
    for _ in itertools.islice(train(card_of(), output, places, device="cpu"), 11):
        pass

    for card, seed in (
        (card_of(lr=0.01), 0),
        (card_of(), 3),
        (dataclasses.replace(card_of(), build="tests.fakes:build"), 0),
    ):
        (first,) = itertools.islice(train(card, output, places, device="cpu", seed=seed), 1)
        assert first.number == 1


def test_only_the_training_split_is_opened(tmp_path, monkeypatch, places):
    seen = []
    opened = training._open

    def watching(dataset, where):
        data = opened(dataset, where)
        seen.append(data)
        return data

    monkeypatch.setattr(training, "_open", watching)
    list(train(card_of(epochs=1), tmp_path / "net.safetensors", places, device="cpu"))

    (data,) = seen
    from robustbench_ms.catalog.find import find_suite
    from robustbench_ms.datasets.digits import open_digits

    test = open_digits(find_suite("quick"), places, ())
    assert len(data) == 1200
    assert not set(data.ids) & set(test.ids)


def test_of_cifar_no_test_file_is_touched(tmp_path, places, pictures):
    folder = places.data / "cifar10"
    folder.mkdir(parents=True)
    np.save(folder / "train_images.npy", pictures[0])
    np.save(folder / "train_labels.npy", pictures[1])  # and no test file at all

    card = card_of(dataset="cifar10", epochs=1, batch_size=8)

    assert len(list(train(card, tmp_path / "net.safetensors", places, device="cpu"))) == 1


MISTAKES = {
    "no recipe": ({}, "has no [recipe]"),
    "unknown key": ({**RECIPE, "epoch": 3}, "did you mean 'epochs'"),
    "no epochs": ({"dataset": "digits"}, "the key 'epochs' is missing"),
    "no data set": ({"epochs": 1}, "the key 'dataset' is missing"),
    "a word for a number": ({**RECIPE, "lr": "0.1"}, "lr must be of type float"),
    "true for a number": ({**RECIPE, "epochs": True}, "epochs must be of type int"),
    "a data set that is not there": ({**RECIPE, "dataset": "digit"}, "did you mean 'digits'"),
    "arrays": ({**RECIPE, "dataset": "arrays"}, "no data set to train on named 'arrays'"),
    "a test set": ({**RECIPE, "dataset": "cifar10-c"}, "no data set to train on named 'cifar10-c'"),
    "an augmentation": ({**RECIPE, "augment": ["corp"]}, "did you mean 'crop'"),
    "no epoch": ({**RECIPE, "epochs": 0}, "epochs must be 1 or more"),
    "a batch that is too large": ({**RECIPE, "batch_size": 2000}, "larger than the data set"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_recipe_is_told_before_anything_is_trained(tmp_path, places, case):
    recipe, words = MISTAKES[case]
    card = dataclasses.replace(card_of(), recipe=recipe)

    with pytest.raises(UserError, match="card net") as told:
        list(train(card, tmp_path / "net.safetensors", places, device="cpu"))
    assert words in str(told.value)
    assert not (tmp_path / "net.safetensors").exists()


def test_other_mistakes_are_told(tmp_path, places):
    with pytest.raises(UserError, match=r"a \.safetensors file, not net\.pt"):
        list(train(card_of(), tmp_path / "net.pt", places))
    with pytest.raises(UserError, match="the loss is NaN in epoch 1; a smaller lr may help"):
        list(train(card_of(lr=1e30), tmp_path / "net.safetensors", places, device="cpu"))
    plain = dataclasses.replace(card_of(), build=lambda: lambda x: x)
    with pytest.raises(UserError, match="makes no torch module"):
        list(train(plain, tmp_path / "net.safetensors", places, device="cpu"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the output folder .* cannot be written") as told:
        list(train(card_of(), tmp_path / "file" / "net.safetensors", places, device="cpu"))
    assert "RBMS" not in str(told.value)
    with pytest.raises(UserError, match="no device named 'gpu'"):
        list(train(card_of(), tmp_path / "net.safetensors", places, device="gpu"))


def test_the_shipped_recipes_are_read():
    from robustbench_ms.catalog.find import find_card

    recipe = read_recipe(find_card("digits-resnet8"))
    assert (recipe.dataset, recipe.epochs, recipe.augment) == ("digits", 30, ("crop",))


def test_a_crop_moves_and_a_flip_mirrors(pictures):
    images = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).contiguous()
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))

    moved = augment(images, ("crop",), torch.Generator().manual_seed(0))
    places = set()
    for i in range(40):
        found = [
            (y, x)
            for y in range(9)
            for x in range(9)
            if torch.equal(moved[i], padded[i, :, y : y + 32, x : x + 32])
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 25

    turned = augment(images, ("flip",), torch.Generator().manual_seed(0))
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(turned, images, strict=True)]
    left = [torch.equal(a, b) for a, b in zip(turned, images, strict=True)]
    assert all(m != k for m, k in zip(mirrored, left, strict=True))
    assert 10 < sum(mirrored) < 30
    assert augment(images, (), torch.Generator()) is images


def test_the_command_line_trains_and_says_what_a_card_needs(rbms, tmp_path):
    card = tmp_path / "net.toml"
    card.write_text(
        'build = "tests.fakes:build"\n[input]\nmean = [0.3]\nstd = [0.3]\n'
        '[recipe]\ndataset = "digits"\nepochs = 2\nbatch_size = 300\n'
    )
    output = tmp_path / "weights" / "net-0.safetensors"

    told = rbms("train", card, "-o", output, "--device", "cpu")
    as_json = rbms("train", card, "-o", output, "--device", "cpu", "--json")

    assert told.code == as_json.code == 0
    assert "epoch 2/2  loss" in told.err
    assert as_json.json() == {"file": str(output), "sha256": file_digest(output), "seed": 0}
    assert output.stat().st_mode == card.stat().st_mode  # what people write is not their own alone
    with card.open("a") as file:
        file.write("\n" + told.out)
    suite = tmp_path / "one.toml"
    suite.write_text('dataset = "digits"\nlimit = 20\n')
    assert rbms("run", suite, "-m", card).code == 0
    assert rbms("train", "nets", "-o", output).code == 2
    assert isinstance(training._open("digits", Places(tmp_path, tmp_path, tmp_path)), Images)
