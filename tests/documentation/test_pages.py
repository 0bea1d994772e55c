"""The documentation as it stands: it builds without a warning, and its pages show what comes of what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest

from tests.documentation.addresses import LIST, held
from tests.documentation.pages import ROOT, blocks, documents
from tests.documentation.running import Running, misspelt

PAGES = documents()
RUN = [page for page in PAGES if any("not run" not in block.marks for block in blocks(page))]
SLOW = [page for page in RUN if any("slow" in block.marks for block in blocks(page))]


def name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def cells(tmp_path_factory):
    """One cache of finished cells for all pages, and for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cells-of-pages"


def of_page(page, folder, cells, *, slow=False):
    done = Running(page, folder, cells, slow=slow).run()
    assert not done.faults, "\n".join(["", *done.faults, "python -m tests.documentation renews outputs"])


@pytest.mark.parametrize("page", RUN, ids=name)
def test_what_a_page_shows_is_what_comes(page, tmp_path, cells):
    of_page(page, tmp_path, cells)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name)
def test_so_is_what_takes_longer(page, tmp_path, cells):
    of_page(page, tmp_path, cells, slow=True)


def test_no_page_has_a_verb_or_an_option_that_rbms_has_not():
    assert not [fault for page in PAGES for fault in misspelt(page)]


def test_outside_addresses_have_the_form_of_one_and_are_those_of_the_list():
    assert not held(PAGES, {*LIST.read_text(encoding="utf-8").split()})


def test_no_page_has_a_path_of_a_machine():
    somebodys = re.compile(r"(?<![\w.~-])/(?:root|home|Users|tmp|var)/")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert str(ROOT) not in text, page
        assert somebodys.search(text) is None, page


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder that `make docs` makes, by the command that is in the Makefile."""
    folder = tmp_path_factory.mktemp("site")
    rule = re.search(r"^docs:.*\n\t\$\(BIN\)/python (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    words = [str(folder) if word == "build/docs" else word for word in rule.split()]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stdout
    return folder


@pytest.mark.xdist_group("site")
def test_the_site_builds_and_needs_no_network(site):
    for page in PAGES:
        built = (site / page.relative_to(ROOT)).with_suffix(".html").read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"([^\"]+)|<link[^>]*\bhref=\"([^\"]+)", built)
        assert not [one for one in loaded if "//" in "".join(one)], page
        assert "<!-- made" not in built


@pytest.mark.xdist_group("site")
def test_the_reference_has_every_verb_public_name_and_key(site):
    import robustbench_ms as rbms
    from tests.documentation.running import _VERBS

    reference = site / "docs" / "reference"
    verbs = (reference / "command-line.html").read_text(encoding="utf-8")
    assert all(f'id="rbms-{verb}"' in verbs for verb in _VERBS)
    names = (reference / "python.html").read_text(encoding="utf-8")
    assert [one for one in rbms.__all__ if not re.search(rf'id="robustbench_ms\.{one}"', names)] == []


def test_the_extra_brings_what_the_configuration_asks_for():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert {re.match(r"[\w-]+", one)[0] for one in told["docs"]} == {"sphinx", "furo", "myst-parser"}
    assert "docs" in re.search(r"\[(.+)\]", told["test"][0])[1].split(",")
