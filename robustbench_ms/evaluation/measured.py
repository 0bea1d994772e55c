"""What the records of a folder hold already, known without building a model."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.specs.card import Card

__all__ = ["measured"]


def measured(card: Card, folder: Path) -> set[str] | None:
    """The keys of the cells that a folder of records holds for a card's weights; None where it declares none.

    By the digest of the weights' file alone: whether the code around them is still the same, only a run can know.
    """
    declared = card.weights[0].sha256 if card.weights else None
    if declared is None:
        return None
    path = folder / f"{card.file_name}.json"
    if not path.exists():
        return set()
    from robustbench_ms.records.record import read_record  # numpy, only where there is a record

    record = read_record(path)
    weights = record.card.get("weights") or {}
    return (
        {m.key for m in record.measurements if m.error is None}
        if weights.get("sha256") == declared
        else set()
    )
