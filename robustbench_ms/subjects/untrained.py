"""Whether what a function builds is trained: built twice under two seeds, its parameters are the same, or they are not.

It costs a second building, and the memory of a second model until that is done; so it is asked only where no weights
are loaded. What loads weights of its own, or seeds itself, builds the same twice and is taken as it is; buffers do not
count, which a trained model may draw anew (random features).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.subjects.devices import lost_devices

__all__ = ["doubt", "refuse_lazy", "seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of torch, numpy and Python start from a seed, and go on afterwards as if nothing was."""
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    here, devices = torch.get_rng_state(), torch.cuda.get_rng_state_all() if cuda else []
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002 - a factory may draw from it
    # Not torch.manual_seed, which keeps a seed for CUDA devices that are not in use yet.
    torch.default_generator.manual_seed(seed)
    if cuda:
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(here)
        if cuda:
            torch.cuda.set_rng_state_all(devices)
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def refuse_lazy(module: nn.Module) -> None:
    """UserError where a parameter or buffer gets its shape and values only with the first sample."""
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise UserError(
                f"its {name} has no values before its first sample (a lazy module); show it one before it is returned"
            )


def doubt(module: nn.Module, build: Callable[[], nn.Module]) -> tuple[bool, str | None]:
    """Whether a module, built under seed 0, is found to be untrained, and what there is to say of it.

    `build` makes it again, here under seed 1. Where it cannot, the module is taken as it is, and that is said.
    """
    if next(module.parameters(), None) is None:
        return False, None
    try:
        with lost_devices(), seeded(1):
            name = _first_apart(module, build())
    except DeviceLost:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a function does that expects to be called once
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return (
            False,
            f"nobody knows whether it is trained: it could not be built a second time and compared ({why})",
        )
    if name is None:
        return False, None
    return True, f"untrained: it has no weights, and its {name} is another with each seed it is built under"


def _first_apart(one: nn.Module, other: nn.Module) -> str | None:
    """The first parameter of either that the other does not have bit for bit."""
    mine, theirs = dict(one.named_parameters()), dict(other.named_parameters())
    names = dict.fromkeys((*mine, *theirs))
    return next((n for n in names if n not in mine or n not in theirs or not _same(mine[n], theirs[n])), None)


def _same(one: Tensor, other: Tensor) -> bool:
    """In type, shape and every bit: NaN is the same as itself."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    here, there = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
    return torch.equal(here, there)
