"""HybridHAR: what its abstract says, and what follows from its reading."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from robustbench_ms.errors import UserError
from robustbench_ms.models import (
    AMSRANet,
    HybridHAR,
    ResidualChannelAttention,
    resnet_cifar,
)
from robustbench_ms.models.hybrid_har import MultiScaleBlock
from tests.models.probes import INPUTS, count, har, maps


def test_hybrid_har_is_the_documented_reading():
    model = HybridHAR()

    assert count(model) == 134_640
    assert count(model.aux_head) == 582


@pytest.mark.parametrize("dims", INPUTS)
def test_hybrid_har_takes_signals_images_and_volumes(dims):
    model, x = har(dims), maps(4, *INPUTS[dims])
    main, auxiliary = model(x)
    model.training_loss((main, auxiliary), torch.tensor([0, 1, 2, 5])).backward()

    assert main.shape == auxiliary.shape == (4, 6)
    assert all(p.grad is not None for p in model.parameters())
    smallest = maps(2, INPUTS[dims][0], *[1] * dims)
    assert model.eval()(smallest).shape == (2, 6)


@pytest.mark.parametrize("dims", INPUTS)
def test_the_auxiliary_head_has_no_part_in_the_answer(dims):
    model, x = har(dims).eval(), maps(4, *INPUTS[dims])
    before = model(x)
    torch.nn.init.normal_(model.aux_head.weight, std=100)

    assert torch.equal(model(x), before)


@pytest.mark.parametrize("dims", INPUTS)
def test_permuting_the_samples_permutes_the_answers(dims):
    model, x, order = har(dims).eval(), maps(5, *INPUTS[dims]), [3, 0, 4, 1, 2]

    torch.testing.assert_close(model(x[order]), model(x)[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dims", INPUTS)
def test_its_attention_at_most_doubles(dims):
    block, x = ResidualChannelAttention(8), maps(3, 8, *[5] * dims) * 30
    factor = block.factor(x)

    assert 1 < factor.min() <= factor.max() < 2
    torch.testing.assert_close(block(x), x * factor.view(3, 8, *[1] * dims))


def test_deep_supervision():
    """Weight 0 is plain cross-entropy; the auxiliary loss alone reaches the first block and not the last."""
    model, x, target = har(aux_weight=0.0), maps(4, *INPUTS[1]), torch.tensor([0, 1, 2, 5])
    main, auxiliary = model(x)
    torch.testing.assert_close(
        model.training_loss((main, auxiliary), target, label_smoothing=0.1),
        F.cross_entropy(main, target, label_smoothing=0.1),
    )
    weighted = har(aux_weight=0.3)
    torch.testing.assert_close(
        weighted.training_loss((main, auxiliary), target),
        F.cross_entropy(main, target) + 0.3 * F.cross_entropy(auxiliary, target),
    )
    F.cross_entropy(auxiliary, target).backward()

    assert all(p.grad.abs().max() > 0 for p in model.blocks[0].branches.parameters() if p.grad is not None)
    assert model.blocks[0].branches[0][0].weight.grad.abs().max() > 0
    assert model.blocks[2].branches[0][0].weight.grad is None


def test_targets_may_be_probabilities():
    model, target = har(), torch.softmax(maps(4, 6), 1)
    outputs = model(maps(4, *INPUTS[1]))

    assert model.training_loss(outputs, target).isfinite()


def test_signals_are_images_of_height_one():
    """One implementation: 1-D weights put into the middle row of 2-D kernels answer the same."""
    signal = MultiScaleBlock(9, 4, (3, 5), 2, 1).eval()
    image = MultiScaleBlock(9, 4, (3, 5), 2, 2).eval()
    state = {}
    for name, tensor in image.state_dict().items():
        source = signal.state_dict()[name]
        if tensor.ndim == 4:
            tensor.zero_()
            tensor[:, :, tensor.shape[2] // 2] = source
            source = tensor
        state[name] = source
    image.load_state_dict(state)
    x = maps(2, 9, 40)

    torch.testing.assert_close(image(x[:, :, None])[:, :, 0], signal(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": 4}, r"dims must be 1 \(signals\), 2 \(images\) or 3 \(volumes\), not 4"),
        ({"kernel_sizes": [2]}, "kernel_sizes must be odd, not 2; 1 and 3 are near"),
        ({"kernel_sizes": []}, "kernel_sizes must be a list"),
        ({"aux_block": 4}, "aux_block must be 1 to 3"),
        ({"aux_weight": -1}, "aux_weight must be a number of at least 0"),
        ({"reduction": 97}, "reduction=97 is larger than the 96 channels"),
        ({"filters": 0}, "filters must be an integer of at least 1"),
    ],
    ids=str,
)
def test_what_hybrid_har_cannot_be_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        HybridHAR(**arguments)


@pytest.mark.parametrize(
    ("model", "shape", "wanted"),
    [
        (HybridHAR, (2, 9, 16, 16), r"\(B, C, T\)"),
        (lambda: HybridHAR(dims=2, in_channels=3), (2, 3, 16), r"\(B, C, H, W\)"),
        (lambda: AMSRANet(width=8), (3, 32, 32), r"\(B, C, H, W\)"),
        (lambda: resnet_cifar(8, 8), (3, 32, 32), r"\(B, C, H, W\)"),
    ],
)
def test_an_input_of_the_wrong_rank_is_refused(model, shape, wanted):
    with pytest.raises(UserError, match=f"takes an input of shape {wanted}, not"):
        model()(torch.zeros(shape))
