"""What becomes of each stranger: the exit code of the run, how many of its cells are finished, what is said."""

from __future__ import annotations

from tests.strangers.driver import CELLS, Outcome
from tests.strangers.models import NAMES

__all__ = ["EXPECTED", "OPTIONS", "wrong"]

EXPECTED = dict.fromkeys(NAMES, (0, CELLS, "")) | {
    "raise3": (1, 0, "raise3 was stopped: clean: ValueError: boom"),
    "hang3": (1, 0, "hang3 was stopped: clean: it took longer than 2 s for a batch"),
    "nan5": (1, 4, "gaussian_noise,severity=1: NaN for 1 of 40 images, first "),
    "exit0": (1, 0, "exit0 was stopped: clean: SystemExit: 0"),
    "exit0probe": (1, 0, "exit0probe was stopped: it raises SystemExit on the probe: 0"),
    "exit0build": (1, 0, "exit0build was stopped: SystemExit: 0"),
    "kbd": (130, 0, "stopped; the same command goes on"),
    "basee": (1, 0, "basee was stopped: clean: BaseException: odd"),
    "spawn": (0, CELLS, "spawn: it leaves threads of its own running, "),
    "mutate_gc": (1, 0, "mutate_gc was stopped: it changes the images that other models are shown"),
    "recurse": (1, 0, "recurse was stopped: clean: RecursionError: "),
    "oom": (0, CELLS, "memory ran out; its batch is now 8"),
    "oomalways": (1, 0, "oomalways was stopped: clean: MemoryError: pretend"),
    "nondet": (0, CELLS, "differently each time (nondeterministic)"),
    "out_inf": (0, CELLS, ""),
    "out_boolean": (1, 0, "it answers with yes and no, not logits"),
    "out_cplx": (1, 0, "it answers with complex numbers, not logits"),
    "out_nine": (1, 0, "it answers for 9 classes, and the data set has 10"),
    "out_eleven": (1, 0, "it answers for 11 classes, and the data set has 10"),
    "out_none": (1, 0, "it answers with NoneType, not a tensor"),
    "out_npy": (1, 0, "it answers with ndarray, not a tensor"),
    "out_onedim": (1, 0, "its answer to 8 images has shape (8,), not (8, 10)"),
    "out_fourd": (1, 0, "its answer to 8 images has shape (8, 10, 1, 1), not (8, 10)"),
    "out_short": (1, 0, "its answer to 8 images has shape (7, 10), not (8, 10)"),
    "out_sparse": (1, 0, "it answers with a sparse tensor, not a tensor of logits"),
    "out_empty_tup": (1, 0, "was stopped: it answers with "),
    "out_scalar": (1, 0, "its answer to 8 images has shape (), not (8, 10)"),
    "out_meta": (1, 0, "it answers with a meta tensor, not a tensor of logits"),
    "later_nine": (1, 0, "was stopped: clean: it answers for 9 classes"),
    "later_short": (1, 0, "was stopped: clean: its answer to 8 images has shape (7, 10)"),
    "later_dct": (1, 0, "was stopped: clean: it answers with dict, not a tensor of logits"),
    "later_long": (1, 0, "was stopped: clean: its answer to 8 images has shape (16, 10)"),
    "later_eleven": (1, 0, "was stopped: clean: it answers for 11 classes"),
    "later_oned": (1, 0, "was stopped: clean: its answer to 8 images has shape (8,)"),
    "later_one_row": (1, 0, "was stopped: clean: its answer to 8 images has shape (1, 10)"),
}
OPTIONS = {"hang3": ("--timeout", "2")}
"""More words of its command line."""
ALONE = {"kbd"}
"""Strangers with which the run ends."""


def wrong(one: Outcome, alone: Outcome) -> str:
    """How an outcome is not as it has to be, `alone` being the good model's beside a sane one; "" where it is."""
    code, cells, words = EXPECTED[one.name]
    found = sum(error is None for error in one.cells().values())
    told = []
    if one.code != code:
        told.append(f"exit {one.code}, not {code}")
    if found != cells:
        told.append(f"{found} finished cells, not {cells}")
    if words not in one.errors:
        told.append(f"{words!r} is not said")
    if one.errors.count(f"model tests.strangers.models:{one.name}: model"):
        told.append("it is named twice")
    if "Traceback" in one.errors:
        told.append("a traceback")
    if one.name not in ALONE and not one.good_is(alone):
        told.append("the good model's record is another")
    if one.name not in ALONE and not one.is_json:
        told.append("standard output is not JSON")
    return f"{one.name}: {', '.join(told)}: {' | '.join(one.words()[-3:])[:300]}" if told else ""
