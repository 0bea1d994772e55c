"""Options that several verbs share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "Annotations",
    "BatchSize",
    "Cache",
    "Canvases",
    "Corruptions",
    "Crop",
    "Data",
    "Device",
    "Fit",
    "Json",
    "Labels",
    "Limit",
    "Mean",
    "Models",
    "On",
    "Precision",
    "Results",
    "Seed",
    "Size",
    "Std",
    "Threads",
    "Timeout",
    "Trust",
    "WeightsFile",
    "WeightsKey",
    "White",
    "Workers",
    "as_text",
    "print_json",
]

Models = Annotated[
    list[str] | None,
    typer.Option(
        "-m",
        "--model",
        help="A card, a TOML file, package.module:function, timm:NAME, torchvision:NAME, onnx:FILE, export:FILE, "
        "script:FILE, hf:FOLDER, mmdet:CONFIG[:CHECKPOINT], results:FOLDER; repeat for several.",
    ),
]
WeightsFile = Annotated[
    Path | None, typer.Option(help="Weights for the one model: .safetensors, or a pickle of tensors.")
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Of a checkpoint: under which key they lie; a moving average (EMA) before raw ones where it is not said.",
        show_default=False,
    ),
]
Precision = Annotated[
    str | None, typer.Option(metavar="fp32|bf16|fp16", help="What layers compute in.", show_default=False)
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B",
        help="What is subtracted from values in 0..1, one number or one a channel; goes with --std.",
        show_default=False,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="R,G,B", help="What these are divided by afterwards; goes with --mean.", show_default=False
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        metavar="SIDE|canvas", help="Side in pixels that the model wants; canvas: no crop of its own."
    ),
]
Fit = Annotated[
    str | None, typer.Option(metavar="resize|crop", help="How it is shown pictures.", show_default=False)
]
Crop = Annotated[
    float | None,
    typer.Option(
        help="The fraction that --fit crop keeps, of a canvas that is cut already too.", show_default=False
    ),
]
Canvases = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|off", help="Where decoded pictures are kept [<cache>/canvases].", show_default=False
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; CUDA where there is one.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that share the work, on CUDA one a device.", show_default=False),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads of each worker; they can change a last bit.", show_default=False),
]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Stop a model that takes longer for one batch.", show_default=False),
]
Annotations = Annotated[
    str | None, typer.Option(help="Of a folder: which of its annotation files.", show_default=False)
]
Corruptions = Annotated[
    str | None,
    typer.Option(
        metavar="common|all|NAME,...",
        help="Of a folder: what its pictures are shown under, beside clean.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Which class each folder is (JSON or CSV), or what is in pictures that lie in one folder.",
        show_default=False,
    ),
]
White = Annotated[
    float | None,
    typer.Option(
        metavar="VALUE",
        help="The value that is white in pictures of 16 bits or of floats: 4095 is 12 bits in 16.",
        show_default=False,
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="ENGINE[:OPTION=VALUE,...]",
        help="Start the workers on an engine: ray (RAY_ADDRESS, else one of this machine), or slurm.",
        show_default=False,
    ),
]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images shown at once.")]

Data = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FOLDER|NAME=PATH",
        help="Folder of data sets and weights [RBMS_DATA]; NAME=PATH: where one data set of pictures lies; repeat.",
        show_default=False,
    ),
]
Results = Annotated[
    Path | None, typer.Option(help="Folder of records [RBMS_RESULTS, else ./results].", show_default=False)
]
Cache = Annotated[
    Path | None, typer.Option(help="Folder of finished cells [RBMS_CACHE].", show_default=False)
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code that a record alone names: another's, of any module.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[
    int | None, typer.Option(help="A fixed, keyed subset of that many samples.", show_default=False)
]
Seed = Annotated[int | None, typer.Option(help="Another seed of the corruptions.", show_default=False)]


def as_text(value: Any) -> str:
    """Plain data as JSON."""
    return json.dumps(value, indent=1, default=str) + "\n"


def print_json(value: Any) -> None:
    """Print plain data as JSON."""
    print(as_text(value), end="")
