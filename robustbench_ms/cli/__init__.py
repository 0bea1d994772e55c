"""The command line: one file a verb, and the only place that prints, exits and reads argv.

Exit codes: 0 done; 1 something was measured and is not as wanted (a model was stopped, a gate does not pass, a record
is not as it was written); 2 the user can mend it; 3 the device failed, start the same command again; 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Annotated, Any, NoReturn

import typer

from robustbench_ms.cli import (
    accept,
    cache,
    check,
    compare,
    corrupt,
    doctor,
    fetch,
    gate,
    leaderboard,
    list_,
    plan,
    profile,
    reproduce,
    run,
    show,
    site,
    train,
)
from robustbench_ms.errors import DeviceLost, UserError
from robustbench_ms.reports.markdown import printable
from robustbench_ms.specs.places import spin_briefly

__all__ = ["app", "main"]

app = typer.Typer(
    name="rbms",
    help="Does a model stay right when the picture gets worse?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _installed() -> str:
    try:
        return version_of("robustbench-ms")
    except PackageNotFoundError:
        return "of a checkout that is not installed"


def _version(asked: bool) -> None:
    if asked:
        print(f"rbms {_installed()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


for verb, module in (
    ("list", list_),
    ("show", show),
    ("plan", plan),
    ("run", run),
    ("leaderboard", leaderboard),
    ("site", site),
    ("gate", gate),
    ("accept", accept),
    ("compare", compare),
    ("reproduce", reproduce),
    ("check", check),
    ("profile", profile),
    ("train", train),
    ("corrupt", corrupt),
    ("cache", cache),
    ("fetch", fetch),
    ("doctor", doctor),
):
    app.command(verb)(module.command)


_MENDED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENAMETOOLONG}
"""A full disk and a name that is too long, wherever they are met."""


_UNTIMED = {"run", "reproduce", "train"}
"""Verbs whose time nobody measures: profiles, and the gate on speed, are of threads as torch has them."""


def main() -> None:
    """Run the command line to its end: threads that a model left running do not keep it alive."""
    if _UNTIMED & set(sys.argv[1:2]):
        spin_briefly()
    before = set(threading.enumerate())
    try:
        _main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(bool(stop.code))
        _leave(code, before)
        raise
    except BaseException:
        _leave(1, before, *sys.exc_info())
        raise


def _leave(code: int, before: set[threading.Thread], *error: Any) -> None:
    """End the process where it would wait for others' threads; else nothing. Those called rbms- are our own, idle."""
    if all(one.daemon or one.name.startswith("rbms-") for one in set(threading.enumerate()) - before):
        return
    if error:
        sys.excepthook(*error)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _main() -> None:
    """The one place that catches what the user can mend."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except UserError as error:
        _end(str(error), 2)
    except DeviceLost as error:
        _end(str(error), 3)
    except OSError as error:
        if error.errno not in _MENDED:
            raise
        _end(f"{_short(error.filename)}{error.strerror}", 2)
    except SystemExit as stop:
        if stop.code == 130:  # typer makes this of an interrupt
            print("rbms: stopped; the same command goes on where it was", file=sys.stderr)
        raise


def _end(told: str, code: int) -> NoReturn:
    print(f"rbms: {printable(' '.join(told.splitlines()))}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # its disk is full: Python would try again, and say so, when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def _short(name: object) -> str:
    text = "" if name is None else f"{name}: "
    return text if len(text) <= 120 else f"{text[:60]}...{text[-57:]}"
