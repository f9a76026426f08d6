"""The report of `atri consistency` on the terminal, and as JSON and CSV."""

from __future__ import annotations

import sys
from typing import Any

from atri_cli.consistency import tables
from atri_cli.consistency.report import Report
from atri_cli.output import Column, Output, Row, is_terminal

CSV_COLUMNS = (
    *("id", "line", "language", "text", "rank", "right"),
    *("variance", "normalised", "overlap", "rbo", "tau", "top1", "cosine", "pool_variance"),
)
# From disagreement to agreement; black on light colours, so that a number can be read on each.
SHADES = ("on #e06c5a", "on #eda06f", "on #f3cf8e", "on #dfe3a0", "on #b5d99c", "on #7fc5a0")


def show(out: Output, report: Report, worst: int) -> None:
    """Hand the report to the output, with so many of the most divided concepts."""
    document = report.document
    if out.mode == "json":
        out.document(document)
        return
    if out.mode == "csv":
        rows = [Row((), {}, tuple(_lines(query))) for query in document["queries"]]
        out.rows((), rows, {}, csv_columns=CSV_COLUMNS)
        return
    out.facts(tables.summary(document), document)
    parts = [tables.per_language(document)]
    table, values = tables.matrix(document)
    if not out.quiet:
        for part in parts:
            _print(out, part)
        _matrix(out, table, values)
        if worst:
            _print(out, tables.concepts(document, report.worst[:worst]))
        if document.get("comparison"):
            _print(out, tables.comparison(document))


def _lines(query: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each language that a concept is asked in."""
    facts = {name: query[name] for name in ("id", "line", "right", "variance", "normalised")}
    return [
        {
            **facts,
            **query["agreement"],
            "language": tag,
            "text": text,
            "rank": query["ranks"].get(tag),
        }
        for tag, text in query["texts"].items()
    ]


def _print(out: Output, table: tables.Table) -> None:
    out.text(f"\n{table.title}\n\n")
    numbers = len(table.columns) - 1
    words = table.columns[-1] == "stands apart"  # the only column of words but the first
    right = [False, *([True] * (numbers - words)), *([False] * words)]
    columns = [Column(name, one) for name, one in zip(table.columns, right, strict=True)]
    out.rows(columns, [Row(cells, {}) for cells in table.rows], {})


def _matrix(out: Output, table: tables.Table, values: dict[str, float]) -> None:
    """Coloured and numbered on a terminal; the numbers alone elsewhere."""
    if not is_terminal(sys.stdout):
        _print(out, table)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out.text(f"\n{table.title}\n\n")
    grid = Table(box=None, pad_edge=False, padding=(0, 0))
    for name in table.columns:
        grid.add_column(f" {name} ", justify="right", no_wrap=True)
    low, high = min(values.values(), default=0.0), max(values.values(), default=1.0)
    for tag, *cells in table.rows:
        shades = [_shade(values.get(f"{tag} {o}"), low, high) for o in table.columns[1:]]
        painted = [Text(f" {c} ", s) for c, s in zip(cells, shades, strict=True)]
        grid.add_row(Text(f"{tag} "), *painted)
    Console(highlight=False).print(grid)


def _shade(value: float | None, low: float, high: float) -> str:
    if value is None:
        return ""
    share = (value - low) / (high - low) if high > low else 1.0
    return f"black {SHADES[min(int(share * len(SHADES)), len(SHADES) - 1)]}"
