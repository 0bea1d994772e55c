"""A card's [recipe]: read key by key, refused in one sentence; the augmentations that it names; the shipped ones."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import torch

from robustbench_ms.catalog.find import card_names, find_card, shipped
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card
from robustbench_ms.subjects.training import augment, read_recipe, train
from robustbench_ms.subjects.training.augmentation import turns
from robustbench_ms.subjects.training.recipe import as_told
from robustbench_ms.subjects.weights import told_of

RECIPE = {"dataset": "digits", "epochs": 12, "batch_size": 200, "lr": 0.05, "warmup_epochs": 1}
STEPS = {**RECIPE, "schedule": "multistep", "steps": [4, 8], "factor": 0.2}

MISTAKES = {
    "no recipe": ({}, "has no [recipe]"),
    "unknown key": ({**RECIPE, "epoch": 3}, "did you mean 'epochs'"),
    "no epochs": ({"dataset": "digits"}, "the key 'epochs' is missing"),
    "no data set": ({"epochs": 1}, "the key 'dataset' is missing"),
    "a word for a number": ({**RECIPE, "lr": "0.1"}, "lr must be of type float"),
    "true for a number": ({**RECIPE, "epochs": True}, "epochs must be of type int"),
    "a number for true": ({**RECIPE, "decay_norm": 1}, "decay_norm must be of type bool"),
    "infinity": ({**RECIPE, "lr": float("inf")}, "lr must be a finite number"),
    "a data set that is not there": ({**RECIPE, "dataset": "digit"}, "did you mean 'digits'"),
    "arrays": ({**RECIPE, "dataset": "arrays"}, "no data set to train on named 'arrays'"),
    "a test set": ({**RECIPE, "dataset": "cifar10-c"}, "no data set to train on named 'cifar10-c'"),
    "an augmentation": ({**RECIPE, "augment": ["corp"]}, "did you mean 'crop'"),
    "a word for a list": ({**RECIPE, "augment": "crop"}, "augment must be a list of str"),
    "two flips": ({**RECIPE, "augment": ["flip", "alternating-flip"]}, "keep one"),
    "no epoch": ({**RECIPE, "epochs": 0}, "epochs must be 1 or more"),
    "a batch of one": ({**RECIPE, "batch_size": 1}, "batch_size must be 2 or more"),
    "no rate": ({**RECIPE, "lr": 0.0}, "lr must be above 0"),
    "all held out": ({**RECIPE, "held_out": 1.0}, "held_out must be at least 0 and below 1"),
    "a share below nothing": ({**RECIPE, "held_out": -0.1}, "held_out must be at least 0"),
    "momentum of one": ({**RECIPE, "momentum": 1.0}, "momentum must be at least 0 and below 1"),
    "a schedule": ({**RECIPE, "schedule": "multi-step"}, "did you mean 'multistep'"),
    "a schedule without its steps": ({**RECIPE, "schedule": "multistep"}, "needs steps"),
    "steps without their schedule": ({**RECIPE, "steps": [4]}, "steps belongs to schedule = 'multistep'"),
    "a factor without its schedule": ({**RECIPE, "factor": 0.5}, "factor belongs to schedule = 'multistep'"),
    "steps that fall": ({**STEPS, "steps": [8, 4]}, "steps must rise, each from 1 to 11"),
    "a step after the end": ({**STEPS, "steps": [4, 12]}, "steps must rise, each from 1 to 11"),
    "half a step": ({**STEPS, "steps": [4.5]}, "steps must be a list of int"),
    "a factor of one": ({**STEPS, "factor": 1.0}, "factor must be above 0 and below 1"),
    "a cycle without a rise": (
        {**RECIPE, "schedule": "one-cycle", "warmup_epochs": 0},
        "must be 1 to 11, not 0",
    ),
    "a rise without a fall": (
        {**RECIPE, "schedule": "one-cycle", "warmup_epochs": 12},
        "must be 1 to 11, not 12",
    ),
    "too long a rise": ({**RECIPE, "warmup_epochs": 13}, "warmup_epochs must be at most epochs (12), not 13"),
    "a store": ({**RECIPE, "store": "float16"}, "no way to store named 'float16'; known: full, half"),
    "a batch that is too large": ({**RECIPE, "batch_size": 2000}, "larger than the data set"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_recipe_is_told_before_anything_is_trained(tmp_path, places, case):
    recipe, words = MISTAKES[case]
    card = Card("net", "tests.fakes:build", recipe=recipe)

    with pytest.raises(UserError, match="card net") as told:
        list(train(card, tmp_path / "net.safetensors", places, device="cpu"))
    assert words in str(told.value)
    assert not (tmp_path / "net.safetensors").exists()


def test_a_file_says_its_recipe_as_it_did_before_younger_keys_came():
    """The committed weights of the digits can be made again, to the byte of what they say of themselves."""
    for name in card_names():
        card = find_card(name)
        if card.recipe.get("dataset") != "digits":
            continue
        told = told_of(card.folder / card.weights[0].file)
        assert told.get("training", told) == {
            "card": name,
            "seed": 0,
            "recipe": json.loads(json.dumps(as_told(read_recipe(card)))),
        }


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


def test_an_alternating_flip_shows_both_sides_in_any_two_epochs(pictures):
    images = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).contiguous()
    seen = [
        augment(images, ("alternating-flip",), torch.Generator(), mirrored=turns(40, 0, epoch))
        for epoch in range(4)
    ]

    assert 10 < int(turns(40, 0, 0).sum()) < 30
    for first, second in itertools.pairwise(seen):
        assert torch.equal(first, second.flip(3))
    mirrored = turns(40, 0, 2)
    assert torch.equal(seen[2][mirrored], images[mirrored].flip(3))
    assert torch.equal(seen[2][~mirrored], images[~mirrored])
    assert not torch.equal(turns(40, 1, 0), turns(40, 0, 0))


FAST = [name for name in card_names() if "-fast" in name]


def test_fast_cards_share_one_recipe_and_all_that_is_not_their_network():
    plain = find_card("resnet20-fast")

    assert len(FAST) > 12
    for name in FAST:
        card = find_card(name)
        if card.recipe["optimizer" if "optimizer" in card.recipe else "epochs"] == "adamw":
            continue  # a transformer has a recipe of its own
        recipe = read_recipe(card)
        if name == "resnet20-fast-long":
            assert recipe.epochs == round(2.4 * plain.recipe["epochs"])
            recipe = dataclasses.replace(recipe, epochs=plain.recipe["epochs"])
        assert recipe == read_recipe(plain)
        assert (card.input, card.precision, card.memory_format) == (plain.input, "fp32", "channels_last")
        assert (recipe.held_out, recipe.store) == (0.1, "half")


def test_the_fast_networks_sizes():
    costs = json.loads((shipped("baselines") / "costs.json").read_text())
    sizes = {name: costs[name]["parameters"] for name in FAST}

    assert all(
        269_000 < sizes[f"resnet20-fast-{k}"] < 284_000
        for k in ("se", "cbam", "coord", "ema", "dmsca", "eca")
    )
    wide = costs["resnet20-fast-wide"]
    for name in FAST:
        if name.startswith("resnet20-fast") and name != "resnet20-fast-wide":
            assert wide["parameters"] > sizes[name]
            assert wide["macs"] > costs[name]["macs"], name
    rounded = {
        k: round(sizes[f"amsra-net-fast{k}"] / 1000)
        for k in ("", "-no-lgsa", "-single-scale-3", "-single-scale-5")
    }
    assert list(rounded.values()) == [299, 249, 234, 321]


def test_resnet20_is_not_the_fast_one():
    assert find_card("resnet20").weights[0].file == "resnet20-12fca82f.th"
