"""Query files that are no tables, or no files: a message at once, and never much memory."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from atri_cli import queryfile
from atri_cli.errors import UsageError
from atri_cli.queryfile import read_queries
from tests.cli_tools import REPOSITORY
from tests.library_tools import without_root_rights

HUNDRED_MB = 100_000_000


def refused(path: Path, words: str, seconds: float = 2) -> str:
    """The message; it comes within some seconds of processor time and names the file."""
    begin = time.monotonic()
    with pytest.raises(UsageError, match=words) as error:
        read_queries(path)
    assert time.monotonic() - begin < seconds
    assert str(path) in error.value.what
    return str(error.value)


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe", b"\xfe\xff"])
def test_utf16(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "q.tsv"
    order = "utf-16-be" if mark == b"\xfe\xff" else "utf-16-le"
    path.write_bytes(mark + "en\tja\ndog\t犬\n".encode(order))
    if mark:
        assert read_queries(path).rows[0].texts == {"en": ("dog",), "ja": ("犬",)}
        path.write_bytes(mark + "en\tja\ndog\t犬\n".encode(order) + b"\x00")
        refused(path, "is not UTF-8 text|zero byte")
        path.write_bytes(
            mark + "en\n".encode(order) + (b"\x00\xd8" * 2)[:: 1 if mark[0] == 0xFF else -1]
        )
        refused(path, "is not UTF-8 text")
    else:
        assert "Save the table as UTF-8" in refused(path, "line 1: Character 2 is a zero byte")


def test_other_encodings_are_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "q.tsv"
    path.write_bytes("en\tfr\nsummer\tété\n".encode("latin-1"))
    refused(path, "line 2: Character 8 is a byte that is not UTF-8")
    path.write_bytes(b"\xff\xfe\0\0" + "en\n".encode("utf-32-le"))
    refused(path, "line 1: Character 1 is a zero byte")
    path.write_bytes(b"en\n\xed\xa0\x80\n")  # a surrogate written as if it were a letter
    refused(path, "line 2: Character 1")
    path.write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfen\nx\n")  # a second mark is a letter
    refused(path, "line 1, column 1")


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf", b"\xff\xfe", b" \t \n", b"\n\n\n", b"\r\r"])
def test_nothing_but_marks_and_space(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "q.tsv").write_bytes(data)
    refused(tmp_path / "q.tsv", "header")


def test_what_is_no_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        refused(tmp_path / "socket", "No such device or address")
    refused(Path("/dev/zero"), "line 1: The line is too long")
    refused(Path("/dev/null"), "does not begin with a header")
    refused(Path("/dev/random"), "line 1: Character")
    refused(tmp_path, "Is a directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop", "Too many levels")
    refused(tmp_path / "loop" / "q.tsv", "Too many levels")
    refused(tmp_path / ("x" * 300), "name too long")


def test_a_link_to_a_table(tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text("en\nx\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("q.tsv")
    assert len(read_queries(tmp_path / "link").rows) == 1


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "q.tsv"
    path.write_text("en\nx\n", encoding="utf-8")
    path.chmod(0)
    with without_root_rights():
        refused(path, "Permission denied")


def test_a_pipe_that_nobody_writes_into_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "does not begin with a header")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_pipe_is_read_to_its_end(encoding: str) -> None:
    """As a shell's `<(command)` gives it; more than a pipe holds."""
    text = "en\tja\n" + "".join(f"dog {n}\t犬 {n}\n" for n in range(20_000))
    reader, writer = os.pipe()

    def send() -> None:
        with open(writer, "wb") as sink:
            sink.write(text.encode(encoding))

    sender = threading.Thread(target=send)
    sender.start()
    rows = read_queries(Path(f"/dev/fd/{reader}")).rows
    sender.join()
    os.close(reader)
    assert len(rows) == 20_000
    assert rows[-1].texts == {"en": ("dog 19999",), "ja": ("犬 19999",)}


def test_a_pipe_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queryfile, "MOST_LINES", 10_000)
    with subprocess.Popen(["yes", "en"], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        refused(Path(f"/dev/fd/{writer.stdout.fileno()}"), "more than 10,000 lines")
        writer.kill()


def large(path: Path, pattern: bytes) -> Path:
    """100 MB of a pattern behind a header."""
    with path.open("wb") as file:
        file.write(b"en\tfr\n")
        piece = pattern * (1_000_000 // len(pattern))
        while file.tell() < HUNDRED_MB:
            file.write(piece)
    return path


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (b"x", "line 2: The line is too long"),
        (b"\tx", "line 2: The line is too long"),
        (b"\0", "line 2: (The line is too long|Character 1 is a zero byte)"),
        (bytes(range(1, 256)), r"line 2, column 2|line \d: Character"),
        ("犬".encode(), "line 2: The line is too long"),
    ],
)
def test_a_hundred_megabytes_that_are_no_table(tmp_path: Path, pattern: bytes, words: str) -> None:
    refused(large(tmp_path / "q.tsv", pattern), words)


@pytest.mark.parametrize("line", [b"a\tb\n", b"\n", b"\t\r"])
def test_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    monkeypatch.setattr(queryfile, "MOST_LINES", 50_000)
    path = large(tmp_path / "q.tsv", line)
    refused(path, "line 50001: There are more than 50,000 lines", seconds=5)


def test_as_many_lines_as_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queryfile, "MOST_LINES", 4)
    (tmp_path / "q.tsv").write_text("en\na\nb\nc\n", encoding="utf-8")
    assert len(read_queries(tmp_path / "q.tsv").rows) == 3


def test_a_row_takes_little_memory(tmp_path: Path) -> None:
    """A process of its own: 100,000 rows, which is 1 GB for as many as there may be."""
    path = tmp_path / "q.tsv"
    path.write_text("en\tfr\n" + "a\tb\n" * 100_000, encoding="utf-8")
    script = (
        "import sys, resource; from pathlib import Path; from atri_cli.queryfile import *\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); table = read_queries(Path(sys.argv[1])); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    unit = 1024 if sys.platform.startswith("linux") else 1
    assert int(done.stdout) * unit < 100_000 * 600
