"""Read cards from TOML, checked key by key, and write them; imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tomli_w

from robustbench_ms.catalog.registry import TASKS, adapter_names, answers_of, rows_of
from robustbench_ms.catalog.table import Table, inside, read_toml, sha256
from robustbench_ms.errors import BadFile, UserError, choose
from robustbench_ms.files import replacing
from robustbench_ms.specs.canvas import INTERPOLATIONS, MODES
from robustbench_ms.specs.card import PRECISIONS, WINDOWS, Card, Input, Output, Published, Weights
from robustbench_ms.specs.metrics import COSTS

__all__ = ["read_card", "read_input", "write_card", "write_weights"]

FITS = ("resize", "crop", "letterbox")
MEMORY_FORMATS = ("contiguous", "channels_last")
DECODES = ("boxes", "yolox", "detr")
BY = ("name", "position")
CHANNELS = ("RGB", "BGR", "L", "signals", "volumes")
BLENDS = ("constant", "gaussian")
LABELS = ("data", "background+data", "coco-80", "coco-91")


def read_card(path: Path) -> Card:
    """The card in a TOML file; its name is the file's name."""
    table = read_toml(path)
    build = table.take("build", str, required=True)
    library, _, rest = build.partition(":")
    if library in adapter_names():
        inside(rest, f"{path}: build: {library}")
    elif not re.fullmatch(r"(timm|torchvision):[\w./-]+|[\w.]+:[\w.]+", build):
        raise UserError(
            f"{path}: build must be 'package.module:function', 'timm:NAME', 'torchvision:NAME' or a file as "
            f"'onnx:FILE', not {build!r}"
        )
    tasks = tuple(
        choose(t, TASKS, "task", f"{path}: tasks") for t in table.strings("tasks", ("classification",))
    )
    for task in tasks:
        if (said := answers_of(task)) != task:
            raise UserError(f"{path}: tasks: write {said!r}, whose models answer {task} too")
    card = Card(
        name=path.stem,
        build=build,
        tasks=tasks,
        args=table.table("args").rest(),
        input=read_input(table.table("input")),
        output=_output(table.table("output"), tasks),
        weights=_weights(table.tables("weights"), path),
        untrained=table.take("untrained", bool, default=False),
        precision=table.word("precision", PRECISIONS, "precision", default="fp32"),
        memory_format=table.word("memory_format", MEMORY_FORMATS, "memory format", default="contiguous"),
        recipe=table.table("recipe").rest(),
        published=tuple(_published(row, tasks) for row in table.tables("published")),
        about=table.take("about", str, ""),
        source=table.take("source", str, ""),
        licence=table.take("licence", str, ""),
        folder=path.parent,
    )
    table.done()
    if card.untrained and card.weights:
        raise UserError(f"{path}: untrained = true and [weights] exclude each other")
    if card.input.window is not None and "segmentation" not in tasks:
        raise UserError(
            f"{path}: [input]: window is for cards of segmentation, whose answers to windows are put together voxel by "
            f"voxel, and this one's tasks are {', '.join(tasks)}"
        )
    return card


def read_input(table: Table) -> Input:
    """The [input] table of a card; where it is absent or empty, the run assumes and says so."""
    if not table:
        return Input(assumed=True)
    channels = table.word("channels", CHANNELS, "channel order", default="RGB")
    many, few = ((0.0,), (1.0,)) if channels in {"signals", "volumes"} else ((0.0,) * 3, (1.0,) * 3)
    mean, std = table.numbers("mean", many), table.numbers("std", few)
    if channels in {"signals", "volumes"}:
        table.check("mean", mean, lambda m: len(m) > 0, "one number a channel, or one for all")
        for key in ("size", "fit", "crop", "crop_mode", "interpolation", "range"):
            if table.has(key):
                own = "mean, std and window" if channels == "volumes" else "mean and std"
                raise UserError(f"{table.place}: {key} is for images, and {channels} have {own} alone")
    else:
        table.check("mean", mean, lambda m: len(m) in {1, 3}, "one number a channel (1 or 3)")
    table.check(
        "std",
        std,
        lambda s: len(s) == len(mean) and all(v > 0 for v in s),
        "as many positive numbers as mean",
    )
    size = table.take("size", int)
    table.check("size", size, lambda s: s is None or s > 0, "positive")
    crop = table.check("crop", table.take("crop", float, 1.0), lambda c: 0 < c <= 1, "above 0 and at most 1")
    bounds = table.numbers("range", (0.0, 1.0))
    table.check("range", bounds, lambda r: len(r) == 2 and r[0] < r[1], "two numbers, the smaller first")
    made = Input(
        size=size,
        fit=table.word("fit", FITS, "fit", default="resize"),
        crop=crop,
        crop_mode=table.word("crop_mode", MODES, "crop mode", default="center"),
        interpolation=table.word("interpolation", INTERPOLATIONS, "interpolation", default="bilinear"),
        range=(bounds[0], bounds[1]),
        mean=mean,
        std=std,
        channels=channels,
        **_windows(table, channels),
    )
    table.done()
    return made


