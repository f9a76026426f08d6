"""The vocabulary's names as vectors of a converted model: `atri_cli/encoders/names.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from atri_cli.consistency.questions import embed
from atri_cli.encoders.card import load_card, write_card
from atri_cli.encoders.names import key, write_names
from atri_cli.encoders.registry import file_sha256, load_encoder
from atri_cli.errors import ModelError
from atri_cli.library.query import mean_direction
from atri_cli.vocabulary.concepts import CORE, vocabulary_concepts
from atri_cli.vocabulary.lookup import names_of, read_lines

NAMES = "names.npz"


def keep_names(folder: Path, tell: Callable[[str], None] = lambda _: None) -> int:
    """Write the names beside the towers of a model folder, and say so on its card.

    Each sound of the vocabulary is embedded as a search asks for it, in the core languages that the
    model takes. The card is written last.

    Returns:
        How many sounds are kept.

    Raises:
        ModelError: the model cannot be loaded, or takes none of the core languages.
    """
    card = load_card(folder)
    encoder, lines = load_encoder(card, "cpu", 1), read_lines()
    sounds = [names_of(one.id, lines, card.text.languages) for one in vocabulary_concepts()]
    texts = list(dict.fromkeys(pair for names in sounds for pair in names))
    if not texts:
        raise ModelError(
            f"`{card.name}` takes none of the languages that a search asks in: {', '.join(CORE)}.",
            hint="Export it without `--names`.",
        )
    tell(f"Embedding {len(texts):,} names of {len(sounds):,} sounds.")
    vectors = dict(zip(texts, embed(encoder, texts), strict=True))
    found = {
        key(names): mean_direction(np.stack([vectors[pair] for pair in names])) for names in sounds
    }
    part = folder / f"part-{NAMES}"
    write_names(part, found)
    part.replace(folder / NAMES)
    write_card(replace(card, names=NAMES, names_sha256=file_sha256(folder / NAMES)), folder)
    return len(found)
