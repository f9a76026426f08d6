"""A text that names no known sound leans towards the names that it is near to.

The text tower has read the vocabulary's names over and over, and little else; what it makes of
other words lies farther off, and in every language elsewhere. So such a text is asked together with
the sounds whose names are nearest to it, or stand in it:

    nearness of a sound = cosine(text, its names) + the share of the text that its name is
    towards = Σ softmax(nearness / TEMPERATURE) · names, over the NEAREST
    query   = unit(unit(towards) + text)

The constants were chosen on validation, with texts by other hands (docs/decisions/0015-leaning.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atri_cli.encoders.names import key, load_names
from atri_cli.vocabulary.lookup import Lines, names_of, read_lines
from atri_cli.vocabulary.within import named_within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.encoders.names import Names
    from atri_cli.encoders.types import Encoder
    from atri_cli.library.types import QueryPart

NEAREST = 8
TEMPERATURE = 0.05
SHOWN = 0.05  # the least weight that people are told of


@dataclass(frozen=True)
class Leaning:
    """How texts lean towards the names that a model keeps.

    Args:
        names: those names.
        taken: languages that the model takes; none is any.
        lines: from `read_lines`, for many texts; without it the file is searched.
    """

    names: Names
    taken: Sequence[str] = ()
    lines: Lines | None = None

    def near(
        self, vector: NDArray[np.float32], text: str, lang: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What a text leans towards: rows of `names`, nearest first, and their weights.

        Args:
            vector: float32 [dim], unit length: the text's own.
            text: its words.
            lang: the tag of its language, when it is known.

        Returns:
            int64 [NEAREST] or fewer, and float64 that add up to 1.
        """
        nearness = self.names.vectors.astype(np.float64) @ vector.astype(np.float64)
        for sound, share in named_within(text, lang, self.lines).items():
            place = self.names.place(names_of(sound, self.lines, self.taken))
            if place is not None:
                nearness[place] += share
        best = np.argsort(-nearness, kind="stable")[:NEAREST]
        weights = np.exp((nearness[best] - nearness[best[0]]) / TEMPERATURE)
        return best, weights / weights.sum()

    def leaned(
        self, vector: NDArray[np.float32], text: str, lang: str | None = None
    ) -> NDArray[np.float32]:
        """What is searched with in the text's place, float32 [dim], unit length: see `near`."""
        best, weights = self.near(vector, text, lang)
        towards = weights @ self.names.vectors[best].astype(np.float64)
        total = towards / np.linalg.norm(towards) + vector
        unit: NDArray[np.float32] = (total / np.linalg.norm(total)).astype(np.float32)
        return unit


def leaning_of(encoder: Encoder, lines: Lines | None = None) -> Leaning | None:
    """How texts lean with a model; None when it keeps no names."""
    names = load_names(encoder.card)
    return Leaning(names, encoder.card.text.languages, lines) if names else None


def near_names(encoder: Encoder, part: QueryPart) -> list[tuple[str, float]]:
    """What a part leans towards, for people: a name of each sound, and its weight."""
    if part.text is None or not part.leaning:
        return []
    lines = read_lines()
    leaning = leaning_of(encoder, lines)
    if leaning is None:
        return []
    vector = encoder.embed_text([part.text], part.lang)[0]
    places, weights = leaning.near(vector, part.text, part.lang)
    asked = [names_of(line[1:], lines, leaning.taken) for line in lines if line.startswith("=")]
    called = {key(texts): texts[0][1] for texts in asked if texts}
    found: dict[str, float] = {}
    for one, weight in zip(leaning.names.keys[places].tolist(), weights.tolist(), strict=True):
        if one in called:
            found[called[one]] = found.get(called[one], 0.0) + weight
    return [(name, weight) for name, weight in found.items() if weight >= SHOWN]
