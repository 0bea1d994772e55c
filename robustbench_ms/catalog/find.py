"""Find a suite or a card: by name, by file, by module:function, by timm: or torchvision: name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustbench_ms.catalog.cards import read_card
from robustbench_ms.catalog.folders import folder_suite, is_pictures, with_white, without_broken
from robustbench_ms.catalog.given import given_card
from robustbench_ms.catalog.meant import meant
from robustbench_ms.catalog.packages import OURS, announced, folders, their_files
from robustbench_ms.catalog.registry import DATASETS, TASKS, adapter_names
from robustbench_ms.catalog.suites import read_suite
from robustbench_ms.errors import UnknownName, UserError, suggest
from robustbench_ms.specs.card import ADAPTERS, Card, Input, Output, Weights
from robustbench_ms.specs.places import Places
from robustbench_ms.specs.suite import Suite

if TYPE_CHECKING:
    from robustbench_ms.datasets.protocol import Tell

__all__ = [
    "card_names",
    "counted_costs",
    "find_card",
    "find_suite",
    "is_folder",
    "refused_files",
    "register",
    "shipped",
    "suite_names",
]

DETECTED = Output(score=0.001)
"""What is a detection where nobody said it."""

_ANY = ("classification", "detection", "segmentation")
"""What a file's model may do, which nobody knows before it is opened."""
_PREFIXES = {".onnx": "onnx", ".pt2": "export", ".pt": "script"}
"""The adapter of a file by its ending."""
_WEIGHTS = (".safetensors", ".pth", ".pth.tar", ".ckpt", ".bin")
"""Endings of files that are no model."""
_registered: dict[str, Card] = {}
"""Cards of this process only, by `register`."""


def shipped(folder: str) -> Path:
    """suites/ or baselines/: inside the package where it was installed from a wheel, else beside it."""
    package = Path(__file__).resolve().parent.parent
    inside, beside = package / folder, package.parent / folder
    found = inside if inside.is_dir() else beside
    if not found.is_dir():
        raise UserError(f"the installation is not whole: neither {inside} nor {beside} is there")
    return found


def _files(kind: str) -> dict[str, list[tuple[str, Path]]]:
    """(distribution, file) of every suite ("suites") or card ("baselines") by its name; a shipped one is alone."""
    found = {path.stem: [(OURS, path)] for path in sorted(shipped(kind).glob("*.toml"))}
    ours = set(found)
    for package, path in their_files(kind):
        if path.stem not in ours:
            found.setdefault(path.stem, []).append((package, path))
    return found


def _file(kind: str, name: str) -> Path:
    """The file of that name; UserError where two packages have one."""
    found = _files(kind)[name]
    if len(found) > 1:
        what, places = {"suites": "suite"}.get(kind, "card"), " and ".join(sorted(path for path, _ in found))
        raise UserError(f"the {what} {name!r} is in {places}; give the file that is meant: {found[0][1]}")
    return found[0][1]


def _refuse_shadows(suite: Suite) -> None:
    """UserError where a package's suite names a row that the package means to take from us."""
    for folder in folders():
        if folder.path is None or suite.folder != folder.path / "suites":
            continue
        for group, name, table in (("datasets", suite.dataset, DATASETS), ("tasks", suite.task, TASKS)):
            takes = any(one.distribution == folder.distribution for one in announced(group).get(name, ()))
            if takes and name in table.ours:
                raise UserError(
                    f"suite {suite.name}: {name!r} of {folder.distribution} is refused, as {OURS} has one of that name"
                )


def refused_files() -> dict[str, list[str]]:
    """{distribution: a sentence for each} suite and card of a package that takes a shipped one's name."""
    found: dict[str, list[str]] = {}
    for kind, what in (("suites", "suite"), ("baselines", "card")):
        for package, path in their_files(kind):
            if (shipped(kind) / path.name).exists():
                found.setdefault(package, []).append(
                    f"the {what} {path.stem!r} of {package} is refused: {OURS} has one of that name; choose another"
                )
    return found


def suite_names() -> list[str]:
    """The shipped suites and those of installed packages."""
    return sorted(_files("suites"))


