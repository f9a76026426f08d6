"""`atri consistency` on a large library: many concepts in many languages."""

from __future__ import annotations

import json
from pathlib import Path

from atri_cli.queryfile import QueryRow, write_queries
from atri_cli.vocabulary.concepts import vocabulary_concepts, vocabulary_languages
from benchmarks.data import SEGMENTS_PER_FILE, make_library, sound_vectors
from benchmarks.options import Options
from benchmarks.processes import atri, measure
from benchmarks.table import Row, Table

LANGUAGES = 20
CONCEPTS = 1000
MEMORY = 1000  # MB


def consistency(options: Options, table: Table) -> None:
    """A cold process: embed every query, rank every file for it, compare all languages."""
    folder, queries = options.scratch / "languages", options.scratch / "queries.tsv"
    make_library(folder, options.card, sound_vectors(options.segments, options.card.dim))
    files = options.segments // SEGMENTS_PER_FILE
    count = min(CONCEPTS, options.segments // 100)
    languages = _write(queries, count, files)
    run = measure(
        atri("consistency", "--query-file", str(queries), "--library", str(folder), "--json"),
        options.scratch,
        options.env("languages"),
    )
    found = json.loads(run.stdout)
    if (found["concepts"], found["answered"], found["gallery"]) != (count, count, files):
        raise RuntimeError(f"not all was asked: {run.stdout[:300]}")
    size = f"{count:,} concepts x {languages} languages, {options.segments:,} segments"
    table.rows += [
        Row(
            f"`atri consistency`, cold, {size}",
            f"{run.seconds:.1f} s",
            f"{run.seconds / (count * languages) * 1000:.2f} ms a query",
            "60 s",
            run.seconds < 60,
        ),
        Row(
            "its peak memory",
            f"{run.megabytes:.0f} MB",
            f"vectors {options.segments * options.card.dim * 4 / 2**20:.0f} MB",
            f"{MEMORY} MB",
            run.megabytes < MEMORY,
        ),
    ]


def _write(path: Path, count: int, files: int) -> int:
    """The vocabulary's names, all different, each with one right file; returns the languages."""
    languages = vocabulary_languages()[:LANGUAGES]
    rows = []
    for number, concept in enumerate(vocabulary_concepts()[:count]):
        one = number * (files // count)
        audio = f"pack{one % 300:03d}/recording_{one:06d}.wav"
        # A language that the vocabulary lacks would be asked less, and cost less.
        texts = {tag: (concept.phrases[tag][0],) for tag in languages}
        rows.append(QueryRow(concept.id, texts, (audio,)))
    write_queries(path, rows, languages)
    return len(languages)
