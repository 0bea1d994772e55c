"""Sliding windows over volumes: where they lie, what they come to, and how a card asks for them."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from robustbench_ms.catalog.cards import read_card, write_card
from robustbench_ms.catalog.registry import task_of
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import UserError
from robustbench_ms.records.record import read_record
from robustbench_ms.specs.card import Input, of_record
from robustbench_ms.subjects.inputs import preprocess_of
from robustbench_ms.subjects.training.recipe import asked
from robustbench_ms.tasks.voxels.windows import in_windows, starts
from tests.sources import ROOT
from tests.test_voxels import batch_of, model_of

TASK = task_of(read_suite(ROOT / "suites" / "quick-volumes-segmentation.toml"))
CASES = [
    # volumes, window, overlap: odd ones, none and much overlap, larger than the volume along some axes and all
    ((7, 9, 11), (4, 5, 3), 0.25),
    ((7, 9, 11), (3, 3, 3), 0.0),
    ((8, 8, 8), (5, 4, 8), 0.9),
    ((5, 12, 6), (7, 5, 6), 0.5),
    ((3, 4, 5), (8, 7, 6), 0.5),
    ((6, 6, 6), (6, 6, 6), 0.25),
    ((9, 5, 13), (1, 2, 10), 0.6),
]
BLENDS = ("constant", "gaussian")


def network(seed=0):
    """Of one channel logits of three classes, which hang on where in a window a voxel lies."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 3, padding=1)).eval()


def windows_of(window, overlap=0.25, blend="constant"):
    return Input(channels="volumes", mean=(0.0,), std=(1.0,), window=window, overlap=overlap, blend=blend)


def slid(net, x, window, overlap, blend):
    with torch.no_grad():
        return in_windows(
            lambda one: (net(one), torch.zeros(len(one))), x, windows_of(window, overlap, blend)
        )[0]


