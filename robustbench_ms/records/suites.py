"""The suite that a record is of."""

from __future__ import annotations

from robustbench_ms.catalog.find import find_suite, is_folder
from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.records.record import Record
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

__all__ = ["suite_name", "suite_of"]


def suite_name(record: Record) -> str:
    """What its suite is called where nothing of it is left out."""
    limit, seed = record.suite["limit"], record.suite["seed"]
    return str(record.suite["name"]).removesuffix(f"-seed{seed}").removesuffix(f"-limit{limit}")


def suite_of(
    record: Record,
    spelling: str | None = None,
    *,
    annotations: str | None = None,
    labels: str | None = None,
    white: float | None = None,
    places: Places | None = None,
) -> Suite:
    """The suite of a record, with its limit and seed; `spelling` names it where it is not shipped.

    A folder of pictures is shown under what the record's matrix has; `annotations`, `labels` and `white` are its own,
    as `find_suite` takes them. UserError where there is no such suite, and where the folder's pictures are others.
    """
    name = suite_name(record)
    given, corruptions = spelling or name, None
    if is_folder(given):  # of its two axes the second is whole
        shown = next(iter((record.suite.get("matrix") or {}).values()), ())
        corruptions = ",".join(map(str, shown)) or None
    try:
        found = find_suite(
            given, annotations=annotations, corruptions=corruptions, labels=labels, white=white, places=places
        )
    except UnknownName as error:
        if spelling is not None:
            raise
        raise UserError(
            f"the record's suite {name!r} is not shipped; give its file or its folder with --suite"
        ) from error
    if is_folder(given) and found.name != name:
        raise UserError(
            f"{given} is {found.name} as it is shown, and the record is of {name}: other pictures"
        )
    return found.limited(record.suite["limit"], record.suite["seed"])
