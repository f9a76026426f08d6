"""Search results as table rows, JSON (schema 2) and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atri_cli.library.types import QueryPart, SearchHit, SearchResult, SegmentHit
from atri_cli.output import Column, Output, Row
from atri_cli.wording import clean, path_fields, span

SCHEMA = 2
COLUMNS = (
    Column("score", right=True, style="bold"),
    Column("z", right=True),
    Column("time", style="cyan"),
    Column("file"),
)
CSV_COLUMNS = ("path", "root", "start", "end", "score", "z", "cosine")


def print_hits(out: Output, result: SearchResult) -> None:
    """Hand a search's result to the output."""
    several = len({hit.root for hit in result.hits}) > 1
    rows = [_row(hit, several) for hit in result.hits]
    document = {
        "schema": SCHEMA,
        "query": [_query_part(part) for part in result.parts],
        "library": result.library,
        "model": result.model,
        "hits": [row.record for row in rows],
    }
    if out.mode == "table":
        rows = [
            line for row, hit in zip(rows, result.hits, strict=True) for line in (row, *_more(hit))
        ]
    out.rows(COLUMNS, rows, document, csv_columns=CSV_COLUMNS)


def _row(hit: SearchHit, several_roots: bool) -> Row:
    record = {
        **path_fields("path", hit.path),
        **path_fields("root", hit.root),
        **_place(hit),
        "segments": [_place(segment) for segment in hit.segments],
    }
    flat = tuple({**record, **_place(segment)} for segment in hit.segments)
    return Row(_cells(hit, _shown(hit, several_roots)), record, flat, hit.path)


def _more(hit: SearchHit) -> list[Row]:
    """Lines for the further places in a file."""
    return [Row(_cells(segment, ""), {}) for segment in hit.segments[1:]]


def _cells(place: SearchHit | SegmentHit, name: str) -> tuple[str, ...]:
    return (f"{place.score:.3f}", f"{place.z:+.1f}", span(place.start, place.end), name)


def _shown(hit: SearchHit, several_roots: bool) -> str:
    """Relative to its root, behind the root's own name when there are several."""
    path = hit.path.relative_to(hit.root) if hit.path.is_relative_to(hit.root) else hit.path
    return str(Path(hit.root.name) / path if several_roots else path)


def _place(place: SearchHit | SegmentHit) -> dict[str, float]:
    return {
        "start": round(place.start, 3),
        "end": round(place.end, 3),
        "score": round(place.score, 6),
        "z": round(place.z, 3),
        "cosine": round(place.cosine, 6),
    }


def _query_part(part: QueryPart) -> dict[str, Any]:
    if part.like is None:
        asked = {"text": clean(part.text or ""), "weight": part.weight, "lang": part.lang}
        also = [{"text": text, "lang": tag} for tag, text in part.also]
        return {**asked, "also": also} if also else asked
    span_asked = {"start": part.like_start, "end": part.like_end}
    return {**path_fields("like", part.like), **span_asked, "weight": part.weight}
