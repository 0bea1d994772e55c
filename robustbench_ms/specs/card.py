"""Cards: on whom is measured. Frozen facts; the catalog reads and writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = [
    "ADAPTERS",
    "PRECISIONS",
    "WINDOWS",
    "Card",
    "Input",
    "Output",
    "Published",
    "Weights",
    "of_record",
    "windows_told",
]

ADAPTERS = ("onnx", "export", "script", "hf", "mmdet", "results")
"""First words of build targets that are files: "onnx:FILE", "export:FILE", "script:FILE", "hf:FOLDER", "mmdet:CONFIG",
"results:FOLDER"."""
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Input:
    """What a model wants to be shown, applied on the device after the corruption."""

    size: int | None = None
    """Side in pixels; None takes the canvas as it is."""
    fit: str = "resize"
    """"resize" to size x size; "crop" resizes the shorter side to size / crop and takes the centre; "letterbox"."""
    crop: float = 1.0
    interpolation: str = "bilinear"
    range: tuple[float, float] = (0.0, 1.0)
    """What 0 and 255 become before mean and std."""
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: str = "RGB"
    """"RGB", "BGR", "L"; or "signals", "volumes": in the data's own units, channels as the data have them, of which
    mean and std have a number each and nothing else counts."""
    assumed: bool = False
    """Nobody said what the model wants; the run prints what was assumed."""
    normalised: bool = field(default=False, repr=False)
    """Mean and std alone were said, and the rest is the library's to say; False again when it was completed."""
    crop_mode: str = field(default="center", repr=False)
    """Of fit "crop", timm's: "center"; "squash" resizes both sides, "border" the longer one and fills up."""
    recrop: bool | None = field(default=None, repr=False)
    """Whether a canvas that is cut already is cropped again; None, where nobody says, and False do not."""
    window: tuple[int, int, int] | None = field(default=None, repr=False)
    """Depth, height and width of the windows in which it is shown volumes, in voxels; None shows them whole."""
    overlap: float = field(default=0.25, repr=False)
    """By how much of themselves windows that follow each other overlap, 0 to below 1."""
    blend: str = field(default="constant", repr=False)
    """How much a window says where several do: "constant", alike; "gaussian", more in its middle."""

    def describe(self) -> str:
        """One line for people."""
        if self.channels in {"signals", "volumes"}:
            told = f"{self.channels}, mean {_numbers(self.mean)}, std {_numbers(self.std)}"
            told += f", {self.windows}" if self.window else ""
            return told + (", assumed" if self.assumed else "")
        shown = (
            f"{self.channels} in {self.range[0]:g}..{self.range[1]:g}, mean {_numbers(self.mean)}, "
            f"std {_numbers(self.std)}, {f'{self.size} px ({self._way})' if self.size else 'canvas size'}"
        )
        return shown + (", assumed" if self.assumed else "")

    @property
    def windows(self) -> str:
        """Its windows for people; "" where it has none."""
        return windows_told(self.described)

    @property
    def _way(self) -> str:
        return self.fit if self.crop_mode == "center" else f"{self.fit}, {self.crop_mode}"

    @property
    def described(self) -> dict[str, Any]:
        """Its fields as a record has them: those that came later only where they say something."""
        told, later = asdict(self), dict(_LATER)
        if self.window is not None:  # then each of its words says something
            later = {key: value for key, value in later.items() if key not in WINDOWS}
        return {key: value for key, value in told.items() if key not in later or value != later[key]}


def of_record(told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a card's `Input` or `Output` out of a record, where tuples are lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}


def windows_told(told: Mapping[str, Any]) -> str:
    """The windows of an `Input` as a record has it, for people; "" where it has none."""
    sides = told.get("window")
    if not isinstance(sides, (list, tuple)):
        return ""
    return f"windows of {' x '.join(map(str, sides))}, overlap {told.get('overlap')}, {told.get('blend')} weights"


WINDOWS = ("window", "overlap", "blend")
"""The fields of an `Input` that are of windows: of how volumes are answered, and of no training."""
_LATER = {
    "normalised": False, "crop_mode": "center", "recrop": None, "window": None, "overlap": 0.25, "blend": "constant",
}  # fmt: skip


@dataclass(frozen=True)
class Output:
    """How a model's answers are read: a detector's, in the samples' own pixels; and where its heat maps are taken."""

    score: float | None = None
    """What does not score above it is no detection; a card of a detector says it."""
    maximum: int = 100
    """Detections an image over all classes, the best ones."""
    decode: str = "boxes"
    """"boxes": it answers with boxes, scores and labels; "yolox": with offsets on a grid of locations; "detr": with
    logits and boxes of queries."""
    nms: float | None = None
    """The IoU above which the lesser of two boxes of one class is dropped; None where the model does it itself."""
    labels: str | tuple[str, ...] = "data"
    """What it calls its classes, the first one 0: names, "" for what is none; or a word of `tasks.detection.labels`."""
    layer: str | None = None
    """Where its heat maps are taken, a name of its module's layers; None is its last feature map."""

    @property
    def described(self) -> dict[str, Any]:
        """Its fields as a record has them: those that came later only where they say something."""
        told = asdict(self)
        return {key: value for key, value in told.items() if key != "layer" or value is not None}


@dataclass(frozen=True)
class Weights:
    """One file of weights."""

    file: str
    """Relative to the card's folder, to the data folder or to `package`; absolute only from the command line."""
    sha256: str | None = None
    seed: int | None = None
    """Which replicate this is, where a card has several."""
    url: str | None = None
    package: str | None = None
    """The installed package in whose folder the file lies, by its import name; it is found and never imported."""
    key: str | None = None
    """Of a checkpoint: under which key they lie ("state_dict"); None takes a moving average before raw weights."""
    by: str = "name"
    """How its tensors are told: by "name", or by "position", in the order of the network's own."""


@dataclass(frozen=True)
class Published:
    """A number that others published for this model, shown beside the measured ones and never ranked."""

    metric: str
    value: float
    on: str
    source: str


@dataclass(frozen=True)
class Card:
    """A build target, its arguments, its input, its weights."""

    name: str
    build: str | Callable[..., Any]
    """"package.module:function", "timm:NAME", "torchvision:NAME", "onnx:FILE", or here a callable or a module."""
    tasks: tuple[str, ...] = ("classification",)
    args: Mapping[str, Any] = field(default_factory=dict)
    input: Input = field(default_factory=Input)
    output: Output = field(default_factory=Output)
    weights: tuple[Weights, ...] = ()
    untrained: bool = False
    """Weights are random, on purpose or as was found when it was built: costs may be shown, accuracy is not ranked."""
    precision: str = "fp32"
    memory_format: str = "contiguous"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    about: str = ""
    source: str = ""
    licence: str = ""
    folder: Path | None = None

    @property
    def file_name(self) -> str:
        """The name, with what a file name cannot hold replaced."""
        return re.sub(r"[^\w.@+-]+", "-", self.name).strip("-.")

    def replicates(self) -> tuple[Card, ...]:
        """One card a subject: weights of several seeds become name@seed."""
        if len(self.weights) < 2:
            return (self,)
        return tuple(replace(self, name=f"{self.name}@{w.seed}", weights=(w,)) for w in self.weights)

    @property
    def group(self) -> str:
        """The card whose replicate this is."""
        return self.name.partition("@")[0]

    def save(self, path: str | Path) -> Path:
        """Write the card as TOML, for good; a build target that no other process can import is refused."""
        from robustbench_ms.catalog.cards import write_card

        return write_card(self, Path(path))


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:g}" for v in values)
