"""From the parts of a query, texts and sounds with weights, to one unit vector."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from atri_cli.encoders.names import load_names
from atri_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from atri_cli.encoders.types import Encoder
    from atri_cli.library.types import QueryPart

    Vectors = NDArray[np.float32]
    Waveform = NDArray[np.float32]

CANCELLED = 1e-4  # of the weights' sum: a shorter result has no direction of its own
WINDOWS_AT_ONCE = 16
INVISIBLE = ("C", "Z")  # Unicode categories: controls, formats, surrogates; separators


def query_vector(encoder: Encoder, parts: Sequence[QueryPart]) -> Vectors:
    """The normalised sum of weight times unit vector of each part.

    Returns:
        float32 [dim], unit length.

    Raises:
        UsageError: no part, an empty text, a bad weight, or parts that cancel each other out.
        AudioError: a sound to compare with cannot be read.
    """
    if not parts:
        raise _nothing_asked()
    weights = np.array([_weight(part) for part in parts])
    if not weights.any():
        raise UsageError("Every part of the query has the weight 0.", hint="Write `rain^2`, say.")
    vectors = np.stack([_part_vector(encoder, part) for part in parts])
    total = weights @ vectors.astype(np.float64)
    length = float(np.linalg.norm(total))
    if length <= CANCELLED * float(np.abs(weights).sum()):
        raise UsageError(
            "The parts of the query cancel each other out.",
            hint="Change the weights, or leave out what is both wanted and unwanted.",
        )
    unit: Vectors = (total / length).astype(np.float32)
    return unit


def expanded(parts: Sequence[QueryPart], languages: Sequence[str] = ()) -> list[QueryPart]:
    """Texts that name sounds of the vocabulary, with their names and those of their kinds.

    A text that joins several sounds becomes a part for each, of its own weight, as if they had been
    typed one by one. One that names none leans towards the names near it (`leaning.py`).

    Args:
        parts: a part that is no text, or has translations already, stays as it is.
        languages: those that the model takes; none is any.
    """
    from atri_cli.vocabulary.together import asked_together

    found = []
    for part in parts:
        if part.text is None or part.also:
            found.append(part)
            continue
        named = asked_together(part.text, part.lang, taken=languages)
        known = [replace(part, text=one.piece, also=one.names) for one in named]
        found += known or [replace(part, leaning=True)]
    return found


def _weight(part: QueryPart) -> float:
    if not math.isfinite(part.weight):
        raise UsageError(f"The weight {part.weight} of a query part is not a finite number.")
    return part.weight


def _part_vector(encoder: Encoder, part: QueryPart) -> Vectors:
    if part.like is not None:
        if part.text is not None:
            raise UsageError("A query part is a text or a sound, not both.")
        return _sound_vector(encoder, part.like, part.like_start, part.like_end)
    text = _visible(part.text or "")
    if not part.also:
        vector: Vectors = encoder.embed_text([text], part.lang)[0]
        return _leaned(encoder, part, vector) if part.leaning else vector
    kept = kept_vector(encoder, part)
    if kept is not None:
        return kept
    return mean_direction(np.concatenate([encoder.embed_text([t], g) for g, t in part.also]))


def _leaned(encoder: Encoder, part: QueryPart, vector: Vectors) -> Vectors:
    from atri_cli.library.leaning import leaning_of

    leaning = leaning_of(encoder)
    return leaning.leaned(vector, part.text or "", part.lang) if leaning else vector


def kept_vector(encoder: Encoder, part: QueryPart) -> NDArray[np.float32] | None:
    """The vector of a part that the model keeps, float32 [dim]; None when a tower is needed."""
    names = load_names(encoder.card) if part.also else None
    return names.find(part.also) if names else None


def mean_direction(vectors: Vectors) -> Vectors:
    """The direction of the sum of unit vectors, float32 [n, dim]: float32 [dim]."""
    total = vectors.sum(axis=0, dtype=np.float64)
    unit: Vectors = (total / np.linalg.norm(total)).astype(np.float32)
    return unit


def _visible(text: str) -> str:
    """The text without bytes that were not UTF-8 in the shell.

    Raises:
        UsageError: there is nothing in it to look for.
    """
    if all(unicodedata.category(character)[0] in INVISIBLE for character in text):
        raise _nothing_asked()
    return text.encode("utf-8", "replace").decode("utf-8")


def _nothing_asked() -> UsageError:
    return UsageError(
        "The query is empty.",
        hint='Describe the sound, for example `atri search "dog barking in the distance"`.',
    )


def _sound_vector(encoder: Encoder, path: Path, start: float | None, end: float | None) -> Vectors:
    """The direction of the sum of a sound's window vectors."""
    windows = _windows(encoder, path, start, end)
    total = np.zeros(encoder.card.dim)
    while some := list(islice(windows, WINDOWS_AT_ONCE)):
        total += encoder.embed_audio(some).sum(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    return (total / length if length else total).astype(np.float32)


def _windows(
    encoder: Encoder, path: Path, start: float | None, end: float | None
) -> Iterator[Waveform]:
    from atri_cli.audio.decode import load_span, stream_windows

    audio = encoder.card.audio
    if start is None and end is None:
        windows = stream_windows(
            path, audio.sample_rate, audio.segment_seconds, audio.hop_seconds, audio.min_seconds
        )
        yield from (waveform for _, waveform in windows)
        return
    from atri_cli.audio.segments import cut, loop_to

    rate = audio.sample_rate
    segment, hop = round(audio.segment_seconds * rate), round(audio.hop_seconds * rate)
    for _, waveform in cut([load_span(path, rate, start, end)], segment, hop):
        yield loop_to(waveform, round(audio.min_seconds * rate))