def card_names() -> list[str]:
    """The shipped cards, those of installed packages and those registered in this process."""
    return sorted({*_files("baselines"), *_registered})


def counted_costs(card: Card) -> dict[str, Any] | None:
    """What `models.costs` counted of a shipped card when its file was made; None for any other."""
    folder = shipped("baselines")
    if card.folder != folder:  # a stranger's card of the same name
        return None
    counted: dict[str, dict[str, Any]] = json.loads((folder / "costs.json").read_text())
    return counted.get(card.name.partition("@")[0])


def find_suite(
    spelling: str,
    *,
    annotations: str | None = None,
    corruptions: str | None = None,
    labels: str | None = None,
    white: float | None = None,
    skip_broken: bool = False,
    places: Places | None = None,
    tell: Tell | None = None,
) -> Suite:
    """The suite of that name, in that TOML file, or of the pictures at that path.

    A shipped suite comes before a folder of its name ("./quick" is the folder). `annotations` and `corruptions` are
    those pictures' alone: which of a folder's annotation files is meant, and what they are shown under ("common",
    "all", names with commas; clean alone where it is None). `labels` is a file that says which class a folder is, or
    what is in pictures that lie in one folder; `white` is the value that is white in pictures of 16 bits or of floats
    (4095: 12 bits in 16); `skip_broken` decodes every picture and leaves out those that cannot be.
    `tell` hears how far it is where pictures are looked at.
    """
    known = spelling in suite_names()
    found = places or Places.find()
    if is_folder(spelling):
        return folder_suite(
            Path(spelling), found, annotations=annotations, corruptions=corruptions, labels=labels,
            white=white, skip_broken=skip_broken, tell=tell,
        )  # fmt: skip
    for option, given in (("annotations", annotations), ("corruptions", corruptions)):
        if given is not None:
            raise UserError(f"--{option} is for a folder of pictures, and {spelling!r} is a suite of its own")
    if not known and not _is_file(spelling):
        raise UnknownName(f"no suite named {spelling!r}{suggest(spelling, suite_names())}")
    suite = read_suite(_file("suites", spelling) if known else Path(spelling))
    _refuse_shadows(suite)
    if labels is not None:
        if "labels" not in DATASETS[suite.dataset].options:
            raise UserError(f"--labels is for pictures, and {suite.dataset} has labels of its own")
        suite = replace(suite, options={**suite.options, "labels": str(Path(labels).resolve())})
    suite = with_white(suite, white)
    return without_broken(suite, found, tell) if skip_broken else suite


def is_folder(spelling: str) -> bool:
    """Whether a spelling means pictures, in a folder mostly: a shipped suite comes before one of its name."""
    return spelling not in suite_names() and is_pictures(Path(spelling))


def find_card(spelling: str) -> Card:
    """The card that a spelling means.

    A shipped or registered name, a TOML file, one seed of either ("resnet20-ema@0"), a bare function
    ("mypkg.nets:build"), "timm:NAME", "torchvision:NAME", "onnx:FILE", "export:FILE", "script:FILE", "hf:FOLDER",
    "mmdet:CONFIG[:CHECKPOINT]" or "results:FOLDER". Nothing is imported or opened to find it.
    """
    library = re.fullmatch(r"(timm|torchvision):([\w./-]+)", spelling)
    if library:
        detects = library[1] == "torchvision" and re.match(
            r"(faster|mask)rcnn|fcos|retinanet|ssd", library[2]
        )
        labels = library[1] == "torchvision" and re.match(r"fcn_|deeplabv3_|lraspp_", library[2])
        kind: dict[str, Any] = {"tasks": ("detection",), "output": DETECTED} if detects else {}
        kind |= {"tasks": ("segmentation",)} if labels else {}
        return Card(name=spelling, build=spelling, input=Input(assumed=True), **kind)
    adapter, _, path = spelling.partition(":")
    if adapter == "mmdet" and path:
        return _of_config(*path.split(":", 1))
    if adapter in adapter_names() and path:
        return _of_file(adapter, Path(path))
    name, at, seed = spelling.rpartition("@")
    if at and name.endswith(".toml"):
        return _one_seed(read_card(Path(name)), seed)
    if spelling in _registered:
        return _registered[spelling]
    if (prefix := _PREFIXES.get(Path(spelling).suffix)) is not None:
        of_weights = (
            " (or give weights with --weights, to the model they are of)" if prefix == "script" else ""
        )
        raise UnknownName(f"no model named {spelling!r}; did you mean '{prefix}:{spelling}'?{of_weights}")
    if spelling.endswith(_WEIGHTS):
        raise UnknownName(
            f"no model named {spelling!r}: such a file holds weights; name the network that they are of, as in "
            f"-m timm:resnet18 --weights {spelling}"
        )
    if _is_file(spelling):
        return read_card(Path(spelling))
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spelling):
        return Card(name=spelling, build=spelling, input=Input(assumed=True))
    if at:
        return _one_seed(find_card(name), seed)
    if spelling not in card_names():
        near = meant(spelling)
        raise UnknownName(
            f"no model named {spelling!r}"
            f"{suggest(spelling, card_names()) if near is None else f'; did you mean {near!r}?'} "
            "(or give a TOML file, package.module:function, timm:NAME, torchvision:NAME, onnx:FILE, export:FILE, "
            "script:FILE, hf:FOLDER|NAME, mmdet:CONFIG[:CHECKPOINT], results:FOLDER)"
        )
    return read_card(_file("baselines", spelling))


