"""Heat maps as they are run: records, gates, pictures, the rows that a real map must beat, COCO's pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from robustbench_ms.catalog.find import find_card, find_suite
from robustbench_ms.datasets import scenes
from robustbench_ms.errors import UserError
from robustbench_ms.models.centre import centre
from robustbench_ms.records.record import read_record
from robustbench_ms.saliency.layers import last_map
from robustbench_ms.saliency.methods import METHODS
from robustbench_ms.saliency.taking import take
from robustbench_ms.subjects.training.recipe import learnt, read_recipe
from robustbench_ms.tasks.localisation.measures import SCORERS
from robustbench_ms.tasks.localisation.rows import ROWS

SUITE = """\
about = "few scenes"
task = "localisation"
dataset = "quick-scenes-one"
profile = "any-size"
summary = ["corrupted_energy", "clean_energy", "clean_area_share", "clean_box_acc_v2"]

[matrix]
corruption = ["gaussian_noise"]
severity = [5]
"""
TRAINED = [
    f"scenes-one{kind}"
    for kind in ("", "-cbam", "-ema", "-dmsca", "-amsra-net", "-amsra-net-no-lgsa", "-amsra-net-single-scale")
]


class Blinded(nn.Module):
    """Looks at the middle, and answers NaN for one class where neighbours differ much."""

    def __init__(self):
        super().__init__()
        self.inner = centre(classes=10)

    def forward(self, images):
        logits = self.inner(images).clone()
        logits[images.diff(dim=3).abs().mean((1, 2, 3)) > 0.2, 9] = torch.nan
        return logits


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A suite of twelve scenes, with twenty to find thresholds on."""
    small = replace(scenes.ONE, ids={"train": (0, 20), "test": (3000, 3012)})
    monkeypatch.setattr(scenes, "_KINDS", {small.name: small})
    scenes._scenes.cache_clear()
    path = tmp_path / "few.toml"
    path.write_text(SUITE)
    yield path
    scenes._scenes.cache_clear()


def test_a_run_its_record_and_its_pictures(few, tmp_path, rbms):
    found = rbms("run", few, "-m", "scenes-one-centre", "-m", "scenes-one-random", "--device", "cpu")
    assert found.code == 0, found.err
    assert "scenes-one-random (untrained)" in found.out
    path = tmp_path / "results" / "few" / "scenes-one-centre.json"
    record = read_record(path)
    clean, noisy = record.cell("clean").values, record.cell("corruption=gaussian_noise,severity=5").values

    assert {name: v["mean"] for name, v in clean.items() if "right" not in name} == {
        name: v["mean"] for name, v in noisy.items() if "right" not in name
    }, "the middle is the middle whatever is shown"
    assert 0 < clean["energy"]["mean"] < 0.3
    assert record.suite["protocol"]["cam"] == "grad-cam"
    samples = record.samples()
    assert samples.replicates("pointing", ["clean"]).shape == (1, 12)
    assert rbms("check", path).code == 0
    random = path.with_name("scenes-one-random.json")
    assert rbms("compare", random, path).code == 0
    # The middle has more energy than random weights; the other way round twelve scenes cannot tell.
    for one, other, state in ((path, random, "pass"), (random, path, "unsure")):
        gated = rbms("gate", one, "--against", other, "--rule", "clean_energy=1pp")
        assert f"**{state}**" in gated.out, gated.out + gated.err

    sheet = tmp_path / "maps.png"
    shown = rbms("show", path, "--suite", few, "--maps", sheet, "--json")
    assert shown.code == 0, shown.err
    assert shown.json()["cells"] == ["clean", "gaussian_noise-5"]
    assert len(shown.json()["ids"]) == 3
    assert np.asarray(Image.open(sheet)).std() > 10
    assert rbms("show", path, "--suite", few, "--maps", sheet, "--images", sheet).code == 2


def test_what_is_no_number_ends_its_cell_alone(few, tmp_path, rbms):
    card = tmp_path / "blinded.toml"
    card.write_text('build = "tests.test_localisation_runs:Blinded"\n[input]\nrange = [0, 1]\n')
    found = rbms("run", few, "-m", card, "--device", "cpu")

    assert found.code == 1
    clean, noisy = read_record(tmp_path / "results" / "few" / "blinded.json").measurements
    assert clean.error is None
    assert noisy.error.startswith("NaN for 12 of 12 images, first 3,000")


