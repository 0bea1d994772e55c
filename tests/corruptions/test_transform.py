"""`Corrupt` in torchvision's pipelines: what it corrupts of a sample, what passes, and what is refused when."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import robustbench_ms as rbms
from robustbench_ms.corruptions import NAMES, corrupt
from robustbench_ms.errors import UnknownName, UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(PIXELS).permute(2, 0, 1).contiguous()
FOG = rbms.Corrupt("fog", 3, seed=4)
WANTED = corrupt(TENSOR[None], "fog", 3, seed=4)[0]
BOXES = tv_tensors.BoundingBoxes([[1, 2, 9, 9]], format="XYXY", canvas_size=(40, 50))
MASK = tv_tensors.Mask(torch.arange(2000, dtype=torch.uint8).view(40, 50))
KEYPOINTS = tv_tensors.KeyPoints([[3.0, 4.0]], canvas_size=(40, 50))


def picture() -> Image.Image:
    return Image.fromarray(PIXELS)


def same(picture: Image.Image, tensor: torch.Tensor) -> bool:
    return np.array_equal(np.array(picture), tensor.permute(1, 2, 0).numpy())


def test_it_is_a_transform_of_torchvision():
    assert isinstance(FOG, v2.Transform)
    assert repr(FOG) == "Corrupt('fog', 3, profile='any-size', seed=4)"
    assert repr(rbms.Corrupt("fog", 1, white=4095)).endswith("seed=None, white=4095)")


@pytest.mark.parametrize("kind", [torch.Tensor, tv_tensors.Image])
def test_images_keep_their_kind(kind):
    shown = FOG(TENSOR.as_subclass(kind))
    assert type(shown) is kind
    assert torch.equal(shown.as_subclass(torch.Tensor), WANTED)
    batch = FOG(torch.stack([TENSOR, TENSOR]))
    assert torch.equal(batch, corrupt(torch.stack([TENSOR, TENSOR]), "fog", 3, seed=4))


def test_frames_of_a_video_are_drawn_for_apart():
    video = tv_tensors.Video(TENSOR.expand(2, 3, 3, 40, 50))
    shown = FOG(video)
    assert type(shown) is tv_tensors.Video
    frames = shown.as_subclass(torch.Tensor)
    assert torch.equal(frames.flatten(0, 1), corrupt(TENSOR.expand(6, 3, 40, 50), "fog", 3, seed=4))


def test_pairs_and_dicts_with_all_that_belongs_to_an_image():
    label = torch.tensor(7)
    shown, kept = FOG(TENSOR, label)
    assert torch.equal(shown, WANTED)
    assert kept is label
    sample = {
        "boxes": BOXES,
        "image": picture(),
        "labels": label,
        "mask": MASK,
        "at": [KEYPOINTS, "a.jpg", 3],
    }
    out = rbms.Corrupt("elastic_transform", 5, seed=4)(sample)
    assert list(out) == list(sample)
    assert same(out["image"], corrupt(TENSOR[None], "elastic_transform", 5, seed=4)[0])
    assert out["boxes"] is BOXES
    assert out["mask"] is MASK
    assert out["labels"] is label
    assert out["at"] == [KEYPOINTS, "a.jpg", 3]


def test_all_images_of_a_sample_have_one_key():
    left, right = rbms.Corrupt("gaussian_noise", 2)(picture(), picture())
    assert left.tobytes() == right.tobytes() != picture().tobytes()


def test_it_stands_in_a_pipeline():
    pipeline = v2.Compose([rbms.Corrupt("contrast", 2), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    image, mask = pipeline(picture(), MASK)
    assert torch.equal((image * 255).round().to(torch.uint8), corrupt(TENSOR[None], "contrast", 2)[0])
    assert torch.equal(mask, MASK)


def test_seeds():
    fresh = rbms.Corrupt("gaussian_noise", 1)
    torch.manual_seed(3)
    one, other = fresh(TENSOR), fresh(TENSOR)
    torch.manual_seed(3)
    assert torch.equal(fresh(TENSOR), one)
    assert not torch.equal(one, other)
    assert torch.equal(FOG(TENSOR), FOG(TENSOR))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"name": "fgo"}, UnknownName, "no corruption named 'fgo'; did you mean 'fog'"),
        ({"profile": "cifra"}, UnknownName, "did you mean 'cifar'"),
        ({"severity": 6}, UserError, "not 6"),
        ({"severity": 3.0}, UserError, "severity must be an integer, not 3.0"),
        ({"seed": 1.5}, UserError, "seed must be an integer, not 1.5"),
        ({"seed": "1"}, UserError, "seed must be an integer"),
        ({"white": 0}, UserError, "white must be a positive number"),
        ({"white": True}, UserError, "white must be a positive number"),
        ({"white": float("nan")}, UserError, "not nan"),
        ({"white": "4095"}, UserError, "not '4095'"),
    ],
)
def test_wrong_arguments_are_said_when_it_is_made(change, kind, message):
    arguments = {"name": "fog", "severity": 3, **change}
    with pytest.raises(kind, match=message):
        rbms.Corrupt(arguments.pop("name"), arguments.pop("severity"), **arguments)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (PIXELS, "found none in what it was given: ndarray"),
        ({"mask": MASK, "label": 3}, "given: Mask, int"),
        ((torch.tensor(7), TENSOR), r"not one of shape \(\); put the image first"),
        (TENSOR / 255, "torch.float32"),
        (TENSOR[:, :0], "no pixels"),
        (TENSOR.permute(1, 2, 0), "look like"),
    ],
)
def test_a_sample_without_an_image_is_refused(sample, message):
    with pytest.raises(UserError, match=message):
        FOG(sample)


def test_a_hint_at_cifar():
    small = TENSOR[:, :32, :32]
    with pytest.warns(UserWarning, match="profile='cifar' is CIFAR-10-C's"):
        shown = rbms.Corrupt("contrast", 3)(small)
    assert torch.equal(shown, corrupt(small[None], "contrast", 3)[0])
    for profile in ("any-size", "cifar"):  # said: no hint, and warnings are errors here
        rbms.Corrupt("contrast", 3, profile=profile)(small)
    rbms.Corrupt("contrast", 3)(TENSOR)


class Corrupted(Dataset):
    """Samples that a DataLoader's workers corrupt."""

    def __init__(self, seed: int | None) -> None:
        self.transforms = [rbms.Corrupt(name, 4, seed=seed) for name in NAMES]

    def __len__(self) -> int:
        return len(NAMES)

    def __getitem__(self, index: int):
        return self.transforms[index](tv_tensors.Image(TENSOR), index)


def test_workers_corrupt_alike():
    here = [Corrupted(6)[i] for i in range(len(NAMES))]
    loader = DataLoader(Corrupted(6), batch_size=None, num_workers=2, multiprocessing_context="fork")
    for (ours, _), (theirs, index) in zip(here, loader, strict=True):
        assert torch.equal(ours.as_subclass(torch.Tensor), theirs.as_subclass(torch.Tensor)), NAMES[index]


def test_it_is_pickled_as_it_was_made():
    again = pickle.loads(pickle.dumps(rbms.Corrupt("fog", 3, profile="any-size", seed=4, white=4095)))
    assert repr(again) == "Corrupt('fog', 3, profile='any-size', seed=4, white=4095)"
    assert torch.equal(again(TENSOR), WANTED)
    again(TENSOR[:, :32, :32])  # its profile was said: no hint
