"""From a card to a model that answers: the build target, the weights, the input, the precision, the device."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustbench_ms.catalog.targets import load
from robustbench_ms.datasets.protocol import Index
from robustbench_ms.datasets.shapes import Images, RaggedVolumes, Signals, Volumes
from robustbench_ms.errors import DeviceLost, UserError, suggest
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.card import Card, Input
from robustbench_ms.specs.places import Places
from robustbench_ms.subjects.adapting import adapted, is_adapted
from robustbench_ms.subjects.declared import undeclared
from robustbench_ms.subjects.detectors import of_library, settled
from robustbench_ms.subjects.devices import lost_devices
from robustbench_ms.subjects.guard import Guard, first_line
from robustbench_ms.subjects.inputs import (
    Preprocess,
    Standardise,
    Way,
    interpolation_of,
    of_timm,
    preprocess_of,
    said_first,
    way_of,
)
from robustbench_ms.subjects.network import fetching
from robustbench_ms.subjects.programs import as_module
from robustbench_ms.subjects.untrained import doubt, refuse_lazy, seeded
from robustbench_ms.subjects.weights import Loaded, file_digest, find_weights, load_into, refuse_other
from robustbench_ms.tasks.protocol import Geometry

__all__ = ["Model", "blame", "build_module", "load_model"]


@dataclass(frozen=True)
class Model:
    """A model ready to answer uint8 canvases, or windows of signals."""

    card: Card
    """With its input completed from what the library knows, and untrained where that was found."""
    module: Callable[[Tensor], Any]
    preprocess: Preprocess | Standardise
    device: torch.device
    weights_sha256: str | None
    """Of the file it was loaded from."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """What its task found for it before the probe; {} for most tasks."""
    warnings: tuple[str, ...] = ()
    """What was found while it was built."""
    classes: int = 0
    """Of the data that it is asked about."""
    names: tuple[str, ...] = ()
    """What these are called, where they have names."""
    asked: bool = True
    """It can be asked a probe; where not, the weights' digest alone is who answers."""
    canvas: Canvas | None = None
    """What it wants pictures to be shown on; None where the suite has one canvas for all."""
    notes: tuple[str, ...] = ()
    """Its input and what becomes of it on the suite's canvas, in one line, and what there is to say of its weights."""
    weights_key: str | None = None
    """Under which key of a checkpoint its weights lay, where there was a choice."""

    def prepare(self, samples: Tensor) -> tuple[Tensor, Geometry]:
        """What its input makes of samples (N, C, H, W) or (N, C, T) on its device, and how that came about."""
        return self.preprocess.shown(samples)

    def forward(self, shown: Tensor) -> Any:
        """The module's own answer to what it is shown, in the card's precision, in the grad mode of the caller."""
        if self.card.memory_format == "channels_last":
            shown = shown.contiguous(memory_format=torch.channels_last)
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.card.precision)
        with _autocast(self.device, kind):
            return self.module(shown)

    def kept_attention(self) -> int:
        """How many attention blocks its backbone kept of its own beside those that were put into it."""
        from robustbench_ms.models.insertion import attention_blocks, own_attention

        return own_attention(attention_blocks(self.module)) if isinstance(self.module, nn.Module) else 0

    def parts_in_train_mode(self) -> list[str]:
        """Names of sub-modules that stayed in train mode after eval()."""
        if not isinstance(self.module, nn.Module):
            return []
        return [
            name or type(part).__name__
            for name, part in self.module.named_modules()
            if getattr(part, "training", False)
        ]


