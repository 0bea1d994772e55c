"""Archives unpacked into a folder of their own, with nothing outside it written, linked or made special."""

from __future__ import annotations

import errno
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.fetching.download import Tell

__all__ = ["is_archive", "unpack"]


def is_archive(name: str) -> bool:
    """Whether a file of that name is unpacked."""
    return name.endswith((".tar", ".tar.gz", ".tgz", ".zip"))


def unpack(archive: Path, folder: Path, tell: Tell, *, name: str = "") -> None:
    """Unpack a tar or zip into `folder`; BadFile names a member that leads out of it, or an archive that is damaged."""
    name = name or archive.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (_zip if name.endswith(".zip") else _tar)(archive, folder, tell, name)
    except tarfile.FilterError as error:
        raise BadFile(f"{name}: {error}; nothing of it was kept") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise BadFile(f"{name} is damaged, or no such archive ({error}); nothing of it was kept") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise UserError(f"the disk of {folder.parent} is full: {name} could not be unpacked") from error
        raise BadFile(f"{name} cannot be unpacked ({error}); nothing of it was kept") from error


def _tar(archive: Path, folder: Path, tell: Tell, name: str) -> None:
    size = archive.stat().st_size
    # The filter refuses what lies, links or points outside, and devices; modes and owners are set to plain ones.
    with archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for count, member in enumerate(tar):
            tar.extract(member, folder, filter="data")
            if not count % 100:
                tell(f"unpacking {name}, MB", raw.tell() // 10**6, size // 10**6)


def _zip(archive: Path, folder: Path, tell: Tell, name: str) -> None:
    with zipfile.ZipFile(archive) as packed:
        members = packed.infolist()
        for member in members:  # extract() would drop ".." without a word
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise BadFile(f"{name}: {member.filename!r} leads out of its folder; nothing of it was kept")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise BadFile(f"{name}: {member.filename!r} is a link; nothing of it was kept")
        done, size = 0, sum(member.file_size for member in members)
        for count, member in enumerate(members):
            packed.extract(member, folder)
            done += member.file_size
            if not count % 100:
                tell(f"unpacking {name}, MB", done // 10**6, size // 10**6)
