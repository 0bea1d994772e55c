"""One contract over everything that is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from robustbench_ms.catalog.find import card_names, find_card, find_suite, shipped, suite_names
from robustbench_ms.catalog.registry import axes_of, rows_of
from robustbench_ms.records.profile import profiles_of
from robustbench_ms.records.record import read_record
from robustbench_ms.reports.boards import boards
from robustbench_ms.reports.pages import page
from robustbench_ms.reports.profiles_page import plain_among, profiles_page
from robustbench_ms.specs.conditions import conditions, key
from robustbench_ms.subjects.adapting import is_adapted
from robustbench_ms.subjects.identity import digest
from robustbench_ms.subjects.loading import build_module
from robustbench_ms.subjects.training import read_recipe
from robustbench_ms.subjects.weights import file_digest, load_into
from tests import pilot
from tests.running import opened, pixels
from tests.test_licences import tracked

ROOT = Path(__file__).parent.parent
RECORDS = sorted((ROOT / "results").glob("*/*.correct.npz"))
SHIPPED_CARDS = sorted(p.stem for p in shipped("baselines").glob("*.toml"))
OURS = [name for name in SHIPPED_CARDS if not is_adapted(find_card(name))]
WEIGHTS = [(name, w) for name in OURS for w in find_card(name).weights if w.file.startswith("weights/")]


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_says_what_it_is_and_has_cells(name):
    suite = find_suite(name)

    assert suite.about
    assert len({key(c) for c in conditions(suite)}) == len(conditions(suite))
    assert set(suite.summary) <= set(rows_of(suite.task).summaries)
    if suite.matrix:
        axis, *_ = axes_of(suite.matrix)
        assert set(axis.groups["common"]) <= set(suite.matrix[axis.name])


@pytest.mark.parametrize("name", SHIPPED_CARDS)
def test_every_card_says_what_it_is_and_where_it_is_from(name):
    card = find_card(name)

    assert name in card_names()
    assert card.about
    assert card.source
    assert not card.input.assumed
    # What calls every pixel the ground, looks at the middle or asks for grey values alone has nothing to train.
    fixed = {"scenes-ground", "scenes-one-centre", "volumes-thresholds"}
    assert card.weights or card.untrained or card.recipe or name in fixed
    if card.recipe:
        read_recipe(card)


@pytest.mark.parametrize(("name", "weights"), WEIGHTS, ids=lambda v: v if isinstance(v, str) else v.file)
def test_every_shipped_file_of_weights_is_the_one_that_its_card_names_and_fits(name, weights):
    card = find_card(name)
    path = card.folder / weights.file
    module, _ = build_module(card, 10)

    assert file_digest(path) == weights.sha256
    load_into(module, path)


def test_the_weights_stay_small():
    sizes = {p.name: p.stat().st_size for p in (shipped("baselines") / "weights").iterdir()}

    assert max(sizes.values()) < 5_000_000
    assert sum(size for name, size in sizes.items() if "-fast" in name) < 35_000_000
    assert sum(sizes.values()) < 68_000_000


def test_the_repository_stays_small():
    sizes = [path.stat().st_size for name in tracked() if (path := ROOT / name).is_file()]

    assert max(sizes) < 5_000_000
    assert sum(sizes) < 120_000_000


@pytest.mark.parametrize("name", [n for n in SHIPPED_CARDS if find_card(n).recipe.get("dataset") == "digits"])
def test_digits_models_are_right_on_most_of_the_test_split(name):
    """Far above chance and far below a promise: the records hold the figures."""
    from robustbench_ms.subjects.inputs import Preprocess

    card = find_card(name)
    data = opened(find_suite("quick"))
    module, card = build_module(card, 10)
    load_into(module, card.folder / card.weights[0].file)
    shown = Preprocess(card.input, 3, torch.device("cpu"))(torch.from_numpy(pixels(data, 0, 200)))
    with torch.inference_mode():
        answers = module.eval()(shown).argmax(1)

    assert (answers == torch.from_numpy(data.labels[:200])).float().mean() > 0.9


@pytest.mark.parametrize(
    "path", RECORDS, ids=lambda p: f"{p.parent.name}/{p.name.removesuffix('.correct.npz')}"
)
def test_every_committed_record_is_whole_and_says_what_it_measured(path):
    record = read_record(path.with_name(path.name.replace(".correct.npz", ".json")))
    suite, samples = find_suite(record.suite["name"]), record.samples()

    assert [m.key for m in record.measurements] == [key(c) for c in conditions(suite)]
    assert samples.keys == tuple(m.key for m in record.measurements)
    for m in record.measurements:
        assert m.error is None
        assert m.protocol == digest({**record.suite["protocol"], **m.condition})
        assert m.n == record.suite["protocol"]["n"]
    for row, m in zip(samples.correct, record.measurements, strict=True) if samples.correct.size else ():
        assert m.n == row.size
        assert m.values["accuracy"]["mean"] == pytest.approx(row.mean(), abs=1e-12)
    assert record.environment.dirty is False
    told = record.card["weights"]  # floors, which are no networks, have none
    assert (told and told["sha256"]) in ({w.sha256 for w in find_card(record.group).weights} or {None})
    told = json.dumps(json.loads(record.path.read_text()))
    assert "/home" not in told
    assert "/root" not in told


def test_the_committed_leaderboard_is_fresh():
    assert (ROOT / "results" / "LEADERBOARD.md").read_text(encoding="utf-8") == page(boards(ROOT / "results"))


def test_the_committed_page_of_profiles_is_fresh_and_every_attention_has_its_plain_network():
    found = list(profiles_of(ROOT / "results"))

    assert (ROOT / "results" / "PROFILES.md").read_text(encoding="utf-8") == profiles_page(found)
    for one in found:
        assert not any(environment.dirty for environment in one.environments)
        assert ("attention" in one.card["args"]) == (plain_among(one, found) is not None)


def test_the_pilots_page_is_fresh_and_the_fast_cards_have_its_rate():
    folder = ROOT / "results"
    told = pilot.page(pilot.accuracies(folder))

    assert (folder / "training-pilot.md").read_text(encoding="utf-8") == told
    assert f"one for all: **{find_card('resnet20-fast').recipe['lr']}**" in told


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60
