"""rbms check of cards, suites and packages: what is shipped obeys it, and what breaks it is told with what mends it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card, find_suite, suite_names
from robustbench_ms.catalog.registry import DATASETS, PERTURBATIONS, PerturbationInfo
from robustbench_ms.contracts.cards import hold_card
from robustbench_ms.contracts.datasets import _same, hold_dataset
from robustbench_ms.contracts.findings import Findings
from robustbench_ms.contracts.perturbations import hold_perturbation, hold_with_samples, samples_of
from robustbench_ms.contracts.suites import hold_suite
from robustbench_ms.corruptions.keyed import CODES, foreign_code, foreign_keys, keys
from robustbench_ms.corruptions.table import NAMES
from robustbench_ms.datasets import DatasetInfo
from robustbench_ms.specs.card import Card
from robustbench_ms.specs.source import Source
from tests import brought

ROOT = Path(__file__).parent.parent
FILM = PERTURBATIONS["corruptions"]


def held(do, *words):
    find = Findings("thing", "it")
    do(find, *words)
    return find


# what is shipped


def test_every_shipped_suite_obeys_it(places):
    found = {name: held(hold_suite, find_suite(name), places).faults for name in suite_names()}

    assert {name: faults for name, faults in found.items() if faults} == {}
    assert len(found) > 20


@pytest.mark.parametrize("name", ["digits-resnet8", "resnet20-fast-se"])
def test_shipped_cards_obey_it(name, places):
    find = held(hold_card, find_card(name), places)

    assert (find.faults, find.notes) == ([], [])


def test_cards_of_volumes_and_signals_are_asked_about_their_own_kind(places, monkeypatch):
    one = np.random.default_rng(0).integers(0, 256, (1797, 1, 8, 8, 8), dtype=np.uint8)
    monkeypatch.setattr(
        "robustbench_ms.datasets.quick_volumes._split", lambda _: (one[:597], one[:597, 0] // 86)
    )
    sources = {"volumes-unet": [], "har-resnet": ["signals"], "volumes-thresholds": ["volumes"]}
    for name, kinds in sources.items():
        card = find_card(name)
        find = held(hold_card, replace(card, weights=card.weights[:1]), places)

        assert find.faults == []
        told = [f"is not asked: --suite SUITE says which {kind} it is shown" for kind in kinds]
        assert [line.partition(": ")[2] for line in find.notes] == told
    windows = replace(find_card("volumes-unet").input, window=(4, 4, 4), overlap=0.5)
    card = find_card("volumes-unet")
    assert held(hold_card, replace(card, input=windows, weights=card.weights[:1]), places).faults == []


def of_ours(names, severities):
    first, second = FILM.axes
    return replace(FILM, axes=(replace(first, values=names, groups={}), replace(second, values=severities)))


def test_shipped_corruptions_obey_it():
    """One of each kind of draw: a loop from keys, blocks, layers, none."""
    few = of_ours(("gaussian_noise", "glass_blur", "contrast", "fog"), (3,))

    assert held(hold_perturbation, "corruptions", few).faults == []


@pytest.mark.slow
def test_all_shipped_corruptions_obey_it():
    assert held(hold_perturbation, "corruptions", of_ours(NAMES, (1, 5))).faults == []


# perturbations

BROKEN = {
    "Unkeyed": "uses a generator of the whole process",
    "Counting": "gives other bytes for the same samples at a second call",
    "ByPlace": "gives a sample other bytes at another place in the batch",
    "ByBatch": "gives a sample other bytes where it is alone",
    "InPlace": "changes the samples that it is given",
    "Floats": "gives torch.float32, not torch.uint8",
    "Cropped": "gives shape (6, 3, 32, 31) for (6, 3, 32, 32)",
    "OneForAll": "draws the same for every sample",
    "Seedless": "draws the same under every seed",
    "Unsaid": "its question does not say the seed",
    "Numberless": "its question does not say its number, 3",
    "Raising": "raises RuntimeError: no film in it (",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_perturbation_that_breaks_it_is_told_where_and_how(name):
    info = PerturbationInfo(brought.AXES, f"tests.brought:{name}")

    faults = held(hold_perturbation, "perturbations mine", info).faults

    assert any(
        line.startswith(f"perturbations mine stain=one,amount=1: {BROKEN[name]}") for line in faults
    ), faults


def test_one_that_keeps_it_has_no_fault_and_one_that_is_not_there_one():
    assert held(hold_perturbation, "mine", PerturbationInfo(brought.AXES, "tests.brought:Well")).faults == []
    (fault,) = held(hold_perturbation, "mine", PerturbationInfo(brought.AXES, "tests.brought:Wll")).faults
    assert fault == "mine: tests.brought has no 'Wll'; did you mean 'Well'?"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("Well", None),
        ("MapsCopied", None),
        ("MovesMaps", "changes label maps, and says that it moves nothing"),
        ("MapsInPlace", "changes the label maps that it is given"),
    ],
)
def test_label_maps_are_held_too(kind, told):
    facts, batch = samples_of(32)
    maps = torch.arange(len(batch) * 32 * 32, dtype=torch.int64).reshape(-1, 32, 32) % 7
    suite = replace(find_suite("quick").limited(6), matrix={"stain": ("one",), "amount": (1,)})

    faults = held(
        hold_with_samples, "mine", getattr(brought, kind), suite, facts, replace(batch, maps={"class": maps})
    ).faults

    assert [told in line for line in faults] == ([] if told is None else [True])


def test_data_on_the_disk_are_found_where_their_reader_looks(places):
    (places.data / "VOCdevkit/VOC2012/SegmentationClass").mkdir(parents=True)

    notes = held(hold_suite, find_suite("voc-c"), places).notes

    assert any("its data could not be opened: " in line for line in notes)
    assert not any("so that they were not opened" in line for line in notes)


def test_a_segmenter_without_a_suite_is_loaded_and_not_asked(places):
    build = "robustbench_ms.models.segmenters.tiny_fcn:tiny_fcn"
    card = Card("mine", build, tasks=("segmentation",), args={"classes": 21})

    find = held(hold_card, card, places)

    assert not [line for line in find.faults if "classes" in line]
    assert any("is loaded and not asked: --suite SUITE says whose classes" in line for line in find.notes)


def test_targets_of_any_kind_are_compared():
    one = [{"boxes": np.zeros((2, 4)), "labels": torch.tensor([1, 2])}, 3]
    other = [{"boxes": np.zeros((2, 4)), "labels": torch.tensor([1, 3])}, 3]

    assert _same(one, one)
    assert not _same(one, other)
    assert not _same({"boxes": np.zeros((2, 4))}, {"boxes": np.ones((2, 4))})


def test_grey_images_and_those_of_a_suite_are_asked_alike():
    facts, batch = samples_of(64, channels=1)
    suite = find_suite("quick").limited(6)
    suite = replace(suite, profile="any-size", matrix={"corruption": ("snow",), "severity": (5,)})
    from robustbench_ms.tasks.corrupting import Corruptions

    assert held(hold_with_samples, "mine", Corruptions, suite, facts, batch).faults == []


def test_a_strangers_key_is_64_bits_of_its_name_and_no_other_is_like_it():
    ids = torch.tensor([0, 1, 2**40])
    code = foreign_code("rbms-stripes", "dust")

    assert code == int(hashlib.sha256(b"rbms-stripes:dust").hexdigest()[:16], 16)
    ours = {tuple(keys(name, s, 0, ids).tolist()) for name in CODES for s in range(1, 6)}
    theirs = {
        tuple(foreign_keys(c, severity, seed, ids).tolist())
        for c in (code, code ^ 1, code ^ 1 << 63)
        for severity in (1, 2, 3)
        for seed in (0, 1)
    }
    assert len(ours | theirs) == 19 * 5 + 18
    turned = foreign_keys(code, 1, 0, ids.flip(0))
    assert torch.equal(turned.flip(0), foreign_keys(code, 1, 0, ids))


# data sets, suites, cards


def test_a_data_set_that_breaks_it_is_told(places):
    for target, words in {
        "index_changing": ["opens to other samples at a second time"],
        "index_odd": [
            "its ids must be 8 different whole numbers",
            "its index and its data have other ids",
            "its batches are not all of its 8 rows",
            "has 2 classes, and its row says 3",
            "has 8 samples, and its row says 9",
            "gives a row other samples in another order or alone",
        ],
    }.items():
        info = DatasetInfo(f"tests.brought:{target}", "odd", 3, sizes=(9,), embedded=True)
        DATASETS.register("odd", info)
        faults = held(hold_dataset, "datasets odd", info, Source("odd", classes=2), places).faults
        for told in words:
            assert any(told in line for line in faults), (told, faults)
    info = DATASETS["digits"]
    assert held(hold_dataset, "datasets digits", info, Source("digits", classes=10), places).faults == []


def test_a_suite_that_breaks_it_is_told(write_suite, pictures, rbms, tmp_path):
    path = write_suite(replace=[("[matrix]", 'gate = ["clean_acuracy=1pp"]\nalso = []\n[matrix]')])
    path.write_text(path.read_text() + f'[sha256]\nimages = "{"0" * 64}"\n')

    found = rbms("check", path)

    assert found.code == 1
    lines = found.out.splitlines()
    assert any("gate: " in line and "did you mean 'clean_accuracy'?" in line for line in lines)
    assert any(line.startswith("suite tiny: ") and "its SHA-256 is" in line for line in lines)
    path.write_text(path.read_text().replace("also = []", 'summary = ["clean_accuracy"]\nalso = []'))
    assert "summary: clean_accuracy is over clean cells, and its matrix has none" in rbms("check", path).out
    path.write_text('about = "mine"\ndataset = "digits"\ntask = "detection"\nprofile = "cifar"\n[matrix]\n')
    assert "its task wants boxes of a sample, and digits gives label" in rbms("check", path).out
    path.write_text('dataset = "digts"\n')
    told = rbms("check", path)
    assert (told.code, told.err) == (1, "")
    assert "no data set named 'digts'; did you mean 'digits'?" in told.out
    assert (
        rbms("check", write_suite("whole")).out.splitlines()[-1]
        == f"suite {path.parent}/whole.toml: all well"
    )


CARDS = {
    "ReadsTheBatch": "its answer to a sample depends on the batch",
    "nan_at_once": "it answers NaN or infinity on noise, the probe; cells of which an answer is none fail",
    "Probabilities": "answers with probabilities, not logits",
    "pair": "it answers for 2 classes, and the data set has 10",
    "raises_at_once": "it raises ValueError on the probe: a bug of the model's own",
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_that_breaks_it_is_told(name, rbms, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        f'about = "mine"\nsource = "here"\nbuild = "tests.fakes:{name}"\n[input]\nrange = [0, 1]\n'
    )

    found = rbms("check", path, "--suite", "quick")

    assert found.code == 1
    first, fault = found.out.splitlines()[:2]
    assert first == f"runs tests.fakes:{name} ({ROOT / 'tests' / 'fakes.py'})"
    assert fault.startswith(f"card mine: {CARDS[name]}")


def test_what_a_card_does_not_say_is_told_and_a_well_one_is_well(rbms, tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text('build = "tests.fakes:build"\n[[weights]]\nfile = "w.safetensors"\n')

    found = rbms("check", path, "--json")

    assert found.code == 1
    (told,) = found.json()["checked"]
    assert told["runs"] == [f"tests.fakes:build ({ROOT / 'tests' / 'fakes.py'})"]
    for words in (
        "says no about",
        "says no source",
        "add [input]",
        "w.safetensors may be any file of that name; add sha256",
        "w.safetensors",
    ):
        assert any(words in line for line in told["faults"]), words
    path.write_text('about = "mine"\nsource = "here"\nbuild = "tests.fakes:build"\n[input]\nrange = [0, 1]\n')
    assert rbms("check", path, "--suite", "quick").out.splitlines()[-1] == f"card {path}: all well"
    (tmp_path / "mynets.py").write_text("from tests.fakes import build")
    monkeypatch.chdir(tmp_path)
    assert f"runs mynets:build ({tmp_path / 'mynets.py'})" in rbms("check", "mynets:build").out
    assert "runs nopkg.nets:build (cannot be found: " in rbms("check", "nopkg.nets:build").out
    for words, told in {
        ("check", "quikc"): "no file, suite, model or package named 'quikc'; did you mean 'quick'?",
        (
            "check",
            "quick",
            "--suite",
            "quick",
        ): "--suite says what a card is asked about, and quick is a suite",
    }.items():
        found = rbms(*words)
        assert (found.code, told in found.err) == (2, True), found.err


@pytest.mark.parametrize("name", ["prints", "f64default"])
def test_of_no_suite_a_card_is_asked_how_many_classes_it_has_and_keeps_to_itself(name, rbms, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        f'about = "mine"\nsource = "here"\nbuild = "tests.strangers.models:{name}"\n[input]\nrange = [0, 1]\n'
    )

    (told,) = rbms("check", path, "--json").json()["checked"]

    assert told["faults"] == []
    assert told["notes"] == [
        "card mine: answers for 10 classes; --suite SUITE holds it to those of a suite's data"
    ]
    assert torch.get_default_dtype() == torch.float32


# the template


def test_the_template_is_built_installed_listed_run_and_checked(tmp_path):
    """By the command line, in processes that see it as any installed package."""
    source, site, away = tmp_path / "source", tmp_path / "site", tmp_path / "away"
    shutil.copytree(ROOT / "examples" / "plugin", source, ignore=shutil.ignore_patterns("__pycache__"))
    away.mkdir()
    paths = os.pathsep.join([str(site), str(ROOT)])

    def call(*words):
        found = subprocess.run(
            [sys.executable, *map(str, words)], cwd=away, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    pip = ("-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-w", tmp_path / "wheels", source)
    (wheel,) = (tmp_path / "wheels").glob("*.whl")
    call(*pip, "install", "--no-index", "--no-deps", "--target", site, wheel)

    told = json.loads(call("-m", "robustbench_ms", "list", "--json"))
    assert {row["name"] for row in told["packages"]} == {"stripes", "film", "orientation"}
    assert told["refused"] == []
    found = json.loads(
        call(
            "-m", "robustbench_ms", "run", "stripes-film", "-m", "stripes-differences", "--limit", "32",
            "--threads", "1", "--results", "results", "--cache", "cache", "--json",
        )
    )  # fmt: skip
    record = json.loads((away / found["records"][0]["path"]).read_text())
    cells = {m["key"]: m for m in record["measurements"]}
    assert len(cells) == 7
    assert cells["clean"]["values"]["angle"]["mean"] == 0
    assert record["suite"]["protocol"]["task"] == "orientation"
    assert cells["film=dust,strength=3"]["condition"]["perturbation"] == "rbms-stripes:dust"
    lines = call("-m", "robustbench_ms", "check", "rbms-stripes").splitlines()
    assert lines[-1] == "package rbms-stripes: all well (1 suites, 1 cards, 3 rows)"
    assert (
        f"runs card stripes-differences: rbms_stripes.nets:differences ({site}/rbms_stripes/nets.py)" in lines
    )


def test_the_templates_own_tests_pass(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "plugin"))
    found: dict = {}
    path = ROOT / "examples" / "plugin" / "tests" / "test_stripes.py"
    exec(compile(path.read_text(), path, "exec"), found)
    tests = [value for name, value in found.items() if name.startswith("test_")]

    assert tests
    for test in tests:
        test()
    assert np.array_equal(found["picture"](5), found["picture"](5))
