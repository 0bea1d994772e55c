"""Downloads: cut off, resumed, of another digest, redirected, on a full disk; and archives that lead out."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import socket
import tarfile
import time
import zipfile

import pytest

from robustbench_ms.errors import BadFile, UserError
from robustbench_ms.fetching import download as downloading
from robustbench_ms.fetching.download import download, size_at
from robustbench_ms.fetching.unpack import unpack
from tests.fileserver import quiet, serving, tagged, tar_of

BODY = bytes(range(256)) * 40_000
SHA = ("sha256", hashlib.sha256(BODY).hexdigest())
HALF = len(BODY) // 2


def get(server, part, path="/f", digest=SHA, size=None, tell=quiet):
    download(server.at + path, part, tell, digest=digest, size=size)


def ranges(server):
    """What was asked for of the file, an answer each."""
    return [have for method, _, have in server.asked if method == "GET"]


def test_what_was_cut_off_goes_on_where_it_was(tmp_path):
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=2) as server:
        get(server, part)

    assert part.read_bytes() == BODY
    asked = [have for _, _, have in server.asked]
    assert asked == [None, f"bytes={HALF}-", f"bytes={len(BODY) * 3 // 4}-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.part", "f.part.json"]


def test_its_progress_is_told(tmp_path):
    told = []
    with serving({"/f": BODY}) as server:
        get(server, tmp_path / "f.part", tell=lambda *words: told.append(words))

    assert told[-1] == ("f, MB", 10, 10)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert len(told) > 5


def test_what_is_whole_is_asked_for_once(tmp_path):
    part = tmp_path / "f.part"
    for length in (str(len(BODY)), None):
        with serving({"/f": BODY}, says=lambda body, n=length: {"Content-Length": n}) as server:
            get(server, part)
            get(server, part, digest=None)
            assert len(server.asked) == 1
            # Of another size it is not the one that is meant.
            with pytest.raises(BadFile, match=r"has [0-9,]+( or more)? bytes, and 7 were published"):
                get(server, part, digest=None, size=7)


def test_without_a_length_the_published_size_says_when_it_is_whole(tmp_path):
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=1, says=lambda body: {"Content-Length": None, **tagged(body)}) as server:
        get(server, part, size=len(BODY))

    assert ranges(server) == [None, f"bytes={HALF}-"]
    assert part.read_bytes() == BODY


def dated(body):
    """What a server says that makes no strong ETag."""
    return {"ETag": 'W/"like it"', "Last-Modified": f"Sat, 01 Jan 2000 00:00:{body[0] % 60:02} GMT"}


OTHER = bytes([1, *BODY[1:HALF], *BODY[:HALF]])
"""As long as the other."""


def cut_and_changed(part, monkeypatch, other, **how):
    """Half of BODY is got, then the file of that address is another; what was asked for."""
    files = {"/f": BODY}
    with serving(files, cuts=1, **how) as server:
        with monkeypatch.context() as patch:
            patch.setattr(downloading, "TRIES", 0)
            with pytest.raises(UserError, match="was cut off"):
                get(server, part)
        assert part.stat().st_size == HALF
        files["/f"] = other
        get(server, part, digest=None)
    assert part.read_bytes() == other
    return ranges(server)[1:]


@pytest.mark.parametrize("says", [tagged, dated])
@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_is_not_mixed_with_what_came_before(tmp_path, monkeypatch, says, heeds):
    asked = cut_and_changed(tmp_path / "f.part", monkeypatch, OTHER, says=says, heeds=heeds)

    # A server that heeds If-Range sends all of it at once; one that does not is asked again.
    assert asked == [f"bytes={HALF}-"] + [None] * (not heeds)


def test_another_length_tells_it_too(tmp_path, monkeypatch):
    same = {"says": lambda _: {"ETag": '"the same"'}}
    for other in (OTHER + b"more", BODY[:HALF], BODY[:9]):  # the shorter ones by 416
        part = tmp_path / f"{len(other)}.part"
        assert len(cut_and_changed(part, monkeypatch, other, **same)) == 2
    # Content-Range says it alone, where there is no Content-Length.
    alone = {
        "says": lambda body: {"ETag": '"the same"', **({"Content-Length": None} if body != BODY else {})}
    }
    assert len(cut_and_changed(tmp_path / "alone.part", monkeypatch, OTHER + b"more", **alone)) == 2


@pytest.mark.parametrize("says", [lambda _: {}, lambda _: {"ETag": 'W/"like it"'}])
def test_where_nothing_tells_files_apart_it_begins_anew_and_says_so(tmp_path, monkeypatch, says):
    asked = cut_and_changed(tmp_path / "f.part", monkeypatch, OTHER, says=says)
    assert asked == [None]
    monkeypatch.setattr(downloading, "TRIES", 0)
    with (
        serving({"/f": BODY}, cuts=1, says=says) as server,
        pytest.raises(UserError, match="begins anew, as"),
    ):
        get(server, tmp_path / "g.part")


def test_last_modified_is_enough_to_go_on(tmp_path):
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=1, says=dated) as server:
        get(server, part)

    assert ranges(server) == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize("told", ["bytes 7-9/10240000", "bytes */10240000", None])
def test_other_bytes_than_were_asked_for_are_refused(tmp_path, told):
    wrong = {"says": lambda body: {**tagged(body), "Content-Range": told}}
    sentence = rf"asked for bytes from {HALF:,}, the server sent others"
    with serving({"/f": BODY}, cuts=1, **wrong) as server, pytest.raises(BadFile, match=sentence):
        get(server, tmp_path / "f.part")


def test_a_file_that_changes_all_the_time_ends(tmp_path):
    class Changing(dict):
        def __getitem__(self, name):
            return BODY if len(server.asked) % 2 else OTHER[:HALF]

    count = itertools.count()
    how = {"cuts": 40, "says": lambda _: {"ETag": f'"{next(count)}"'}}
    with serving(Changing({"/f": b""}), **how) as server, pytest.raises(UserError, match="was cut off"):
        get(server, tmp_path / "f.part")

    assert len(server.asked) == 1 + downloading.TRIES


def test_a_part_stays_for_the_next_command(tmp_path, monkeypatch):
    monkeypatch.setattr(downloading, "TRIES", 0)
    part = tmp_path / "f.part"
    with serving({"/f": BODY}, cuts=1) as server:
        with pytest.raises(
            UserError,
            match=rf"was cut off .*{HALF:,} of {len(BODY):,} bytes stay in .*f.part: .* goes on from",
        ):
            get(server, part)
        get(server, part)

    assert server.asked[-1][2] == f"bytes={HALF}-"
    assert part.read_bytes() == BODY


def test_a_part_of_another_address_is_not_gone_on_with(tmp_path):
    part = tmp_path / "f.part"
    part.write_bytes(b"strange")
    facts = {"url": "https://example.org/f", "total": len(BODY), "etag": tagged(BODY)["ETag"]}
    (tmp_path / "f.part.json").write_text(json.dumps(facts))
    with serving({"/f": BODY}) as server:
        get(server, part)

    assert ranges(server) == [None]
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


def test_a_host_that_is_redirected_to_is_looked_for_as_the_first_is(tmp_path, monkeypatch):
    real, hosts = socket.create_connection, []

    def connect(address, *words, **more):
        hosts.append(address)
        if address[0] == "elsewhere.example":
            raise OSError("nobody there")
        return real(address, *words, **more)

    monkeypatch.setattr(socket, "create_connection", connect)
    away = {"/f": "https://elsewhere.example/f"}
    sentence = r"no connection to elsewhere.example \(nobody there\)"
    with serving({}, redirects=away) as server, pytest.raises(UserError, match=sentence):
        get(server, tmp_path / "f.part")

    assert len(server.asked) == 1
    assert hosts[-1] == ("elsewhere.example", 443)
    assert hosts.count(hosts[-1]) == 1


@pytest.mark.parametrize(
    ("proxy", "host"),
    [
        ("proxy.example:3128", ("proxy.example", 3128)),
        ("http://proxy.example:3128", ("proxy.example", 3128)),
        ("proxy.example", ("proxy.example", 443)),
    ],
)
def test_a_proxy_is_what_has_to_be_reached(monkeypatch, proxy, host):
    hosts = []

    def connect(address, *_, **__):
        hosts.append(address)
        raise OSError("nobody there")

    monkeypatch.setattr(socket, "create_connection", connect)
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(UserError, match=r"no connection to proxy.example \(nobody there\)"):
        size_at("https://example.org/f")

    assert hosts == [host]


def test_a_server_that_fails_is_asked_again_and_one_without_the_file_is_not(tmp_path):
    with serving({"/f": BODY}, fails=2) as server:
        get(server, tmp_path / "f.part")
        assert len(server.asked) == 3
        with pytest.raises(UserError, match="404"):
            get(server, tmp_path / "g.part", "/none")
        assert len(server.asked) == 4
        assert size_at(server.at + "/f") == len(BODY)


def test_a_size_that_is_not_said_stops_nothing():
    with serving({"/f": BODY}, fails=1, refuses={"HEAD"}) as server:
        assert size_at(server.at + "/f") is None  # 503
        assert size_at(server.at + "/f") is None  # 405
        assert size_at(server.at + "/none") is None
        server.closes = 1
        assert size_at(server.at + "/f") is None
    assert [method for method, _, _ in server.asked] == ["HEAD"] * 4


def test_what_fails_on_this_machine_is_not_tried_again(tmp_path):
    with (
        serving({"/f": BODY}) as server,
        pytest.raises(UserError, match=r"f.part cannot be written \(No such"),
    ):
        get(server, tmp_path / "none" / "f.part")

    assert len(server.asked) == 1


def test_no_network_is_one_sentence_soon(monkeypatch):
    def never(*_, **__):
        time.sleep(0.5)
        raise OSError("late")

    monkeypatch.setattr(socket, "create_connection", never)
    monkeypatch.setattr(downloading, "REACH", 0.05)

    with pytest.raises(UserError, match=r"no connection to example.org .*is there a network\?"):
        size_at("https://example.org/f")
    monkeypatch.undo()
    assert downloading.REACH + 0.5 < 5


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
    with serving({"/f": BODY}) as server:
        with pytest.raises(UserError, match=r"is full; .* bytes stay in .* goes on"):
            get(server, part)
        have = part.stat().st_size
        assert 0 < have < len(BODY)
        monkeypatch.undo()
        get(server, part)

    assert ranges(server) == [None, f"bytes={have}-"]
    assert part.read_bytes() == BODY


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
