"""Phrases as token ids: what the text tower reads in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.phrases import Concept

MAX_TOKENS = 24
BOS, PAD, EOS = 0, 1, 2


@dataclass(frozen=True)
class Phrases:
    """All phrases, tokenised: text, token ids, number of the concept and of the language of each.

    `languages` names the language numbers.
    """

    texts: list[str]
    concept: NDArray[np.int64]
    lang: NDArray[np.int64]
    languages: list[str]
    tokens: list[list[int]]

    def groups(self) -> list[dict[int, list[int]]]:
        """For each concept: language → its phrases' numbers."""
        found: list[dict[int, list[int]]] = [{} for _ in range(int(self.concept.max()) + 1)]
        for number, (concept, lang) in enumerate(zip(self.concept, self.lang, strict=True)):
            found[int(concept)].setdefault(int(lang), []).append(number)
        return found


def tokenise(concepts: Sequence[Concept], model: bytes) -> Phrases:
    """Tokenise every phrase of the concepts: <s> pieces </s>, at most `MAX_TOKENS`.

    Args:
        concepts: their places in this sequence become the concept numbers.
        model: contents of a sentencepiece model file.
    """
    languages = sorted({lang for concept in concepts for lang in concept.phrases})
    rows = [
        (text, place, languages.index(lang))
        for place, concept in enumerate(concepts)
        for lang, texts in concept.phrases.items()
        for text in texts
    ]
    texts = [text for text, _, _ in rows]
    owners = np.array([place for _, place, _ in rows])
    return Phrases(texts, owners, np.array([lang for _, _, lang in rows]), languages,
                   encode(texts, model))  # fmt: skip


def encode(texts: list[str], model: bytes, most: int = MAX_TOKENS) -> list[list[int]]:
    """Token ids of each text: <s> pieces </s>, at most `most`."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [[BOS, *found[: most - 2], EOS] for found in processor.encode(texts)]


def by_length(tokens: Sequence[Sequence[int]], size: int) -> Iterator[NDArray[np.int64]]:
    """Places of all rows in batches of `size`, those of like length together: little is padding."""
    order = np.argsort([len(row) for row in tokens], kind="stable")
    for at in range(0, len(order), size):
        yield order[at : at + size]


def pad(tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids padded on the right, and their mask: both int64 [texts, longest]."""
    longest = max(map(len, tokens))
    ids = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in tokens])
    return ids, (ids != PAD).long()