def _windows(table: Table, channels: str) -> dict[str, Any]:
    """The fields of sliding windows, where a card asks for them."""
    told = next((key for key in WINDOWS if table.has(key)), None)
    if told is not None and channels != "volumes":
        raise UserError(f'{table.place}: {told} is for volumes, whose cards say channels = "volumes"')
    sides = table.numbers("window")
    table.check(
        "window",
        list(sides),
        lambda s: not s or (len(s) == 3 and all(v >= 1 and v == int(v) for v in s)),
        "three whole numbers above 0: depth, height and width in voxels",
    )
    if told is not None and not sides:
        raise UserError(f"{table.place}: {told} is of windows, and no window says how large they are")
    overlap = table.check(
        "overlap", table.take("overlap", float, Input.overlap), lambda o: 0 <= o < 1, "from 0 to below 1"
    )
    blend = table.word("blend", BLENDS, "way to blend", default=Input.blend)
    if not sides:
        return {}
    return {"window": tuple(map(int, sides)), "overlap": overlap, "blend": blend}


def _output(table: Table, tasks: tuple[str, ...]) -> Output:
    """The [output] table of a card; a detector's has its score threshold."""
    score = table.take("score", float)
    if score is None and "detection" in tasks:
        raise UserError(
            f"{table.place}: a detector's card says its score threshold, at most 0.05, and where nothing else is "
            "meant score = 0.001"
        )
    table.check("score", score, lambda s: s is None or 0 <= s <= 0.05, "from 0 to 0.05")
    maximum = table.check("maximum", table.take("maximum", int, 100), lambda m: m > 0, "positive")
    nms = table.check("nms", table.take("nms", float), lambda n: n is None or 0 < n <= 1, "an IoU, 0 to 1")
    labels: Any = table.anything("labels") if table.has("labels") else "data"
    if isinstance(labels, list):
        labels = Table({"labels": labels}, table.place).strings("labels")
    else:
        choose(labels, LABELS, "label map", f"{table.place}: labels")
    made = Output(
        score=score,
        maximum=maximum,
        decode=table.word("decode", DECODES, "way to decode", default="boxes"),
        nms=nms,
        labels=labels,
        layer=table.take("layer", str),
    )
    table.done()
    return made


def _weights(rows: list[Table], path: Path) -> tuple[Weights, ...]:
    found = []
    for row in rows:
        digest = row.take("sha256", str)
        package = row.take("package", str)
        row.check("package", package, lambda p: p is None or p.isidentifier(), "one package's import name")
        found.append(
            Weights(
                file=inside(row.take("file", str, required=True), f"{row.place} file"),
                sha256=None if digest is None else sha256(digest, f"{row.place} sha256"),
                seed=row.take("seed", int),
                url=row.take("url", str),
                package=package,
                key=row.take("key", str),
                by=row.word("by", BY, "way to tell tensors", default="name"),
            )
        )
        row.done()
    seeds = [w.seed for w in found]
    if len(found) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
        raise UserError(f"{path}: several [[weights]] need a seed each, all different, not {seeds}")
    return tuple(found)


def _published(row: Table, tasks: tuple[str, ...]) -> Published:
    known = [name for task in tasks for name in rows_of(task)]
    name = row.take("metric", str, required=True)
    published = Published(
        metric=choose(name, [*known, *COSTS], "metric", f"{row.place} metric"),
        value=row.take("value", float, required=True),
        on=row.take("on", str, required=True),
        source=row.take("source", str, required=True),
    )
    row.done()
    return published


