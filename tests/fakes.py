"""Models that behave, and models that do not; a card names one as "tests.fakes:NAME"."""

from __future__ import annotations

import os
import signal
import time

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F


class Coarse(nn.Module):
    """Ten logits of the mean colours of sixteen blocks; a few hundred weights, fixed by a seed."""

    def __init__(self, seed=0, classes=10):
        super().__init__()
        self.head = nn.Linear(48, classes)
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            self.head.weight.copy_(torch.randn(classes, 48, generator=random))
            self.head.bias.copy_(torch.randn(classes, generator=random))

    def forward(self, images):
        return self.head(F.adaptive_avg_pool2d(images, 4).flatten(1))


def build(classes=10, seed=0):
    return Coarse(seed, classes)


def other():
    return Coarse(1)


def pair():
    return Coarse(classes=2)


class Edited(Coarse):
    """The same names and shapes of weights, another forward."""

    def forward(self, images):
        return super().forward(images) * 1.5


def edited():
    return Edited()


class Gate(Coarse):
    """Answers the probe (four calls), then does what `then` says at each call after `calm` further ones."""

    def __init__(self, then, calm=0):
        super().__init__(seed=5)
        self.then, self.calls = then, -4 - calm

    def forward(self, images):
        self.calls += 1
        answer = super().forward(images)
        return self.then(answer) if self.calls > 0 else answer


def _raise(error):
    def then(answer):
        raise error

    return then


def raises_later():
    return Gate(_raise(ValueError("a bug of the model's own")), calm=1)


def raises_at_once():
    return Gate(_raise(ValueError("a bug of the model's own")), calm=-4)


def nan_later():
    return Gate(lambda answer: answer * float("nan"), calm=1)


def nan_at_once():
    return Gate(lambda answer: answer * float("nan"), calm=-4)


def loses_device():
    return Gate(_raise(RuntimeError("CUDA error: device-side assert triggered\nmore lines")), calm=1)


def loses_device_at_once():
    return Gate(_raise(torch.AcceleratorError("CUDA error: an illegal memory access")), calm=-4)


def leaves_at_once():
    return Gate(_raise(SystemExit(0)), calm=-4)


class Small(Coarse):
    """Has memory for three samples at once."""

    def __init__(self, room=3, seed=0):
        super().__init__(seed)
        self.room = room
        self.sizes = []

    def forward(self, images):
        self.sizes.append(len(images))
        if len(images) > self.room and self.room < 8 and len(self.sizes) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(images)


def small():
    return Small()


def no_room():
    return Small(room=0, seed=5)


class Probabilities(Coarse):
    def forward(self, images):
        return super().forward(images).softmax(dim=1)


class Purifies(Coarse):
    """Looks at its input's gradient first, as purification and energy models do, and answers with a way back."""

    @torch.enable_grad()
    def forward(self, images):
        shown = images.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(super().forward(shown).logsumexp(1).sum(), shown)
        return super().forward((shown - 0 * gradient).detach())


class Huge(Coarse):
    """Sure of itself beyond what float16 holds."""

    def forward(self, images):
        return super().forward(images) * 1e30


class ReadsTheBatch(Coarse):
    """Answers relative to its batch, as normalisation by the batch's own statistics does."""

    def forward(self, images):
        answer = super().forward(images)
        return answer - answer.mean(dim=0, keepdim=True)


class StuckNorm(Coarse):
    """Batch normalisation that stays in train mode whatever is asked."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def train(self, mode=True):
        super().train(mode)
        self.norm.train()
        return self

    def forward(self, images):
        return super().forward(self.norm(images))


class StuckDropout(Coarse):
    """Drops at random when it is measured too."""

    def forward(self, images):
        return super().forward(F.dropout(images, 0.5, training=True))


class Constant(Coarse):
    """Always the same class: right on one image in ten."""

    def forward(self, images):
        return F.one_hot(torch.zeros(len(images), dtype=torch.long), 10).float() + 0 * super().forward(images)


class Slow(Coarse):
    def forward(self, images):
        time.sleep(0.01)
        return super().forward(images)


class Heads(Coarse):
    """Answers as networks with auxiliary heads do: a tuple, the main one first."""

    def forward(self, images):
        answer = super().forward(images)
        return answer, -answer


class Told(Coarse):
    """Answers with a table of words."""

    def forward(self, images):
        return {"logits": super().forward(images)}


class Watcher(Coarse):
    """Keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, images):
        self.shown.append(images.clone())
        return super().forward(images)


def watcher():
    return Watcher()


def returns_text():
    return "a model"


def breaks():
    raise RuntimeError("the constructor fails")


def interrupted():
    return Gate(_raise(KeyboardInterrupt()), calm=1)


def weights_of(model, folder, name="w.safetensors"):
    path = folder / name
    save_file(model.state_dict(), path)
    return path


def _dies(answer):
    os.kill(os.getpid(), signal.SIGSEGV)
    return answer


def segfaults():
    return Gate(_dies, calm=1)


def segfaults_at_once():
    return Gate(_dies, calm=-4)


class Sleepy(Coarse):
    """Slow enough for others to come between."""

    def forward(self, images):
        time.sleep(0.05)
        return super().forward(images)
