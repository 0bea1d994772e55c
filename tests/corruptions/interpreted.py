"""The fused CUDA kernels against the definitions in Triton's interpreter, on CPU tensors.

`test_triton` runs this file in a process of its own: Triton asks once, when a kernel is read, whether it is to be
interpreted.
"""

from __future__ import annotations

import pytest
import torch
from triton.runtime import interpreter

from robustbench_ms.corruptions import (
    defocus,
    elastic,
    glass,
    hsv,
    keyed,
    motion,
    noise,
    separable,
    snow,
    triton_blur,
    triton_pixels,
)
from robustbench_ms.corruptions import zoom as zooming
from robustbench_ms.corruptions.kernel import Setting
from robustbench_ms.corruptions.table import PROFILES, SEVERITIES, parameters

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 1, 31, 47)]
"""Less than a tile (1024 values), and more than one but not two."""

PREPARED = set()


@pytest.fixture(autouse=True)
def numpy_of_today(monkeypatch):
    """The interpreter makes indices of arrays of one value, which numpy 2.4 refuses.

    And it prepares its language again at each call of a function by a kernel, which takes most of its time.
    """
    prepare = interpreter._patch_lang_tensor

    def prepared(tensor, scope):
        prepare(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    monkeypatch.setattr(interpreter, "_patch_lang_tensor", prepared)
    call = interpreter.InterpretedFunction.__call__

    def called(self, *arguments, **options):
        if self.fn.__module__.startswith("triton.") and self.fn not in PREPARED:
            PREPARED.add(self.fn)
            return call(self, *arguments, **options)
        return self.rewrite()(*arguments, **options)

    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", called)


def textured(shape, seed=0):
    """Noise, with one white half: uint8."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 256, shape, dtype=torch.uint8, generator=random)
    x[..., : shape[-2] // 2, :] = 255
    return x


def variants(name):
    """The parameters of one corruption in all profiles and severities, each once."""
    return sorted({parameters(name, p, s) for p in PROFILES for s in SEVERITIES})


@pytest.mark.parametrize("sigma", variants("gaussian_blur"))
def test_soften(sigma):
    for shape in SHAPES:
        x = textured(shape)
        assert torch.equal(triton_blur.soften(x, sigma), separable.soften_by_torch(x, sigma)), shape


@pytest.mark.parametrize("sigma", sorted({sigma for sigma, _, _ in variants("glass_blur")}))
def test_soften_exactly(sigma):
    for shape in SHAPES:
        x = textured(shape)
        expected = separable.soften_exactly_by_torch(x, sigma)
        assert torch.equal(triton_blur.soften_exactly(x, sigma), expected), shape
    flat = torch.arange(256, dtype=torch.uint8).view(1, 256, 1, 1).expand(-1, -1, 1, 2).contiguous()
    expected = separable.soften_exactly_by_torch(flat, sigma)
    assert torch.equal(triton_blur.soften_exactly(flat[:, 250:], sigma), expected[:, 250:])


@pytest.mark.parametrize(("reach", "rounds"), sorted({swap[1:] for swap in variants("glass_blur")}))
def test_glass_rounds(reach, rounds):
    for shape in [*SHAPES, (2, 3, 19, 20)]:
        x = textured(shape)
        words = keyed.words(torch.arange(shape[0]) + 5, rounds * shape[2] * shape[3])
        words = words.view(shape[0], rounds, *shape[2:])
        assert torch.equal(triton_blur.move_rounds(x, words, reach), glass.move_by_torch(x, words, reach)), (
            shape
        )


@pytest.mark.parametrize("disk", variants("defocus_blur"))
def test_defocus(disk):
    plan = defocus.plan(*disk)
    shapes = [*SHAPES, (1, 1, 2, 300)] if plan.reach < 4 else [SHAPES[0], SHAPES[-1]]
    for shape in shapes:
        x = textured(shape)
        assert torch.equal(triton_blur.defocus(x, plan), defocus.blur_by_torch(x, plan)), shape


@pytest.mark.parametrize("parameters_", variants("motion_blur"))
@pytest.mark.parametrize("package", [True, False])
def test_motion(parameters_, package):
    for shape in SHAPES:
        x = textured(shape)
        degrees = torch.tensor([-31.0, 45.0], dtype=torch.float64)[: shape[0]]
        lines = motion.taps(degrees, *parameters_, shape[2:] if package else None)
        found = triton_blur.move(x, lines, shape[2:], "truncated" if package else "quantum")
        assert torch.equal(found, motion.move_by_torch(x, lines, package=package)), shape


@pytest.mark.parametrize("factors", variants("zoom_blur"))
def test_zoom(factors):
    for shape in [*SHAPES, (1, 1, 36, 2)]:
        x = textured(shape)
        assert torch.equal(triton_blur.zoom(x, factors), zooming.zoom_by_torch(x, factors)), shape


@pytest.mark.parametrize("bits", [16, 32])
def test_words(bits):
    keys = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    for count, start in [(1, 0), (7, 3), (1030, 0)]:
        found = triton_pixels.words(keys, count, bits, start)
        expected = keyed.words_by_torch(keys, count, bits, start)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", PROFILES)
def test_snow(profile, severity):
    setting = Setting(profile, severity, parameters("snow", profile, severity))
    for shape in SHAPES:
        x = textured(shape)
        words = snow.draw(torch.arange(shape[0]) + 3, shape, setting)
        assert torch.equal(triton_pixels.snow(x, words, setting), snow.by_torch(x, words, setting)), shape


@pytest.mark.parametrize("photons", variants("shot_noise"))
def test_shot(photons):
    for shape in SHAPES:
        x = textured(shape)
        words = keyed.words(torch.arange(shape[0]), x[0].numel(), 32).view(shape)
        assert torch.equal(triton_pixels.shot(x, words, photons), noise.shot_by_torch(x, words, photons))


@pytest.mark.parametrize(("factor", "offset"), variants("saturate"))
def test_saturate(factor, offset):
    setting = Setting("any-size", 1, (factor, offset))
    for x in (textured((2, 3, 31, 47)), textured((1, 3, 1, 1)), textured((1, 3, 40, 40)) // 64 * 85):
        assert torch.equal(triton_pixels.saturate(x, factor, offset), hsv.saturate_by_torch(x, setting))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("profile", PROFILES)
def test_elastic(profile, severity):
    setting = Setting(profile, severity, parameters("elastic_transform", profile, severity))
    for shape in SHAPES:
        x = textured(shape)
        words = elastic.draw(torch.arange(shape[0]) + 3, shape, setting)
        assert torch.equal(triton_pixels.elastic(x, words, setting), elastic.by_torch(x, words, setting)), (
            shape
        )
