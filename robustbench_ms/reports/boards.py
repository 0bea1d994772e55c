"""The leaderboards of a folder of results: its records, what they cost, and what others published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustbench_ms.catalog.find import find_suite, suite_names
from robustbench_ms.catalog.published import published_names
from robustbench_ms.errors import UserError, suggest
from robustbench_ms.records.kept import Kept, entries_in
from robustbench_ms.records.ranking import Progress, silent
from robustbench_ms.records.terms import Terms
from robustbench_ms.reports.costs import profiles_by_name
from robustbench_ms.reports.published_files import read_published
from robustbench_ms.reports.tables import Table, tables_of

__all__ = ["boards"]


def boards(
    results: Path,
    suite: str | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
    published: Path | None = None,
) -> dict[str, list[Table]]:
    """{suite: its tables}, of one or of all that have records; without a `cache` all of it is worked out.

    `published` is a user's own file of what others published of the one suite. UserError says what to run where there
    are no records; BadFile names one that is damaged, newer or none.
    """
    if published is not None and suite is None:
        raise UserError(f"--published {published}: name the suite that its numbers are of")
    found = sorted(
        {p.parent.name for p in results.glob("*/*.json") if p.with_suffix(".correct.npz").exists()}
    )
    if suite is None:
        if not found:
            raise UserError(
                f"no records in {results}; make some with rbms run SUITE -m MODEL, or name another folder with "
                "--results"
            )
        return {name: _tables(results, name, cache, progress) for name in found}
    if suite not in found and suite not in published_names() and not (published and suite in suite_names()):
        make = f"; make some with rbms run {suite} -m MODEL"
        told = make if suite in suite_names() else suggest(suite, found)
        raise UserError(f"no records of suite {suite!r} in {results}{told}")
    return {suite: _tables(results, suite, cache, progress, published)}


def _tables(
    results: Path, suite: str, cache: Path | None, progress: Progress, published: Path | None = None
) -> list[Table]:
    kept = Kept() if cache is None else Kept.of(results / suite, cache)
    entries, left_out = entries_in(results / suite, kept, progress)
    names = [name for one in entries for name in (one.name, one.group)]
    found = tables_of(entries, left_out, profiles_by_name(results, names), kept, progress)
    kept.save()
    if published is None:
        return found
    if entries:
        terms = Terms.of(entries[0].record())
    else:
        asked = find_suite(suite)
        terms = Terms.given(asked.task, {"dataset": asked.dataset}, asked.matrix)
    first, *others = found or [Table(suite, (), (), "", ())]
    return [replace(first, published=(read_published(published, suite, terms),)), *others]
