"""Models that raise, hang, print, exit, answer oddly, change the process or their input: "tests.strangers.models:NAME".

Each is a sane linear network, one thing apart. The first four calls are the probe's.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
import warnings

import numpy as np
import torch
from torch import nn

__all__ = ["NAMES", "STRANGERS"]

PROBE = 4
"""Calls of the probe: first, second, and the two halves."""
KEPT: list[torch.Tensor] = []


class Sane(nn.Module):
    """Ten logits of all pixels, of fixed weights; `act(self, logits, shown)` makes its answer of them."""

    def __init__(self, act):
        super().__init__()
        drawn = torch.randn(10, 3 * 32 * 32, generator=torch.Generator().manual_seed(3))
        self.register_buffer("weight", drawn / 55)
        self.act, self.calls, self.run = act, 0, 0.0
        self.room = torch.zeros(512, 10)

    def forward(self, shown):
        self.calls += 1
        return self.act(self, shown.float().flatten(1) @ self.weight.T, shown)


STRANGERS = {}
"""{name: act}."""


def stranger(act):
    STRANGERS[act.__name__.lstrip("_")] = act
    return act


def before(do):
    """Does something each time, then answers."""

    def act(model, logits, shown):
        do()
        return logits

    return act


def at(call, do):
    """Does something at one call after the probe."""

    def act(model, logits, shown):
        if model.calls == PROBE + call:
            do()
        return logits

    return act


def answering(change):
    return lambda model, logits, shown: change(logits)


def later(change):
    return lambda model, logits, shown: change(logits) if model.calls > PROBE + 2 else logits


def throws(error):
    def do():
        raise error

    return do


def _forks():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _recurses():
    def deeper():
        return deeper()

    deeper()


def _seeds():
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)


def _warns():
    warnings.warn("my model warns", stacklevel=1)
    warnings.simplefilter("error")


def _leaves_inference():
    torch.set_grad_enabled(True)
    torch.inference_mode(False).__enter__()


def _threads(daemon, count=1):
    for _ in range(count):
        threading.Thread(target=time.sleep, args=(1000,), daemon=daemon).start()


def _exits():
    sys.exit(0)


STRANGERS |= {
    "sane": answering(lambda y: y),
    "raise3": at(3, throws(ValueError("boom\nsecond line \x1b[31mred"))),
    "hang3": at(3, lambda: time.sleep(10_000)),
    "prints": before(lambda: print("hello from the model")),  # noqa: T201
    "fdprints": before(lambda: os.write(1, b"hello from C\n")),
    "grad": before(lambda: torch.set_grad_enabled(True)),
    "noinf": before(_leaves_inference),
    "f64default": before(lambda: torch.set_default_dtype(torch.float64)),
    "bf16default": before(lambda: torch.set_default_dtype(torch.bfloat16)),
    "metadevice": before(lambda: torch.set_default_device("meta")),
    "seeds": before(_seeds),
    "det": lambda m, y, x: torch.use_deterministic_algorithms(m.calls > PROBE) or y,
    "threads": before(lambda: torch.set_num_threads(2)),
    "matmulprec": before(lambda: torch.set_float32_matmul_precision("medium")),
    "flush": before(lambda: torch.set_flush_denormal(True)),
    "exit0": at(3, _exits),
    "exit0probe": before(_exits),
    "kbd": at(3, throws(KeyboardInterrupt())),
    "basee": at(3, throws(BaseException("odd"))),
    "leak": before(lambda: KEPT.append(torch.ones(4_000_000))),
    "spawn": before(lambda: _threads(daemon=False, count=3)),
    "spawnd": before(lambda: _threads(daemon=True)),
    "warn": before(_warns),
    "chdir": before(lambda: os.chdir("/")),
    "npraise": before(lambda: np.seterr(all="raise")),
    "closeout": at(1, lambda: sys.stdout.close()),  # noqa: PLW0108 - the one of then
    "recurse": at(2, _recurses),
    "oom": at(2, throws(MemoryError("pretend"))),
    "oomalways": lambda m, y, x: throws(MemoryError("pretend"))() if m.calls > PROBE else y,
    "trainmode": lambda m, y, x: (m.train(), y)[1],
    "forks": at(2, _forks),
    "nondet": lambda m, y, x: y + torch.rand(len(x), 10) * 1e-3,
    "environ": before(lambda: os.environ.update(RBMS_CACHE="/nonexistent/x")),
    "out_double": answering(lambda y: y.double()),
    "out_bf16": answering(lambda y: y.bfloat16()),
    "out_half": answering(lambda y: y.half()),
    "out_i64": answering(lambda y: (y * 1000).long()),
    "out_boolean": answering(lambda y: y > 0),
    "out_u8": answering(lambda y: (y * 50).clamp(0, 255).byte()),
    "out_cplx": answering(lambda y: y.to(torch.complex64)),
    "out_nine": answering(lambda y: y[:, :9]),
    "out_eleven": answering(lambda y: torch.cat([y, y[:, :1]], 1)),
    "out_tup": answering(lambda y: (y, y)),
    "out_lst": answering(lambda y: [y]),
    "out_dct": answering(lambda y: {"logits": y}),
    "out_none": answering(lambda y: None),
    "out_npy": answering(lambda y: y.numpy()),
    "out_onedim": answering(lambda y: y[:, 0]),
    "out_fourd": answering(lambda y: y[:, :, None, None]),
    "out_short": answering(lambda y: y[:-1]),
    "out_sparse": answering(lambda y: y.to_sparse()),
    "out_inf": answering(lambda y: torch.cat([y[:, :9], torch.full((len(y), 1), -torch.inf)], 1)),
    "out_grads": answering(lambda y: y),
    "out_empty_tup": answering(lambda y: ()),
    "out_scalar": answering(lambda y: y.sum()),
    "out_huge": answering(lambda y: y * 1e37),
    "out_const": answering(torch.zeros_like),
    "out_meta": answering(lambda y: y.to("meta")),
    "later_nine": later(lambda y: y[:, :9]),
    "later_short": later(lambda y: y[:-1]),
    "later_dct": later(lambda y: {"a": y}),
    "later_long": later(lambda y: torch.cat([y, y])),
    "later_i64": later(lambda y: y.long()),
    "later_eleven": later(lambda y: torch.cat([y, y[:, :1]], 1)),
    "later_oned": later(lambda y: y[:, 0]),
    "later_one_row": later(lambda y: y[:1]),
}


@stranger
def _nan5(model, logits, shown):
    if model.calls == PROBE + 5:
        logits[0, 0] = torch.nan
    return logits


@stranger
def _mutate(model, logits, shown):
    shown.zero_()
    return logits


@stranger
def _mutate_gc(model, logits, shown):
    """Finds the bytes that its neighbour is shown by the garbage collector."""
    for one in gc.get_objects():
        if isinstance(one, torch.Tensor) and one.dtype == torch.uint8 and one.dim() == 4:
            one.zero_()
    return logits


@stranger
def _state(model, logits, shown):
    if model.calls <= PROBE:
        return logits
    model.run = model.run * 0.5 + shown.mean() * 5
    return logits + model.run * torch.arange(10)


@stranger
def _view(model, logits, shown):
    """A static output buffer, as captured CUDA graphs have one."""
    model.room[: len(logits)] = logits
    return model.room[: len(logits)]


NAMES = (*STRANGERS, "exit0build")


def _builder(name):
    def build():
        if name == "exit0build":
            sys.exit(0)
        return Sane(STRANGERS[name])

    build.__name__ = build.__qualname__ = name
    return build


def __getattr__(name):
    if name in NAMES:
        return _builder(name)
    raise AttributeError(name)
