"""The query file: concepts in several languages, one a row, tab-separated with a header.

Columns named by a language tag hold the query in that language (`en-x-2`: a second phrasing);
`id` (Indonesian is `ind`), `audio`, `split` and `note` are reserved. It is also the manifest of
training. Cells are taken as they are: no quotes, no escapes.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from atri_cli.encoders.languages import known
from atri_cli.errors import UsageError

RESERVED = ("id", "audio", "split", "note")
INDONESIAN = "ind"  # its shorter tag is reserved
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LONGEST_LINE = 1_000_000  # characters; a longer one is no table
MOST_LINES = 2_000_000  # about 1 GB of memory
LAST = 10**9  # phrasings that have a name and no number
NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One concept: language tag → its phrasings (one or more), and the right answers, if known."""

    id: str
    texts: Mapping[str, tuple[str, ...]]
    audio: tuple[str, ...] = ()
    split: str = ""
    note: str = ""
    line: int = 0


@dataclass(frozen=True)
class QueryFile:
    """All rows; `languages` in the order of their columns; `audio_column` from 1, 0 for none."""

    languages: tuple[str, ...]
    rows: tuple[QueryRow, ...]
    has_audio: bool
    audio_column: int = 0


@dataclass(frozen=True)
class _Column:
    """`name` is a reserved name, or the language of a text; phrasings are in their own order."""

    name: str
    is_text: bool
    phrasing: int = 1


def read_queries(path: Path) -> QueryFile:
    """Read a query file: UTF-8, or UTF-16 with its mark; any line ends.

    Raises:
        UsageError: it cannot be read or is no such table; says where: line, column, and what to do.
    """
    lines = _lines(path)
    columns = _header(path, next(lines, None))
    rows: dict[str, QueryRow] = {}
    for number, line in lines:
        if not line.strip():
            continue
        row = _row(path, number, line, columns, len(rows) + 1)
        if row.id in rows:
            what = f"The id `{row.id}` stands in line {rows[row.id].line} already."
            place = _place(columns, "id")
            raise _error(path, number, what, "Give every row an id of its own.", place)
        rows[row.id] = row
    if not rows:
        raise UsageError(f"`{path}` has a header and no rows.", hint="Write one concept a line.")
    languages = tuple(dict.fromkeys(column.name for column in columns if column.is_text))
    has_audio = any(row.audio for row in rows.values())
    return QueryFile(languages, tuple(rows.values()), has_audio, _place(columns, "audio"))


