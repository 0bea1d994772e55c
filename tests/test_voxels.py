"""Volumes whose voxels are labelled: measures, what is asked and answered, and numbers over artefacts."""

import dataclasses
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.registry import index_of, measures_of, perturbation_of, rows_of, task_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets.protocol import MAP, Batch
from robustbench_ms.datasets.shapes import Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.models.volumes import Thresholds, VolumeUNet
from robustbench_ms.records.record import read_record
from robustbench_ms.records.summary import summarise
from robustbench_ms.records.terms import Terms
from robustbench_ms.specs.card import Input, Output
from robustbench_ms.specs.conditions import conditions
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.training.targets import loss_of
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.measure import cell_values
from robustbench_ms.tasks.outcomes import merged
from tests.oracles import voxels as oracle
from tests.sources import ROOT

SHIPPED = ROOT / "suites" / "quick-volumes-segmentation.toml"
TASK = task_of(read_suite(SHIPPED))


def said_to_be(classes):
    """Answers of these class indices, all of which are numbers."""
    return Answers({"classes": classes.to(torch.int16), "broken": torch.zeros(len(classes))})


SCORERS = measures_of("volume-segmentation")
SPACING = (2.0, 1.0, 0.5)


def blobs(seed, n=6, side=9):
    """Maps of two nested parts and answers that err, (n, side, side, side) each; the last truth has no part 2."""
    random = np.random.default_rng(seed)
    grid = np.indices((side,) * 3).T.astype(float)
    maps = []
    for _ in range(2 * n):
        away = np.linalg.norm(grid - random.uniform(3, 5, 3), axis=-1)
        maps.append((away < random.uniform(2.5, 4)).astype(np.uint8) + (away < 1.8))
    true, said = np.stack(maps[:n]), np.stack(maps[n:])
    true[-1][true[-1] == 2] = 1
    return true, said


def batch_of(true, classes=3, spacing=SPACING):
    rows = np.arange(len(true))
    asked = [{"classes": classes, "spacing": spacing}] * len(true)
    return Batch(torch.zeros(len(true), 1, *true.shape[1:]), asked, rows, rows, {MAP: torch.from_numpy(true)})


def measured(true, said, **of):
    batch = batch_of(true, **of)
    outcomes = TASK.outcomes(said_to_be(torch.from_numpy(said)), batch)
    return cell_values(SCORERS, merged([(outcomes, batch.rows)]), None, batch.rows, None)


def by_hand(score, true, said, *more):
    """The mean over two classes of the mean over volumes."""
    found = [
        [score(t.tolist(), s.tolist(), k, *more) for t, s in zip(true, said, strict=True)] for k in (1, 2)
    ]
    return statistics.mean(statistics.mean(v for v in one if v is not None) for one in found)


def hd95_by_hand(true, said, label, spacing):
    return oracle.hd95(true, said, label, spacing) if oracle.dice(true, said, label) is not None else None


def test_the_numbers_are_those_of_a_transcription():
    true, said = blobs(1)
    values, absent, kept = measured(true, said)

    assert values["dice"]["mean"] == pytest.approx(by_hand(oracle.dice, true, said), rel=1e-12)
    assert values["surface_dice"]["mean"] == pytest.approx(
        by_hand(oracle.surface_dice, true, said), rel=1e-12
    )
    assert values["hd95"]["mean"] == pytest.approx(by_hand(hd95_by_hand, true, said, SPACING), rel=1e-12)
    alone = [oracle.dice(t.tolist(), s.tolist(), 1) for t, s in zip(true, said, strict=True)]
    assert values["dice_1"]["mean"] == pytest.approx(statistics.mean(alone))
    assert values["dice_1"]["stderr"] == pytest.approx(statistics.stdev(alone) / 6**0.5)
    assert absent == {"dice_3": "the data have no class 3"}
    without = [by_hand(oracle.dice, np.delete(true, i, 0), np.delete(said, i, 0)) for i in range(6)]
    assert sorted(kept["dice/replicates"]) == pytest.approx(sorted(without), rel=1e-6)


@pytest.mark.slow  # MONAI takes long to import
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of its own
def test_the_numbers_are_monais_and_torchmetrics():
    monai = pytest.importorskip("monai.metrics")
    segmentation = pytest.importorskip("torchmetrics.functional.segmentation")
    true, said = blobs(2)
    true, said = true[:-1], said[:-1]
    values, _, _ = measured(true, said)
    one_hot = [
        torch.nn.functional.one_hot(torch.from_numpy(x).long(), 3).movedim(-1, 1) for x in (said, true)
    ]
    ways = {
        "hd95": monai.compute_hausdorff_distance(*one_hot, percentile=95, spacing=list(SPACING)),
        "surface_dice": monai.compute_surface_dice(*one_hot, class_thresholds=[1.0, 1.0]),
        "dice": segmentation.dice_score(*one_hot, num_classes=3, include_background=False, average="none"),
    }
    for name, found in ways.items():
        assert values[name]["mean"] == pytest.approx(float(found.mean()), rel=1e-5), name


