"""Who answers again for a record: its card, as it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from robustbench_ms.catalog.find import find_card
from robustbench_ms.catalog.model_options import ModelOptions
from robustbench_ms.catalog.trust import refuse_code
from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.records.record import Record, read_record, records_in
from robustbench_ms.specs.card import Card, Input, of_record

__all__ = ["card_of", "pairs_of"]


def pairs_of(
    models: Sequence[str], folder: Path, *, published: bool, trust: bool
) -> list[tuple[Card, Record | None]]:
    """Cards with their records in a folder, or without any where published figures are asked for."""
    if published:
        if not models:
            raise UserError("--published needs a model whose card cites figures; name it with -m")
        return [(one, None) for name in models for one in find_card(name).replicates()]
    if not models:
        found = [(card_of(record, trust=trust), record) for record in records_in(folder)]
        if not found:
            raise UserError(f"there are no records in {folder} to reproduce")
        return list(found)
    pairs: list[tuple[Card, Record | None]] = []
    for card in (one for name in models for one in find_card(name).replicates()):
        path = folder / f"{card.file_name}.json"
        if not path.is_file():
            raise UserError(f"there is no record {path} to reproduce")
        pairs.append((card, read_record(path)))
    return pairs


def card_of(record: Record, spelling: str | None = None, weights: Path | None = None, *, trust: bool) -> Card:
    """What answers, as it was measured; UserError where that cannot be told."""
    try:
        card = find_card(spelling or record.name)
    except UnknownName as error:
        if spelling is not None:
            raise
        raise UserError(
            f"the record's model {record.name!r} is no name that is known here; say with -m what it is"
        ) from error
    refuse_code(card, f"the record of {record.name}", trust=trust or spelling is not None)
    told = record.card.get("weights")
    if weights is not None:
        (card,) = ModelOptions(weights, weights_key=(told or {}).get("key")).changed([card])
    elif told is not None and not card.weights:
        raise UserError(
            f"the record's model {record.name!r} had weights that were given beside its name, {told['file']} of "
            f"SHA-256 {str(told['sha256'])[:16]}...; give that file with --weights"
        )
    many = card.replicates()
    if len(many) > 1:
        seeds = ", ".join(one.name for one in many)
        raise UserError(
            f"card {card.name} is {len(many)} models ({seeds}); say with -m which one the record is of"
        )
    one = replace(many[0], name=record.name, precision=record.card.get("precision", many[0].precision))
    if one.input.assumed:  # what was said beside the model's name, as --size, stands in the record alone
        one = replace(one, input=Input(**of_record(record.card["input"])))
    return one
