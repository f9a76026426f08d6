"""`Output`: every call in every mode; data on stdout, the rest on stderr."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli import wording
from atri_cli.errors import AtriError
from atri_cli.output import Column, Mode, Output, Row

COLUMNS = (Column("score", right=True), Column("file"))
ODD = Path("/s/\udcff\x1b[31m[red]é.wav")
ROWS = (
    Row(("0.9", "a b.wav"), {"path": "/s/a b.wav"}, ({"path": "/s/a b.wav"},), Path("/s/a b.wav")),
    Row(("-0.11", str(ODD)), {"path": str(ODD)}, ({"path": str(ODD)},), ODD),
)
DOCUMENT = {"schema": 1, "hits": [row.record for row in ROWS]}
FACTS = [("files", "2"), ("root", "one"), ("", "two\x1b[2J")]


def rows(out: Output) -> None:
    out.rows(COLUMNS, ROWS, DOCUMENT, csv_columns=("path",))


def facts(out: Output) -> None:
    out.facts(FACTS, {"files": 2})


TABLE = b"score  file\n  0.9  a b.wav\n-0.11  /s/\\xff\\x1b[31m[red]\xc3\xa9.wav\n"
CLEAN = "/s/\ufffd\\u001b[31m[red]é.wav"
EXPECTED: list[tuple[Callable[[Output], None], Mode, bytes]] = [
    (rows, "table", TABLE),
    (
        rows,
        "json",
        f'{{"schema": 1, "hits": [{{"path": "/s/a b.wav"}}, {{"path": "{CLEAN}"}}]}}\n'.encode(),
    ),
    (rows, "jsonl", f'{{"path": "/s/a b.wav"}}\n{{"path": "{CLEAN}"}}\n'.encode()),
    (rows, "csv", b"path\n/s/a b.wav\n/s/\xef\xbf\xbd\x1b[31m[red]\xc3\xa9.wav\n"),
    (rows, "paths", b"/s/a b.wav\n/s/\xff\x1b[31m[red]\xc3\xa9.wav\n"),
    (facts, "table", b"files  2\nroot   one\n       two\\x1b[2J\n"),
    (facts, "json", b'{"files": 2}\n'),
    (facts, "jsonl", b'{"files": 2}\n'),
    (facts, "csv", b'{"files": 2}\n'),
    (facts, "paths", b'{"files": 2}\n'),
]


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize(("call", "mode", "expected"), EXPECTED)
def test_data_goes_to_stdout_in_the_form_of_the_mode(
    call: Callable[[Output], None],
    mode: Mode,
    expected: bytes,
    quiet: bool,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    call(Output(mode, quiet=quiet))
    out, err = capsysbinary.readouterr()
    assert out == (b"" if quiet and mode == "table" else expected)
    assert err == b""


@pytest.mark.parametrize("mode", ["table", "json", "jsonl", "csv", "paths"])
def test_words_go_to_stderr_in_every_mode(mode: Mode, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        out = Output(mode, quiet=quiet)
        out.note("a note\x1b[31m")
        out.hint("`atri status`")
        out.warn("look\nhere")
        data, words = capsys.readouterr()
        assert data == ""
        said = "" if quiet else "a note\\x1b[31m\nHint: `atri status`\n"
        assert words == said + "Warning: look\nhere\n"


def test_print0_ends_paths_with_a_zero_byte(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    rows(Output("paths", null=True))
    assert capsysbinary.readouterr().out == b"/s/a b.wav\0/s/\xff\x1b[31m[red]\xc3\xa9.wav\0"


@pytest.mark.parametrize("mode", ["table", "json", "jsonl", "csv", "paths"])
def test_no_rows(mode: Mode, capsys: pytest.CaptureFixture[str]) -> None:
    Output(mode).rows(COLUMNS, (), {"hits": []}, csv_columns=("path",))
    expected = {"json": '{"hits": []}\n', "csv": "path\n"}
    assert capsys.readouterr().out == expected.get(mode, "")


class Terminal(io.TextIOWrapper):
    """A stdout that says a person reads it."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(call: Callable[[Output], None], mode: Mode, width: str) -> str:
    stream = Terminal(io.BytesIO(), encoding="utf-8", write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setenv("COLUMNS", width)
        call(Output(mode))
        assert isinstance(stream.buffer, io.BytesIO)
        return stream.buffer.getvalue().decode()


@pytest.mark.parametrize("width", ["30", "100"])
def test_a_terminal_gets_a_table_that_loses_nothing(width: str) -> None:
    text = on_a_terminal(rows, "table", width)
    assert "score" in text
    assert "-0.11" in text
    letters = "".join(text.split())
    assert "a b.wav" in text
    assert "/s/\\xff\\x1b[31m[red]é.wav" in letters
    assert "\x1b" not in text  # NO_COLOR and TERM=dumb hold, and the file name adds nothing
    assert all(len(line) <= int(width) for line in text.splitlines())


def test_json_is_indented_for_a_person_only() -> None:
    text = on_a_terminal(rows, "json", "80")
    assert text.startswith('{\n  "schema": 1')
    assert len(on_a_terminal(rows, "jsonl", "80").splitlines()) == 2


def test_a_terminal_of_another_encoding_still_gets_a_table() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        rows(Output())
        Output("json").document({"é": 1})
    assert isinstance(stream.buffer, io.BytesIO)
    written = stream.buffer.getvalue()
    assert b"[red]\\xe9.wav" in written
    assert '"é"'.encode() in written


class Full(io.RawIOBase):
    """A file on a full disk."""

    def writable(self) -> bool:
        return True

    def write(self, _: Any) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_an_error_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BufferedWriter(Full()), encoding="utf-8")
    monkeypatch.setattr("atri_cli.output.discard_stdout", lambda: None)
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(AtriError, match="No space left"):
        Output("json").document({})
    with pytest.raises(OSError, match="No space"):
        stream.close()


# Wording


@given(st.text(alphabet=st.characters(), max_size=30))
def test_any_text_can_be_shown_and_put_into_json(text: str) -> None:
    shown = wording.printable(text)
    shown.encode("utf-8")
    assert not any(ord(char) < 32 or char in "\u202e\u2066\x7f" for char in shown)
    assert len(shown.splitlines()) <= 1
    json.dumps(wording.clean(text), ensure_ascii=False).encode("utf-8")


def test_a_plain_path_has_no_bytes_and_an_odd_one_has() -> None:
    assert wording.path_fields("path", Path("/é/雨.wav")) == {"path": "/é/雨.wav"}
    assert wording.path_fields("path", Path("/\udcff")) == {
        "path": "/\ufffd",
        "path_bytes": "L/8=",
    }


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (wording.clock(0), "0:00.0"),
        (wording.clock(59.96), "1:00.0"),
        (wording.clock(3723.44), "1:02:03.4"),
        (wording.span(3.5, 13.5), "0:03.5-0:13.5"),
        (wording.duration(4.54), "4.5 s"),
        (wording.duration(90), "1.5 min"),
        (wording.duration(3_600_000), "1,000.0 h"),
        (wording.size(1), "1 byte"),
        (wording.size(999), "999 bytes"),
        (wording.size(1_540_000), "1.5 MB"),
        (wording.counted(1, "file"), "1 file"),
        (wording.counted(2000, "file"), "2,000 files"),
        (wording.moment(None), "never"),
        (wording.command(["search", "a b", Path("~x")]), "`atri search 'a b' '~x'`"),
    ],
)
def test_wording(made: str, text: str) -> None:
    assert made == text
