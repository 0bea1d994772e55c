"""Volumes of unequal shape: shown shape by shape, answered alike in any order, and refused of a model of one shape."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_ms.catalog.registry import perturbation_of, task_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets.protocol import MAP, limited
from robustbench_ms.datasets.scan_folder import index_scans
from robustbench_ms.datasets.shapes import RaggedVolumes, Volumes
from robustbench_ms.errors import UserError
from robustbench_ms.evaluation.jobs import fitting_batch
from robustbench_ms.faults.volumes.api import artefact
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.places import Places
from robustbench_ms.tasks.answers import Answers
from robustbench_ms.tasks.outcomes import merged
from tests.test_scan_folder import save

CPU = torch.device("cpu")
SHAPES = {"a": (6, 8, 7), "b": (8, 8, 8), "c": (6, 8, 7), "d": (5, 9, 4), "e": (8, 8, 8)}
"""To the right, front and top."""
AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])
AT = (("artefact", "shift"), ("level", 4))
SUITE = """task = "volume-segmentation"
dataset = "scan-folder"
path = "mr"
summary = ["clean_dice"]
[matrix]
artefact = ["rician_noise", "elastic"]
level = [2]
"""


def write(root, names):
    """A folder of nnU-Net's of some of the volumes, and a suite of it."""
    for folder in ("imagesTs", "labelsTs"):
        (root / "mr" / folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        values = np.random.default_rng(ord(name)).random(SHAPES[name]).astype(np.float32)
        save(root / f"mr/imagesTs/{name}_0000.nii", values, AFFINE)
        save(root / f"mr/labelsTs/{name}.nii", (values > 0.6).astype(np.uint8), AFFINE)
    told = {"channel_names": {"0": "T1"}, "labels": {"ground": 0, "tumour": 1}, "file_ending": ".nii"}
    (root / "mr" / "dataset.json").write_text(json.dumps(told))
    (root / "mine.toml").write_text(SUITE)
    return read_suite(root / "mine.toml")


@pytest.fixture
def suite(tmp_path):
    return write(tmp_path, "abcde")


def index(suite):
    return index_scans(suite.source(("map",)), Places.find(), ())


def test_they_are_shown_shape_by_shape(suite):
    found = index(suite)
    data = found.open("stored")
    helpings = [rows.tolist() for rows in data.batches(2 * 8**3)]

    assert isinstance(found.layout, RaggedVolumes)
    assert found.layout.values == 8**3
    assert found.layout.spacing == (3.0, 2.0, 1.0)
    assert sorted(helpings) == [[0, 2], [1, 4], [3]]
    assert [len(rows) for rows in data.batches(1)] == [1] * 5
    for rows in helpings:
        batch = data.load(np.array(rows), CPU)
        assert batch.samples.shape[2:] == batch.maps[MAP].shape[1:] == SHAPES["abcde"[rows[0]]][::-1]
        assert batch.targets == [{"classes": 2, "spacing": (3.0, 2.0, 1.0)}] * len(rows)


def test_a_limit_and_a_probe_are_of_some_of_them(suite):
    part = limited(index(suite), 3)
    data = part.open("stored")

    assert len(data.facts.layout.shapes) == 3
    assert sorted(row for rows in data.batches(10**6) for row in rows.tolist()) == [0, 1, 2]
    for name in ("volume-segmentation", "scans"):
        task = task_of(suite) if name == suite.task else task_of(read_scans(suite))
        assert task.probe(part.layout).samples.shape == (8, 1, *part.layout.at(0).shape)


def read_scans(suite):
    path = suite.folder / "scans.toml"
    path.write_text('task = "scans"\ndataset = "scan-folder"\npath = "t.csv"\nclasses = 2\n')
    return read_suite(path)


def test_equal_shapes_are_volumes_as_before(tmp_path):
    assert index(write(tmp_path, "ac")).layout == Volumes(1, (7, 8, 6), (3.0, 2.0, 1.0))


def test_the_digest_is_of_shapes_volumes_and_masks(tmp_path):
    digests = set()
    for k, names in enumerate(("abcde", "abcd", "bcde")):
        (tmp_path / str(k)).mkdir()
        digests.add(index(write(tmp_path / str(k), names)).open("stored").facts.digest)
    assert len(digests) == 3


def test_artefacts_are_those_of_each_volume_alone(suite):
    data = index(suite).open("stored")
    perturbation = perturbation_of(suite, data.facts)
    for rows in data.batches(10**6):
        batch = data.load(rows, CPU)
        found = perturbation(batch, AT)
        for i in range(len(rows)):
            shown, moved = artefact(
                batch.samples[i : i + 1], "shift", 4, ids=torch.from_numpy(batch.ids[i : i + 1]),
                spacing=(3.0, 2.0, 1.0), labels=batch.maps[MAP][i : i + 1],
            )  # fmt: skip
            assert torch.equal(found.samples[i : i + 1], shown)
            assert torch.equal(found.maps[MAP][i : i + 1], moved)


def test_volumes_that_are_too_small_are_refused_by_the_smallest(tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, "d", (3, 9, 4))
    suite = write(tmp_path, "abd")
    facts = index(suite).open("stored").facts
    with pytest.raises(UserError, match="suite mine: volumes of 4 x 9 x 3 are too small"):
        perturbation_of(suite, facts).check(AT)


def test_a_batch_of_large_volumes_is_small():
    def many(*shapes):
        return fitting_batch(RaggedVolumes(1, np.array(shapes)), CPU)

    assert many((28, 28, 28), (8, 8, 8)) == 16  # as of one shape
    assert many((128, 128, 128), (8, 8, 8)) == 4
    assert many((512, 512, 300)) == 1


def network(seed=0, channels=1):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv3d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 3, padding=1)
    ).eval()