def write_card(card: Card, path: Path) -> Path:
    """Write a card as TOML, only what differs from the defaults.

    UserError where no other process could build it, or where reading it again would give another card.
    """
    if not isinstance(card.build, str):
        raise UserError(
            f"card {card.name}: its build target cannot be imported by another process, so it cannot be saved; "
            'register it as "package.module:function"'
        )
    tables: dict[str, Any] = {"build": card.build, **_changed(card, Card(name=card.name, build=card.build))}
    for key in ("name", "folder"):
        tables.pop(key, None)
    if not card.input.assumed:
        # An input that is all defaults is told by one of them: an empty table would be taken as not known.
        tables["input"] = _changed(card.input, Input()) or {"range": card.input.range}
    else:
        tables.pop("input", None)
    if "weights" in tables:
        tables["weights"] = [{"file": w.file, **_changed(w, Weights(w.file))} for w in card.weights]
    if "output" in tables:
        tables["output"] = _changed(card.output, Output())
    try:
        text = tomli_w.dumps(_plain(tables))
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
            _refuse_loss(card, part)
    except TypeError as error:
        raise UserError(f"card {card.name}: its args cannot be written as TOML ({error})") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be written: {error.strerror}") from error
    return path


def _refuse_loss(card: Card, path: Path) -> None:
    """What was written is read again: TOML has no None, and a card's file holds no absolute path."""
    try:
        again = replace(read_card(path), name=card.name, folder=card.folder)
    except UserError as error:
        told = str(error).removeprefix(f"{path}: ")
        raise UserError(f"card {card.name} cannot be saved: {told}") from error
    if _plain(asdict(again), none=True) != _plain(asdict(card), none=True):
        raise UserError(f"card {card.name} cannot be saved: TOML cannot hold its args as they are")


def _changed(
    thing: Card | Input | Output | Weights, default: Card | Input | Output | Weights
) -> dict[str, Any]:
    before = asdict(default)
    return {key: value for key, value in asdict(thing).items() if value != before[key]}


def _plain(value: Any, *, none: bool = False) -> Any:
    """Tuples as lists, and no None: TOML has neither."""
    if isinstance(value, Mapping):
        return {key: _plain(v, none=none) for key, v in value.items() if none or v is not None}
    return [_plain(v, none=none) for v in value] if isinstance(value, (list, tuple)) else value


def write_weights(card: Card, seed: int, path: Path, sha256: str) -> Path:
    """Put a [[weights]] table for one seed into a card's TOML file, in place of that seed's old one; the file.

    Everything else in the file stays as it is, but for `untrained = true`. UserError where the card has no file of
    its own or the weights do not lie under its folder.
    """
    if card.folder is None:
        raise UserError(f"card {card.name} has no TOML file to write its weights into")
    home, weights = card.folder.resolve(), path.resolve()
    if not weights.is_relative_to(home):
        raise UserError(
            f"card {card.name}: a card names weights beside it, and {path} does not lie under {card.folder}; "
            f"give -o {card.folder / 'weights'}"
        )
    file = home / f"{card.name.partition('@')[0]}.toml"
    table = (
        f'[[weights]]\nseed = {seed}\nfile = "{weights.relative_to(home).as_posix()}"\nsha256 = "{sha256}"\n'
    )
    text = re.sub(r"(?m)^untrained\s*=.*\n", "", file.read_text(encoding="utf-8"))
    blocks = re.split(r"(?m)^(?=\[)", text)
    given = [i for i, block in enumerate(blocks) if block.startswith("[[weights]]")]
    mine = [i for i in given if re.search(rf"(?m)^seed\s*=\s*{seed}\s*$", blocks[i])]
    at = mine[0] if mine else given[-1] + 1 if given else len(blocks)
    blocks[at - 1] = blocks[at - 1].rstrip() + "\n\n"
    blocks[at : at + len(mine)] = [table + "\n"]
    with replacing(file) as part:
        part.write_text("".join(blocks).rstrip() + "\n", encoding="utf-8")
        try:
            read_card(part)
        except UserError as error:
            told = str(error).removeprefix(f"{part}: ").replace(str(part), file.name)
            raise BadFile(
                f"{file} would be no card with these weights ({told}); it is left as it was"
            ) from error
    return file
