"""Suites: what is measured. Frozen facts; the catalog reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robustbench_ms.errors import UserError
from robustbench_ms.specs.canvas import Canvas
from robustbench_ms.specs.given import refuse_no_whole
from robustbench_ms.specs.source import Source

__all__ = ["Suite"]


@dataclass(frozen=True)
class Suite:
    """A task, a data set, a canvas and a matrix of conditions."""

    name: str
    task: str
    dataset: str
    split: str = "test"
    about: str = ""
    canvas: str | Canvas = "stored"
    """The geometry up to the corruption: "stored" shows each image as the data set has it, "model" as each model wants
    to be shown it, a Canvas is one for all."""
    profile: str | None = None
    """Whose corruption protocol is followed; None where the data set brings its corrupted images."""
    encode: str | None = None
    """"jpeg-85": each corrupted image goes through JPEG of that quality."""
    matrix: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    also: tuple[str, ...] = ("clean",)
    """Cells beside the product."""
    summary: tuple[str, ...] = ("clean_accuracy",)
    """The columns of its tables, best first: the first one ranks."""
    seed: int = 0
    limit: int | None = None
    """A fixed, keyed subset of that many samples."""
    files: Mapping[str, str] = field(default_factory=dict)
    """For the data set "arrays": images and labels, relative to the suite's folder or the data folder."""
    classes: int | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    """Expected digests of the data's arrays."""
    reduced: bool = False
    """The limit was asked for by who runs it, and its own rules are about more samples."""
    gate: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of its task and its data set, those that their rows list."""
    folder: Path | None = None
    skip: tuple[int, ...] = ()
    """Ids of pictures that are left out under every condition, rising; a part of the protocol."""

    def __post_init__(self) -> None:
        """UserError for a matrix whose profile is about one size, where each model has a canvas of its own."""
        if self.canvas == "model" and self.matrix and self.profile not in {None, "any-size"}:
            raise UserError(
                f"suite {self.name}: on canvas 'model' pictures have any size, so its profile must be 'any-size', not "
                f"{self.profile!r}"
            )

    @property
    def label(self) -> str:
        """The name under which its records lie: a limit or another seed is another suite to a reader."""
        return (
            self.name
            + (f"-limit{self.limit}" if self.limit else "")
            + (f"-seed{self.seed}" if self.seed else "")
        )

    def source(self, wants: tuple[str, ...] = ("label",)) -> Source:
        """What it shows, of which its task wants that."""
        return Source(
            self.dataset, self.split, self.limit, self.classes, self.files, self.sha256, self.folder, wants,
            self.options, self.skip,
        )  # fmt: skip

    def limited(self, limit: int | None = None, seed: int | None = None) -> Suite:
        """This suite on a keyed subset, or with another seed of the corruptions."""
        refuse_no_whole("limit", limit)
        refuse_no_whole("seed", seed)
        if limit is not None and limit < 1:
            raise UserError(f"--limit must be 1 or more, not {limit}")
        return replace(
            self,
            limit=self.limit if limit is None else limit,
            seed=self.seed if seed is None else seed,
            reduced=self.reduced or limit not in {None, self.limit},
        )
