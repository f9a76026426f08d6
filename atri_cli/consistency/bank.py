"""A bank of queries that nobody asked: the vocabulary's names in each language, as vectors.

It is what mean shift and query-bank normalisation learn a model's habits from, so that they need
neither the user's queries nor any ground truth. Embedding it takes seconds a language, so it is
kept in the cache folder, by model and by words.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atri_cli.consistency.questions import Tell, embed, silent
from atri_cli.vocabulary.concepts import vocabulary_concepts
from atri_cli.vocabulary.translate import vocabulary_language

if TYPE_CHECKING:
    from atri_cli.encoders.types import Encoder, Vectors


def names(languages: Sequence[str]) -> dict[str, list[str]]:
    """The vocabulary's first phrases in those of `languages` that it has, each once."""
    concepts = vocabulary_concepts()
    found = {
        tag: list(
            dict.fromkeys(
                phrases[0]
                for concept in concepts
                if (phrases := concept.phrases.get(vocabulary_language(tag)))
            )
        )
        for tag in languages
    }
    return {tag: texts for tag, texts in found.items() if texts}


def bank(
    encoder: Encoder, languages: Sequence[str], cache: Path | None, tell: Tell = silent
) -> dict[str, Vectors]:
    """Vectors of `names` by language, float32 [n, dim].

    Args:
        encoder: of a model.
        languages: tags; those that the vocabulary lacks are left out.
        cache: folder to keep them in; None keeps nothing.
        tell: hears how many are embedded.
    """
    found: dict[str, Vectors] = {}
    for tag, texts in names(languages).items():
        words = "\n".join([tag, *texts]).encode()
        file = None
        if cache is not None:
            digest = hashlib.sha256(words).hexdigest()[:16]
            file = cache / encoder.card.pipeline_id / f"names-{tag}-{digest}.npy"
        shape = (len(texts), encoder.card.dim)
        known = _read(file, shape) if file is not None else None
        if known is None:
            known = embed(encoder, [(tag, text) for text in texts], tell)
            if file is not None:
                _write(file, known)
        found[tag] = known
    return found


def _read(file: Path, shape: tuple[int, int]) -> Vectors | None:
    with suppress(Exception):  # numpy raises whatever it stumbles over in a damaged file
        kept = np.lib.format.open_memmap(file, mode="r")  # never unpickles
        if kept.shape == shape and kept.dtype == np.float32 and np.isfinite(kept).all():
            return np.array(kept)
    return None


def _write(file: Path, vectors: Vectors) -> None:
    """Whole or not at all; a cache that cannot be written is no error."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as handle:
                np.save(handle, vectors, allow_pickle=False)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
