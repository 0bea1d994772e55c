"""Run the trials; exit 1 where one went as none may."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from robustbench_ms import __version__
from tests.trials import Tally
from tests.trials.desk import lay
from tests.trials.sections import PAGE

KINDS: dict[str, tuple[str, int, str]] = {
    "kills": (
        "tests.trials.kills:kills",
        200,
        "SIGKILLs of a running `rbms run`, started again until it ended",
    ),
    "flips": (
        "tests.trials.damage:flips",
        300,
        "single bits flipped in a record of format 2 and its arrays in turn",
    ),
    "edits": ("tests.trials.damage:edits", 100, "edits of such a record and its arrays as people make them"),
    "toml": ("tests.trials.texts:texts", 170, "suites and cards in TOML with one change each"),
    "lines": ("tests.trials.lines:lines", 170, "command lines of right and wrong words"),
}
"""Of each kind what runs it, how many a page has, and what they are."""


def tallies(counts: dict[str, int], seed: int, desk: Path, scratch: Path) -> dict[str, Tally]:
    """Run that many trials of each kind."""
    found = {}
    for kind, count in counts.items():
        module, _, name = KINDS[kind][0].partition(":")
        found[kind] = getattr(import_module(module), name)(count, seed, desk, scratch / kind)
        print(
            f"{kind}: {found[kind].tried} tried, {len(found[kind].wrong)} wrong: {found[kind].told}",
            flush=True,
        )
    return found


INTRODUCTION = """\
# Trials

Made by `python -m tests.trials --write` with version {version} and seed {seed}: what happens to runs, records, files \
and command lines, and what none of it may do. Wrong is a finished cell that is lost or measured again, a final record \
that is not the undisturbed one's, damage that is believed, a traceback, an exit code without its sentence. How far a \
run has come when it is killed depends on the machine; the rest comes of the seed.

| tried | how many | wrong | outcomes |
| --- | ---: | ---: | --- |
"""
NOTES = """
A flip that changes nothing that is read lies in the header of the archive (a time, a flag) or in how a number is \
spelled. Each damaged record is also given to one verb in turn: leaderboard, compare, gate on either side, accept, \
check, reproduce, and plan where it is the text. The digest finds no forger, who computes it anew.
"""


def page(found: dict[str, Tally], seed: int, version: str = __version__) -> str:
    """What was tried and what came of it."""
    rows = (
        f"| {KINDS[kind][2]} | {one.tried} | {len(one.wrong)} | {one.told} |\n" for kind, one in found.items()
    )
    return INTRODUCTION.format(version=version, seed=seed) + "".join(rows) + NOTES


def main() -> None:
    """As the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=__doc__)
    for kind, (_, count, about) in KINDS.items():
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="N", help=f"{about} [{count}]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    given = vars(parser.parse_args())
    counts = {kind: given[kind] for kind in KINDS if given[kind] > 0}
    with tempfile.TemporaryDirectory(prefix="rbms-trials-") as scratch:
        found = tallies(counts, given["seed"], lay(Path(scratch) / "desk"), Path(scratch))
    for tally in found.values():
        for sentence in tally.wrong:
            print(f"{tally.kind}: {sentence}")
    if given["write"]:
        _, mark, others = PAGE.read_text(encoding="utf-8").partition("\n## ")  # sections that others make
        PAGE.write_text(page(found, given["seed"]) + mark + others, encoding="utf-8")
    sys.exit(any(tally.wrong for tally in found.values()))


if __name__ == "__main__":
    main()