class OfOneSide(nn.Module):
    """Halves a volume and doubles it again, as U-Nets do: an odd side does not fit."""

    def __init__(self):
        super().__init__()
        self.net = network()

    def forward(self, x):
        half = nn.functional.avg_pool3d(x, 2)
        return self.net(x + nn.functional.interpolate(half, scale_factor=2))


CARD = """build = "tests.test_ragged_volumes:{build}"
tasks = ["segmentation"]
untrained = true
[input]
channels = "volumes"
mean = [0.5]
std = [0.5]
{more}
"""


def run(rbms, root, build="network", more="", *options):
    (root / f"{build}.toml").write_text(CARD.format(build=build, more=more))
    card = root / f"{build}.toml"
    made = rbms(
        "run", root / "mine.toml", "-m", card, "--device", "cpu", "--results", root / "results", *options
    )
    return made, root / "results" / "mine" / f"{build}.json"


def test_answers_are_the_same_in_any_batch(suite, tmp_path, rbms):
    made, path = run(rbms, tmp_path)
    assert made.code == 0, made.err
    record = read_record(path)
    again = tmp_path / "again"
    again.mkdir()
    write(again, "abcde")
    made, other = run(rbms, again, "network", "", "--batch-size", "1", "--cache", again / "cache")
    assert made.code == 0, made.err
    for one, two in zip(record.measurements, read_record(other).measurements, strict=True):
        assert one.protocol == two.protocol
        assert one.values == two.values
    assert record.measurements[0].n == 5
    assert 0 < record.measurements[0].values["dice"]["mean"] < 1
    drawn = rbms("show", path, "--slices", tmp_path / "slices.png", "--suite", tmp_path / "mine.toml")
    assert drawn.code == 0, drawn.err
    assert rbms("check", path).code == 0


def test_outcomes_of_several_shapes_come_together_in_the_order_of_the_split(suite):
    data, task = index(suite).open("stored"), task_of(suite)
    found = []
    for rows in [*data.batches(10**6)][::-1]:
        batch = data.load(rows, CPU)
        said = batch.maps[MAP].to(torch.int16)
        answers = Answers({"classes": said, "broken": torch.zeros(len(rows))})
        found.append((task.outcomes(answers, batch), rows))
    true = [int(data.load(np.array([k]), CPU).maps[MAP].sum()) for k in range(5)]
    assert merged(found).samples["true"][:, 1].tolist() == true


def test_a_model_of_one_shape_is_refused_unless_it_asks_for_windows(suite, tmp_path, rbms):
    made, path = run(rbms, tmp_path, "OfOneSide")

    assert made.code != 0
    assert not path.exists()
    assert "it answers volumes of 8 x 8 x 8 and none of 4 x 9 x 5 (RuntimeError: " in made.err
    assert (
        "these are of 3 shapes: resample them to one, or where voxels are labelled let its card ask"
        in made.err
    )
    made, path = run(rbms, tmp_path, "OfOneSide", "window = [4, 4, 4]\noverlap = 0.5")
    assert made.code == 0, made.err
    assert read_record(path).measurements[0].n == 5


def test_a_model_that_answers_no_shape_is_told_by_the_probe(suite, tmp_path, rbms):
    made, _ = run(rbms, tmp_path, "of_two_channels")

    assert made.code != 0
    assert "it raises RuntimeError on the probe" in made.err
    assert "shapes" not in made.err


def of_two_channels():
    """Volumes of one channel are none of its own."""
    return network(channels=2)
