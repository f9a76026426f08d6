"""One file over HTTP: resumed where it broke off.

`FILE.part` is what has come so far. `FILE.part.json` beside it says which version of which address
that is, because bytes of two versions must not be put together.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any

from atri_cli import __version__
from atri_cli.checkpoints.troubles import (
    Passing,
    bad_redirect,
    cut_off,
    no_answer,
    not_a_file,
    refused,
)
from atri_cli.disk import BLOCK, need_space, writing_to

TIMEOUT = 30.0  # seconds in which not one byte comes
TRIES = 3  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second try; twice that before the third
_SHA256 = re.compile(r'"?([0-9a-f]{64})"?')
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Version:
    """Which file the bytes of a `.part` belong to.

    Args:
        url: where it was asked for.
        etag: the server's name for this version; empty when it gives none.
        total: bytes in all; 0 when the server does not say.
        sha256: of the whole, when the server says it.
    """

    url: str
    etag: str
    total: int
    sha256: str


@dataclass(frozen=True)
class Arrived:
    """A whole `.part`: whether it was resumed, and its SHA-256 as the server states it."""

    resumed: bool
    sha256: str


def download(url: str, part: Path, report: Report) -> Arrived:
    """Bring a file, trying again when the connection breaks.

    Args:
        url: http or https; redirects are followed.
        part: grows, and is left there when it fails.
        report: called with bytes there, and bytes in all (0 if not known).

    Raises:
        AtriError: the server has not got it or cannot be reached, or the disk is full.
    """
    resumed = _known(part, url) is not None
    best, failures = _size(part), 0

    def tell(done: int, total: int) -> None:
        nonlocal resumed
        resumed = resumed and done > 0  # 0: the server began anew
        report(done, total)

    while True:
        try:
            version = _attempt(url, part, tell)
        except Passing as trouble:
            failures = failures + 1 if _size(part) <= best else 1
            best = max(best, _size(part))
            if failures >= TRIES:
                raise trouble.error from trouble
            time.sleep(PAUSE * failures)
        else:
            return Arrived(resumed, version.sha256)


def note_of(part: Path) -> Path:
    """The file that says what a `.part` belongs to."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Remove a `.part` that is of no use."""
    with writing_to(part):
        part.unlink(missing_ok=True)
        note_of(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path, report: Report) -> Version:
    known = _known(part, url)
    have = _size(part) if known else 0
    if known and have == known.total:
        return known
    with _open(url, part, have, known) as response:
        version = _version(url, response)
        start = 0
        if response.status == http.HTTPStatus.PARTIAL_CONTENT:
            start, version = have, _same(part, response, known, version)
        if response.headers.get_content_type() == "text/html":
            raise not_a_file(url)
        need_space(part.parent, max(0, version.total - start))
        with writing_to(part), part.open("ab" if start else "wb") as file:
            note_of(part).write_text(json.dumps(asdict(version)), encoding="utf-8")
            _receive(response, file, start, version, report)
    return version


def _open(url: str, part: Path, have: int, known: Version | None) -> Any:
    headers = {"User-Agent": f"atri/{__version__}", "Accept-Encoding": "identity"}
    if have and known:
        headers |= {"Range": f"bytes={have}-", "If-Range": known.etag}
    try:
        return _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            discard(part)
        raise refused(url, error.code, str(error.reason)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise no_answer(url, error) from error


def _receive(response: Any, file: IO[bytes], start: int, version: Version, report: Report) -> None:
    done = start
    report(done, version.total)
    while not version.total or done < version.total:
        try:
            # Not `read`, which keeps a slow connection's bytes to itself until there are many.
            block = response.read1(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise cut_off(version.url, done, version.total, error) from error
        if not block:
            break
        file.write(block)
        done += len(block)
        report(done, version.total)
    if version.total and done != version.total:
        raise cut_off(version.url, done, version.total, None)
    file.flush()
    os.fsync(file.fileno())


def _version(url: str, response: Any) -> Version:
    headers: Message = response.headers
    match = _RANGE.fullmatch(headers.get("Content-Range", ""))
    length = match[2] if match else headers.get("Content-Length", "")
    digest = _SHA256.fullmatch(getattr(response, "linked_etag", ""))
    etag = headers.get("ETag", "")
    return Version(
        url=url,
        # A weak one does not promise the same bytes.
        etag="" if etag.startswith("W/") else etag,
        total=int(length) if length.isdigit() else 0,
        sha256=digest[1] if digest else "",
    )


def _same(part: Path, response: Any, known: Version | None, now: Version) -> Version:
    """What a `.part` belongs to, if the rest that the server sends belongs to it too."""
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if (
        known
        and match
        and int(match[1]) == _size(part)
        and now.total in (known.total, 0)
        and now.etag in (known.etag, "")
    ):
        return known
    discard(part)
    raise refused(now.url, response.status, "with another part than was asked for")


def _known(part: Path, url: str) -> Version | None:
    """What a `.part` belongs to; None when that is not known for sure, so that it starts again."""
    with suppress(OSError, ValueError, TypeError):
        version = Version(**json.loads(note_of(part).read_text(encoding="utf-8")))
        if version.url == url and version.etag and 0 < _size(part) <= (version.total or 1 << 60):
            return version
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows, but never from https to http; keeps the SHA-256 that the hub tells on the way."""

    def __init__(self) -> None:
        self.linked_etag = ""

    def redirect_request(  # noqa: PLR0917
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.linked_etag = headers.get("X-Linked-ETag", self.linked_etag)
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            fp.close()
            raise bad_redirect(req.full_url, newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_response(self, _: urllib.request.Request, response: Any) -> Any:
        response.linked_etag = self.linked_etag
        return response

    https_response = http_response


def _opener() -> urllib.request.OpenerDirector:
    """Only http and https: an address cannot make atri read a file or use FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