def test_the_worst_map_comes_first(few, tmp_path, rbms):
    from robustbench_ms.evaluation.finished import Finished
    from robustbench_ms.evaluation.panels import worst_maps
    from robustbench_ms.specs.places import Places

    assert rbms("run", few, "-m", "scenes-one-random", "--device", "cpu").code == 0
    record = read_record(tmp_path / "results" / "few" / "scenes-one-random.json")
    finished = Finished(record, Places.find(), find_suite(str(few)))
    cells = [finished.named(name) for name in ("clean", "gaussian_noise-5")]
    ids = worst_maps(finished, cells)
    energy = [finished.cell(c).outcomes.items["pairs"].columns["energy"] for c in cells]
    fall = dict(zip(finished.index.ids.tolist(), energy[0] - energy[1], strict=True))

    assert [fall[i] for i in ids] == sorted(fall.values(), reverse=True)
    assert worst_maps(finished, cells[:1])[0] == finished.index.ids[energy[0].argmin()]


def test_maps_of_another_task_are_refused(tiny, rbms, tmp_path):
    assert rbms("run", tiny, "-m", "tests.fakes:build", "--device", "cpu").code == 0
    (path,) = (tmp_path / "results" / "tiny").glob("*.json")
    found = rbms("show", path, "--suite", tiny, "--maps", tmp_path / "m.png")
    assert found.code == 2
    assert "is a record of classification, which has no heat maps; --images draws it" in found.err


def test_the_middle_is_its_map_by_every_method():
    model = centre(classes=4, side=8).eval()
    x = torch.rand(2, 3, 16, 16)
    layer = last_map(model, model, x)
    found = take(model, model, layer, x, [[1], [3]])

    for method in METHODS.values():
        heat = method(found.activations, found.gradients)
        assert torch.allclose(heat / heat.max(), model.hump.hump.expand(2, -1, -1) / model.hump.hump.max())
    assert torch.equal(model.hump.hump, model.hump.hump.flip(0).T)


def test_cards_are_trained_alike():
    recipes = [read_recipe(find_card(name)) for name in TRAINED]
    assert all(recipe == recipes[0] for recipe in recipes)
    assert {find_card(name).input for name in TRAINED} == {find_card("scenes-one-random").input}
    assert learnt(find_card("scenes-one"), "quick-scenes-one") == "label"
    assert find_card("scenes-one-random").args == find_card("scenes-one").args


def test_rows_and_measures_have_the_same_names():
    assert sorted(ROWS.measured) == sorted(name for scorer in SCORERS for name in scorer.names)


def test_other_classes_than_the_datas_end_before_anything_is_asked(few, rbms, tmp_path):
    card = tmp_path / "other.toml"
    card.write_text(
        'build = "robustbench_ms.models:resnet_cifar"\n[args]\ndepth = 8\nwidth = 4\nclasses = 3\n[input]\nsize = 32\n'
    )
    found = rbms("run", few, "-m", card, "--device", "cpu")
    assert found.code == 2
    assert "it answers for 3 classes, and 10 are asked for; its [output] labels may name its own" in found.err
    card.write_text(card.read_text().replace("classes = 3", "classes = 10") + '[output]\nlayer = "layer4"\n')
    found = rbms("run", few, "-m", card, "--device", "cpu")
    assert found.code == 2
    assert "no layer named 'layer4'; did you mean 'layer3'?" in found.err


@pytest.mark.slow
def test_squeezenet_looks_at_cocos_pictures(real_data, tmp_path, rbms, monkeypatch):
    data = real_data("coco-mini/annotations/instances_val2017.json").parents[2]
    real_data("squeezenet1_0_deepcompression_torchvision_layout_rgb.pth")
    found = rbms(
        "run", "coco-mini-localisation", "-m", "squeezenet", "--device", "cpu", "--limit", "6", "--data", data,
        "--corruptions", "fog",
    )  # fmt: skip
    assert found.code == 0, found.err
    (path,) = (tmp_path / "results").rglob("squeezenet.json")
    clean = read_record(path).cell("clean")
    assert clean.values["energy"]["mean"] > clean.values["area_share"]["mean"]
    assert clean.absent["box_acc_v2"].startswith("the data set has no training pictures")


def test_pairs_of_the_shipped_list_are_names_of_one_sense():
    from robustbench_ms.tasks.detection.labels import COCO
    from robustbench_ms.tasks.localisation.pairs import read_pairs

    suite = find_suite("coco-mini-localisation")
    pairs = read_pairs(str(suite.options["pairs"]), suite.folder)
    assert len(pairs.known(COCO)) == 20
    assert not {"kite", "cup"} & set(pairs.wnids)  # a bird and a punch in ImageNet
    with pytest.raises(UserError, match="is no class of the data set"):
        pairs.known(COCO[:10])
