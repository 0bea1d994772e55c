"""rbms check of label maps: who has some says so, and what would have to move them is refused before a run."""

from __future__ import annotations

from dataclasses import replace

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.catalog.registry import DATASETS, PERTURBATIONS, PerturbationInfo
from robustbench_ms.contracts.datasets import hold_dataset
from robustbench_ms.contracts.suites import hold_suite
from tests import brought
from tests.test_contracts import held

WARPED = """\
about = "turned over"
dataset = "quick-scenes"
task = "segmentation"
limit = 4
[matrix]
stain = ["{}"]
amount = [1]
"""


def test_what_moves_pixels_is_refused_label_maps_before_anything_is_measured(
    rbms, tmp_path, monkeypatch, places
):
    axes = (replace(brought.AXES[0], values=("one", "still"), groups={}), brought.AXES[1])
    monkeypatch.setattr(PERTURBATIONS, "_registered", {})
    PERTURBATIONS.register("warp", PerturbationInfo(axes, "tests.brought:Warping"))
    path = tmp_path / "warped.toml"
    sentence = "suite warped: one moves pixels, and label maps cannot be moved with them"

    path.write_text(WARPED.format("one"))
    assert sentence in held(hold_suite, find_suite(str(path)), places).faults
    told = rbms("run", path, "-m", "scenes-fcn")
    assert (told.code, sentence in told.err) == (2, True), told.err
    # Where there are no maps, or nothing moves, nothing is said.
    path.write_text(WARPED.format("still"))
    assert held(hold_suite, find_suite(str(path)), places).faults == []
    path.write_text(WARPED.format("one").replace("segmentation", "detection"))
    assert held(hold_suite, find_suite(str(path)), places).faults == []


def test_label_maps_that_facts_do_not_say_are_told(places):
    source = find_suite("quick-segmentation").limited(4).source(("map",))
    info = DATASETS["quick-scenes"]
    assert not [line for line in held(hold_dataset, "mine", info, source, places).faults if "maps" in line]

    DATASETS.register("unsaid", replace(info, target="tests.brought:index_unsaid"))
    faults = held(hold_dataset, "mine", info, replace(source, dataset="unsaid"), places).faults

    assert any("gives other label maps than its facts say (class)" in line for line in faults), faults
