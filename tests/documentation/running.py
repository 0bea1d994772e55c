"""Run a page's blocks in their order, in one folder, and hold what came to what the page shows."""

from __future__ import annotations

import contextlib
import difflib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import traceback
from pathlib import Path

import typer.main

from robustbench_ms.cli import app, main
from tests.documentation.pages import ROOT, Block, blocks, code_spans, commands, place

PYTHON = {"python"}
CONSOLE = {"console"}
_SHELL = re.compile(r"[|&;<>*~`]|\$[\w({]")
_PASSING = re.compile(
    r"(?m)^(?:\S+: (?:\d+ % \(.*\)|about .* left)\n|[\d,]+ of [\d,]+ cells are finished already\n|"
    r"(?:digesting the pictures|canvases) of .*\n)+"
)
"""Lines that hang on the machine and on what the cache has: how far a run is."""
_SUBJECT = re.compile(r"subject [0-9a-f]{16}")
"""A digest of raw answers, whose last bits hang on the machine."""
_DECIMAL = re.compile(r"\d+\.\d+")
_VERBS = typer.main.get_command(app).commands


def _rounds_to(want: str, got: str) -> bool:
    """Equal but for two units of the last place that is shown of decimal numbers: another machine rounds otherwise."""
    parts = (re.escape(part).replace(r"\.\.\.", ".*?") for part in _DECIMAL.split(want))
    found = re.fullmatch(r"(\d+\.\d+)".join(parts), got, re.DOTALL)
    return found is not None and all(
        len(shown.partition(".")[2]) == len(came.partition(".")[2])
        and abs(float(shown) - float(came)) < 2.5 * 10.0 ** -len(shown.partition(".")[2])
        for shown, came in zip(_DECIMAL.findall(want), found.groups(), strict=True)
    )


