"""`python -m tests.documentation [--slow] [PAGE ...]`: renew what pages show and the list of outside addresses."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.documentation.addresses import LIST, written
from tests.documentation.pages import ROOT, documents
from tests.documentation.running import Running


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.documentation", description=__doc__)
    asked.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    asked.add_argument("--slow", action="store_true", help="run the slow blocks too")
    asked.add_argument(
        "--cache", type=Path, default=ROOT / "build" / "docs-cache", help="folder of finished cells"
    )
    given = asked.parse_args()
    for page in given.pages or documents():
        with tempfile.TemporaryDirectory() as folder:
            done = Running(
                page.resolve(), Path(folder).resolve(), given.cache.resolve(), slow=given.slow
            ).run()
        if done.edits:
            done.write()
        print(f"{page}: {len(done.edits)} outputs renewed", *done.faults, sep="\n  ")
    LIST.write_text(written(documents()), encoding="utf-8")


if __name__ == "__main__":
    main()
