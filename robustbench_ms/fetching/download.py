"""One file over HTTP: what is there goes on, what is cut off stays, and nothing takes its place unchecked."""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
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
_LOCAL = {"localhost", "127.0.0.1", "::1"}


def download(url: str, part: Path, tell: Tell, *, digest: tuple[str, str] | None, size: int | None) -> None:
    """Get `url` into the file `part`, going on where it ends; whole and checked when this returns.

    `part` stays where the connection is cut or the disk is full, and is removed where its digest is another.
    UserError says what stopped it; BadFile what is not as was promised.
    """
    tries = 0
    while True:
        have = part.stat().st_size if part.is_file() else 0
        try:
            if _some(url, part, tell, size):
                break
            cut = "the server ended it early"
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise UserError(
                    f"the disk of {part.parent} is full; {_state(part, size)}: make room, and the same command goes on"
                ) from error
            if isinstance(error, PermissionError):
                raise UserError(f"{part} cannot be written ({error.strerror})") from error
            cut = str(error) or type(error).__name__
        except http.client.HTTPException as error:
            cut = str(error) or type(error).__name__
        tries = 0 if (part.stat().st_size if part.is_file() else 0) > have else tries + 1
        if tries >= TRIES:
            raise UserError(
                f"{url} was cut off ({cut}); {_state(part, size)}: the same command goes on from there"
            )
    try:
        check_digest_of(part, digest, url)
    except BadFile:
        part.unlink()  # going on from there could not mend it
        raise
    finally:
        _facts_of(part).unlink(missing_ok=True)


def size_at(url: str) -> int | None:
    """Bytes of a file, as its server says; None where it does not say."""
    with _open(Request(url, method="HEAD")) as answer:  # noqa: S310 - `_open` refuses all but http and https
        told = answer.headers.get("Content-Length")
    return int(told) if told and told.isdigit() else None


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
    have = part.stat().st_size if part.is_file() else 0
    known = _facts(part) if have else {}
    if have and known.get("url") != url:
        have = 0
    if have and have == known.get("total"):
        return True
    headers = {"User-Agent": "robustbench-ms", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if known.get("etag"):
            headers["If-Range"] = known["etag"]
    try:
        answer = _open(Request(url, headers=headers))  # noqa: S310 - `_open` refuses all but http and https
    except _Beyond:
        part.unlink()  # longer than what is there now
        return False
    with answer:
        if have and answer.status != 206:  # ranges are refused, or the file is another by now
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        if have:
            start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if start != str(have):
                raise BadFile(
                    f"{url}: asked for bytes from {have:,}, the server sent others ({start or 'unsaid'})"
                )
        if size is not None and total is not None and total != size:
            raise BadFile(
                f"{url} has {total:,} bytes, and {size:,} were published: not the file that was published"
            )
        etag = answer.headers.get("ETag")
        strong = etag if etag and not etag.startswith("W/") else None
        _facts_of(part).write_text(json.dumps({"url": url, "total": total, "etag": strong}), encoding="utf-8")
        with part.open("ab" if have else "wb") as file:
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                have += len(chunk)
                tell(f"{part.stem}, MB", have // 10**6, (total or 0) // 10**6)
    return total is None or have == total


class _Beyond(Exception):
    """The part that is there ends beyond the file's end."""


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check(newurl)
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
        if error.code == 416:
            raise _Beyond from error
        if error.code >= 500:
            raise OSError(f"{error.code} {error.reason}") from error  # the next try may do better
        more = ": a login is needed" if error.code in {401, 403} else ""
        raise UserError(f"{url}: the server says {error.code} {error.reason}{more}") from error
    except URLError as error:
        if isinstance(error.reason, OSError):
            raise OSError(str(error.reason)) from error
        raise UserError(f"{url} cannot be opened ({error.reason})") from error


def _reach(url: str) -> None:
    """UserError where no connection comes about in `REACH` seconds, the search for the host's address included."""
    at = urlsplit(url)
    proxy = None if proxy_bypass(at.hostname or "") or at.hostname in _LOCAL else getproxies().get(at.scheme)
    host = urlsplit(proxy) if proxy else at
    usual = 443 if host.scheme == "https" else 80
    found: list[str] = []

    def tried() -> None:
        try:
            socket.create_connection((host.hostname or "", host.port or usual), timeout=REACH).close()
            found.append("")
        except OSError as error:
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


def _state(part: Path, size: int | None) -> str:
    have = part.stat().st_size if part.is_file() else 0
    total = size or _facts(part).get("total")
    of = f" of {total:,}" if total else ""
    return f"{have:,}{of} bytes stay in {part}"
