"""The report as Markdown."""

from __future__ import annotations

from atri_cli.consistency import tables
from atri_cli.consistency.report import Report
from atri_cli.wording import printable

WORST = 20


def markdown(report: Report) -> str:
    """The whole report: summary, tables, worst concepts."""
    document = report.document
    lines = ["# Consistency across languages", ""]
    lines += [
        f"Query file `{_cell(document['query_file'])}`, library `{_cell(document['library'])}`.",
        "",
    ]
    name = ""
    for key, value in tables.summary(document):
        name = key or name
        lines.append(f"- {name}: {_cell(value)}")
    parts = [tables.per_language(document), tables.matrix(document)[0]]
    parts.append(tables.concepts(document, report.worst[:WORST]))
    if document.get("comparison"):
        parts.append(tables.comparison(document))
    for part in parts:
        lines += ["", f"## {part.title}", "", *_table(part)]
    return "\n".join(lines) + "\n"


def _table(table: tables.Table) -> list[str]:
    rule = ["---", *(["---:"] * (len(table.columns) - 1))]
    return ["| " + " | ".join(map(_cell, row)) + " |" for row in (table.columns, rule, *table.rows)]


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|")
