"""The command line: one file a verb, and the only place that prints, exits and reads argv.

Exit codes: 0 done; 1 something was measured and is not as wanted (a model was stopped, a gate does not pass, a record
is not as it was written); 2 the user can mend it; 3 the device failed, start the same command again; 130 interrupted.
"""

from __future__ import annotations

import sys

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
    train,
)
from robustbench_ms.errors import DeviceLost, UserError

__all__ = ["app", "main"]

app = typer.Typer(
    name="rbms",
    help="Does a model stay right when the picture gets worse?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb, module in (
    ("list", list_),
    ("show", show),
    ("plan", plan),
    ("run", run),
    ("leaderboard", leaderboard),
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


def main() -> None:
    """Run the command line; the one place that catches what the user can mend."""
    # A function "mypkg.nets:build" in the working folder is found, as `python -m` would.
    sys.path.insert(0, "")
    try:
        app()
    except UserError as error:
        print(f"rbms: {error}", file=sys.stderr)
        sys.exit(2)
    except DeviceLost as error:
        print(f"rbms: {error}", file=sys.stderr)
        sys.exit(3)
    except SystemExit as stop:
        if stop.code == 130:  # typer makes this of an interrupt
            print("rbms: stopped; the same command goes on where it was", file=sys.stderr)
        raise
