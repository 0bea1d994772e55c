"""What lies beside the code has a line in LICENCES.md, and no line speaks of what is not there."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = [line for line in (ROOT / "LICENCES.md").read_text().splitlines() if line.startswith("| `")]
PATTERNS = {pattern: row for row in ROWS for pattern in re.findall(r"`([^`]+)`", row.split("|")[1])}


def tracked():
    """Files of the repository, by path."""
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.skip("not a checkout")
    return told.stdout.split("\0")[:-1]


def lying():
    """Those that are no code of ours."""
    return [
        name
        for name in tracked()
        if name.startswith(("baselines/", "suites/", "robustbench_ms/", "results/", "docs/"))
        and not name.endswith((".py", ".md", "py.typed"))
    ]


def test_every_file_that_is_no_code_has_a_line():
    unknown = [name for name in lying() if not any(fnmatch(name, one) for one in PATTERNS)]

    assert not unknown, f"LICENCES.md has no line for {unknown[:5]}"


def test_every_line_speaks_of_files_and_names_a_licence():
    names = lying()

    assert len(ROWS) >= 10
    for pattern, row in PATTERNS.items():
        assert any(fnmatch(name, pattern) for name in names), f"nothing is {pattern}"
        assert row.split("|")[3].strip().startswith(("Apache-2.0", "CC0-1.0"))
