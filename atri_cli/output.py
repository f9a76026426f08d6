"""All that the commands print. Data goes to stdout, everything else to stderr.

A command hands its result over once; the mode decides the form:

    table   a table on a terminal, aligned plain text elsewhere
    json    one object, documented in docs/commands.md
    jsonl   one object a line
    csv     a header and one line a row
    paths   one path a line as its bytes are, or ended by a zero byte

`quiet` leaves out notes, hints and tables; warnings and machine-readable data stay.
Machine-readable data is UTF-8 whatever the terminal's encoding.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from atri_cli.errors import AtriError
from atri_cli.wording import clean, message, printable

Mode = Literal["table", "json", "jsonl", "csv", "paths"]
Record = Mapping[str, Any]

PIPE_CLOSED = 141  # what a shell reports for a program ended by SIGPIPE


@dataclass(frozen=True)
class Column:
    """Heading and form of a table's column. The last column of a table takes what room is left."""

    title: str
    right: bool = False
    style: str = ""


@dataclass(frozen=True)
class Row:
    """One result: `cells` for people, `record` for JSON, `flat` for CSV, `path` for `--paths`."""

    cells: tuple[str, ...]
    record: Record
    flat: tuple[Record, ...] = ()
    path: Path | None = None


class Output:
    """Where a command's words go."""

    def __init__(self, mode: Mode = "table", *, quiet: bool = False, null: bool = False) -> None:
        """
        Args:
            mode: form of the data.
            quiet: no notes, hints, tables or progress.
            null: in mode `paths`, end each path with a zero byte instead of a line feed.
        """
        self.mode = mode
        self.quiet = quiet
        self.null = null

    # Words beside the data

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            say(text)

    def hint(self, text: str) -> None:
        """What to type next."""
        self.note(f"Hint: {text}")

    def warn(self, text: str) -> None:
        """Something is not as it should be, but the command goes on."""
        say(f"Warning: {text}")

    # Data

    def rows(
        self,
        columns: Sequence[Column],
        rows: Sequence[Row],
        document: Record,
        *,
        csv_columns: Sequence[str] = (),
    ) -> None:
        """A list of results.

        Args:
            columns: of the table; as many as each row has cells.
            rows: in order.
            document: the whole as one object, for mode `json`.
            csv_columns: keys of the rows' `flat` records, for mode `csv`.
        """
        if self.mode == "json":
            self.document(document)
        elif self.mode == "jsonl":
            _write("".join(_json(row.record) + "\n" for row in rows).encode())
        elif self.mode == "csv":
            self._csv(csv_columns, [record for row in rows for record in row.flat])
        elif self.mode == "paths":
            end = b"\0" if self.null else b"\n"
            _write(b"".join(os.fsencode(row.path) + end for row in rows if row.path is not None))
        elif not self.quiet and rows:
            self._table(columns, rows)

    def facts(self, facts: Iterable[tuple[str, str]], document: Record) -> None:
        """Named values; one with an empty name goes on from the line before."""
        if self.mode != "table":
            self.document(document)
        elif not self.quiet:
            pairs = [(name, printable(value)) for name, value in facts]
            width = max((len(name) for name, _ in pairs), default=0)
            self._print(
                "".join(f"{name:{width}}  {value}".rstrip() + "\n" for name, value in pairs)
            )

    def text(self, text: str) -> None:
        """Words as they are, such as Markdown; not when `quiet`."""
        if not self.quiet:
            self._print(clean(text))

    def document(self, document: Record) -> None:
        """One JSON object: indented for a terminal in mode `json`, else on one line."""
        indent = 2 if self.mode == "json" and is_terminal(sys.stdout) else None
        _write((_json(document, indent) + "\n").encode())

    def _csv(self, columns: Sequence[str], records: Iterable[Record]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_csv_value(record[name]) for name in columns] for record in records)
        _write(text.getvalue().encode())

    def _table(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        cells = [tuple(printable(cell) for cell in row.cells) for row in rows]
        if is_terminal(sys.stdout):
            _rich_table(columns, cells)
        else:
            self._print(_plain_table(columns, cells))

    @staticmethod
    def _print(text: str) -> None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        _write(text.encode(encoding, "backslashreplace"))


def say(text: str) -> None:
    """One message on stderr."""
    print(message(text), file=sys.stderr, flush=True)


def is_terminal(stream: Any) -> bool:
    """Whether a person reads the stream; `FORCE_COLOR` and the like do not change the form."""
    return bool(stream is not None and stream.isatty())


def hang_up() -> NoReturn:
    """End quietly: nobody reads our output any more."""
    discard_stdout()
    raise SystemExit(PIPE_CLOSED)


def discard_stdout() -> None:
    """What is still in Python's buffer goes nowhere, so that its end raises nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _write(data: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        hang_up()
    except OSError as error:
        discard_stdout()
        raise AtriError("Cannot write the output.", why=f"{error.strerror}.") from error


def _json(document: Record, indent: int | None = None) -> str:
    return clean(
        json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent, default=str)
    )


def _csv_value(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def _plain_table(columns: Sequence[Column], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [tuple(column.title for column in columns), *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    text = []
    for line in lines:
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        text.append("  ".join(cells).rstrip() + "\n")
    return "".join(text)


def _rich_table(columns: Sequence[Column], rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        last = column is columns[-1]
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            style=column.style,
            no_wrap=not last,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)
