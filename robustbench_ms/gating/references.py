"""What a gate holds a candidate against: a record in a file, in a folder or in a commit; and how one is accepted.

An accepted reference lies in `<results>/<suite>/reference/`: `<card>.json` with its bits is the reference,
`first/<card>.json` the first one, `history/<card>.json` the digests of all that were accepted, so that many small
accepted losses can be gated as the one that they add up to. A folder is searched for an accepted reference first, then
for a plain record.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol, Self

from robustbench_ms.errors import BadFile, UserError, suggest
from robustbench_ms.files import replacing
from robustbench_ms.records.comparison import Comparison, Side
from robustbench_ms.records.profile import Profile, read_profile
from robustbench_ms.records.record import Record, read_record
from robustbench_ms.specs.places import PROFILES_FOLDER

__all__ = ["Accepted", "Found", "References", "accept", "relation"]

HISTORY_FORMAT = 1


@dataclass(frozen=True)
class Found:
    """What there is to compare with."""

    record: Record | None
    first: Record | None
    """The first accepted reference; None where none was ever accepted."""
    where: str
    """For people: where it is, or where it was looked for in vain."""


def relation(candidate: Record, reference: Record) -> tuple[str, ...]:
    """Who the reference is, a sentence each, where it is not the candidate's card before a change."""
    mine, theirs, subject = candidate.name, reference.name, candidate.subject["digest"]
    told = []
    if subject == reference.subject["digest"]:
        name = "" if mine == theirs else f" under another name, {theirs}"
        told.append(
            f"the reference is this very model{name} (subject {subject}): nothing changed since that record, or it was "
            "written after the change"
            if candidate.subject.get("cells") == reference.subject.get("cells")
            else f"the reference{name or ' of this name'} has the same weights and answers to the probe (subject "
            f"{subject}), and other arguments, attributes or source: its answers decide"
        )
    elif candidate.group != reference.group:
        told.append(f"the reference is another card, {theirs}, and the candidate is {mine}")
    elif mine != theirs:
        told.append(f"the reference is another seed, {theirs}, and the candidate is {mine}")
    return tuple(told)


class _Source(Protocol):
    def has(self, path: str) -> bool:
        """Whether there is a file of that name, relative to the source."""

    def fetch(self, path: str) -> Path:
        """Where that file can be read."""

    def shown(self, path: str) -> str:
        """The file's name for people."""

    def glob(self, pattern: str) -> list[str]:
        """The names of the files that fit, relative to the source."""


