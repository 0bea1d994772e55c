"""Run the strangers, a line each; exit 1 where one is not as `expected` says."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.strangers.trying import strangers


def main() -> None:
    """As the command line says."""
    with tempfile.TemporaryDirectory(prefix="rbms-strangers-") as scratch:
        tally = strangers(sys.argv[1:], Path(scratch))
    for sentence in tally.wrong:
        print(sentence)  # noqa: T201
    print(f"{tally.tried} tried, {len(tally.wrong)} wrong: {tally.told}")  # noqa: T201
    sys.exit(bool(tally.wrong))


if __name__ == "__main__":
    main()
