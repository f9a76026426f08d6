"""What a sound designer would type, and what comes first: for judging by eye.

    python -m benchmarks.designer DATA SOUNDS FOLDER [MORE_FOLDERS]

FOLDER holds recordings named by their hash (`benchmarks.validation`, `benchmarks.distractors`), so
that no name helps. Printed beside each of the first five: the recording's own path in its package,
and what the audio teacher hears in its first five seconds. The judgement is yours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from atri_cli.library.library import Library
from atri_cli.library.types import QueryPart
from atri_cli.vocabulary.concepts import read_table
from benchmarks.evaluate import EMBEDDED, indexed
from train.melcache import read_waveform
from train.phrases import audioset_concepts
from train.sources import Source, read_sources
from train.stages import TEACHER

QUERIES = Path(__file__).with_name("designer.tsv")
FIRST = 5
TAGS = 3
HEARD_SECONDS = 5.0

Tagger = Callable[[Path], str]


def read_searches(path: Path = QUERIES) -> list[tuple[str, str]]:
    """Language and text of each search."""
    return [(row["lang"], row["query"]) for row in read_table(path)]


def tagger(teacher: Path) -> Tagger:
    """The teacher's likeliest classes of a recording, with their probabilities."""
    import torch

    from train.teacher import load_teacher
    from train.towers.mel import SAMPLE_RATE, LogMel

    net, front = load_teacher(teacher), LogMel()
    names = [concept.phrases["en"][0] for concept in audioset_concepts()]

    @torch.no_grad()
    def tags(path: Path) -> str:
        wave = torch.from_numpy(read_waveform(path)[: round(HEARD_SECONDS * SAMPLE_RATE)])
        wave = torch.nn.functional.pad(wave, (0, max(0, SAMPLE_RATE - len(wave))))
        best = net(front(wave[None]))[2][0].sigmoid().topk(TAGS)
        pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return ", ".join(f"{names[place]} {chance:.2f}" for chance, place in pairs)

    return tags


def rows_of(
    library: Library,
    searches: Sequence[tuple[str, str]],
    sources: dict[str, Source],
    tags: Tagger,
) -> Iterator[tuple[str, ...]]:
    """A row for each search, then one for each of its first five: place, score, path, tags."""
    for lang, text in searches:
        yield lang, text
        hits = library.search(QueryPart(text=text, lang=lang), limit=FIRST).hits
        for place, hit in enumerate(hits, start=1):
            source = sources.get(hit.path.stem)
            name = f"{source.package}: {source.path.name}" if source else hit.path.name
            yield str(place), f"{hit.score:.2f}", name, tags(hit.path)


def table(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    """Markdown, line by line."""
    for row in rows:
        if len(row) == 2:
            yield f"\n**{row[1]}** ({row[0]})\n"
            yield "| | score | file | the teacher hears |\n|---|---|---|---|"
        else:
            yield f"| {' | '.join(row)} |"


def main() -> None:
    """Index, search, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.designer", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--queries", type=Path, default=QUERIES)
    asked = parser.parse_args()
    sources = {source.sha1: source for source in read_sources(asked.data, asked.sounds)}
    folders = [folder.resolve() for folder in asked.folders]
    with indexed(asked.model, folders, jobs=1) as library:
        tags = tagger(asked.data / TEACHER)
        for line in table(rows_of(library, read_searches(asked.queries), sources, tags)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
