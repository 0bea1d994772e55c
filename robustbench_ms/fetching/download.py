"""One file over HTTP: what is there goes on, what is cut off stays, and nothing takes its place unchecked."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener, getproxies, proxy_bypass

from robustbench_ms.errors import BadFile, UserError

__all__ = ["Tell", "check_digest_of", "download", "size_at"]

Tell = Callable[[str, int, int], None]
"""Told of a step, megabytes done and of how many (0: nobody knows)."""
REACH = 4.0
"""Seconds in which a host must be found and answer a connection."""
PATIENCE = 60.0
"""Seconds without a byte after which a connection counts as cut off."""
TRIES = 5
"""Cuts after which it is left to the next command; those that brought bytes do not count."""
_CHUNK = 1 << 20
_ASKING = {"User-Agent": "robustbench-ms", "Accept-Encoding": "identity"}
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download(url: str, part: Path, tell: Tell, *, digest: tuple[str, str] | None, size: int | None) -> None:
    """Get `url` into the file `part`, going on where it ends; whole and checked when this returns.

    `part` stays where the connection is cut or the disk is full, and is removed where its digest is another. It is gone
    on with where the server can tell that its file is still that one, by a strong ETag or Last-Modified, and begun anew
    elsewhere. What was told of it lies beside it, by which a whole one is known again without asking. UserError says
    what stopped it; BadFile what is not as was promised.
    """
    tries = most = 0
    while True:
        try:
            if _some(url, part, tell, size):
                break
            cut = "the server ended it early"
        except _Cut as error:
            cut = str(error)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise UserError(
                    f"the disk of {part.parent} is full; {_state(part, size)}: make room, and {_next(part)}"
                ) from error
            raise UserError(f"{part} cannot be written ({error.strerror})") from error
        # A server that changes its file all the time brings bytes for ever, and never more than it brought before.
        have = _bytes(part)
        tries = 0 if have > most else tries + 1
        most = max(most, have)
        if tries >= TRIES:
            raise UserError(f"{url} was cut off ({cut}); {_state(part, size)}: {_next(part)}")
    try:
        check_digest_of(part, digest, url)
    except BadFile:
        for path in (part, _facts_of(part)):  # going on from there could not mend it
            path.unlink(missing_ok=True)
        raise


def size_at(url: str) -> int | None:
    """Bytes of a file, as its server says; None where it does not say, whatever else it does: it may send it yet."""
    try:
        with _open(Request(url, headers=_ASKING, method="HEAD")) as answer:  # noqa: S310 - `_open` refuses the rest
            return _number(answer.headers.get("Content-Length"))
    except (_Refused, _Cut):
        return None


def check_digest_of(path: Path, digest: tuple[str, str] | None, told: str) -> None:
    """BadFile where a file is another than was promised; nothing where nothing was."""
    if digest is None:
        return
    kind, wanted = digest
    with path.open("rb") as file:
        found = hashlib.file_digest(file, kind).hexdigest()
    if found != wanted:
        raise BadFile(f"{told}: its {kind.upper()} is {found}, not {wanted}: not the file that was published")


def _some(url: str, part: Path, tell: Tell, size: int | None) -> bool:
    """Append what one connection gives; whether the file is whole now."""
    have = _bytes(part)
    known = _facts(part) if have else {}
    if known.get("url") != url:
        have = 0
    if have and have == known.get("total") and size in {None, have}:
        return True
    headers = dict(_ASKING)
    if unchanged := known.get("etag") or known.get("modified"):
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": unchanged}
    else:
        have = 0
    try:
        answer = _open(Request(url, headers=headers))  # noqa: S310 - `_open` refuses all but http and https
    except _Beyond:
        part.unlink(missing_ok=True)  # longer than what is there now
        return False
    with answer:
        if answer.status != 206:  # ranges are refused, or the file is another by now
            have = 0
        said = _said(answer, url, have)
        if have and any(known.get(fact) not in {None, told} for fact, told in said.items() if told):
            part.unlink()  # another file by now, and a server that heeds no If-Range
            return False
        total = said["total"]
        if size is not None and total is not None and total != size:
            raise _other(url, f"{total:,}", size)
        if have:
            said = {fact: told or known.get(fact) for fact, told in said.items()}
        with part.open("ab" if have else "wb") as file:
            # Only now, so that they never lie beside another file's bytes.
            _facts_of(part).write_text(json.dumps(said), encoding="utf-8")
            while chunk := _read(answer):
                file.write(chunk)
                have += len(chunk)
                if size is not None and have > size:  # of no length that its server says
                    part.unlink()
                    raise _other(url, f"{have:,} or more", size)
                tell(f"{part.stem}, MB", have // 10**6, (total or size or 0) // 10**6)
    if total is None and size is None:  # that the connection ended is all that says so
        _facts_of(part).write_text(json.dumps({**said, "total": have}), encoding="utf-8")
        return True
    return have == (size if total is None else total)


def _other(url: str, have: str, size: int) -> BadFile:
    return BadFile(f"{url} has {have} bytes, and {size:,} were published: not the file that was published")


def _said(answer: Any, url: str, have: int) -> dict[str, Any]:
    """What a server says of the file whose bytes from `have` on it sends; BadFile where it sends others."""
    rest = _number(answer.headers.get("Content-Length"))
    total = None if rest is None else have + rest
    if answer.status == 206:
        told = answer.headers.get("Content-Range", "")
        ranged = _RANGE.fullmatch(told.strip())
        if ranged is None or int(ranged[1]) != have:
            raise BadFile(
                f"{url}: asked for bytes from {have:,}, the server sent others ({told or 'unsaid'})"
            )
        total = _number(ranged[2]) or total
    etag = answer.headers.get("ETag")
    strong = etag if etag and not etag.startswith("W/") else None  # a weak one is of files that are alike
    return {"url": url, "total": total, "etag": strong, "modified": answer.headers.get("Last-Modified")}


def _read(answer: Any) -> bytes:
    try:
        chunk: bytes = answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(error) from error
    return chunk


class _Cut(Exception):
    """The network or the server failed, and may do better the next time; anything else of the system's is local."""

    def __str__(self) -> str:
        return super().__str__() or type(self.args[0]).__name__


