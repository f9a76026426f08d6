"""Tables of published sets: CSV with a header, whose errors name line and column."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atri_cli.errors import UsageError


@dataclass(frozen=True)
class Record:
    """A record: the line that it begins in, its cells by column, its captions."""

    line: int
    cells: Mapping[str, str]
    captions: tuple[str, ...]


def read_table(
    path: Path,
    key: str,
    captions: Sequence[str],
    more: Sequence[str] = (),
    *,
    partial: bool = False,
) -> dict[str, Record]:
    """Records of a table by the text in the column `key`.

    Args:
        path: a CSV file in UTF-8.
        key: column that tells records apart.
        captions, more: other columns it must have.
        partial: whether captions may be empty; then they are left out.

    Raises:
        UsageError: it cannot be read, or is wrong; with line and column.
    """
    rows: dict[str, Record] = {}
    for line, cells in _records(path, (key, *more, *captions)):
        if cells[key] in rows:
            what = f"`{cells[key]}` stands in line {rows[cells[key]].line} already."
            raise fault(path, line, what, "Keep one of the two.", key)
        texts = {name: " ".join(cells[name].split()) for name in captions}
        empty = [name for name in (key, *more) if not cells[name]]
        empty += [name for name, text in texts.items() if not text and not partial]
        if empty:
            raise fault(path, line, "It is empty.", "Fill it in, or take the row out.", empty[0])
        rows[cells[key]] = Record(line, cells, tuple(text for text in texts.values() if text))
    if not rows:
        raise UsageError(f"`{path}` has a header and no rows.")
    return rows


def _records(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line that a record begins in, and its cells by column."""
    header: list[str] = []
    line = 1
    try:
        # Bytes that are not UTF-8 become surrogates, which can be told by line and column.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                _check(path, line, header, cells)
                if not header:
                    header = _header(path, cells, columns)
                elif any(cells):
                    yield line, dict(zip(header, cells, strict=True))
                line = reader.line_num + 1
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`.", why=f"{error.strerror}.") from error
    except csv.Error as error:
        hint = "Close every quote; inside quotes, write a quote twice."
        raise fault(path, line, f"It is not CSV: {error}.", hint) from error
    if not header:
        raise UsageError(f"`{path}` is empty.", hint=f"It needs the columns {listed(columns)}.")


def _check(path: Path, line: int, header: Sequence[str], cells: Sequence[str]) -> None:
    for place, cell in enumerate(cells):
        if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in cell):
            column = header[place] if place < len(header) else str(place + 1)
            raise fault(path, line, "It is not UTF-8 text.", "Save the table as UTF-8.", column)
    if header and any(cells) and len(cells) != len(header):
        what = f"It has {len(cells)} cells, and the header {len(header)}."
        raise fault(path, line, what, "Put quotes around a caption with commas.")


def _header(path: Path, cells: Sequence[str], columns: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    wrong = [name for name in columns if names.count(name) != 1]
    if wrong:
        problem = "is there twice" if wrong[0] in names else "is missing"
        what = f"The column `{wrong[0]}` {problem}."
        raise fault(path, 1, what, f"It needs the columns {listed(columns)}, with commas between.")
    return names


def listed(names: Sequence[str]) -> str:
    """Names in backticks, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def fault(path: Path, line: int, what: str, hint: str, column: str = "") -> UsageError:
    """What is wrong in a line, numbered from 1, and in one of its columns."""
    place = f"line {line}, column `{column}`" if column else f"line {line}"
    return UsageError(f"`{path}`, {place}: {what}", hint=hint)
