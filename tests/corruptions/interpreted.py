"""The fused forms for CUDA against the definitions in Triton's interpreter, on CPU tensors.

`test_triton` runs this file in a process of its own: Triton asks once, when a kernel is read, whether it is to be
interpreted.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from triton.runtime import interpreter

from robustbench_ms.corruptions import corruption_of, dispatch, keyed
from robustbench_ms.corruptions.corruption import Setting
from robustbench_ms.corruptions.cuda import blur, gaussian
from robustbench_ms.corruptions.cuda import glass as rounds
from robustbench_ms.corruptions.cuda import words as numbers
from robustbench_ms.corruptions.defined import gaussian_blur, glass, motion
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


def words_for(name, x, setting):
    draw = corruption_of(name).draw
    keys = keyed.keys("snow", 1, 2, torch.arange(len(x)))
    return None if draw is None else draw(keys, tuple(x.shape), setting, keyed.words)


# Each: (what the fused form makes of uint8 (N, C, H, W), what the definition makes of it).


def whole(name):
    """Of a corruption's own two forms, as `dispatch` has them."""

    def both(x, setting):
        if name == "fog":
            setting = replace(setting, profile="any-size")  # for a map that holds x
        if name == "saturate":  # which leaves grey alone
            x = x.expand(-1, 3, -1, -1).contiguous()
        words = words_for(name, x, setting)
        fused = dispatch._found(dispatch.FUSED[name])
        return fused(x, words, setting), corruption_of(name).definition(x, words, setting)

    return both


def softened_exactly(x, setting):
    """Of glass blur: any grey may come out a level lower, on flat patches too."""
    sigma = setting.parameters[0]
    x[..., : x.shape[-2] // 2, :] = 73 + torch.arange(x.shape[1])[:, None, None].to(torch.uint8)
    return gaussian.soften_exactly(x, sigma), gaussian_blur.soften_exactly_by_torch(x, sigma)


def glass_rounds(x, setting):
    words, reach = words_for("glass_blur", x, setting), setting.parameters[1]
    return rounds.move_rounds(x, words, reach), glass.move_by_torch(x, words, reach)


def moved(x, setting):
    """Along lines to both sides, as far as they are drawn."""
    package = setting.profile == "any-size"
    degrees = torch.tensor([-31.0, 45.0], dtype=torch.float64)[: len(x)]
    lines = motion.taps(degrees, *setting.parameters, x.shape[2:] if package else None)
    found = blur.move(x, lines, x.shape[2:], "truncated" if package else "quantum")
    return found, motion.move_by_torch(x, lines, package=package)


BOTH = {name: (name, whole(name)) for name in dispatch.FUSED} | {
    "exact gaussian": ("glass_blur", softened_exactly),
    "rounds": ("glass_blur", glass_rounds),
    "lines": ("motion_blur", moved),
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
                    # The others differ in their numbers alone: severity 2 has one shape, 5 has both.
                    common = profile in {"cifar", "imagenet", "any-size"} and severity in {2, 5}
                    marks = [] if common else pytest.mark.slow
                    yield pytest.param(both, setting, id=f"{what}-{profile}-{severity}", marks=marks)


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
    setting = Setting("cifar", 1, parameters("defocus_blur", "cifar", 1))
    found, expected = whole("defocus_blur")(textured((1, 1, 1, 600)), setting)
    assert torch.equal(found, expected)


def test_tables_of_greys_are_the_divisions():
    x = torch.arange(256, dtype=torch.uint8).view(1, 1, 256, 1).expand(-1, -1, -1, 4).contiguous()
    found = gaussian.soften_exactly(x, 0.7)
    assert torch.equal(found, gaussian_blur.soften_exactly_by_torch(x, 0.7))
    x = torch.cartesian_prod(*[torch.arange(0, 256, 51, dtype=torch.uint8)] * 3).T.reshape(1, 3, 6, 36)
    setting = Setting("imagenet", 4, parameters("saturate", "imagenet", 4))
    found, expected = whole("saturate")(x.contiguous(), setting)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("bits", [16, 32, 53, 64])
def test_words(bits):
    keys = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    for count, start in [(1, 0), (7, 3), (1030, 0)]:
        found = numbers.words(keys, count, bits, start)
        expected = keyed.words(keys, count, bits, start)
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)