def register(build: Callable[..., Any] | str, *, name: str, input: Input | None = None, **facts: Any) -> Card:  # noqa: A002 - the card's word
    """Make a card known under `name` for this process and return it; `card.save(path)` keeps it for good.

    `build` is a function without required arguments that returns a model, a model, or "package.module:function".
    `facts` are further fields of Card (args, weights, precision, ...); weights are a file, a `Weights`, or several of a
    seed each. UserError for what no card can have, and for a shipped name.
    """
    if name in {path.stem for path in shipped("baselines").glob("*.toml")}:
        raise UserError(f"register: {name!r} is a shipped card; choose another name")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UserError(f"register: a name may hold letters, digits and . + - _ only, not {name!r}")
    card = given_card(build, name, input, facts)
    _registered[name] = card
    return card


def _of_file(adapter: str, path: Path) -> Card:
    """A card of what lies at a path: its name is the file's, and where it lies is no part of it.

    A file may classify, find objects or label pixels, which nobody knows before it is opened; results are of
    detection.
    """
    where = path.expanduser().resolve()
    if adapter == "hf" and not where.exists() and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(path)):
        # No folder here: a name on the hub, which is asked where the model is loaded.
        return Card(str(path), f"hf:{path}", _ANY, input=Input(assumed=True), output=DETECTED)
    # What a stranger's adapter loads is a classifier, where no card says another task.
    tasks = ("detection",) if adapter == "results" else _ANY
    kind: dict[str, Any] = {"tasks": tasks, "output": DETECTED} if adapter in ADAPTERS else {}
    return Card(
        name=where.stem if where.suffix in _PREFIXES else where.name,
        build=f"{adapter}:{where.name}",
        input=Input(assumed=adapter != "results"),
        weights=(Weights(str(where)),),
        **kind,
    )


def _of_config(config: str, checkpoint: str = "") -> Card:
    """A card of a config of mmdet, by the config's name, and of its checkpoint."""
    where = Path(config).expanduser().resolve()
    weights = (Weights(str(Path(checkpoint).expanduser().resolve())),) if checkpoint else ()
    return Card(
        name=where.stem,
        build=f"mmdet:{where.name}",
        tasks=("detection",),
        input=Input(assumed=True),
        output=DETECTED,
        weights=weights,
        folder=where.parent,
    )


def _is_file(spelling: str) -> bool:
    return spelling.endswith(".toml") or ("/" in spelling and ":" not in spelling)


def _one_seed(card: Card, seed: str) -> Card:
    seeds = [str(w.seed) for w in card.weights if w.seed is not None]
    if seed not in seeds:
        raise UnknownName(f"card {card.name} has no weights of seed {seed!r}{suggest(seed, seeds)}")
    chosen = card.weights[seeds.index(seed)]
    return replace(card, name=f"{card.name}@{seed}", weights=(chosen,))
