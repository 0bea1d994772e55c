"""rbms train: make the weights behind a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robustbench_ms.cli.options import Data, Device, Json, print_json

__all__ = ["command"]


def command(
    card: Annotated[str, typer.Argument(help="A card with a recipe, by name or file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    seed: Annotated[
        int, typer.Option(help="Seed of the initial weights, the order and the augmentation.")
    ] = 0,
    device: Device = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Train a card by its recipe and write its weights."""
    import sys

    from robustbench_ms.catalog.find import find_card
    from robustbench_ms.specs.places import Places
    from robustbench_ms.subjects.training import train
    from robustbench_ms.subjects.weights import file_digest

    for epoch in train(find_card(card), output, Places.find(data), seed=seed, device=device):
        print(
            f"epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}  lr {epoch.lr:.4g}  "
            f"{epoch.seconds:.1f} s, {epoch.seconds_left:.0f} s left",
            file=sys.stderr,
        )
    digest = file_digest(output)
    if as_json:
        print_json({"file": str(output), "sha256": digest, "seed": seed})
    else:
        print(f'[[weights]]\nseed = {seed}\nfile = "weights/{output.name}"\nsha256 = "{digest}"')