def test_an_empty_class_is_one_rule_each():
    true = np.zeros((2, 4, 5, 6), np.uint8)
    true[0, 1:3, 1:3, 1:3] = 1
    said = np.zeros_like(true)
    said[:, 0, 0, 0] = 2  # called where none is true
    values, absent, _ = measured(true, said)

    assert (values["dice"]["mean"], values["surface_dice"]["mean"], values["dice_1"]["mean"]) == (0, 0, 0)
    assert values["hd95"]["mean"] == pytest.approx(float(np.linalg.norm([8, 5, 3])))  # the volume's diagonal
    assert absent["dice_2"] == "no volume's truth has class 2"
    _, absent, _ = measured(np.zeros_like(true), said)
    assert absent["dice"] == absent["hd95"] == "no volume's truth has a class but the background"
    _, absent, _ = measured(true, said, spacing=None)
    assert absent["hd95"] == "the volumes say no spacing"


def model_of(forward, classes=3):
    return SimpleNamespace(
        prepare=lambda samples: (samples, None), forward=forward, names=(), classes=classes,
        card=SimpleNamespace(input=Input(channels="volumes"), output=Output(labels="data")),
    )  # fmt: skip


def test_answers_are_read_on_the_volumes_own_grid():
    true, _ = blobs(3, n=2)
    batch, half = batch_of(true), torch.randn(2, 3, 5, 4, 9)
    larger = torch.nn.functional.interpolate(half, size=(9, 9, 9), mode="trilinear", align_corners=False)

    assert TASK.ask(model_of(lambda x: half / 0), batch).raw["broken"].isfinite().sum() == 0
    assert torch.equal(
        TASK.ask(model_of(lambda x: half), batch).raw["classes"], larger.argmax(1).to(torch.int16)
    )
    assert torch.equal(
        TASK.ask(model_of(lambda x: {"out": larger}), batch).raw["classes"].long(), larger.argmax(1)
    )
    indices = torch.from_numpy(true).long()
    assert torch.equal(TASK.ask(model_of(lambda x: indices), batch).raw["classes"].long(), indices)
    for wrong, told in (
        (torch.zeros(2, 4, 9, 9, 9), "logits of 4 classes, and 3 are asked for"),
        (
            torch.zeros(2, 9, 9),
            r"logits \(n, classes, d, h, w\) or class indices \(n, d, h, w\) of 2 volumes",
        ),
        (indices + 0.5, "fractions"),
        (indices + 7, "answers with class 9, and its classes are 0 to 2"),
    ):
        with pytest.raises(UserError, match=told):
            TASK.ask(model_of(lambda x, wrong=wrong: wrong), batch)


@pytest.fixture
def suite(tmp_path):
    """Four volumes whose grey values say their parts; no label."""
    true, _ = blobs(4, n=4, side=12)
    np.savez(tmp_path / "parts.npz", volumes=np.array([20, 120, 220], np.uint8)[true], masks=true)
    path = tmp_path / "parts.toml"
    path.write_text(
        'task = "volume-segmentation"\ndataset = "volumes"\nfile = "parts.npz"\nclasses = 3\n'
        'summary = ["weighted_dice", "dice_degradation", "worst_artefact_dice"]\n[matrix]\nartefact = "common"\n'
    )
    return path


def test_a_suites_digest_of_labels_is_of_masks(suite):
    source = read_suite(suite).source(TASK.wants)

    with pytest.raises(UserError, match="masks"):
        index_of(dataclasses.replace(source, sha256={"labels": "0" * 64}), Places.find(), ())


def test_the_truth_moves_with_what_moves(suite):
    found = read_suite(suite)
    data = index_of(found.source(TASK.wants), Places.find(), ()).open("stored")
    batch = data.load(np.arange(4), torch.device("cpu"))
    moved = perturbation_of(found, data.facts)(batch, (("artefact", "shift"), ("level", 5)))
    shown = said_to_be(moved.maps[MAP])

    assert batch.targets[0] == {"classes": 3, "spacing": None}
    assert TASK.truth(moved) is None
    right = cell_values(SCORERS, merged([(TASK.outcomes(shown, moved), moved.rows)]), None, batch.rows, None)
    wrong = cell_values(SCORERS, merged([(TASK.outcomes(shown, batch), batch.rows)]), None, batch.rows, None)
    assert right[0]["dice"]["mean"] == 1
    assert wrong[0]["dice"]["mean"] < 0.9


