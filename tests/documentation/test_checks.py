"""What is wrong on a page is told with its name and its line: on small pages made here."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.documentation.addresses import held
from tests.documentation.pages import ROOT, blocks, commands
from tests.documentation.running import Running, misspelt


@pytest.fixture
def page(tmp_path):
    """A function that writes a page; "~~~" stands for three backticks."""

    def write(text):
        path = tmp_path / "page.md"
        path.write_text(text.replace("~~~", "```"), encoding="utf-8")
        return path

    return write


def run(path, **options):
    (path.parent / "scratch").mkdir(exist_ok=True)
    return Running(path, path.parent / "scratch", path.parent / "cells", **options).run()


def test_an_unknown_command_is_told(page):
    (fault,) = run(page("# One\n\n~~~console\n$ rbms lst\n~~~\n")).faults

    assert fault.startswith("page.md:4: exit 2, not 0: rbms lst\n")
    (fault,) = run(page("~~~console\n$ echo one\n$ no-such-program x\n~~~\n")).faults
    assert fault.startswith("page.md:3: exit 127, not 0")


def test_an_unknown_verb_or_option_is_told_where_nothing_is_run_too(page):
    path = page(
        "Say `rbms leaderbord quick`, or `rbms run SUITE`.\n\n<!-- not run: it needs a cluster -->\n~~~console\n"
        "$ X=1 rbms run quick -m a --limt 5   # --anything\n$ rbms --version\n~~~\n"
    )

    assert run(path).faults == []
    assert misspelt(path) == [
        "page.md:5: rbms run has no option '--limt'; did you mean '--limit'?",
        "page.md:1: rbms has no verb 'leaderbord'; did you mean 'leaderboard'?",
    ]


def test_an_output_that_changed_is_told_and_renewed(page):
    path = page(
        "- One:\n\n  ~~~console\n  $ echo 1; echo 2\n  1\n  3\n  $ echo quiet\n  $ echo 9.25 s in $PWD\n  9... in ...\n"
        "  ~~~\n\n~~~python\nprint(6 * 7)\n~~~\n\n~~~text\n43\n~~~\n\nAfter.\n"
    )

    done = run(path)
    assert [fault.splitlines()[0] for fault in done.faults] == [
        "page.md:4: the output is another one:",
        "page.md:17: the output is another one:",
    ]
    assert "    -3\n    +2" in done.faults[0]
    before = path.read_text().splitlines()
    done.write()
    after = path.read_text().splitlines()
    assert {(old, new) for old, new in zip(before, after, strict=True) if old != new} == {
        ("  3", "  2"),
        ("43", "42"),
    }
    assert run(path).faults == []


@pytest.mark.parametrize(
    ("came", "faults"),
    [("86.02 ± 0.125", 0), ("86.05 ± 0.125", 1), ("86.1 ± 0.125", 1), ("87.01 ± 0.125", 1)],
)
def test_the_last_place_may_be_rounded_otherwise(page, came, faults):
    path = page(f"~~~console\n$ echo run 1.2 s; echo '| {came} | 100 |'\n...\n| 86.01 ± 0.125 | 100 |\n~~~\n")

    assert len(run(path).faults) == faults


def test_a_renewed_output_has_no_path_of_this_machine(page):
    path = page("~~~console\n$ pwd\nelsewhere\n~~~\n")

    run(path).write()

    assert path.read_text() == "```console\n$ pwd\n...\n```\n"


def test_python_that_raises_is_told_by_its_line_and_names_go_on(page):
    (fault,) = run(
        page("~~~python\nx = 1\n~~~\n\n~~~python\nassert x == 1\n\nraise KeyError(x)\n~~~\n")
    ).faults

    assert fault == "page.md:8: KeyError: 1"


def test_a_file_is_written_before_it_is_used_and_an_exit_code_may_be_meant(page):
    told = (
        "<!-- file: sub/mine.py -->\n~~~python\nraise SystemExit(3)\n~~~\n\n<!-- exit: {} -->\n~~~console\n$ ls sub\n"
        "mine.py\n$ python sub/mine.py\n~~~\n"
    )

    assert run(page(told.format(3))).faults == []
    (fault,) = run(page(told.format(4))).faults
    assert fault.startswith("page.md:10: exit 3, not 4")


def test_a_block_says_what_it_is(page):
    path = page(
        "~~~toml\na = 1\n~~~\n\n<!-- file: a.toml -->\n~~~toml\na = 1\n~~~\n\n<!-- not run: a drawing -->\n~~~\nx\n"
        "~~~\n\n~~~text\nno python before it\n~~~\n"
    )

    assert [fault.split(" that")[0] for fault in run(path).faults] == [
        "page.md:2: a block of toml",
        "page.md:16: a block of text",
    ]


def test_slow_blocks_are_run_when_they_are_asked_for(page):
    path = page("<!-- slow: an hour -->\n~~~console\n$ false\n~~~\n")

    assert run(path).faults == []
    assert len(run(path, slow=True).faults) == 1


def test_a_command_may_have_several_lines(page):
    (block,) = blocks(page("~~~console\n$ echo a \\\n>   b\na b\n~~~\n"))
    (one,) = commands(block)

    assert (one.line, one.shown) == (2, ["a b"])
    assert run(block.page).faults == []


def test_an_address_has_the_form_of_one_and_is_listed(page):
    path = page(
        "# One\n\n[a](https://docs.example.org/a) and [b](http://plain.example.org),\nhttps://bare.example.org/x.\n\n"
        "![c](https://nohost/c.png) <https://listed.example.org>\n"
    )

    assert held([path], {"https://listed.example.org", "https://old.example.org"}) == [
        "page.md:3: http://plain.example.org: it is not https",
        "page.md:6: https://nohost/c.png: 'nohost' is no host",
        "page.md:3: https://docs.example.org/a is not in addresses.txt",
        "page.md:3: http://plain.example.org is not in addresses.txt",
        "page.md:3: https://bare.example.org/x is not in addresses.txt",
        "page.md:6: https://nohost/c.png is not in addresses.txt",
        "addresses.txt: no page has https://old.example.org",
    ]


@pytest.mark.xdist_group("site")
def test_dead_links_and_anchors_fail_the_build(tmp_path):
    """By the documentation's own configuration, on three pages."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "index.md").write_text(
        "# Front\n\n[there](other.md#a-part), [no page](gone.md)\n\n[no part](other.md#no-part)\n\n"
        "![no picture](gone.png)\n\n[nor here](#nowhere)\n\n[nor this file](gone.toml)\n\n"
        "```{toctree}\nother\n```\n"
    )
    (folder / "other.md").write_text("# Other\n\n## A part\n\n{py:func}`robustbench_ms.nothing`\n")
    (folder / "alone.md").write_text("# In no table of contents\n")

    done = subprocess.run(
        [
            sys.executable, "-m", "sphinx", "-b", "html", "-W", "-n", "--keep-going", "-q", "-c", ROOT / "docs",
            "-D", "root_doc=index", "-D", "include_patterns=*.md", folder, tmp_path / "built",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode
    told = done.stderr
    assert f"{folder}/index.md:3: WARNING: 'myst' cross-reference target not found: 'gone.md'" in told
    assert f"{folder}/index.md:5: WARNING:" in told
    assert f"{folder}/index.md:7: WARNING: image file not readable: gone.png" in told
    assert f"{folder}/index.md:9: WARNING:" in told
    assert f"{folder}/index.md:11: WARNING:" in told
    assert f"{folder}/other.md:5: WARNING: py:func reference target not found: robustbench_ms.nothing" in told
    assert f"{folder}/alone.md: WARNING: document isn't included in any toctree" in told
    assert "a-part" not in told
