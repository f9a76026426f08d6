"""Retrieval figures against a brute-force reading of their definitions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.clips import Clip
from train.retrieval import captions_of, questions, retrieval, table

TAGS = ("en", "fr", "de")


def world(seed: int, clips: int, kinds: int) -> tuple[Any, Any, list[Clip]]:
    """Random vectors; kinds share captions; some captions are missing; some have two phrasings."""
    rng = np.random.default_rng(seed)

    def unit(count: int) -> np.ndarray[Any, Any]:
        rows = rng.standard_normal((count, 5)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    made = []
    for number in range(clips):
        kind = int(rng.integers(kinds))
        captions = {tag: (f"{kind} {tag}",) for tag in TAGS if rng.random() > 0.2 or tag == "en"}
        if rng.random() < 0.3:
            captions["en"] = (*captions["en"], f"{kind} again")
        made.append(Clip(f"c{number}", Path(f"{number}.wav"), captions))
    audio = [unit(int(rng.integers(1, 4))) for _ in made]
    text = {}
    for tag in TAGS:
        names, _ = captions_of(made, tag)
        if names:
            text[tag] = dict(zip(names, unit(len(names)), strict=True))
    return audio, text, made


def naive_rank(scores: list[float], right: set[int]) -> int:
    """1 + the wrong ones that are not below the best right one."""
    best = max(scores[n] for n in right)
    return 1 + sum(score >= best for n, score in enumerate(scores) if n not in right)


def naive_t2a(audio: Any, text: Any, clips: list[Clip]) -> list[list[int]]:
    rows, seen = [], set()
    for clip in clips:
        asked = {tag: clip.captions[tag][0] for tag in text if tag in clip.captions}
        if tuple(sorted(asked.items())) in seen:
            continue
        seen.add(tuple(sorted(asked.items())))
        right = {
            n for n, other in enumerate(clips)
            if any(asked[tag] in other.captions.get(tag, ()) for tag in asked)
        }  # fmt: skip
        rows.append([
            naive_rank([max(float(np.dot(text[tag][asked[tag]], w)) for w in windows)
                        for windows in audio], right) if tag in asked else 0
            for tag in text
        ])  # fmt: skip
    return rows


def naive_a2t(audio: Any, text: Any, clips: list[Clip]) -> list[list[int]]:
    rows = []
    for clip, windows in zip(clips, audio, strict=True):
        row = []
        for tag in text:
            names = list(text[tag])
            right = {names.index(one) for one in clip.captions.get(tag, ())}
            scores = [max(float(np.dot(text[tag][name], w)) for w in windows) for name in names]
            row.append(naive_rank(scores, right) if right else 0)
        rows.append(row)
    return rows


@given(st.integers(0, 10_000), st.integers(2, 14), st.integers(1, 6))
def test_ranks_are_those_of_the_definition(seed: int, clips: int, kinds: int) -> None:
    audio, text, made = world(seed, clips, kinds)
    found = retrieval(audio, text, made)
    assert found["ranks"]["t2a"] == naive_t2a(audio, text, made)
    assert found["ranks"]["a2t"] == naive_a2t(audio, text, made)


@given(st.integers(0, 10_000))
def test_measures_are_those_of_the_ranks(seed: int) -> None:
    audio, text, made = world(seed, 12, 8)
    found = retrieval(audio, text, made)
    for way, gallery in (("t2a", len(made)), ("a2t", None)):
        ranks = found["ranks"][way]
        for place, tag in enumerate(text):
            known = [row[place] for row in ranks if row[place]]
            measures = found[way]["languages"][tag]
            for k in (1, 5, 10):
                assert measures[f"r{k}"] == pytest.approx(sum(r <= k for r in known) / len(known))
            expected = sum(1 / r for r in known if r <= 10) / len(known)
            assert measures["map10"] == pytest.approx(expected)
        whole = [row for row in ranks if all(row)]
        if whole:
            variance = np.mean([np.var(row) for row in whole])
            mrv = found[way]["mrv"]
            assert mrv["variance"] == pytest.approx(variance)
            assert mrv["std"] == pytest.approx(np.mean([np.std(row) for row in whole]))
            if gallery:
                chance = 2 / 3 * (gallery**2 - 1) / 12
                assert mrv["normalised"] == pytest.approx(variance / chance)


def test_the_order_of_clips_changes_no_measure() -> None:
    audio, text, made = world(3, 12, 5)
    first = retrieval(audio, text, made)
    again = retrieval(audio[::-1], text, made[::-1])
    assert first["t2a"]["mean"] == pytest.approx(again["t2a"]["mean"])
    assert first["a2t"]["mrv"]["variance"] == pytest.approx(again["a2t"]["mrv"]["variance"])


def test_same_captions_are_one_question_answered_by_all() -> None:
    clips = [Clip(str(n), Path("x"), {"en": ("dog", "a dog"), "fr": ("chien",)}) for n in range(3)]
    clips.append(Clip("3", Path("x"), {"en": ("a wolf", "dog")}))
    asked = questions(clips, ("en", "fr"))
    assert [q.answers for q in asked] == [(0, 1, 2, 3), (3,)]


def test_a_perfect_model_and_one_language() -> None:
    clips = [Clip(str(n), Path("x"), {"en": (f"kind {n}",)}) for n in range(4)]
    eye = np.eye(4, dtype=np.float32)
    text = {"en": {f"kind {n}": eye[n] for n in range(4)}}
    found = retrieval([row[None] for row in eye], text, clips)
    assert found["t2a"]["mean"]["r1"] == found["a2t"]["mean"]["map10"] == 1.0
    assert math.isnan(found["t2a"]["mrv"]["normalised"])
    assert "| en | 1.000 |" in table(found)