class _Refused(UserError):
    """The server answers, and does not send the file."""


class _Beyond(_Refused):
    """The part that is there ends beyond the file's end."""


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check(newurl)
        if urlsplit(newurl).netloc != urlsplit(req.full_url).netloc:
            _reach(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(url: str) -> None:
    at = urlsplit(url)
    if at.scheme != "https" and not (at.scheme == "http" and at.hostname in _LOCAL):
        raise UserError(f"{url} is refused: only https is trusted with files")


def _open(request: Request) -> Any:
    """An answer; UserError where nobody is reached, or the server has no such file."""
    url = request.full_url
    _check(url)
    _reach(url)
    try:
        return build_opener(_Redirects).open(request, timeout=PATIENCE)
    except HTTPError as error:
        if error.code >= 500:
            raise _Cut(f"{error.code} {error.reason}") from error
        more = ": a login is needed" if error.code in {401, 403} else ""
        kind = _Beyond if error.code == 416 else _Refused
        raise kind(f"{url}: the server says {error.code} {error.reason}{more}") from error
    except URLError as error:
        if isinstance(error.reason, OSError):
            raise _Cut(error.reason) from error
        raise UserError(f"{url} cannot be opened ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:  # of its answer's first lines
        raise _Cut(error) from error


def _reach(url: str) -> None:
    """UserError where no connection comes about in `REACH` seconds, the search for the host's address included."""
    at = urlsplit(url)
    proxy = None if proxy_bypass(at.hostname or "") or at.hostname in _LOCAL else getproxies().get(at.scheme)
    # A proxy may be named without a scheme; its usual port is that of what is asked, as urllib has it.
    host = urlsplit(proxy if "//" in proxy else f"//{proxy}") if proxy else at
    usual = 443 if at.scheme == "https" else 80
    found: list[str] = []

    def tried() -> None:
        try:
            socket.create_connection((host.hostname or "", host.port or usual), timeout=REACH).close()
            found.append("")
        except (OSError, ValueError) as error:  # no number for a port, no name for a host
            found.append(str(error))

    # A name server that does not answer obeys no timeout: a thread is left behind instead.
    thread = threading.Thread(target=tried, daemon=True)
    thread.start()
    thread.join(REACH)
    why = found[0] if found else f"no answer in {REACH:g} s"
    if why:
        raise UserError(f"no connection to {host.hostname} ({why}): is there a network?")


def _facts_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _facts(part: Path) -> dict[str, Any]:
    """What was told of a part file when it was begun; nothing where that cannot be read."""
    try:
        found = json.loads(_facts_of(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _bytes(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _state(part: Path, size: int | None) -> str:
    total = size or _facts(part).get("total")
    of = f" of {total:,}" if total else ""
    return f"{_bytes(part):,}{of} bytes stay in {part}"


def _next(part: Path) -> str:
    known = _facts(part)
    if known and not (known.get("etag") or known.get("modified")):
        return "the same command begins anew, as the server does not say whether its file is still the same"
    return "the same command goes on from there"
