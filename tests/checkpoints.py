"""Thirty files of weights as training scripts, wrappers and hubs leave them, and what becomes of each.

`python -m tests.checkpoints` runs them all, and with --write puts the counts into results/trials.md.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from robustbench_ms import __version__
from robustbench_ms.errors import UserError
from robustbench_ms.subjects.weights import load_into, state_digest
from tests.trials.sections import put


class Net(nn.Module):
    """A convolution, a normalisation with statistics and a head: float32 (N, 3, H, W) to (N, 10)."""

    def __init__(self, seed=0):
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 10)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in self.state_dict().values():
                if value.is_floating_point():
                    value.copy_(torch.rand(value.shape, generator=random) + 0.1)

    def forward(self, images):
        return self.head(self.bn(self.conv(images)).relu().mean((2, 3)))


def build():
    return Net(9)


RAW, EMA = Net(1).state_dict(), Net(2).state_dict()


def named(prefix, state=RAW):
    return {prefix + name: value for name, value in state.items()}


def cast(kind):
    return {name: value.to(kind) if value.is_floating_point() else value for name, value in RAW.items()}


def broken():
    return {**RAW, "conv.weight": torch.full_like(RAW["conv.weight"], torch.nan)}


LIGHTNING = {
    "epoch": 3,
    "pytorch-lightning_version": "2.4.0",
    "hyper_parameters": {"lr": 0.1},
    "callbacks": {},
}
STRAYS = {"train_acc.correct": torch.zeros(1), "loss_fn.weight": torch.ones(10)}
COUNTED = torch.tensor(5)
ARGS = argparse.Namespace(lr=0.1, model="net")
SAVED = {
    "plain.pt": (RAW, RAW),
    "dp.pt": (named("module."), RAW),
    "compiled.pt": (named("_orig_mod."), RAW),
    "ddp_of_compiled.pt": (named("module._orig_mod."), RAW),
    "compile_of_ddp.pt": (named("_orig_mod.module."), RAW),
    "lightning.ckpt": ({**LIGHTNING, "state_dict": named("model.") | STRAYS}, RAW),
    "lightning_net.ckpt": ({**LIGHTNING, "state_dict": named("net.")}, RAW),
    "timm_train.pth.tar": ({"state_dict": RAW, "state_dict_ema": EMA, "args": ARGS, "epoch": 3}, EMA),
    "timm_noargs.pth.tar": ({"state_dict": RAW, "state_dict_ema": EMA, "metric": 97.0}, EMA),
    "torchvision.pth": ({"model": RAW, "model_ema": {"n_averaged": COUNTED, **named("module.", EMA)}}, EMA),
    "swa.pth": ({"n_averaged": COUNTED, **named("module.")}, RAW),
    "params.pth": ({"params": RAW}, RAW),
    "params_ema.pth": ({"params_ema": EMA}, EMA),
    "weights.pth": ({"weights": RAW}, RAW),
    "model_state.pth": ({"model_state": RAW}, RAW),
    "net.pth": ({"net": named("module."), "best_acc": 97.1}, RAW),
    "half.pt": (cast(torch.float16), cast(torch.float16)),
    "nan.pt": (broken(), broken()),
    "parameters.pt": (dict(Net(1).named_parameters()), "without the statistics of batch normalisation"),
    "numpy.pt": ({"state_dict": {name: value.numpy() for name, value in RAW.items()}}, RAW),
    "beside.pt": (
        {"state_dict": RAW, "best": np.float64(97.1), "log": collections.defaultdict(list), "folder": Path("runs")},
        RAW,
    ),
    "whole.pt": (Net(1), ".Net, "),
}  # fmt: skip
"""What torch.save writes, and the weights that are then in the network or words of the refusal."""
PAGE_OF_A_HUB = "<!DOCTYPE html><html><title>Virus scan warning</title></html>"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 12\n"
OTHERS = {
    "half.safetensors": cast(torch.float16),
    "bf16.safetensors": cast(torch.bfloat16),
    "scripted.pt": "is a program (TorchScript or torch.export) and not weights",
    "empty.pt": "is empty",
    "lfs.safetensors": "is a pointer of Git LFS",
    "page.pth": "is a web page",
    "cut.pt": "is damaged",
    "zipped.zip": "is a zip archive of other files (plain.pt)",
}
EXPECTED = {name: expected for name, (_, expected) in SAVED.items()} | OTHERS
SOME = (
    "compile_of_ddp.pt", "lightning.ckpt", "timm_train.pth.tar", "torchvision.pth", "swa.pth", "params_ema.pth",
    "numpy.pt", "beside.pt", "whole.pt", "scripted.pt", "parameters.pt", "cut.pt",
)  # fmt: skip
"""The dozen that every run of the tests takes."""


def make(name, folder):
    """The path of one of them, written into a folder."""
    path = Path(folder) / name
    if name in SAVED:
        torch.save(SAVED[name][0], path)
    elif isinstance(EXPECTED[name], dict):
        save_file(EXPECTED[name], path)
    elif name == "scripted.pt":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            program = torch.jit.trace(Net(1).eval(), torch.rand(2, 3, 32, 32))
            torch.jit.save(program, path)
    elif name == "zipped.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(make("plain.pt", folder), "plain.pt")
    else:
        whole = make("plain.pt", folder).read_bytes()
        told = {"lfs.safetensors": POINTER.encode(), "page.pth": PAGE_OF_A_HUB.encode(), "empty.pt": b""}
        path.write_bytes(told.get(name, whole[: len(whole) // 2]))
    return path


def digest_of(state):
    """Of a network with these weights."""
    module = Net()
    module.load_state_dict(state)
    return state_digest(module)


def outcome(name, folder):
    """ "loaded" or "refused", and whether that is right."""
    module = build()
    before, expected = state_digest(module), EXPECTED[name]
    try:
        load_into(module, make(name, folder))
    except UserError as error:
        words = isinstance(expected, str) and expected in str(error)
        return "refused", words and "\n" not in str(error) and state_digest(module) == before
    return "loaded", isinstance(expected, dict) and state_digest(module) == digest_of(expected)


def section(found, version=__version__):
    """What the page says of them."""
    told = collections.Counter(told for told, _ in found.values())
    averaged = sum(EXPECTED[name] is EMA for name in found)
    wrong = sum(not right for _, right in found.values())
    return (
        f"## Checkpoints\n\nMade by `python -m tests.checkpoints --write` with version {version}: files of weights "
        "as training scripts, wrappers and hubs leave them. Wrong is what is loaded and is not the weights that were "
        "meant, to the byte, what is refused without its reason in one sentence, and a traceback.\n\n"
        "| tried | how many | wrong | outcomes |\n| --- | ---: | ---: | --- |\n"
        f"| checkpoints | {len(found)} | {wrong} | {told['loaded']} loaded, of {averaged} the moving average, "
        f"{told['refused']} refused |\n"
    )


def main():
    """As the command line says."""
    with tempfile.TemporaryDirectory() as folder:
        found = {name: outcome(name, folder) for name in EXPECTED}
    for name, (told, right) in found.items():
        sys.stdout.write(f"{name}: {told}{'' if right else ', WRONG'}\n")
    if "--write" in sys.argv:
        put(section(found))
    sys.exit(not all(right for _, right in found.values()))


if __name__ == "__main__":
    main()
