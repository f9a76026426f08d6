"""What can be done at search time, without training, so that languages agree more.

- `mean`: a row is asked with the mean of its languages' vectors.
- `ranks`: a row is asked in every language, and the rankings are fused.
- `expand`: a query that names sounds of the vocabulary is asked by their core languages' names and
  those of their kinds, and any other leans towards names near it, as a search asks it.
- `mean-shift`: a language's texts lie around a point of their own; it is moved to the mean of all.
- `csls`: files that lie near every name are held back, as a search does it.
- `qb-norm`: the same by another measure, over the names in the languages that are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from atri_cli.consistency.questions import Pair, Questions
from atri_cli.consistency.ranking import TIE
from atri_cli.library.leaning import Leaning, leaning_of
from atri_cli.vocabulary.lookup import Lines, read_lines
from atri_cli.vocabulary.together import asked_together

if TYPE_CHECKING:
    from atri_cli.consistency.gallery import Gallery
    from atri_cli.consistency.ranking import Adjust, Scores
    from atri_cli.encoders.types import Encoder, Vectors

Fuse = Literal["mean", "ranks"]
FUSION_CONSTANT = 60
SAME_SUM = 1e-12
SHARPNESS = 10.0  # chosen on validation among 10, 20 and 40 (docs/results/consistency.md)
BANK_BLOCK = 256
SHORTEST = 1e-6


@dataclass(frozen=True)
class Remedies:
    """Which of them are used."""

    fuse: Fuse | None = None
    expand: bool = True
    mean_shift: bool = False
    qb_norm: bool = False
    csls: bool = True

    @property
    def names(self) -> list[str]:
        """As the command's options write them; `csls` is for models that keep names alone."""
        chosen = {
            f"fuse {self.fuse}": self.fuse is not None,
            "expand": self.expand,
            "mean-shift": self.mean_shift,
            "qb-norm": self.qb_norm,
        }
        return [name for name, on in chosen.items() if on]

    @property
    def holds_back(self) -> bool:
        """Whether hubs are held back as in a search: not twice."""
        return self.csls and not self.qb_norm

    @property
    def need_bank(self) -> bool:
        """Whether a bank of queries is needed."""
        return self.mean_shift or self.qb_norm


def unit(vectors: NDArray[np.floating]) -> Vectors:
    """Rows of unit length, float32; a row of zeros stays one."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(length, SHORTEST)).astype(np.float32)
    return scaled


def shifts(bank: Mapping[str, Vectors]) -> dict[str, Vectors]:
    """What to add to a text's vector in each language, float32 [dim].

    The mean of the languages' means, minus the language's own.

    Args:
        bank: by language, float32 [n, dim], vectors of the same things in every language; of one
            language or more.
    """
    means = {tag: vectors.mean(axis=0, dtype=np.float64) for tag, vectors in bank.items()}
    centre = np.mean(list(means.values()), axis=0)
    return {tag: (centre - mean).astype(np.float32) for tag, mean in means.items()}


def shift(questions: Questions, bank: Mapping[str, Vectors]) -> Questions:
    """Queries with each language moved to the common mean; others stay where they are."""
    moves = shifts(bank)
    zero = np.zeros(questions.vectors.shape[1], np.float32)
    table = np.stack([moves.get(tag, zero) for tag in questions.languages])
    return questions.with_vectors(unit(questions.vectors + table[questions.language_of]))


@dataclass(frozen=True)
class KnownNames:
    """How a search asks a text: see `questions.Translate`.

    `taken` are the languages that the model takes, `leaning` is None when it keeps no names.
    """

    lines: Lines
    taken: Sequence[str]
    leaning: Leaning | None

    def sounds(self, text: str, tag: str) -> list[Sequence[Pair]]:
        """The names of each sound that a text names."""
        return [one.names for one in asked_together(text, tag, self.lines, self.taken)]

    def leaned(self, vector: NDArray[np.float32], text: str, tag: str) -> NDArray[np.float32]:
        """The vector of a text that names none, leaning towards the names near it."""
        return self.leaning.leaned(vector, text, tag) if self.leaning else vector


def known_names(encoder: Encoder) -> KnownNames:
    """Asks as a search with a model does."""
    lines = read_lines()
    return KnownNames(lines, encoder.card.text.languages, leaning_of(encoder, lines))


def fuse_means(questions: Questions) -> Questions:
    """Every query of a row becomes the mean vector of the row's languages (first phrasings)."""
    vectors = questions.vectors.copy()
    for first, places in zip(questions.first, questions.place, strict=True):
        mean = questions.vectors[first[first >= 0]].mean(axis=0, dtype=np.float64)
        vectors[places[places >= 0]] = unit(mean)
    return questions.with_vectors(vectors)


def fuse_ranks(questions: Questions) -> Adjust:
    """The negative rank by Σ over a row's languages of 1 / (60 + rank), as its score.

    Source: reciprocal rank fusion, Cormack, Clarke and Büttcher, SIGIR 2009. Equal scores share a
    rank: the lowest of theirs.
    """
    rows = questions.row_of
    spoken = np.zeros(len(rows), bool)
    spoken[questions.first[questions.first >= 0]] = True

    def adjust(scores: Scores, block: slice) -> Scores:
        fused = np.empty_like(scores)
        for row in np.unique(rows[block]):
            own = rows[block] == row
            ranks = np.stack([_ranks(one, TIE) for one in scores[own & spoken[block]]])
            total = (1 / (FUSION_CONSTANT + ranks)).sum(axis=0)
            fused[own] = -_ranks(total, SAME_SUM)  # the sums lie too close to tell apart
        return fused

    return adjust


def bank_bias(gallery: Gallery, bank: Mapping[str, Vectors]) -> NDArray[np.float32]:
    """How much each file answers to whatever is asked, float32 [files].

    log-mean-exp of sharpness · cosine over the bank, over sharpness. Taking it off a score is the
    inverted softmax of query-bank normalisation in the log domain, which orders files alike.

    Source: Bogolin et al., Cross Modal Retrieval with Querybank Normalisation, CVPR 2022, eq. 4-5,
    who take β = 20.
    """
    vectors = np.concatenate(list(bank.values()))
    total = np.zeros(len(gallery))
    for start in range(0, len(vectors), BANK_BLOCK):
        scores = gallery.scores(vectors[start : start + BANK_BLOCK])
        total += np.exp(SHARPNESS * scores).sum(axis=0, dtype=np.float64)
    return (np.log(total / len(vectors)) / SHARPNESS).astype(np.float32)


def hold_back(bias: NDArray[np.float32]) -> Adjust:
    """Take `bank_bias` off every score."""
    return lambda scores, _block: scores - bias


def chain(steps: Sequence[Adjust]) -> Adjust | None:
    """Several changes of scores, one after another."""
    if not steps:
        return None

    def adjust(scores: Scores, block: slice) -> Scores:
        for step in steps:
            scores = step(scores, block)
        return scores

    return adjust


def _ranks(scores: NDArray[np.floating], tie: float) -> NDArray[np.float64]:
    """Ranks from 1, scores within `tie` of each other sharing the lowest, float64 [files]."""
    order = np.argsort(-scores, kind="stable")
    new = np.concatenate([[True], -np.diff(scores[order]) > tie])
    ranks = np.empty(len(scores))
    ranks[order] = np.maximum.accumulate(np.where(new, np.arange(1, len(scores) + 1), 0))
    return ranks