class References:
    """`against` as people write it: FILE, FOLDER, git:REF, git:REF:PATH, or None for what was accepted in `results`.

    A context: what is taken from a commit lies in a temporary folder until it ends. UserError where `against` itself is
    not there; a reference that is not in it is no error but nothing to compare with.
    """

    def __init__(self, against: str | None, results: Path) -> None:
        self._against = against
        self._results = results
        self._temporary = tempfile.TemporaryDirectory(prefix="rbms-reference-")
        self._file: str | None = None
        try:
            self._source = self._open(against, results)
        except BaseException:
            self._temporary.cleanup()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    @property
    def one_file(self) -> bool:
        """Whether it is a single record, whatever its name."""
        return self._file is not None

    def find(self, suite: str, name: str, candidate: Path | None = None) -> Found:
        """The reference for a record of that file name; the candidate's own file is none."""
        tried, own = list(self._candidates(suite, name)), ""
        for path in tried:
            if not self._source.has(path):
                continue
            here = self._source.fetch(path)
            if candidate is not None and _same_file(here, candidate):
                if self.one_file:
                    raise UserError(f"{candidate} cannot be its own reference")
                own = path
                continue
            bits = path.removesuffix(".json") + ".correct.npz"
            if self._source.has(bits):
                self._source.fetch(bits)
            record = read_record(here)
            return Found(record, self._first(path), self._source.shown(path))
        looked = [self._source.shown(path) for path in tried if path != own]
        told = [
            f"neither {' nor '.join(looked)} is there" if len(looked) > 1 else f"no {one}"
            for one in looked[:1]
        ]
        if own:
            told.insert(0, f"{self._source.shown(own)} is the record being judged")
        hint = "; rbms accept makes a record the reference" if self._against is None else ""
        return Found(None, None, ", and ".join(told) + hint)

    def profiles(self, name: str) -> list[Profile]:
        """The committed profiles of a card, a device each: of the commit, or of the folder and else of the results."""
        pattern = f"{PROFILES_FOLDER}/*/{name}.json"
        for source in (
            self._source,
            *([] if isinstance(self._source, _Commit) else [_Folder(self._results)]),
        ):
            if paths := source.glob(pattern):
                return [read_profile(source.fetch(path)) for path in paths]
        return []

    def _candidates(self, suite: str, name: str) -> Iterator[str]:
        if self._file is not None:
            yield self._file
            return
        yield f"{suite}/reference/{name}.json"
        if self._against is not None:
            yield f"{suite}/{name}.json"
            yield f"reference/{name}.json"
            yield f"{name}.json"

    def _first(self, path: str) -> Record | None:
        """The first accepted record beside a reference, held to the digest in its history."""
        folder, name = PurePosixPath(path).parent, PurePosixPath(path).name
        first, history = f"{folder}/first/{name}", f"{folder}/history/{name}"
        if not (self._source.has(first) and self._source.has(history)):
            return None
        entry = _first_of(_read_history(self._source.fetch(history)))
        bits = first.removesuffix(".json") + ".correct.npz"
        for file, digest in ((first, entry["record"]), (bits, entry["bits"])):
            if not self._source.has(file) or _digest(self._source.fetch(file)) != digest:
                raise BadFile(
                    f"{self._source.shown(file)} is not the first reference that was accepted; take it from the "
                    "version control, or accept a record with --restart"
                )
        return read_record(self._source.fetch(first))

    def _open(self, against: str | None, results: Path) -> _Source:
        if against is None:
            return _Folder(results)
        if against.startswith("git:"):
            ref, _, inside = against.removeprefix("git:").partition(":")
            source = _Commit(ref, inside or None, results, Path(self._temporary.name))
            if inside.endswith(".json"):
                self._file = PurePosixPath(inside).name
                if not source.has(self._file):
                    raise UserError(f"--against {against}: the commit has no file {inside}")
            return source
        path = Path(against).expanduser()
        if path.is_dir():
            return _Folder(path)
        if not path.exists():
            near = (
                suggest(path.name, [p.name for p in path.parent.glob("*.json")])
                if path.parent.is_dir()
                else ""
            )
            raise UserError(
                f"--against {against}: no such file or folder{near or ' (or git:REF for a commit)'}"
            )
        self._file = path.name
        return _Folder(path.parent)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, path: str) -> bool:
        return (self._folder / path).is_file()

    def fetch(self, path: str) -> Path:
        return self._folder / path

    def shown(self, path: str) -> str:
        file = self._folder / path
        return str(file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file)

    def glob(self, pattern: str) -> list[str]:
        return sorted(path.relative_to(self._folder).as_posix() for path in self._folder.glob(pattern))


class _Commit:
    """The files of one commit under a folder."""

    def __init__(self, ref: str, inside: str | None, results: Path, temporary: Path) -> None:
        place = Path.cwd() if inside else results
        while not place.is_dir():
            place = place.parent
        try:
            self._root = Path(_git(place, "rev-parse", "--show-toplevel").decode().strip())
        except UserError:
            raise UserError(f"--against git:{ref}: {place} is in no git repository") from None
        if inside:
            folder = PurePosixPath(inside)
            self._folder = folder.parent if inside.endswith(".json") else folder
        elif results.is_relative_to(self._root):
            self._folder = PurePosixPath(results.relative_to(self._root).as_posix())
        else:
            raise UserError(f"--against git:{ref}: {results} is not in the repository {self._root}")
        self._ref, self._temporary = ref, temporary
        try:
            found = _git(
                self._root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"
            )
        except UserError:
            known = _git(self._root, "for-each-ref", "--format=%(refname:short)").decode().split()
            shallow = (self._root / ".git" / "shallow").exists()
            hint = "; the clone is shallow: fetch it first" if shallow else suggest(ref, known)
            raise UserError(f"--against git:{ref}: the repository has no commit of that name{hint}") from None
        self._commit = found.decode().strip()
        listed = _git(self._root, "ls-tree", "-r", "-z", "--name-only", self._commit)
        self._files = set(listed.decode(errors="surrogateescape").split("\0"))

    def has(self, path: str) -> bool:
        return self._inside(path) in self._files

    def fetch(self, path: str) -> Path:
        here = self._temporary / path
        if not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_bytes(_git(self._root, "cat-file", "blob", f"{self._commit}:{self._inside(path)}"))
        return here

    def shown(self, path: str) -> str:
        return f"{self._inside(path)} at {self._ref}"

    def glob(self, pattern: str) -> list[str]:
        # Of a path segment by segment, as a folder's.
        paths = (PurePosixPath(file) for file in self._files)
        inside = [path.relative_to(self._folder) for path in paths if path.is_relative_to(self._folder)]
        depth = pattern.count("/") + 1
        return sorted(p.as_posix() for p in inside if len(p.parts) == depth and p.match(pattern))

    def _inside(self, path: str) -> str:
        return str(self._folder / path)