def by_hand(net, x, window, overlap, blend):
    """Voxel by voxel sums in float64: windows are counted on until one reaches the end, and moved back to it."""
    sides = [max(a, b) for a, b in zip(x.shape[2:], window, strict=True)]
    before = [(a - b) // 2 for a, b in zip(sides, x.shape[2:], strict=True)]
    own = tuple(slice(b, b + n) for b, n in zip(before, x.shape[2:], strict=True))
    wide = torch.zeros(*x.shape[:2], *sides)
    wide[(..., *own)] = x
    firsts = []
    for side, length in zip(sides, window, strict=True):
        step, found = max(1, int(length * (1 - overlap))), [0]
        while found[-1] + length < side:
            found.append(min(found[-1] + step, side - length))
        firsts.append(found)
    away = [(np.arange(n) - (n - 1) / 2) / (n / 8) for n in window]
    weights = np.exp(-0.5 * (away[0][:, None, None] ** 2 + away[1][:, None] ** 2 + away[2] ** 2)).clip(1e-3)
    weights = np.ones(window) if blend == "constant" else weights
    total, count = np.zeros((len(x), 3, *sides)), np.zeros(sides)
    for corner in itertools.product(*firsts):
        cut = (..., *(slice(a, a + n) for a, n in zip(corner, window, strict=True)))
        with torch.no_grad():
            total[cut] += net(wide[cut]).double().numpy() * weights
        count[cut] += weights
    return (total / count)[(..., *own)]


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(("shape", "window", "overlap"), CASES)
def test_windows_come_to_their_weighted_mean(shape, window, overlap, blend):
    net, x = network(), torch.randn(2, 1, *shape)
    found = slid(net, x, window, overlap, blend)

    assert found.shape == (2, 3, *shape)
    assert np.abs(found.numpy() - by_hand(net, x, window, overlap, blend)).max() < 2e-6


@pytest.mark.slow  # MONAI takes long to import
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of its own
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_windows_are_monais(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    theirs = pytest.importorskip("monai.inferers").sliding_window_inference
    net = network().to(device)
    for (shape, window, overlap), blend in itertools.product(CASES, BLENDS):
        x = torch.randn(2, 1, *shape).to(device)
        with torch.no_grad():
            wanted = theirs(x, window, 2, net, overlap=overlap, mode=blend)
        assert torch.allclose(slid(net, x, window, overlap, blend), wanted, rtol=1e-5, atol=2e-6), (
            shape,
            blend,
        )


def test_the_last_window_ends_with_the_volume():
    assert starts(10, 4, 0.25) == [0, 3, 6]
    assert starts(11, 4, 0.25) == [0, 3, 6, 7]
    assert starts(4, 4, 0.9) == [0]
    assert starts(5, 4, 0.9) == [0, 1]


def test_a_network_of_one_size_answers_for_larger_volumes():
    true = np.zeros((3, 9, 9, 9), np.uint8)
    batch = dataclasses.replace(batch_of(true), samples=torch.randn(3, 1, 9, 9, 9))
    seen = []

    def forward(x):
        seen.append(tuple(x.shape))
        return torch.cat([-x, x, torch.zeros_like(x)], dim=1)

    model = model_of(forward)
    model.card.input = windows_of((4, 6, 9), 0.5, "gaussian")
    found = TASK.ask(model, batch).raw["classes"]

    assert {*seen} == {(3, 1, 4, 6, 9)}  # as many at once as there are volumes
    assert len(seen) == 4 * 2
    assert torch.equal(found, (batch.samples[:, 0] > 0).to(torch.int16))
    alone = TASK.ask(model, batch.part(1, 2)).raw["classes"]
    assert torch.equal(alone, found[1:2])


def test_what_windows_answer_is_logits():
    batch = batch_of(np.zeros((2, 9, 9, 9), np.uint8))
    model = model_of(lambda x: torch.zeros(len(x), *x.shape[2:], dtype=torch.int64))
    model.card.input = windows_of((4, 4, 4))
    with pytest.raises(
        UserError, match=r"it answers with class indices .* windows are put together of logits"
    ):
        TASK.ask(model, batch)

    halves = model_of(lambda x: torch.zeros(len(x), 3, 2, 2, 2).index_fill_(1, torch.tensor([2]), 1.0))
    halves.card.input = windows_of((4, 4, 4))
    assert TASK.ask(halves, batch).raw["classes"].unique().tolist() == [2]  # enlarged to the window


def test_an_answer_that_is_no_number_is_told_of_its_volume():
    batch = batch_of(np.zeros((2, 6, 6, 6), np.uint8))
    calls = []

    def forward(x):
        calls.append(len(calls))
        found = torch.zeros(len(x), 3, *x.shape[2:])
        if calls[-1] == 1:
            found[1, 0, 0, 0, 0] = torch.inf
        return found

    model = model_of(forward)
    model.card.input = windows_of((6, 6, 4), 0.5)
    assert TASK.ask(model, batch).raw["broken"].tolist() == [0, torch.inf]
    assert len(calls) == 2


CARD = """build = "tests.test_sliding:network"
tasks = [{tasks}]
untrained = true
[input]
channels = "{channels}"
mean = [0]
std = [1]
{more}
"""


def card(folder, more, tasks='"segmentation"', channels="volumes"):
    path = folder / "slides.toml"
    path.write_text(CARD.format(more=more, tasks=tasks, channels=channels))
    return path


def test_a_card_asks_for_windows_and_a_record_tells_them(tmp_path):
    found = read_card(card(tmp_path, "window = [4, 5, 6]"))
    shown = found.input

    assert (shown.window, shown.overlap, shown.blend) == ((4, 5, 6), 0.25, "constant")
    assert Input(**of_record(shown.described)) == shown
    assert shown.described["overlap"] == 0.25
    assert shown.describe().endswith("windows of 4 x 5 x 6, overlap 0.25, constant weights")
    assert not {"window", "overlap", "blend"} & Input(channels="volumes").described.keys()
    other = dataclasses.replace(found, input=windows_of((8, 8, 8), 0.5, "gaussian"), folder=tmp_path)
    assert read_card(write_card(other, tmp_path / "again.toml")).input == other.input
    learnt, also = (
        asked(dataclasses.replace(one, recipe={"dataset": "quick-volumes", "epochs": 1}), 0)["input"]
        for one in (found, other)
    )
    assert learnt == also  # a training that was stopped goes on whatever the windows
    assert "window" not in learnt


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("windw = [4, 4, 4]", "no key named 'windw'; did you mean 'window'"),
        (
            "window = [4, 4]",
            "window must be three whole numbers above 0: depth, height and width in voxels, not",
        ),
        ("window = [4, 4, 0]", "window must be three whole numbers above 0"),
        ("window = [4, 4, 2.5]", "window must be three whole numbers above 0"),
        ("window = 4", "window must be a list"),
        ("window = [4, 4, 4]\noverlap = 1", "overlap must be from 0 to below 1, not 1.0"),
        ('window = [4, 4, 4]\nblend = "gausian"', "did you mean 'gaussian'"),
        ("overlap = 0.5", "overlap is of windows, and no window says how large they are"),
        ("size = 4", "size is for images, and volumes have mean, std and window alone"),
    ],
)
def test_what_is_wrong_with_windows_is_one_sentence(tmp_path, more, told):
    with pytest.raises(UserError, match=told) as caught:
        read_card(card(tmp_path, more))
    assert "slides.toml: [input]" in str(caught.value)