def write_queries(path: Path, rows: Sequence[QueryRow], languages: Sequence[str]) -> None:
    """Write rows as `read_queries` reads them; white space inside a cell becomes one space.

    Raises:
        UsageError: the file cannot be written.
    """
    most = {tag: max((len(row.texts.get(tag, ())) for row in rows), default=1) for tag in languages}
    texts = [(tag, place) for tag in languages for place in range(max(1, most[tag]))]
    optional = [name for name in ("audio", "split") if any(getattr(row, name) for row in rows)]
    notes = ["note"] if any(row.note for row in rows) else []
    names = {"id": INDONESIAN}
    header = [f"{tag}-x-{place + 1}" if place else names.get(tag, tag) for tag, place in texts]
    lines = [["id", *optional, *header, *notes]]
    for row in rows:
        cells = [row.texts.get(tag, ())[place : place + 1] for tag, place in texts]
        facts = {"audio": "|".join(row.audio), "split": row.split}
        found = [row.id, *(facts[name] for name in optional), *("".join(cell) for cell in cells)]
        lines.append([*found, *(row.note for _ in notes)])
    text = "".join("\t".join(" ".join(cell.split()) for cell in line) + "\n" for line in lines)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write `{path}`.", why=f"{error.strerror}.") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number from 1, and its text without the end; read bit by bit."""
    try:
        # Opened once: what comes through a pipe is gone when it is read.
        with open(path, "rb", opener=_open) as file:
            start = file.peek(4)
            encoding = next((name for mark, name in BOMS if start.startswith(mark)), "utf-8")
            with io.TextIOWrapper(file, encoding, "surrogateescape") as text:
                yield from _checked(path, text)
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`.", why=f"{error.strerror}.") from error
    except UnicodeError as error:
        raise UsageError(f"`{path}` is not UTF-8 text.", why=f"{error}.") from error


def _open(path: str, flags: int) -> int:
    """Open a pipe too at once: one that nobody writes into is empty, and not waited for."""
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(file, True)
    return file


def _checked(path: Path, text: TextIO) -> Iterator[tuple[int, str]]:
    number = 0
    while line := text.readline(LONGEST_LINE + 1):
        number += 1
        if number > MOST_LINES:
            raise _error(path, number, f"There are more than {MOST_LINES:,} lines.", "Divide it.")
        if len(line) > LONGEST_LINE:
            raise _error(path, number, "The line is too long for a table of queries.", "")
        if wrong := NO_TEXT.search(line):
            kind = "a zero byte" if wrong[0] == "\0" else "a byte that is not UTF-8"
            what = f"Character {wrong.start() + 1} is {kind}."
            raise _error(path, number, what, "Save the table as UTF-8 text, tab-separated.")
        yield number, line.rstrip("\r\n")


def _header(path: Path, first: tuple[int, str] | None) -> list[_Column]:
    if first is None or not first[1].strip():
        raise UsageError(
            f"`{path}` does not begin with a header.",
            hint="Its first line names the columns, with tabs between them: `id`, `en`, `fr`.",
        )
    names = [name.strip() for name in first[1].split("\t")]
    columns = [_column(path, place, name) for place, name in enumerate(names, start=1)]
    if not any(column.is_text for column in columns):
        hint = "Add one, such as `en`; columns are separated by tabs."
        raise _error(path, 1, "No column is named by a language.", hint)
    seen: set[tuple[bool, str]] = set()
    for place, (name, column) in enumerate(zip(names, columns, strict=True), start=1):
        key = known(name) if column.is_text else column.name
        if (column.is_text, key) in seen:
            hint = f"A second phrasing is called `{key}-x-2`." if column.is_text else ""
            raise _error(path, 1, f"The column `{name}` is there twice.", hint, place)
        seen.add((column.is_text, key))
    return columns


def _column(path: Path, place: int, name: str) -> _Column:
    if name.lower() in RESERVED:
        return _Column(name.lower(), False)
    if not name:
        raise _error(path, 1, "A column has no name.", "Name it, or take its tab away.", place)
    try:
        tag, _, private = known(name).partition("-x-")
        last = LAST if private else 1
        return _Column(tag, True, int(private) if private.isdecimal() else last)
    except UsageError as error:
        hint = error.hint if error.hint.startswith("Did") else ""
        reserved = "A column is a language tag or one of `id`, `audio`, `split`, `note`."
        what = f"`{name}` is no language."
        raise _error(path, 1, what, f"{hint} {reserved}".strip(), place) from None


def _row(path: Path, number: int, line: str, columns: Sequence[_Column], count: int) -> QueryRow:
    cells = [cell.strip() for cell in line.split("\t")]
    if len(cells) != len(columns):
        what = f"It has {len(cells)} cells, and the header {len(columns)}."
        hint = "Separate cells by one tab each, empty ones too."
        raise _error(path, number, what, hint, min(len(cells), len(columns)) + 1)
    facts = dict.fromkeys(RESERVED, "")
    texts: dict[str, tuple[str, ...]] = {}
    pairs = zip(columns, cells, strict=True)
    for column, cell in sorted(pairs, key=lambda pair: pair[0].phrasing):
        if not column.is_text:
            facts[column.name] = cell
        elif cell:
            texts[column.name] = (*texts.get(column.name, ()), cell)
    if not texts:
        raise _error(path, number, "It asks for nothing: no language has a text.", "")
    if _place(columns, "id") and not facts["id"]:
        raise _error(path, number, "The id is empty.", "", _place(columns, "id"))
    audio = tuple(part.strip() for part in facts["audio"].split("|") if part.strip())
    return QueryRow(facts["id"] or str(count), texts, audio, facts["split"], facts["note"], number)


def _place(columns: Sequence[_Column], name: str) -> int:
    """Number of a reserved column, from 1; 0 when it is not there."""
    chosen = (n for n, one in enumerate(columns, 1) if one.name == name and not one.is_text)
    return next(chosen, 0)


def _error(path: Path, line: int, what: str, hint: str, column: int = 0) -> UsageError:
    place = f"line {line}, column {column}" if column else f"line {line}"
    return UsageError(f"`{path}`, {place}: {what}", hint=hint)
