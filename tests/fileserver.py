"""A local HTTP server that misbehaves as it is told, and archives for it."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def tagged(body):
    """What a server says of a file by which it is told from another: a strong ETag, made of its bytes."""
    return {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}


@contextmanager
def serving(files, *, cuts=0, ranges=True, redirects=None, fails=0, says=tagged, heeds=True, refuses=()):
    """Serve `files` (path: bytes); yields the server, whose `asked` are (method, path, Range).

    Its `closes` are answers that it ends before their first line.

    The first `cuts` answers break off in their middle; without `ranges` all is sent again; `redirects` maps paths to
    addresses; the first `fails` are a 503. `says` gives the headers of a body, which take the place of the server's own
    (Content-Range too; None leaves one out); a server that `heeds` sends all where If-Range names none of them.
    `refuses` are methods that it answers by 405.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            server = self.server
            server.asked.append((self.command, self.path, self.headers.get("Range")))
            if self.path in (redirects or {}):
                self.send_response(302)
                self.send_header("Location", redirects[self.path])
                self.end_headers()
                return
            if server.closes:
                server.closes -= 1
                return
            if server.fails:
                server.fails -= 1
                self.send_error(503)
                return
            if self.path not in files:
                self.send_error(404)
                return
            if self.command in refuses:
                self.send_error(405)
                return
            body, start = files[self.path], 0
            headers = says(body)
            same = not heeds or self.headers.get("If-Range") in {None, *headers.values()}
            if ranges and same and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                if start >= len(body):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if start:
                headers = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} | headers
            headers = {"Content-Length": str(len(body) - start)} | headers
            for name, value in headers.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            rest = body[start:]
            if server.cuts:
                server.cuts -= 1
                rest = rest[: len(rest) // 2]
            self.wfile.write(rest)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.cuts, server.fails, server.closes, server.asked = cuts, fails, 0, []
    server.at = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def quiet(*_):
    """Progress that nobody is told."""


def tar_of(members, links=()):
    """The bytes of a .tar.gz of files (name: bytes) and of links (name, target, kind)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            tar.addfile(info)
    return file.getvalue()
