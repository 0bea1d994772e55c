"""rbms corrupt: one image, corrupted, or a contact sheet of all corruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from robustbench_ms.cli.options import Json, print_json
from robustbench_ms.errors import BadFile, UserError, suggest

__all__ = ["command"]


def command(
    image: Annotated[Path, typer.Argument(help="A picture that Pillow reads.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture to write; its ending says the format.")
    ],
    name: Annotated[str | None, typer.Option(help="The corruption.")] = None,
    severity: Annotated[int, typer.Option(help="1 to 5.")] = 3,
    profile: Annotated[
        str, typer.Option(help="any-size, or a published set's: imagenet, cifar, ...")
    ] = "any-size",
    seed: Annotated[int, typer.Option(help="Keys the randomness.")] = 0,
    grid: Annotated[
        bool, typer.Option("--grid", help="A sheet of all corruptions x severities instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Corrupt a picture."""
    from PIL import Image

    from robustbench_ms.corruptions.table import NAMES
    from robustbench_ms.corruptions.transform import Corrupt, contact_sheet
    from robustbench_ms.files import replacing

    if grid == (name is not None):
        raise UserError(f"give --name, one of {', '.join(NAMES)}, or --grid for all of them")
    known = Image.registered_extensions()
    if output.suffix.lower() not in known:
        raise UserError(
            f"{output}: no picture format has the ending {output.suffix!r}{suggest(output.suffix, known)}"
        )
    picture = _open(image)
    if grid:
        shown = contact_sheet(picture, profile=profile, seed=seed)
    else:
        shown = Corrupt(name or "", severity, profile=profile, seed=seed)(picture)
    try:
        with replacing(output) as part:
            shown.save(part, format=known[output.suffix.lower()])
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror or error}") from error
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


def _open(path: Path) -> Any:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            turned = ImageOps.exif_transpose(picture)
            return turned.convert("L" if turned.mode in {"1", "L"} else "RGB")
    except UnidentifiedImageError as error:
        raise BadFile(f"{path} is no picture that Pillow reads") from error
    except OSError as error:
        raise BadFile(f"{path}: {error.strerror or error}") from error
