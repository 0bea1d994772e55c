"""From a card to a model that answers: input, weights, precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robustbench_ms.datasets.protocol import Batch, Index
from robustbench_ms.datasets.shapes import Images
from robustbench_ms.errors import UserError
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.subjects.identity import exact_arithmetic
from robustbench_ms.subjects.inputs import Preprocess
from robustbench_ms.subjects.loading import load_model
from robustbench_ms.subjects.weights import read_weights, state_digest
from robustbench_ms.tasks.classification.task import Classification
from tests import fakes
from tests.running import suite_of

CPU = torch.device("cpu")


@pytest.fixture
def images():
    coarse = np.random.default_rng(1).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    # Smooth: Pillow rounds and clips between the two passes of a resize, which shows on noise.
    fine = [np.array(Image.fromarray(c).resize((64, 48), Image.BILINEAR)) for c in coarse]
    return torch.from_numpy(np.stack(fine)).permute(0, 3, 1, 2).contiguous()


# the input


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_range_mean_and_std(images, bounds):
    wanted = Input(range=bounds, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))

    shown = Preprocess(wanted, 3, CPU)(images)

    low, high = bounds
    scaled = images.double() / 255 * (high - low) + low
    mean, std = (torch.tensor(v, dtype=torch.float64).reshape(1, 3, 1, 1) for v in (wanted.mean, wanted.std))
    assert shown.dtype == torch.float32
    assert torch.allclose(shown.double(), (scaled - mean) / std, rtol=1e-5, atol=1e-4)


def test_channels(images):
    rgb, bgr, grey = (Preprocess(Input(channels=c), 3, CPU)(images) for c in ("RGB", "BGR", "L"))

    assert torch.equal(bgr, rgb.flip(1))
    assert grey.shape == (3, 1, 48, 64)
    for i in range(3):
        pillow = np.array(Image.fromarray(images[i].permute(1, 2, 0).numpy()).convert("L"))
        assert np.abs(grey[i, 0].mul(255).round().numpy() - pillow).max() <= 1
    shown = Preprocess(Input(), 1, CPU)(images[:, :1])
    assert torch.equal(shown, rgb[:, :1].expand(-1, 3, -1, -1))
    assert Preprocess(Input(channels="L"), 1, CPU)(images[:, :1]).shape == (3, 1, 48, 64)


def test_one_number_stands_for_every_channel(images):
    one = Preprocess(Input(mean=(0.3,), std=(0.5,)), 3, CPU)(images)
    three = Preprocess(Input(mean=(0.3,) * 3, std=(0.5,) * 3), 3, CPU)(images)

    assert torch.equal(one, three)
    with pytest.raises(UserError, match="its std has 3 numbers for 1 channels"):
        Preprocess(Input(channels="L", mean=(0.3,), std=(0.1, 0.2, 0.3)), 3, CPU)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_crop_is_pillows_resize_of_the_shorter_side_and_the_centre(images, mode):
    shown = Preprocess(Input(size=24, fit="crop", crop=0.75, interpolation=mode), 3, CPU)(images).mul(255)

    resample = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "nearest": Image.NEAREST}[mode]
    for i in range(3):
        small = Image.fromarray(images[i].permute(1, 2, 0).numpy()).resize(
            (42, 32), resample
        )  # 24 / 0.75 = 32 high
        expected = np.array(small)[4:28, 9:33]
        assert shown[i].shape == (3, 24, 24)
        off = np.abs(shown[i].permute(1, 2, 0).numpy() - expected) > 1.5
        assert off.mean() <= (0.05 if mode == "nearest" else 0)  # a centre between two pixels is anybody's


@pytest.mark.parametrize(
    "name", ["test_resnet.r160_in1k", "vit_base_patch16_224.augreg_in1k", "efficientnet_b3.ra2_in1k"]
)
def test_the_input_of_a_timm_model_is_timms_own_evaluation(images, name):
    import timm
    from timm.data import create_transform, resolve_model_data_config

    big = torch.nn.functional.interpolate(images.float(), (300, 400), mode="bilinear").to(torch.uint8)[:1]
    known = timm.get_pretrained_cfg(name)
    wants = resolve_model_data_config(None, pretrained_cfg=known.to_dict())
    module = torch.nn.Identity()
    module.pretrained_cfg = known.to_dict()

    model = load(Card(name, module, input=Input(assumed=True)), None)

    theirs = create_transform(**wants, is_training=False)(Image.fromarray(big[0].permute(1, 2, 0).numpy()))
    shown = model.preprocess(big)[0]
    assert shown.shape == theirs.shape
    assert (
        shown - theirs
    ).abs().max() < 0.02  # Pillow rounds to whole levels; a pixel's shift would be far more


def test_resize_and_letterbox(images):
    assert Preprocess(Input(size=32), 3, CPU)(images).shape == (3, 3, 32, 32)
    boxed = Preprocess(Input(size=32, fit="letterbox"), 3, CPU)(images).mul(255)
    assert boxed.shape == (3, 3, 32, 32)
    assert torch.allclose(boxed[:, :, 24:], torch.tensor(114.0))
    assert boxed[:, :, :24].std() > 10
    centre = Preprocess(Input(size=48, fit="crop"), 3, CPU)(images)
    assert torch.allclose(centre, (images.float() / 255)[..., 8:56])


# the model


def load(card, places, classes=10):
    ids = np.arange(8)
    index = Index(ids, Images(3, 32, 32), classes, asked="", opener=None)
    return load_model(card, index, device=CPU, places=places)


def answer_of(model, images):
    rows = np.arange(len(images))
    task = Classification(suite_of("digits"))
    return task.ask(model, Batch(images, torch.zeros(len(images)), rows, rows)).tensor


def test_a_prefix_and_a_wrapper_are_taken_off(places, tmp_path):
    state = fakes.Coarse(4).state_dict()
    for i, told in enumerate(
        [
            state,
            {"state_dict": state, "epoch": 3},
            {"model": {f"module.{k}": v for k, v in state.items()}},
            {f"_orig_mod.{k}": v for k, v in state.items()},
        ]
    ):
        path = tmp_path / f"{i}.pt"
        torch.save(told, path)
        found = read_weights(path)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[k], state[k]) for k in state)


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_what_the_layers_compute_in(places, images, precision, kind):
    model = load(Card("net", fakes.build(), precision=precision), places)
    seen = []
    model.module.head.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))

    answer = answer_of(model, images)

    assert seen == [kind]
    assert answer.dtype == torch.float32
    assert not answer.requires_grad


def test_channels_last_is_a_layout_and_changes_no_weight(places, images):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 10, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    before = state_digest(network)

    model = load(Card("net", network, memory_format="channels_last"), places)

    assert model.module[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert state_digest(model.module) == before
    assert answer_of(model, images).shape == (3, 10)


def test_a_state_digest_is_of_names_types_shapes_and_bytes():
    digests = {state_digest(fakes.Coarse(seed)) for seed in (0, 1)}
    half = fakes.Coarse().half()
    renamed = torch.nn.Sequential(fakes.Coarse())

    assert len({*digests, state_digest(half), state_digest(renamed)}) == 4
    assert state_digest(fakes.Coarse()) == state_digest(fakes.Edited())
    assert state_digest(lambda x: x) is None


def test_exact_arithmetic_is_given_back():
    def settings():
        return (
            torch.backends.cuda.matmul.allow_tf32,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
            torch.get_deterministic_debug_mode(),
        )

    before = settings()
    for wanted in ((True, True, True, 0), (False, True, False, 2)):
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = wanted[:2]
        torch.backends.cudnn.benchmark = wanted[2]
        torch.set_deterministic_debug_mode(wanted[3])
        with exact_arithmetic(deterministic=True):
            assert settings() == (False, False, False, 1)
        assert settings() == wanted
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[:2]
    torch.backends.cudnn.benchmark = before[2]
    torch.set_deterministic_debug_mode(before[3])
