"""The fused CUDA kernels against the definitions in Triton's interpreter, on CPU tensors.

`test_triton` runs this file in a process of its own: Triton asks once, when a kernel is read, whether it is to be
interpreted.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from triton.runtime import interpreter

from robustbench_ms.corruptions import keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.cuda import blur, gaussian, pixels, weather
from robustbench_ms.corruptions.cuda import glass as rounds
from robustbench_ms.corruptions.cuda import words as numbers
from robustbench_ms.corruptions.defined import (
    defocus,
    elastic,
    fog,
    frost,
    gaussian_blur,
    glass,
    hsv,
    motion,
    noise,
    snow,
    spatter,
)
from robustbench_ms.corruptions.defined import zoom as zooming
from robustbench_ms.corruptions.table import PROFILES, SEVERITIES, parameters

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


def words_for(x, draw, setting):
    return draw(keyed.keys("snow", 1, 2, torch.arange(len(x))), tuple(x.shape), setting)


# Each: (what the fused kernels make of uint8 (N, C, H, W), what the definition makes of it).


def softened(x, setting):
    sigma = setting.parameters
    return gaussian.soften(x, sigma), gaussian_blur.soften_by_torch(x, sigma)


def softened_exactly(x, setting):
    """Of glass blur: any grey may come out a level lower, on flat patches too."""
    sigma = setting.parameters[0]
    x[..., : x.shape[-2] // 2, :] = 73 + torch.arange(x.shape[1])[:, None, None].to(torch.uint8)
    return gaussian.soften_exactly(x, sigma), gaussian_blur.soften_exactly_by_torch(x, sigma)


def glass_rounds(x, setting):
    words, reach = words_for(x, glass.GLASS.draw, setting), setting.parameters[1]
    return rounds.move_rounds(x, words, reach), glass.move_by_torch(x, words, reach)


def disk(x, setting):
    plan = defocus.plan(*setting.parameters)
    return blur.defocus(x, plan), defocus.blur_by_torch(x, plan)


def moved(x, setting):
    package = setting.profile == "any-size"
    degrees = torch.tensor([-31.0, 45.0], dtype=torch.float64)[: len(x)]
    lines = motion.taps(degrees, *setting.parameters, x.shape[2:] if package else None)
    found = blur.move(x, lines, x.shape[2:], "truncated" if package else "quantum")
    return found, motion.move_by_torch(x, lines, package=package)


def zoomed(x, setting):
    factors = setting.parameters
    return blur.zoom(x, factors), zooming.zoom_by_torch(x, factors)


def drawn(fused, module):
    """Of a fused kernel that takes what the module's `draw` and `by_torch` take."""

    def both(x, setting):
        if module is fog:
            setting = replace(setting, profile="any-size")  # for a map that holds x
        words = words_for(x, module.draw, setting)
        return fused(x, words, setting), module.by_torch(x, words, setting)

    return both


def shot(x, setting):
    words, photons = words_for(x, noise.KERNELS["shot_noise"].draw, setting), setting.parameters
    return pixels.shot(x, words, photons), noise.shot_by_torch(x, words, photons)


def saturated(x, setting):
    x = x.expand(-1, 3, -1, -1).contiguous()
    return pixels.saturate(x, *setting.parameters), hsv.saturate_by_torch(x, setting)


BOTH = {
    "gaussian": ("gaussian_blur", softened),
    "exact gaussian": ("glass_blur", softened_exactly),
    "glass": ("glass_blur", glass_rounds),
    "defocus": ("defocus_blur", disk),
    "motion": ("motion_blur", moved),
    "zoom": ("zoom_blur", zoomed),
    "snow": ("snow", drawn(weather.snow, snow)),
    "frost": ("frost", drawn(weather.frost, frost)),
    "fog": ("fog", drawn(weather.fog, fog)),
    "spatter": ("spatter", drawn(weather.spatter, spatter)),
    "shot": ("shot_noise", shot),
    "saturate": ("saturate", saturated),
    "elastic": ("elastic_transform", drawn(pixels.elastic, elastic)),
}
"""What is compared, with the corruption whose settings it takes."""


def variants():
    """Every different setting of each, with a name for it."""
    for what, (name, both) in BOTH.items():
        seen = set()
        for profile in PROFILES:
            for severity in SEVERITIES:
                setting = Setting(profile, severity, parameters(name, profile, severity))
                kind = (profile == "any-size", setting.parameters)
                if kind not in seen:
                    seen.add(kind)
                    yield pytest.param(both, setting, id=f"{what}-{profile}-{severity}")


@pytest.mark.parametrize(("both", "setting"), list(variants()))
def test_every_setting(both, setting):
    """One plane of more than a tile of 1024 values but less than two; at every other severity less than one."""
    for shape in [(1, 1, 29, 43), (1, 3, 3, 7)][: 1 + setting.severity % 2]:
        found, expected = both(textured(shape), setting)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected), shape


@pytest.mark.parametrize(("name", "both"), BOTH.values(), ids=BOTH)
def test_batches_and_single_pixels(name, both):
    setting = Setting("cifar", 5, parameters(name, "cifar", 5))
    for shape in [(1, 1, 1, 1), (2, 1, 1, 5), (2, 3, 19, 2)]:
        found, expected = both(textured(shape), setting)
        assert torch.equal(found, expected), shape


def test_a_row_longer_than_a_step_of_the_sums():
    found, expected = disk(
        textured((1, 1, 1, 600)), Setting("cifar", 1, parameters("defocus_blur", "cifar", 1))
    )
    assert torch.equal(found, expected)


def test_tables_of_greys_are_the_divisions():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 256, 1).expand(-1, -1, -1, 4).contiguous()
    found = gaussian.soften_exactly(x, 0.7)
    assert torch.equal(found, gaussian_blur.soften_exactly_by_torch(x, 0.7))
    x = torch.cartesian_prod(*[torch.arange(0, 256, 51, dtype=torch.uint8)] * 3).T.reshape(1, 3, 6, 36)
    setting = Setting("imagenet", 4, parameters("saturate", "imagenet", 4))
    found, expected = saturated(x.contiguous(), setting)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("bits", [16, 32])
def test_words(bits):
    keys = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    for count, start in [(1, 0), (7, 3), (1030, 0)]:
        found = numbers.words(keys, count, bits, start)
        expected = keyed.words_by_torch(keys, count, bits, start)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
