"""rbms corrupt: one image, corrupted, a contact sheet of all corruptions, or all cells of a detection suite."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import Data, Json, Limit, print_json
from robustbench_ms.errors import BadFile, UserError, suggest

__all__ = ["command"]

_WITH_ALPHA = {
    "AVIF", "DDS", "GIF", "ICNS", "ICO", "IM", "JPEG2000", "PNG", "QOI", "SGI", "TGA", "TIFF", "WEBP",
}  # fmt: skip
"""Formats in which Pillow writes alpha such that it reads it again."""
_COLOUR_BESIDE_ALPHA = {"GIF", "QOI", "SGI"}
"""Those that have no grey with alpha."""


def command(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE|SUITE", help="A picture that Pillow reads; with --out a suite.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The picture to write; its ending says the format.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="For a detection suite: a folder in COCO's format a cell.", show_default=False),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The corruption.")] = None,
    severity: Annotated[int, typer.Option(help="1 to 5.")] = 3,
    profile: Annotated[
        str, typer.Option(help="any-size, or a published set's: imagenet, cifar, ...")
    ] = "any-size",
    seed: Annotated[
        int | None, typer.Option(help="Keys the randomness; 0, or the suite's.", show_default=False)
    ] = None,
    white: Annotated[
        float | None,
        typer.Option(help="The value that is white, in pictures of 16 bits or floats.", show_default=False),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="A sheet of all corruptions x severities instead.")
    ] = False,
    limit: Limit = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Corrupt a picture; or every picture of a detection suite, for a model that runs elsewhere."""
    if out is not None:
        if output is not None or name is not None or grid:
            raise UserError(
                "--out is for all cells of a suite: --output, --name and --grid are for one picture"
            )
        _suite(image, out, limit, seed, data, as_json=as_json)
        return
    if output is None:
        raise UserError("give -o, the picture to write, or --out, the folder for the cells of a suite")
    seed = seed or 0
    from PIL import Image

    from robustbench_ms.corruptions.table import NAMES
    from robustbench_ms.corruptions.transform import Corrupt, contact_sheet
    from robustbench_ms.files import replacing

    if grid == (name is not None):
        raise UserError(f"give --name, one of {', '.join(NAMES)}, or --grid for all of them")
    known = {ending: name for ending, name in Image.registered_extensions().items() if name in Image.SAVE}
    if output.suffix.lower() not in known:
        raise UserError(
            f"{output}: no picture format that Pillow writes has the ending {output.suffix!r}"
            f"{suggest(output.suffix, known)}"
        )
    picture = _open(Path(image), white)
    if grid:
        shown = contact_sheet(picture, profile=profile, seed=seed)
    else:
        shown = Corrupt(name or "", severity, profile=profile, seed=seed)(picture)
    written = known[output.suffix.lower()]
    if "A" in shown.mode and written not in _WITH_ALPHA:
        print(f"rbms: {written} has no alpha: {output} is without the picture's", file=sys.stderr)
        shown = shown.convert(shown.mode.removesuffix("A"))
    elif shown.mode == "LA" and written in _COLOUR_BESIDE_ALPHA:
        shown = shown.convert("RGBA")
    try:
        with replacing(output) as part:
            shown.save(part, format=written)
    except (OSError, ValueError) as error:
        raise UserError(f"{output} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if as_json:
        print_json(
            {
                "output": str(output),
                "size": list(shown.size),
                "corruption": name,
                "severity": severity,
                "seed": seed,
            }
        )


def _suite(
    spelling: str, folder: Path, limit: int | None, seed: int | None, data: list[str] | None, *, as_json: bool
) -> None:
    """Write the cells; a line each as it is done."""
    from robustbench_ms.catalog.find import find_suite
    from robustbench_ms.evaluation.folders import write_folders
    from robustbench_ms.specs.places import Places

    done = []
    for cell, pictures in write_folders(find_suite(spelling).limited(limit, seed), Places.find(data), folder):
        done.append({"cell": cell, "pictures": pictures})
        if not as_json:
            print(f"{folder / cell}: {pictures} pictures")
    if as_json:
        print_json({"out": str(folder), "cells": done})


def _open(path: Path, white: float | None) -> Any:
    """The picture the right way up, as bytes: of an animation the first one."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    from robustbench_ms.corruptions.pictures import as_bytes, checked_white

    white = checked_white(white)
    try:
        with Image.open(path) as picture:
            deep = any(";16" in str(tile[3]) for tile in picture.tile)
            turned = ImageOps.exif_transpose(picture)
    except UnidentifiedImageError as error:
        raise BadFile(f"{path} is no picture that Pillow reads") from error
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file raises half a dozen kinds, a huge one its own
        raise BadFile(f"{path} cannot be read: {error}") from error
    try:
        shown = as_bytes(turned, white, option="--white ")
    except UserError as error:
        raise BadFile(f"{path}: {error}") from error
    bands: Any = shown.convert("RGB").getextrema()
    if deep and not turned.mode.startswith("I") and max(high for _, high in bands) < 16:
        raise BadFile(
            f"{path}: its values end below 4,096: 12 bits in 16? Pillow reads the upper 8 alone; "
            "spread them over 0..65535 first"
        )
    return shown
