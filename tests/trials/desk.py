"""A folder with all that a command can be given, and the command line in this process."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robustbench_ms.cli import main
from tests.conftest import TINY

__all__ = ["Answer", "call", "fresh", "lay"]


@dataclass(frozen=True)
class Answer:
    """What a command said; `raised` is the last line of a traceback, where one got out."""

    code: int
    out: str
    err: str
    raised: str = ""

    @property
    def one_sentence(self) -> bool:
        """Whether it ended with one line of what the user can mend."""
        last = self.err.rstrip("\n").splitlines()[-1:]
        return self.code == 2 and bool(last) and last[0].startswith("rbms: ") and len(last[0]) > len("rbms: ")


def call(*words: object, at: Path) -> Answer:
    """Run `rbms WORDS` in a folder, its data, results and cache those of the folder, on streams as a terminal's are."""
    # Strict, so that what UTF-8 cannot say is a traceback here as it is there.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", newline="")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", newline="")
    before = sys.argv, list(sys.path), Path.cwd(), dict(os.environ)
    code, raised = 0, ""
    try:
        os.chdir(at)
        os.environ.update({f"RBMS_{name.upper()}": str(at / name) for name in ("data", "results", "cache")})
        sys.argv = ["rbms", *map(str, words)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raised = traceback.format_exception_only(error)[-1].strip()
        raised += f" at {traceback.extract_tb(error.__traceback__)[-1]}"
    finally:
        os.chdir(before[2])
        sys.argv, sys.path[:] = before[0], before[1]
        os.environ.clear()
        os.environ.update(before[3])
    for stream in (out, err):
        stream.flush()
    told = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return Answer(code, *told, raised)


def lay(folder: Path) -> Path:
    """Make the desk: a suite of five small cells, a card with weights, its record and another's, a picture."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    from tests.fakes import build

    suites, cards = folder / "suites", folder / "cards"
    for place in (suites, cards, folder / "data", folder / "empty"):
        place.mkdir(parents=True)
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)
    np.save(suites / "images.npy", images)
    np.save(suites / "labels.npy", np.arange(40) % 10)
    (suites / "tiny.toml").write_text(TINY, encoding="utf-8")
    Image.fromarray(images[0]).save(folder / "picture.png")
    torch.manual_seed(0)
    save_file(build().state_dict(), cards / "net.safetensors")
    digest = hashlib.sha256((cards / "net.safetensors").read_bytes()).hexdigest()
    (cards / "net.toml").write_text(
        'build = "tests.fakes:build"\nabout = "a small one"\n\n[args]\nclasses = 10\n\n[input]\nmean = [0.5]\n'
        f'std = [0.25]\n\n[[weights]]\nfile = "net.safetensors"\nsha256 = "{digest}"\n',
        encoding="utf-8",
    )
    (folder / "broken.toml").write_text('build = "\n', encoding="utf-8")
    (folder / "broken.json").write_text("{", encoding="utf-8")
    for model in (("cards/net.toml",), ("tests.fakes:other", "--name", "other")):
        done = call("run", "suites/tiny.toml", "-m", *model, at=folder)
        assert (done.code, done.raised) == (0, ""), done
    return folder


def fresh(desk: Path, work: Path) -> Path:
    """A copy of the desk to do anything to."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(desk, work)
    return work
