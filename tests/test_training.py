"""The one training loop: the same weights for a seed, stopped or not, and never a test image."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.subjects.training import Busy, checkpoints, loop, train
from robustbench_ms.subjects.training.checkpoints import training_folder
from robustbench_ms.subjects.training.split import training_split
from robustbench_ms.subjects.weights import file_digest, load_into
from tests import fakes
from tests.running import opened

RECIPE = {"dataset": "digits", "epochs": 4, "batch_size": 200, "lr": 0.05, "warmup_epochs": 1}


class Dropping(torch.nn.Module):
    """Draws from torch's generator while it learns, and keeps statistics."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.body = fakes.Coarse()

    def forward(self, images):
        images = images + 0.1 * self.conv(self.norm(images))[:, :3]
        return self.body(torch.nn.functional.dropout(images, 0.2, self.training))


def dropping():
    return Dropping()


class Failing(Dropping):
    """Not finite from the ninth training step on."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def forward(self, images):
        self.seen += self.training
        return super().forward(images) * (1 if self.seen < 9 else float("nan"))


def failing():
    return Failing()


def card_of(build="tests.test_training:dropping", name="net", facts=(), **recipe):
    return Card(name, build, input=Input(mean=(0.3,), std=(0.35,)), recipe=RECIPE | recipe, **dict(facts))


def trained(card, output, places, **rest):
    return list(train(card, output, places, device="cpu", **rest))


VARIANTS = {
    "plain": {},
    "augmented": {"augment": ["crop", "flip"], "label_smoothing": 0.1, "optimizer": "adamw", "lr": 0.001},
    "mixed and averaged": {"mixup": 0.2, "cutmix": 1.0, "average": 0.9, "optimizer": "muon", "lr": 0.01},
    "fast": {
        "augment": ["crop", "alternating-flip"], "schedule": "one-cycle", "held_out": 0.1, "store": "half",
    },
    "in bfloat16": {"facts": {"precision": "bf16", "memory_format": "channels_last"}, "decay_norm": True},
    "by steps": {"schedule": "multistep", "steps": [2, 3], "factor": 0.5, "optimizer": "momentum"},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_seed_gives_its_weights_stopped_or_not(tmp_path, places, variant):
    card = card_of(**VARIANTS[variant])
    out = tmp_path / "out"

    whole = trained(card, out / "whole.safetensors", places)
    torch.rand(5), np.random.rand(3)  # other draws of this process
    again = trained(card, out / "again.safetensors", places)
    for _ in itertools.islice(train(card, out / "stopped.safetensors", places, device="cpu"), 2):
        pass
    assert (training_folder(card, 0, places) / "checkpoint.pt").exists()
    assert not (out / "stopped.safetensors").exists()
    torch.rand(7), np.random.rand(1)
    resumed = trained(card, out / "stopped.safetensors", places)
    other = trained(card, out / "other.safetensors", places, seed=1)

    assert [e.number for e in whole] == [1, 2, 3, 4]
    assert [e.number for e in resumed] == [3, 4]
    assert [(e.loss, e.held_out) for e in resumed] == [(e.loss, e.held_out) for e in whole[2:]]
    assert [(e.loss, e.lr) for e in again] == [(e.loss, e.lr) for e in whole]
    digests = {n: file_digest(out / f"{n}.safetensors") for n in ("whole", "again", "stopped", "other")}
    assert digests["whole"] == digests["again"] == digests["stopped"] != digests["other"]
    assert [e.loss for e in other] != [e.loss for e in whole]
    assert sorted(p.suffix for p in out.iterdir()) == [".safetensors"] * 4
    assert not list((places.cache / "training").iterdir())
    assert whole[-1].loss < whole[0].loss
    load_into(dropping(), out / "whole.safetensors")


def test_killed_in_the_middle_of_an_epoch_it_ends_as_it_would_have(tmp_path):
    card = tmp_path / "net.toml"
    card.write_text(
        'build = "tests.test_training:dropping"\n[input]\nmean = [0.3]\nstd = [0.35]\n'
        '[recipe]\ndataset = "digits"\nepochs = 6\nbatch_size = 20\naugment = ["crop", "flip"]\nheld_out = 0.1\n'
    )

    def start(output, cache):
        command = [sys.executable, "-m", "robustbench_ms", "train", card, "-o", output, "--cache", cache]
        return subprocess.Popen(
            [*map(str, command), "--device", "cpu", "--json"], stdout=subprocess.PIPE, text=True
        )

    one = start(tmp_path / "whole.safetensors", tmp_path / "one")
    two = start(tmp_path / "killed.safetensors", tmp_path / "two")
    assert json.loads(two.stdout.readline())["number"] == 1
    two.send_signal(signal.SIGKILL)
    two.communicate()
    three = start(tmp_path / "killed.safetensors", tmp_path / "two")
    lines = [json.loads(line) for line in three.communicate()[0].splitlines()]
    one.communicate()

    assert (one.returncode, three.returncode) == (0, 0)
    assert lines[0]["number"] > 1
    assert file_digest(tmp_path / "whole.safetensors") == file_digest(tmp_path / "killed.safetensors")


def test_a_checkpoint_of_another_training_is_not_gone_on_from(tmp_path, places):
    output = tmp_path / "net.safetensors"
    for _ in itertools.islice(train(card_of(), output, places, device="cpu"), 2):
        pass
    others = (
        (card_of(lr=0.01), 0),
        (card_of(), 3),
        (card_of(build="tests.fakes:build"), 0),
        (dataclasses.replace(card_of(), precision="bf16"), 0),
    )
    for card, seed in others:
        (first,) = itertools.islice(train(card, output, places, device="cpu", seed=seed), 1)
        assert first.number == 1

    mine, stray = training_folder(card_of(), 0, places), training_folder(card_of(name="rival"), 5, places)
    stray.mkdir(parents=True)
    (mine / "checkpoint.pt").rename(stray / "checkpoint.pt")
    with pytest.raises(UserError, match="is of card net, seed 0, and not of card rival, seed 5"):
        trained(card_of(name="rival"), output, places, seed=5)
    (stray / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(BadFile, match="is damaged; delete it"):
        trained(card_of(name="rival"), output, places, seed=5)
    assert not output.exists()


def test_one_training_is_one_processs(tmp_path, places):
    output, card = tmp_path / "net.safetensors", card_of()
    first = train(card, output, places, device="cpu")
    next(first)

    with pytest.raises(Busy, match=f"card net, seed 0 is being trained by process {os.getpid()}"):
        trained(card, output, places)
    trained(card, tmp_path / "other.safetensors", places, seed=1)
    first.close()
    assert [e.number for e in train(card, output, places, device="cpu")] == [2, 3, 4]


def test_a_loss_that_is_not_finite_stops_it_and_leaves_the_last_good_epoch(tmp_path, places):
    card = card_of(build="tests.test_training:failing")
    with pytest.raises(
        UserError, match=r"the loss is nan in epoch 2, step 3 of 6; .* checkpoint of epoch 1 is kept"
    ):
        trained(card, tmp_path / "net.safetensors", places)
    state = torch.load(training_folder(card, 0, places) / "checkpoint.pt", weights_only=True)
    assert state["epoch"] == 1
    assert all(t.isfinite().all() for t in state["model"].values())
    assert not (tmp_path / "net.safetensors").exists()
    with pytest.raises(
        UserError, match=r"the loss is (nan|inf) in epoch 1, step \d of 6; a smaller lr may help$"
    ):
        trained(card_of(lr=1e30), tmp_path / "net.safetensors", places)


def test_on_a_full_disk_the_last_checkpoint_stays_and_is_gone_on_from(tmp_path, places, monkeypatch):
    output, card = tmp_path / "net.safetensors", card_of()
    whole = trained(card, tmp_path / "whole.safetensors", places)
    save, calls = torch.save, []

    def full(state, path):
        calls.append(state["epoch"])
        if state["epoch"] == 3:
            path.write_bytes(b"what still had room")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(state, path)

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(UserError, match=r"could not be written .*No space left.*the one before it is kept"):
        trained(card, output, places)
    monkeypatch.setattr(checkpoints.torch, "save", save)
    assert sorted(p.name for p in training_folder(card, 0, places).iterdir()) == ["checkpoint.pt", "lock"]
    assert [e.loss for e in trained(card, output, places)] == [e.loss for e in whole[2:]]

    real = loop.replacing

    def no_room(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(loop, "replacing", no_room)
    with pytest.raises(UserError, match=r"weights .* could not be written .*the checkpoint is kept"):
        trained(card, tmp_path / "late.safetensors", places)
    monkeypatch.setattr(loop, "replacing", real)
    assert trained(card, tmp_path / "late.safetensors", places) == []
    assert file_digest(tmp_path / "late.safetensors") == file_digest(output)


def test_only_the_training_split_is_opened(tmp_path, monkeypatch, places):
    seen = []

    def watching(dataset, where, wants):
        index = training_split(dataset, where, wants)
        seen.append(index)
        return index

    monkeypatch.setattr(loop, "training_split", watching)
    trained(card_of(epochs=1), tmp_path / "net.safetensors", places)

    (index,) = seen
    from robustbench_ms.catalog.find import find_suite

    test = opened(find_suite("quick"), places, ())
    assert len(index.ids) == 1200
    assert not set(index.ids) & set(test.ids)


def test_of_cifar_no_test_file_is_touched(tmp_path, places, pictures):
    folder = places.data / "cifar10"
    folder.mkdir(parents=True)
    np.save(folder / "train_images.npy", pictures[0])
    np.save(folder / "train_labels.npy", pictures[1])  # and no test file at all

    card = card_of(dataset="cifar10", epochs=1, batch_size=8)

    assert len(trained(card, tmp_path / "net.safetensors", places)) == 1


def test_halves_are_weights_of_convolutions_and_linear_layers_alone(tmp_path, places):
    trained(card_of(epochs=1), tmp_path / "full.safetensors", places)
    trained(card_of(epochs=1, store="half"), tmp_path / "half.safetensors", places)
    full, half = load_file(tmp_path / "full.safetensors"), load_file(tmp_path / "half.safetensors")

    halved = {name for name, tensor in half.items() if tensor.dtype == torch.float16}
    assert halved == {"conv.weight", "body.head.weight"}
    for name, tensor in full.items():
        assert torch.equal(half[name], tensor.half() if name in halved else tensor)
    model = dropping()
    load_into(model, tmp_path / "half.safetensors")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.conv.weight, full["conv.weight"].half().float())


def test_the_cards_precision_and_memory_format_are_trained(tmp_path, places, monkeypatch):
    seen = []
    forward = Dropping.forward

    def watching(self, images):
        answers = forward(self, images)
        channels_last = [
            t.is_contiguous(memory_format=torch.channels_last) for t in (images, self.conv.weight)
        ]
        seen.append((self.training, *channels_last, answers.dtype))
        return answers

    monkeypatch.setattr(Dropping, "forward", watching)
    facts = {"precision": "bf16", "memory_format": "channels_last"}
    trained(card_of(facts=facts, epochs=1, held_out=0.1), tmp_path / "net.safetensors", places)
    assert set(seen) == {(True, True, True, torch.bfloat16), (False, True, True, torch.bfloat16)}

    fp16 = dataclasses.replace(card_of(), precision="fp16")
    with pytest.raises(UserError, match="fp16 is trained on CUDA alone"):
        trained(fp16, tmp_path / "net.safetensors", places)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_cuda_it_learns_as_on_a_cpu(tmp_path, places, precision):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    fast = VARIANTS["fast"] | {"facts": {"precision": precision}}
    on_cpu = trained(card_of(**VARIANTS["fast"]), tmp_path / "cpu.safetensors", places)
    on_cuda = list(train(card_of(**fast), tmp_path / "cuda.safetensors", places, device="cuda"))

    near = 0.05 if precision == "fp32" else 0.25
    assert [e.loss for e in on_cuda] == pytest.approx([e.loss for e in on_cpu], rel=near)
    load_into(dropping(), tmp_path / "cuda.safetensors")


def test_what_decays(places):
    def decays(**recipe):
        card = card_of(**recipe)
        made = loop._Training(card, loop.read_recipe(card), places, 0, torch.device("cpu"))
        names = {id(p): n for n, p in made.model.named_parameters()}
        return {names[id(p)]: g["weight_decay"] for g in made.optimizer.param_groups for p in g["params"]}

    some = decays()
    assert {n for n, d in some.items() if d == 5e-4} == {"conv.weight", "body.head.weight"}
    assert {d for n, d in some.items() if "norm" in n or n.endswith("bias")} == {0}
    assert set(decays(decay_norm=True).values()) == {5e-4}


RATES = {
    "cosine": ({}, lambda t: 0.05 * (t if t < 1 else (1 + np.cos(np.pi * t / 4)) / 2)),
    "multistep": (
        {"schedule": "multistep", "steps": [2, 3], "factor": 0.1, "warmup_epochs": 0},
        lambda t: 0.05 * 0.1 ** ((t >= 2) + (t >= 3)),
    ),
    "one-cycle": ({"schedule": "one-cycle"}, lambda t: 0.05 * np.interp(t, [0, 1, 4], [0, 1, 0])),
}


@pytest.mark.parametrize("schedule", RATES)
def test_the_rate_follows_its_schedule(places, schedule):
    recipe, wanted = RATES[schedule]
    card = card_of(**recipe)
    made = loop._Training(card, loop.read_recipe(card), places, 0, torch.device("cpu"))
    rates = []
    for step in range(4 * made.steps):
        rates.append(made.optimizer.param_groups[0]["lr"])
        made.schedule.step_update(step + 1)

    assert rates == pytest.approx(
        [float(wanted(step / made.steps)) for step in range(4 * made.steps)], abs=1e-12
    )


def test_on_a_cpu_muon_steps_in_float32_and_what_it_calls_stays_as_it_was(places):
    from timm.optim import muon

    own = muon.zeropower_via_newtonschulz
    card = card_of(optimizer="muon", lr=0.01, weight_decay=0.0)
    made = loop._Training(card, loop.read_recipe(card), places, 0, torch.device("cpu"))
    weight = made.model.conv.weight
    before = weight.detach().double().flatten(1)
    made.schedule.step_update(made.steps)  # past the warm-up
    made._step(made.images[:100], made.targets[:100])

    assert muon.zeropower_via_newtonschulz is own
    step = (before - weight.detach().double().flatten(1)).numpy()
    x = weight.grad.double().flatten(1).numpy()
    x /= np.linalg.norm(x)
    for a, b, c in (  # leloykun.github.io/ponder/muon-opt-coeffs, in float64
        (4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037),
        (2.8769, -3.1427, 1.2046), (2.8366, -3.0525, 1.2012),
    ):  # fmt: skip
        y = x @ x.T
        x = a * x + (b * y + c * y @ y) @ x
    assert step / np.linalg.norm(step) == pytest.approx(x / np.linalg.norm(x), abs=1e-4)
    made.scaler.step = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        made._step(made.images[:100], made.targets[:100])
    assert muon.zeropower_via_newtonschulz is own


def test_other_mistakes_are_told(tmp_path, places):
    output = tmp_path / "net.safetensors"
    with pytest.raises(UserError, match=r"a \.safetensors file, not net\.pt"):
        trained(card_of(), tmp_path / "net.pt", places)
    plain = dataclasses.replace(card_of(), build=lambda: lambda x: x)
    with pytest.raises(UserError, match="makes no torch module"):
        trained(plain, output, places)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the output folder .* cannot be written") as told:
        trained(card_of(), tmp_path / "file" / "net.safetensors", places)
    assert "RBMS" not in str(told.value)
    with pytest.raises(UserError, match="no device named 'gpu'"):
        list(train(card_of(), output, places, device="gpu"))
    with pytest.raises(UserError, match="no optimizer named 'adamv'; did you mean"):
        trained(card_of(optimizer="adamv"), output, places)
    with pytest.raises(
        UserError, match=r"batch_size 1100 is larger than the data set \(1080 images to train on\)"
    ):
        trained(card_of(batch_size=1100, held_out=0.1), output, places)
