"""The suite that a record is of."""

from __future__ import annotations

from pathlib import Path

from robustbench_ms.catalog.find import find_suite
from robustbench_ms.errors import UnknownName, UserError
from robustbench_ms.records.record import Record
from robustbench_ms.specs.suite import Suite

__all__ = ["suite_of"]


def suite_of(record: Record, spelling: str | None = None) -> Suite:
    """The suite of a record, with its limit and seed; `spelling` names it where it is not shipped.

    A folder of pictures is shown under what the record's matrix has. UserError where there is no such suite.
    """
    limit, seed = record.suite["limit"], record.suite["seed"]
    name = str(record.suite["name"]).removesuffix(f"-seed{seed}").removesuffix(f"-limit{limit}")
    corruptions = None
    if spelling is not None and Path(spelling).is_dir():  # of its two axes the second is whole
        shown = next(iter((record.suite.get("matrix") or {}).values()), ())
        corruptions = ",".join(map(str, shown)) or None
    try:
        return find_suite(spelling or name, corruptions=corruptions).limited(limit, seed)
    except UnknownName as error:
        if spelling is not None:
            raise
        raise UserError(f"the record's suite {name!r} is not shipped; give its file with --suite") from error