class Running:
    """One page in one folder; `faults` are what is not as the page says, a line each with page and line.

    Commands `rbms ...` run in this process, which has torch already; all others in bash.
    """

    def __init__(self, page: Path, folder: Path, cache: Path, *, slow: bool = False) -> None:
        self.page, self.folder, self.cache, self.slow = page, folder, cache, slow
        self.faults: list[str] = []
        self.lines = page.read_text(encoding="utf-8").splitlines()
        self.edits: list[tuple[int, int, list[str]]] = []
        """(first, last, new lines) of outputs that are others, by lines from 1, the last one not in it."""
        self._names = {"__name__": "__page__"}
        self._printed: str | None = None

    def run(self) -> Running:
        with self._at_home():
            for block in blocks(self.page):
                self._block(block)
        return self

    def write(self) -> None:
        """Put what came in the place of what the page shows."""
        for first, last, new in reversed(self.edits):
            indent = re.match(r" *", self.lines[first - 2])[0]
            self.lines[first - 1 : last - 1] = [(indent + line).rstrip() for line in new]
        self.page.write_text("\n".join(self.lines) + "\n", encoding="utf-8")

    def _block(self, block: Block) -> None:
        if "not run" in block.marks or ("slow" in block.marks and not self.slow):
            self._printed = None
            return
        if "file" in block.marks:
            path = self.folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language in CONSOLE:
            self._console(block)
        elif block.language in PYTHON:
            self._printed = self._python(block)
            return
        elif block.language == "text" and self._printed is not None:
            self._hold(block.line, block.text.splitlines(), self._printed, block.line, block.stop)
        else:
            kind = block.language or "no language"
            self.faults.append(
                f"{block.place}: a block of {kind} that says neither 'file: NAME' nor 'not run: WHY'"
            )
        self._printed = None

    def _console(self, block: Block) -> None:
        found = commands(block)
        for one in found:
            code, came = self._command(one.text)
            wanted = int(block.marks.get("exit", 0)) if one is found[-1] else 0
            if code != wanted:
                tail = "".join(f"\n    {line}" for line in came.splitlines()[-8:])
                self.faults.append(
                    f"{place(self.page, one.line)}: exit {code}, not {wanted}: {one.text}{tail}"
                )
            elif one.shown:
                first = one.line + one.text.count("\n") + 1
                self._hold(one.line, one.shown, came, first, first + len(one.shown))

    def _hold(self, line: int, shown: list[str], came: str, first: int, last: int) -> None:
        """Equal, but for what "..." stands for and spaces at the ends of lines."""
        want, got = ("".join(f"{text.rstrip()}\n" for text in lines) for lines in (shown, came.splitlines()))
        if not doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS) and not _rounds_to(
            want, got
        ):
            told = self._without_paths(got).splitlines()
            apart = "\n    ".join(
                difflib.unified_diff(want.splitlines(), told, "page", "now", lineterm="", n=1)
            )
            self.faults.append(f"{place(self.page, line)}: the output is another one:\n    {apart}")
            self.edits.append((first, last, told))

    def _without_paths(self, text: str) -> str:
        text = _SUBJECT.sub("subject ...", _PASSING.sub("...\n", text))
        for path in (self.folder, self.cache, ROOT, Path.home()):
            text = text.replace(str(path), "...")
        return text

    def _command(self, text: str) -> tuple[int, str]:
        words = shlex.split(text, comments=True)
        if words[0] == "rbms" and not _SHELL.search(text):
            return self._rbms(words)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _rbms(self, words: list[str]) -> tuple[int, str]:
        """In this process; what a traceback would be is one too."""
        told = io.StringIO()
        argv, sys.argv = sys.argv, words
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            try:
                main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
            except Exception:  # noqa: BLE001 - a page that breaks is told with the others
                traceback.print_exc()
                code = 1
            finally:
                sys.argv = argv
                self._forget()
        return code, told.getvalue()

    def _forget(self) -> None:
        """Modules of the page's folder, as each command is a process to whoever types it."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(self.folder):
                del sys.modules[name]

    def _python(self, block: Block) -> str | None:
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            try:
                text = "\n" * (block.line - 1) + block.text
                exec(compile(text, self.page.name, "exec"), self._names)
            except Exception as error:  # noqa: BLE001 - whatever a page raises
                at = [
                    f.lineno
                    for f in traceback.extract_tb(error.__traceback__)
                    if f.filename == self.page.name
                ]
                line = at[-1] if at else getattr(error, "lineno", None) or block.line
                self.faults.append(f"{place(self.page, line)}: {type(error).__name__}: {error}")
                return None
        return told.getvalue()

    @contextlib.contextmanager
    def _at_home(self):
        """In the page's folder, with a user's environment; modules that were imported from it are forgotten."""
        before, path, writes = dict(os.environ), list(sys.path), sys.dont_write_bytecode
        home = Path.cwd()
        os.chdir(self.folder)
        for name in ("RBMS_RESULTS", "RBMS_DATA"):
            os.environ.pop(name, None)
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.environ.update(RBMS_CACHE=str(self.cache), COLUMNS="100", NO_COLOR="1", PATH=programs)
        sys.path.insert(0, str(self.folder))
        sys.dont_write_bytecode = True  # which tells files apart by size and second
        try:
            yield
        finally:
            os.chdir(home)
            os.environ.clear()
            os.environ.update(before)
            sys.path[:] = path
            sys.dont_write_bytecode = writes
            self._forget()


def misspelt(page: Path) -> list[str]:
    """Verbs and options of `rbms` that there are not, in blocks that are never run and in sentences too."""
    told = [
        (one.line, one.text) for block in blocks(page) if block.language in CONSOLE for one in commands(block)
    ]
    faults = []
    for line, text in [*told, *code_spans(page)]:
        try:
            words = shlex.split(text, comments=True)
        except ValueError:  # a piece of a sentence
            words = text.split()
        while words and re.fullmatch(r"\w+=\S*", words[0]):
            words = words[1:]
        if len(words) < 2 or words[0] != "rbms" or not re.fullmatch(r"[a-z-]+", words[1]):
            continue
        if words[1] not in _VERBS:
            options = {"--version", "--help", "-h"}
            if words[1] not in options:
                faults.append(f"{place(page, line)}: rbms has no verb {words[1]!r}{_near(words[1], _VERBS)}")
            continue
        known = {opt for param in _VERBS[words[1]].params for opt in (*param.opts, *param.secondary_opts)}
        known |= {"--help", "-h"}
        for word in words[2:]:
            option = re.match(r"--?[a-z][\w-]*", word)
            if option and option[0] not in known:
                faults.append(
                    f"{place(page, line)}: rbms {words[1]} has no option {option[0]!r}{_near(option[0], known)}"
                )
    return faults


def _near(word: str, known) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
