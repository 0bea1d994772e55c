"""What a library declares of its models' normalisation, held against what a card says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustbench_ms.specs.card import Card

__all__ = ["undeclared"]

TOLERATED = 0.02
"""Of a mean or a standard deviation, as parts of the range from black to white."""


def undeclared(card: Card, module: Any, classes: int) -> str | None:
    """What a card's input has otherwise than the library declares; None where it is the same or nobody declares it.

    Weights of one's own may want another input: they are held to the library's where they answer for as many classes
    (`classes`, where neither the network nor the card's args say).
    """
    if (card.input.assumed and not card.input.normalised) or card.untrained or "detection" in card.tasks:
        return None
    declared = _declared(card, module)
    if declared is None:
        return None
    whose, mean, std, count = declared
    own = getattr(module, "num_classes", card.args.get("num_classes", classes))
    if card.weights and own != count:
        return None
    low, high = card.input.range
    black_to_white = high - low
    said = [(m - low) / black_to_white for m in card.input.mean], [s / black_to_white for s in card.input.std]
    apart = max(
        abs(mine - theirs)
        for given, known in zip(said, (mean, std), strict=True)
        for mine, theirs in zip(given * 3 if len(given) == 1 else given, known, strict=False)
    )
    if apart <= TOLERATED:
        return None
    return (
        f"its input is said to be other than {whose} declares for it, mean {_shown(mean)}, std {_shown(std)} of 0..1: "
        f"{card.input.describe()}"
    )


def _declared(card: Card, module: Any) -> tuple[str, tuple[float, ...], tuple[float, ...], int] | None:
    """Whose word it is, mean and std in 0..1, and for how many classes the library's own weights answer."""
    known = getattr(module, "pretrained_cfg", None)  # timm's convention
    if isinstance(known, Mapping) and "mean" in known and "std" in known:
        return "timm", tuple(known["mean"]), tuple(known["std"]), int(known.get("num_classes") or 0)
    library, _, name = str(card.build).partition(":")
    if library != "torchvision":
        return None
    from torchvision import models

    weights = models.get_model_weights(name).DEFAULT
    shown = weights.transforms()
    return "torchvision", tuple(shown.mean), tuple(shown.std), len(weights.meta["categories"])


def _shown(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
