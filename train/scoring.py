"""Retrieval of a model in training: what decides which epoch is the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from train.retrieval import retrieval
from train.types import Clip, TwoTower


def evaluate(model: TwoTower, clips: Sequence[Clip], languages: Sequence[str]) -> dict[str, Any]:
    """`train.retrieval.retrieval` of a model; a language without captions is left out."""
    captions = {
        tag: list(dict.fromkeys(text for clip in clips for text in clip.captions.get(tag, ())))
        for tag in languages
    }
    text = {
        tag: dict(zip(texts, model.texts([(tag, one) for one in texts]), strict=True))
        for tag, texts in captions.items()
        if texts
    }
    return retrieval(model.windows(clips), text, clips)


def validation_score(
    clips: Sequence[Clip], languages: Sequence[str]
) -> Callable[[TwoTower], Mapping[str, float]] | None:
    """A score for the loop: mAP@10 of text to audio, mean over languages; None without clips."""
    if not clips:
        return None

    def score(model: TwoTower) -> Mapping[str, float]:
        found = evaluate(model, clips, languages)
        return {
            "score": found["t2a"]["mean"]["map10"],
            "t2a_r10": found["t2a"]["mean"]["r10"],
            "a2t_r10": found["a2t"]["mean"]["r10"],
            "mrv": found["t2a"]["mrv"]["normalised"],
        }

    return score
