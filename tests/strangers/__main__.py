"""Run the strangers, a line each; exit 1 where one is not as `expected` says.

--write, with all of them, puts the counts into results/trials.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from robustbench_ms import __version__
from tests.strangers.trying import strangers
from tests.trials import Tally
from tests.trials.sections import put


def section(tally: Tally) -> str:
    """What the page says of them."""
    return (
        f"## Models\n\nMade by `python -m tests.strangers --write` with version {__version__}: models that raise, end "
        "the process, answer nonsense, hang, or change what is not theirs, each in a process of its own beside a good "
        "one, over five cells. Wrong is a good one's record that is another than beside a sane model, an exit code, a "
        "count of finished cells or a sentence that is not the expected one, a traceback, and standard output that is "
        "no JSON under `--json`.\n\n"
        "| tried | how many | wrong | outcomes |\n| --- | ---: | ---: | --- |\n"
        f"| models | {tally.tried} | {len(tally.wrong)} | {tally.told} |\n"
    )


def main() -> None:
    """As the command line says."""
    names = [word for word in sys.argv[1:] if word != "--write"]
    write = "--write" in sys.argv
    if write and names:
        sys.exit("--write counts all of them: name none")
    with tempfile.TemporaryDirectory(prefix="rbms-strangers-") as scratch:
        tally = strangers(names, Path(scratch))
    for sentence in tally.wrong:
        print(sentence)  # noqa: T201
    print(f"{tally.tried} tried, {len(tally.wrong)} wrong: {tally.told}")  # noqa: T201
    if write:
        put(section(tally))
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
