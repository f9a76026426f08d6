"""The queries of a file as vectors: one for each row, language and phrasing that is asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from atri_cli.encoders.names import load_names
from atri_cli.errors import UsageError
from atri_cli.library.query import mean_direction
from atri_cli.queryfile import QueryFile, QueryRow

if TYPE_CHECKING:
    from atri_cli.encoders.types import Encoder, Vectors

Tell = Callable[[str, int, int], None]
"""Hears what is being done, how far it is, and how far it goes."""

Pair = tuple[str, str]
"""A language and a text."""


class Translate(Protocol):
    """How a search would ask a text of a language (`remedies.KnownNames`)."""

    def sounds(self, text: str, tag: str) -> Sequence[Sequence[Pair]]:
        """The names of each sound that it is asked by instead; empty for none."""

    def leaned(self, vector: NDArray[np.float32], text: str, tag: str) -> NDArray[np.float32]:
        """Its vector, float32 [dim], when it is none."""


CHUNK = 64  # texts embedded between two words to `Tell`
LEAST_LANGUAGES = 2


def silent(_what: str, _done: int, _total: int) -> None:
    """A `Tell` that says nothing."""


@dataclass(frozen=True)
class Questions:
    """All that is asked, and the vectors of it.

    Args:
        rows: one a concept.
        languages: tags of the K languages.
        place: int64 [rows, K, phrasings], the row of `vectors`; -1 where nothing is asked.
        vectors: float32 [Q, dim], unit length; Q counts what is asked.
        expanded: how many of them are those of a sound's names in the query's place.
    """

    rows: tuple[QueryRow, ...]
    languages: tuple[str, ...]
    place: NDArray[np.int64]
    vectors: Vectors
    expanded: int = 0

    @property
    def first(self) -> NDArray[np.int64]:
        """int64 [rows, K]: the first phrasing of each language, which languages are compared by."""
        first: NDArray[np.int64] = self.place[:, :, 0]
        return first

    @property
    def language_of(self) -> NDArray[np.int64]:
        """int64 [Q]: which language each vector is in, as a place in `languages`."""
        found = np.empty(len(self.vectors), np.int64)
        for number in range(len(self.languages)):
            places = self.place[:, number]
            found[places[places >= 0]] = number
        return found

    @property
    def row_of(self) -> NDArray[np.int64]:
        """int64 [Q]: which row each vector belongs to."""
        found = np.empty(len(self.vectors), np.int64)
        for number, places in enumerate(self.place):
            found[places[places >= 0]] = number
        return found

    def with_vectors(self, vectors: Vectors) -> Questions:
        """The same questions asked with other vectors, float32 [Q, dim]."""
        return replace(self, vectors=vectors)


def ask(
    path: Path,
    queries: QueryFile,
    encoder: Encoder,
    *,
    languages: Sequence[str] = (),
    split: str = "",
    translate: Translate | None = None,
    tell: Tell = silent,
) -> Questions:
    """Embed the queries of a file; a text that stands there twice in a language only once.

    Args:
        path: of the file, for messages.
        queries: what it says.
        encoder: of the library's model.
        languages: canonical tags, in this order; none is all of the file's.
        split: only rows of this split; "" for all.
        translate: finds the names that a text is asked by instead; None asks every text as it is.
        tell: hears how many texts are embedded.

    Raises:
        UsageError: the file does not have such a language or split, or fewer than two languages,
            or the model cannot take one of them.
    """
    chosen = _languages(path, queries, languages)
    rows = [row for row in queries.rows if not split or row.split == split]
    if not rows:
        known = sorted({row.split for row in queries.rows if row.split})
        hint = f"It has {', '.join(f'`{name}`' for name in known)}." if known else ""
        raise UsageError(f"`{path}` has no row of the split `{split}`.", hint=hint)
    rows = [row for row in rows if any(tag in row.texts for tag in chosen)]
    if not rows:
        raise UsageError(f"No row of `{path}` has a text in {', '.join(chosen)}.")
    most = max(len(row.texts.get(tag, ())) for row in rows for tag in chosen)
    place = np.full((len(rows), len(chosen), most), -1, np.int64)
    asked: list[Sequence[Sequence[Pair]]] = []
    plain: dict[int, Pair] = {}
    for row, cells in zip(rows, place, strict=True):
        for tag, cell in zip(chosen, cells, strict=True):
            for number, text in enumerate(row.texts.get(tag, ())):
                named = translate.sounds(text, tag) if translate else ()
                cell[number] = len(asked)
                if not named:
                    plain[len(asked)] = (tag, text)
                asked.append(named or [[(tag, text)]])
    vectors = _vectors(encoder, asked, tell)
    if translate is not None:
        for number, (tag, text) in plain.items():
            vectors[number] = translate.leaned(vectors[number], text, tag)
    expanded = len(asked) - len(plain)
    return Questions(tuple(rows), tuple(chosen), place, vectors, expanded)


def _vectors(encoder: Encoder, asked: Sequence[Sequence[Sequence[Pair]]], tell: Tell) -> Vectors:
    """The direction of the sounds of each question; what the model keeps is not embedded again."""
    names = load_names(encoder.card)
    sounds = list(dict.fromkeys(tuple(pairs) for sounds in asked for pairs in sounds))
    vectors = {pairs: names.find(pairs) if names else None for pairs in sounds}
    missing = [pairs for pairs, vector in vectors.items() if vector is None]
    embedded = _embedded(encoder, [pair for pairs in missing for pair in pairs], tell)
    found = {pairs: _direction([embedded[pair] for pair in pairs]) for pairs in missing}
    known = {pairs: one for pairs, one in vectors.items() if one is not None} | found
    return np.stack([_direction([known[tuple(pairs)] for pairs in sounds]) for sounds in asked])


def embed(encoder: Encoder, texts: Sequence[Pair], tell: Tell = silent) -> Vectors:
    """Vectors of (language, text) pairs, float32 [n, dim]; each pair is embedded once.

    Several threads share the work, and a vector does not depend on them.
    """
    known = _embedded(encoder, texts, tell)
    return np.stack([known[pair] for pair in texts])


def _direction(vectors: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return mean_direction(np.stack(vectors)) if len(vectors) > 1 else vectors[0]


def _embedded(
    encoder: Encoder, texts: Sequence[Pair], tell: Tell
) -> dict[Pair, NDArray[np.float32]]:
    unique = list(dict.fromkeys(texts))
    by_language: dict[str, list[str]] = {}
    for tag, text in unique:
        by_language.setdefault(tag, []).append(text)
    chunks = [
        (tag, some[start : start + CHUNK])
        for tag, some in by_language.items()
        for start in range(0, len(some), CHUNK)
    ]
    found: dict[Pair, NDArray[np.float32]] = {}
    if len(unique) > CHUNK:
        encoder.embed_text([unique[0][1]], unique[0][0])  # loads the tower once, not in each thread
    with ThreadPoolExecutor(max(1, min(len(chunks), os.cpu_count() or 1))) as pool:
        done = pool.map(lambda chunk: encoder.embed_text(chunk[1], chunk[0]), chunks)
        for (tag, some), vectors in zip(chunks, done, strict=True):
            found |= {(tag, text): row for text, row in zip(some, vectors, strict=True)}
            tell("embedding queries", len(found), len(unique))
    return found


def _languages(path: Path, queries: QueryFile, asked: Sequence[str]) -> list[str]:
    there = ", ".join(f"`{tag}`" for tag in queries.languages)
    for tag in asked:
        if tag not in queries.languages:
            raise UsageError(f"`{path}` has no column `{tag}`.", hint=f"It has {there}.")
    chosen = list(dict.fromkeys(asked)) or list(queries.languages)
    if len(chosen) < LEAST_LANGUAGES:
        raise UsageError(
            f"`{path}` is asked in one language only: `{chosen[0]}`.",
            why="Consistency compares the answers to the same query in several languages.",
            hint="Add a column, or write a file to start from: `atri consistency --init q.tsv`.",
        )
    return chosen
