"""The documentation as Sphinx builds it: `make docs`.

The source folder is the repository's root, so that every page is read where it lies, and a link that holds in the
checkout is the one that is checked here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import robustbench_ms

sys.path.insert(0, str(Path(__file__).parent))

project = "robustbench_ms"
author = "The robustbench_ms developers"
version = release = robustbench_ms.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "made"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "suites/README.md",
    "baselines/README.md", "results/*.md", "results/findings/*.md", "examples/**.md",
]  # fmt: skip
exclude_patterns = [".*", "build", "dist", "robustbench_ms", "shared", "tests"]

nitpicky = True
# Other packages' names, which no network is asked for, and what annotations spell that is no name of ours.
nitpick_ignore_regex = [
    ("py:.*", r"(?!rbms|robustbench_ms\.).*"),
    ("py:.*", r"robustbench_ms\.(?!compat).*\..*"),
]

myst_heading_anchors = 6
myst_enable_extensions = ["attrs_inline"]

default_role = "code"  # docstrings have single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = "robustbench_ms"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
