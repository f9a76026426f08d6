"""An HTTP server on the loopback interface whose faults a test chooses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """Serves `files` by path. What `faults[path]` lists happens to its next requests, one each:

    "404", "500", "403"   that answer
    "cut"                 half of what was asked for, then the connection breaks
    "hang"                half of it, then nothing until `go_on` is set
    "html"                a web page
    "shifted"             another range than was asked for
    "to:URL"              a redirect

    A `careless` server gives a range of whatever version it has now.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.faults: dict[str, list[str]] = {}
        self.ranges = True
        self.careless = False
        self.etags = {path: f'"{path}-1"' for path in files}
        self.extra: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.half_sent = threading.Event()
        self.go_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    """A running server, gone at the end."""
    server = FileServer(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        path = self.path
        self.server.asked.append((path, self.headers.get("Range", "")))
        faults = self.server.faults.get(path, [])
        fault = faults.pop(0) if faults else ""
        if fault.startswith("to:"):
            self.send_response(302)
            self.send_header("Location", fault[3:])
            self._end({"Content-Length": "0", **self.server.extra})
        elif fault.isdigit():
            self.send_error(int(fault))
        elif fault == "html":
            self._page()
        elif path not in self.server.files:
            self.send_error(404)
        else:
            self._file(self.server.files[path], self.server.etags.get(path, ""), fault)

    def _page(self) -> None:
        self.send_response(200)
        self._end({"Content-Type": "text/html; charset=utf-8", "Content-Length": "4"})
        self.wfile.write(b"<p/>")

    def _file(self, data: bytes, etag: str, fault: str) -> None:
        start = self._start(etag) + (10 if fault == "shifted" else 0)
        body = data[start:]
        self.send_response(206 if start else 200)
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        if etag:
            headers["ETag"] = etag
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._end(headers)
        if fault in ("cut", "hang"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.server.half_sent.set()
            if fault == "cut":
                return
            self.server.go_on.wait(10)
            body = body[len(body) // 2 :]
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def _start(self, etag: str) -> int:
        asked = self.headers.get("Range", "")
        same = self.server.careless or self.headers.get("If-Range") == etag
        if not self.server.ranges or not asked or not same:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _end(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests look at `asked`."""
