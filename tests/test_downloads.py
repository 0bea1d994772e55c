"""Downloads: cut off, resumed, of another digest, redirected, on a full disk; and archives that lead out."""

from __future__ import annotations

import errno
import hashlib
import socket
import tarfile
import time
import zipfile

import pytest

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.fetching import download as downloading
from robustbench_ms.fetching.download import download, size_at
from robustbench_ms.fetching.unpack import unpack
from tests.fileserver import quiet, serving, tar_of

BODY = bytes(range(256)) * 40_000
SHA = ("sha256", hashlib.sha256(BODY).hexdigest())


def get(server, part, path="/f", digest=SHA, size=None):
    download(server.at + path, part, quiet, digest=digest, size=size)


def test_what_was_cut_off_goes_on_where_it_was(tmp_path):
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=2) as server:
        get(server, part)

    assert part.read_bytes() == BODY
    asked = [have for _, _, have in server.asked]
    assert asked == [None, f"bytes={len(BODY) // 2}-", f"bytes={len(BODY) * 3 // 4}-"]
    assert [path.name for path in tmp_path.iterdir()] == ["f.part"]


def test_a_part_stays_for_the_next_command(tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "TRIES", 0)
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=1) as server:
        with pytest.raises(
            UserError, match=rf"was cut off .*{len(BODY) // 2:,} of {len(BODY):,} bytes stay in .*f.part"
        ):
            get(server, part)
        get(server, part)

    assert server.asked[-1][2] == f"bytes={len(BODY) // 2}-"
    assert part.read_bytes() == BODY


def test_a_part_of_another_address_is_not_gone_on_with(tmp_path):
    part = tmp_path / "f.part"
    part.write_bytes(b"strange")
    with serving({"/f": BODY}) as server:
        get(server, part)

    assert part.read_bytes() == BODY


def test_a_server_that_refuses_ranges_sends_all_again(tmp_path):
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=1, ranges=False) as server:
        get(server, part)

    assert part.read_bytes() == BODY


def test_another_digest_is_named_and_nothing_stays(tmp_path):
    part = tmp_path / "f.part"
    with (
        serving({"/f": BODY[:-1] + b"x"}) as server,
        pytest.raises(BadFile, match=r"SHA256 is .*, not .*published"),
    ):
        get(server, part)

    assert not [*tmp_path.iterdir()]


def test_another_size_is_refused_before_it_is_got(tmp_path):
    with (
        serving({"/f": BODY}) as server,
        pytest.raises(BadFile, match="has 10,240,000 bytes, and 7 were published"),
    ):
        get(server, tmp_path / "f.part", size=7)


def test_redirects_are_followed_and_those_without_encryption_refused(tmp_path):
    with serving({"/f": BODY}, redirects={"/old": "/f", "/bad": "http://example.org/f"}) as server:
        get(server, tmp_path / "f.part", "/old")
        with pytest.raises(UserError, match="only https is trusted"):
            get(server, tmp_path / "g.part", "/bad")
    with pytest.raises(UserError, match="only https is trusted"):
        size_at("http://example.org/f")
    with pytest.raises(UserError, match="only https is trusted"):
        size_at("file:///etc/passwd")


def test_a_server_that_fails_is_asked_again_and_one_without_the_file_is_not(tmp_path):
    with serving({"/f": BODY}, fails=2) as server:
        get(server, tmp_path / "f.part")
        assert len(server.asked) == 3
        with pytest.raises(UserError, match="404"):
            get(server, tmp_path / "g.part", "/none")
        assert len(server.asked) == 4
        assert size_at(server.at + "/f") == len(BODY)


def test_no_network_is_one_sentence_soon(monkeypatch):
    def never(*_, **__):
        time.sleep(0.5)
        raise OSError("late")

    monkeypatch.setattr(socket, "create_connection", never)
    monkeypatch.setattr(downloading, "REACH", 0.05)

    with pytest.raises(UserError, match=r"no connection to example.org .*is there a network\?"):
        size_at("https://example.org/f")


def test_a_full_disk_says_so_and_keeps_the_part(tmp_path, monkeypatch):
    part = tmp_path / "f.part"
    real = type(part).open

    class Full:
        def __init__(self, file):
            self.file, self.left = file, 2

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.file.write(data)

    def opened(path, mode="r", *args, **more):
        file = real(path, mode, *args, **more)
        return Full(file) if path == part and mode in {"ab", "wb"} else file

    monkeypatch.setattr(type(part), "open", opened)
    with (
        serving({"/f": BODY}) as server,
        pytest.raises(UserError, match=r"is full; .* bytes stay in .* goes on"),
    ):
        get(server, part)
    monkeypatch.undo()
    with serving({"/f": BODY}) as server:
        assert 0 < part.stat().st_size < len(BODY)


@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({"../out": b"x"}, ()),
        ({}, [("in", "../../out", tarfile.SYMTYPE)]),
        ({}, [("in", "/etc/passwd", tarfile.SYMTYPE)]),
        ({}, [("in", "../out", tarfile.LNKTYPE)]),
        ({}, [("in", "", tarfile.CHRTYPE)]),
    ],
)
def test_a_tar_that_leads_out_of_its_folder_is_refused(tmp_path, members, links):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(tar_of(members, links))

    with pytest.raises(BadFile, match=r"a.tar.gz: .*nothing of it was kept"):
        unpack(archive, tmp_path / "deep" / "in", quiet)
    assert not (tmp_path / "deep" / "out").exists()


def test_a_zip_that_leads_out_of_its_folder_is_refused(tmp_path):
    archive = tmp_path / "a.zip"
    link = zipfile.ZipInfo("in")
    link.external_attr = 0o120777 << 16
    for name in ("../out", "/out", "..\\out", link):
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr(name, "../out")
        with pytest.raises(BadFile, match=r"a.zip: .*(leads out|is a link)"):
            unpack(archive, tmp_path / "in", quiet)


def test_an_archive_that_is_damaged_is_refused(tmp_path):
    whole = tar_of({"a": BODY})
    for name, data in (
        ("a.tar.gz", whole[: len(whole) // 2]),
        ("a.tar", b"x" * 5000),
        ("a.zip", b"PK" + b"x" * 500),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadFile, match="damaged, or no such archive"):
            unpack(tmp_path / name, tmp_path / "in", quiet)