def load_model(
    card: Card, index: Index, *, device: torch.device, places: Places, canvas: str | Canvas = "stored"
) -> Model:
    """Build a card's model for the data, load its one set of weights, and put it on the device in eval mode.

    It is built under a fixed seed, so that two runs of an untrained one answer alike; the caller's generators go on as
    they were. Without weights a function is called a second time, see `untrained`. `canvas` is the suite's.
    """
    weights = card.weights[0] if card.weights else None
    if is_adapted(card):
        return _from_file(card, index, device, places, canvas)
    with blame(card), Guard(card.name):
        module, card, warnings = _built(card, index.classes, tested=canvas == "model")
        sha256, held = None, Loaded()
        if weights is not None:
            path = find_weights(weights, card, places)
            sha256 = file_digest(path)
            refuse_other(sha256, weights, path)
            held = load_into(module, path, by=weights.by, key=weights.key)
        if isinstance(module, nn.Module):
            module = module.to(device).eval()
            if card.memory_format == "channels_last":
                module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if "detection" in card.tasks:
            card = settled(card, module)
        way = _way(card, index, canvas)
        return Model(
            replace(card, input=way.wanted),
            module,
            preprocess_of(way.left, index.layout, device),
            device,
            sha256,
            warnings=(*warnings, *held.warnings),
            classes=index.classes,
            names=index.names,
            canvas=way.canvas,
            notes=(_told(way), *held.notes),
            weights_key=held.key,
        )


def _from_file(card: Card, index: Index, device: torch.device, places: Places, canvas: str | Canvas) -> Model:
    """A model that is a file of another kind."""
    with blame(card), Guard(card.name):
        made = adapted(card, index, places)
        module = made.module.to(device).eval() if isinstance(made.module, nn.Module) else made.module
        way = _way(made.card, index, canvas)
        return Model(
            replace(made.card, input=way.wanted),
            module,
            preprocess_of(way.left, index.layout, device),
            device,
            made.sha256,
            classes=index.classes,
            names=index.names,
            asked=made.asked,
            canvas=way.canvas,
            notes=(_told(way),) if made.asked else way.notes,
        )


def _way(card: Card, index: Index, canvas: str | Canvas) -> Way:
    wanted = card.input
    if not isinstance(index.layout, (Signals, Volumes, RaggedVolumes)):
        return way_of(wanted, canvas, _sides(index))
    kind = "signals" if isinstance(index.layout, Signals) else "volumes"
    if wanted.assumed and not wanted.normalised:
        wanted = replace(wanted, channels=kind, mean=(0.0,), std=(1.0,), size=None)
    elif wanted.normalised:
        wanted = replace(wanted, channels=kind, normalised=False, assumed=False)
    return Way(wanted, wanted)


def _sides(index: Index) -> tuple[int, int] | None:
    """Height and width of all samples; None where they differ or are none."""
    layout = index.layout
    return (layout.height, layout.width) if isinstance(layout, Images) else None


def _told(way: Way) -> str:
    """A model's input in one line."""
    who = "nobody said what it wants to be shown; " if way.wanted.assumed else "its input: "
    return "; ".join((who + way.wanted.describe(), *way.notes))


@contextlib.contextmanager
def blame(card: Card) -> Iterator[None]:
    """Say of which model a UserError speaks."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"model {card.name}: {error}") from error


def _built(card: Card, classes: int, *, tested: bool) -> tuple[Any, Card, tuple[str, ...]]:
    """What a card's target makes under seed 0, the card completed, and what there is to say of it."""
    with lost_devices(), seeded(0):
        module, known = build_module(card, classes, tested=tested)
    if not isinstance(module, nn.Module):
        return module, known, ()
    refuse_lazy(module)
    told = undeclared(replace(known, input=replace(known.input, assumed=card.input.assumed)), module, classes)
    warnings = () if told is None else (told,)
    given = isinstance(card.build, nn.Module) or str(card.build).startswith(("timm:", "torchvision:"))
    if given or card.weights or card.untrained:
        return module, known, warnings
    untrained, told = doubt(module, lambda: _build(card, classes)[0])
    return module, replace(known, untrained=untrained), (*warnings, *([] if told is None else [told]))


def build_module(card: Card, classes: int, *, tested: bool = False) -> tuple[Any, Card]:
    """What a card's build target makes, without weights, and the card with its input completed.

    `tested` completes it as timm tests a network on pictures of any size, and not as it was trained.

    UserError for whatever it raises.
    """
    try:
        return _build(card, classes, tested=tested)
    except (UserError, DeviceLost):
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        given = f" with the card's args {dict(card.args)}" if card.args else ""
        raise UserError(f"{card.build} could not be called{given} ({told})") from error