def _git(folder: Path, *words: str) -> bytes:
    try:
        return subprocess.run(  # noqa: S603 - no shell; refs come after --end-of-options
            ["git", "-C", str(folder), *words],  # noqa: S607 - the user's own git
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
    except FileNotFoundError as error:
        raise UserError("git is not installed, so a commit cannot be read") from error
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"git {words[0]}: {told[0] if told else 'failed'}") from error


@dataclass(frozen=True)
class Accepted:
    """What `accept` did."""

    path: Path
    change: Comparison | None
    """Against the reference whose place it took; None for the first, or where that one cannot be read."""
    first: bool
    """Whether the drift is counted from it."""
    changed: bool
    """False where it was the reference already."""


def accept(path: Path, results: Path, *, restart: bool = False) -> Accepted:
    """Make the record in `path` the reference of its card and suite, and keep the first one's digest and files.

    `restart` counts the drift from this record on, as when a protocol changed and the first can no longer be compared.
    UserError where the record has error cells or no bits.
    """
    record = read_record(path)
    broken = [m.key for m in record.measurements if m.error is not None]
    if broken or not record.measurements:
        what = f"cells that ended in an error ({', '.join(broken[:3])})" if broken else "no cells"
        raise UserError(f"{path}: a reference is whole, and this record has {what}")
    side = Side.of(record)
    bits = path.with_name(path.name.removesuffix(".json") + ".correct.npz")
    if side.samples is None:
        raise UserError(
            f"{path}: there is no {bits.name} beside it, without which nothing can be compared closely"
        )
    folder = results / str(record.suite["name"]) / "reference"
    target, history = folder / path.name, folder / "history" / path.name
    if _same_file(target, path):
        raise UserError(f"{path} is the reference already")
    entries = _read_history(history) if history.exists() else []
    entry = {
        "accepted": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "first": restart or not entries,
        "record": _digest(path),
        "bits": _digest(bits),
        "subject": record.subject["digest"],
    }
    if target.exists() and entries and not restart and entries[-1]["record"] == entry["record"]:
        return Accepted(target, None, entries[-1]["first"], changed=False)
    try:
        change = Comparison(side, Side.of(read_record(target))) if target.exists() else None
    except BadFile:
        change = None
    try:
        if entry["first"]:
            _copy(path, bits, folder / "first" / path.name)
        _copy(path, bits, target)
        history.parent.mkdir(parents=True, exist_ok=True)
        with replacing(history) as part:
            told = {"format": HISTORY_FORMAT, "references": [*entries, entry]}
            part.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); give another with --results or RBMS_RESULTS"
        ) from error
    return Accepted(target, change, entry["first"], changed=True)


def _copy(record: Path, bits: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for source, goal in ((bits, target.with_name(bits.name)), (record, target)):
        with replacing(goal) as part:
            shutil.copyfile(source, part)


def _read_history(path: Path) -> list[dict[str, Any]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        number = told["format"]
        entries: list[dict[str, Any]] = told["references"]
        whole = bool(entries) and all({"first", "record", "bits"} <= entry.keys() for entry in entries)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(f"{path}: not a history of references ({type(error).__name__}: {error})") from error
    if number != HISTORY_FORMAT:
        raise BadFile(f"{path}: a history of format {number}, and this version reads {HISTORY_FORMAT}")
    if not whole:
        raise BadFile(f"{path}: not a whole history of references")
    return entries


def _first_of(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return next((entry for entry in reversed(entries) if entry["first"]), entries[0])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _same_file(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