def test_a_run_in_small_gives_the_published_numbers(suite, tmp_path, rbms):
    card = tmp_path / "grey.toml"
    card.write_text(
        'build = "robustbench_ms.models.volumes:Thresholds"\ntasks = ["segmentation"]\n'
        '[args]\nlevels = [70, 170]\nlabels = [0, 1, 2]\n[input]\nchannels = "volumes"\nmean = [0]\nstd = [1]\n'
    )
    found = rbms("run", suite, "-m", card, "--device", "cpu")
    assert found.code == 0, found.err
    assert "volumes a cell" in found.out
    assert "image" not in found.out
    (path,) = (tmp_path / "results").rglob("*.json")
    record = read_record(path)
    terms, values = Terms.of(record), {m.key: m.values for m in record.measurements}
    clean = values["clean"]["dice"]["mean"]
    levels = [
        statistics.mean(values[key]["dice"]["mean"] for key in terms.keys("common") if key.endswith(str(s)))
        for s in range(1, 6)
    ]
    got = summarise(record, ("weighted_dice", "dice_degradation", "clean_dice"))

    assert clean == 1
    assert got["weighted_dice"].mean == pytest.approx(oracle.weighted(clean, levels), rel=1e-12)
    assert got["dice_degradation"].mean == pytest.approx(oracle.degradation(clean, levels), rel=1e-12)
    weighted = got["weighted_dice"]
    assert weighted.low < weighted.mean < weighted.high
    assert rbms("check", path).code == 0


def test_degradation_is_what_gets_worse_whichever_way_is_better():
    terms = Terms.given("volume-segmentation", {}, {"artefact": ["blur"], "level": [1, 2, 3, 4, 5]})
    rows = rows_of("volume-segmentation")

    assert {rows.summary(f"{name}_degradation").better for name in ("dice", "hd95")} == {"lower"}
    assert (terms.rows["dice"].sign, terms.rows["hd95"].sign) == (1, -1)


def test_the_shipped_suite_has_every_artefact_at_every_level():
    shipped = read_suite(SHIPPED)

    assert len(conditions(shipped)) == 66
    assert set(shipped.summary) <= set(rows_of("volume-segmentation").summaries)
    assert find_card("volumes-unet").tasks == ("segmentation",)


def test_the_probe_has_many_greys_and_one_map():
    probe = TASK.probe(Volumes(2, (3, 4, 5), None, of_bytes=True))

    assert probe.samples.shape == (8, 2, 3, 4, 5)
    assert torch.equal(probe.samples, probe.samples.round())
    assert len(probe.samples.unique()) > 50


def test_a_small_unet_learns_maps_of_any_size():
    torch.manual_seed(0)
    net, x = VolumeUNet(width=2), torch.rand(2, 1, 7, 8, 9)
    target = (x[:, 0] > 0.5).to(torch.uint8) + (x[:, 0] > 0.8).to(torch.uint8)
    assert net(x).shape == (2, 3, 7, 8, 9)
    before = loss_of(net, x, target, 0.0)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(net, x, target, 0.0).backward()
        optimizer.step()
    assert loss_of(net, x, target, 0.0) < 0.5 * before


def test_its_loss_is_cross_entropy_and_what_dice_lacks():
    logits, target = (
        torch.tensor([[2.0, 0.0], [0.0, 1.0], [-9.0, 0.5]]),
        torch.tensor([0, 2], dtype=torch.uint8),
    )
    said = logits.softmax(0)
    dice = [
        (2 * (said[k] * (target == k)).sum() + 1) / (said[k].sum() + (target == k).sum() + 1) for k in (1, 2)
    ]
    wanted = -(said[0, 0].log() + said[2, 1].log()) / 2 + 1 - sum(dice) / 2

    assert loss_of(Given(logits), torch.zeros(1), target.view(1, 1, 1, 2), 0.0) == pytest.approx(
        float(wanted)
    )


class Given(VolumeUNet):
    """Answers with logits (K, W) whatever it is shown."""

    def __init__(self, logits):
        super().__init__(width=1)
        self.logits = logits

    def forward(self, x):
        return self.logits.view(1, 3, 1, 1, -1)


def test_thresholds_are_ascending():
    grey = torch.tensor([0.0, 10, 15, 20, 25]).view(1, 1, 1, 1, 5)

    assert Thresholds([10, 20], [0, 2, 1])(grey).flatten().tolist() == [0, 2, 2, 1, 1]
    for levels, labels in (([2, 1], [0, 1, 2]), ([1, 2], [0, 1])):
        with pytest.raises(UserError, match="levels must rise"):
            Thresholds(levels, labels)