def test_windows_are_of_volumes_whose_voxels_are_labelled(tmp_path):
    with pytest.raises(UserError, match='window is for volumes, whose cards say channels = "volumes"'):
        read_card(card(tmp_path, "window = [4, 4, 4]", channels="signals"))
    with pytest.raises(
        UserError, match=r"window is for cards of segmentation, .* this one's tasks are classification"
    ):
        read_card(card(tmp_path, "window = [4, 4, 4]", '"classification"'))
    with pytest.raises(UserError, match="asks for windows of volumes, and these data are none"):
        preprocess_of(windows_of((4, 4, 4)), Images(3, 8, 8), torch.device("cpu"))
    model = model_of(None)
    model.card.input = windows_of((4, 4, 4))
    scans = task_of(read_suite(ROOT / "suites" / "quick-volumes.toml"))
    with pytest.raises(UserError, match=r"asks for windows, .* a label is asked of a volume as a whole"):
        scans.calibrate(model, None, None)


def fixed(classes=3):
    """A network that takes volumes of 8^3 alone."""
    del classes
    net = network(4)
    net.register_forward_pre_hook(lambda _, given: refuse(given[0].shape[2:]))
    return net


def refuse(shape):
    if shape != (8, 8, 8):
        raise ValueError(f"{tuple(shape)} and not 8^3")


def test_a_run_by_windows_is_a_subject_of_its_own(tmp_path, rbms):
    true = np.random.default_rng(0).integers(0, 3, (2, 11, 9, 8))
    np.savez(tmp_path / "parts.npz", volumes=np.array([20, 120, 220], np.uint8)[true], masks=true)
    (tmp_path / "parts.toml").write_text(
        'task = "volume-segmentation"\ndataset = "volumes"\nfile = "parts.npz"\nclasses = 3\nsummary = ["clean_dice"]\n'
    )
    found = []
    for number, more in enumerate(("window = [8, 8, 8]", 'window = [8, 8, 8]\nblend = "gaussian"', "")):
        path = tmp_path / f"slides{number}.toml"
        path.write_text(
            CARD.format(more=more, tasks='"segmentation"', channels="volumes").replace("network", "fixed")
        )
        found.append(rbms("run", tmp_path / "parts.toml", "-m", path, "--device", "cpu"))
    one, two = (read_record(tmp_path / "results" / "parts" / f"slides{k}.json") for k in (0, 1))

    assert found[0].code == found[1].code == 0, found[0].err
    assert one.subject["windows"] == {"window": [8, 8, 8], "overlap": 0.25, "blend": "constant"}
    assert one.subject["weights"] == two.subject["weights"]
    assert one.subject["digest"] != two.subject["digest"]
    assert one.card["input"]["window"] == [8, 8, 8]
    assert "windows of 8 x 8 x 8, overlap 0.25, gaussian weights" in rbms("show", two.path).out
    assert "window: 8 8 8" in rbms("show", tmp_path / "slides0.toml").out
    assert "window" not in rbms("show", tmp_path / "slides2.toml").out
    assert found[2].code != 0
    assert "(11, 9, 8) and not 8^3" in found[2].err