def _build(card: Card, classes: int, *, tested: bool = False) -> tuple[Any, Card]:
    build = card.build if isinstance(card.build, str) else as_module(card.build)
    if isinstance(build, nn.Module):
        return build, _completed(card, build, tested=tested)
    if is_adapted(card):
        raise UserError(f"{build} is a file, and no network that is built")
    if isinstance(build, str) and build.startswith(("timm:", "torchvision:")):
        return _from_library(card, build, classes, tested=tested)
    function = load(build) if isinstance(build, str) else build
    try:
        inspect.signature(function).bind(**card.args)
    except TypeError as error:
        raise UserError(f"{build} cannot be called with the card's args: {error}") from error
    made = as_module(function(**card.args))
    if not callable(made):
        raise UserError(f"{build} returned {type(made).__name__}, which cannot be called")
    return made, _completed(card, made, tested=tested)


def _from_library(card: Card, build: str, classes: int, *, tested: bool) -> tuple[nn.Module, Card]:
    library, _, name = build.partition(":")
    import timm
    from torchvision import models

    # Of torchvision the models of the task alone: the others answer otherwise.
    detects, labels = "detection" in card.tasks, "segmentation" in card.tasks
    of_task = models.detection if detects else models.segmentation if labels else models
    known = timm.list_models() if library == "timm" else models.list_models(module=of_task)
    if name.partition(".")[0] not in known:
        raise UserError(f"{library} has no model named {name!r}{suggest(name.partition('.')[0], known)}")
    pretrained = not card.weights and not card.untrained
    # Weights of one's own go with the suite's number of classes; the library's keep theirs.
    arguments = {**({} if pretrained else {"num_classes": classes}), **card.args}
    if library == "torchvision" and detects and not pretrained:
        # Class 0 is the background, and a backbone without weights of its own is not fetched.
        arguments = {"num_classes": classes + 1, "weights_backbone": None, **card.args}
    if library == "torchvision" and labels and not pretrained:
        arguments = {"weights_backbone": None, **arguments}
    hub, url = False, None
    if pretrained and library == "timm":
        source = timm.get_pretrained_cfg(name)
        hub, url = bool(source and source.hf_hub_id), source and source.url
    elif pretrained:
        url = models.get_model_weights(name).DEFAULT.url
    try:
        with fetching(url, hub=hub) if pretrained else contextlib.nullcontext():
            if library == "timm":
                module = timm.create_model(name, pretrained=pretrained, **arguments)
            else:
                module = models.get_model(name, weights="DEFAULT" if pretrained else None, **arguments)
    except UserError as error:
        raise UserError(f"{build}: {error}; give weights of your own with --weights") from error
    except Exception as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{build} could not be made ({told}); without the network, give its weights with --weights"
        ) from error
    if library == "torchvision" and detects:
        return module, of_library(card, pretrained=pretrained)
    if library == "torchvision" and card.input.assumed:
        wanted = _torchvision_input(models.get_model_weights(name).DEFAULT.transforms())
        return module, replace(card, input=said_first(card.input, wanted))
    return module, _completed(card, module, tested=tested)


def _completed(card: Card, module: Any, *, tested: bool) -> Card:
    """What the model wants, from its own pretrained_cfg (timm's convention), where nobody said it."""
    known = getattr(module, "pretrained_cfg", None)
    if not card.input.assumed or not isinstance(known, Mapping) or "mean" not in known:
        return card
    return replace(card, input=said_first(card.input, of_timm(known, tested=tested)))


def _torchvision_input(known: Any) -> Input:
    if not hasattr(
        known, "crop_size"
    ):  # of labelling: a shorter side alone, for which the picture's own stands
        return Input(mean=tuple(known.mean), std=tuple(known.std))
    return Input(
        size=known.crop_size[0],
        fit="crop",
        crop=known.crop_size[0] / known.resize_size[0],
        interpolation=interpolation_of(known.interpolation.value),
        mean=tuple(known.mean),
        std=tuple(known.std),
    )


def _autocast(device: torch.device, kind: torch.dtype | None) -> Any:
    return contextlib.nullcontext() if kind is None else torch.autocast(device.type, dtype=kind)
