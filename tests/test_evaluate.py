"""Evaluation: ranks, chance, and a model asked through the real library."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.errors import UsageError
from atri_cli.metrics import random_variance
from benchmarks.evaluate import (
    UNREADABLE,
    best_ranks,
    evaluate,
    evaluate_model,
    random_best_rank,
    random_mrv,
    table,
)
from benchmarks.testset import QuerySet
from tests.sounds import noise, tone

KINDS = ("low", "high", "noise")
TEXTS = {
    "en": ("low tone", "high tone", "noise"),
    "fr": ("son grave", "son aigu", ""),
    "zh": ("低音", "高音", "噪音"),
}


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for take in (1, 2):
        soundfile.write(folder / f"low{take}.wav", tone(190.0 + 10 * take), 16000)
        soundfile.write(folder / f"high{take}.wav", tone(4000.0 + 10 * take), 16000)
        soundfile.write(folder / f"noise{take}.wav", noise(seed=take), 16000)
    (folder / "broken.wav").write_bytes(b"not a sound")
    return folder


def queries(kinds: tuple[str, ...] = KINDS) -> QuerySet:
    return QuerySet(ids=kinds, audio=tuple((f"{kind}*.wav",) for kind in kinds), texts=TEXTS)


def test_the_best_right_answer_counts_and_ties_count_against() -> None:
    scores = np.array(
        [[0.9, 0.5, 0.5, 0.1], [0.9, 0.5, 0.5, 0.1], [np.nan] * 4, [0.1, 0.2, 0.3, UNREADABLE]],
        dtype=np.float32,
    )
    assert best_ranks(scores, [{1, 3}, {0, 3}, {0}, {3}]).tolist() == [3, 1, 0, 4]


@given(st.integers(2, 7), st.integers(1, 6), st.integers(1, 4))
def test_chance_is_that_of_every_order(gallery: int, answers: int, languages: int) -> None:
    answers = min(answers, gallery)
    ranks = [
        1 + min(choice) for choice in itertools.combinations(range(gallery), answers)
    ]  # each choice of places is as likely as the others
    expected = np.bincount(ranks, minlength=gallery + 1)[1:] / len(ranks)
    np.testing.assert_allclose(random_best_rank(gallery, answers), expected, atol=1e-12)
    variance = (languages - 1) / languages * np.var(ranks)
    assert random_mrv(gallery, languages, [answers])["variance"] == pytest.approx(variance)


def test_chance_with_one_answer_is_the_known_formula() -> None:
    chance = random_mrv(136, 8, [1] * 60)
    assert chance["variance"] == pytest.approx(random_variance(136, 8))
    assert 0 < chance["std"] < chance["variance"] ** 0.5


def test_random_similarity_has_the_spread_of_chance() -> None:
    rng = np.random.default_rng(1)
    similarity = {tag: rng.random((300, 50)).astype(np.float32) for tag in "abcd"}
    mrv = evaluate(similarity, [{n % 50, (n + 7) % 50} for n in range(300)])["mrv"]
    assert mrv["normalised"] == pytest.approx(1, abs=0.1)
    assert mrv["normalised_std"] == pytest.approx(1, abs=0.1)


def test_report_counts_and_measures() -> None:
    perfect = np.eye(12, dtype=np.float32)
    second = perfect.copy()
    second[0] = np.arange(12)[::-1]
    second[1] = np.nan
    second[2, 3] = 2.0
    report = evaluate({"en": perfect, "fr": second}, [{n} for n in range(12)])
    assert (report["concepts"], report["queries"], report["gallery"]) == (12, 23, 12)
    assert report["per_language"]["en"]["r1"] == 1.0
    assert report["per_language"]["fr"]["r1"] == pytest.approx(10 / 11)
    assert report["per_language"]["fr"]["map10"] == pytest.approx(10.5 / 11)
    assert report["mean"]["r5"] == 1.0
    assert report["ranks"][1] == {"en": 1}
    assert report["ranks"][2] == {"en": 1, "fr": 2}
    assert report["mrv"]["concepts"] == 11
    assert report["mrv"]["variance"] == pytest.approx(0.25 / 11)
    low, high = report["per_language"]["fr"]["intervals"]["r1"]
    assert low < 10 / 11 < high <= 1.0


@pytest.mark.parametrize("languages", [["en"], ["en", "fr"]])
def test_without_common_concepts_there_is_no_consistency(languages: list[str]) -> None:
    similarity = {tag: np.eye(4, dtype=np.float32) for tag in languages}
    for place, scores in enumerate(similarity.values()):
        scores[place::2] = np.nan
    report = evaluate(similarity, [{n} for n in range(4)])
    assert report["mrv"] is None
    assert report["mean"]["r1"] == 1.0
    assert "MRV" not in table({**report, "unreadable": 0})
    json.dumps(report, allow_nan=False)


def test_a_model_is_asked_through_the_library(fake_model: Path, sounds: Path) -> None:
    report = evaluate_model(str(fake_model), [sounds], queries())
    assert report["gallery"] == 7
    assert report["unreadable"] == 1
    assert report["queries"] == 8
    assert {tag: row["r1"] for tag, row in report["per_language"].items()} == dict.fromkeys(
        TEXTS, 1.0
    )
    assert "| mean | 1.00 [1.00, 1.00] |" in table({**report})


def test_distractors_enlarge_the_gallery(fake_model: Path, sounds: Path, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    soundfile.write(more / "low.wav", tone(200.0), 16000)
    report = evaluate_model(str(fake_model), [sounds, more], queries())
    assert report["gallery"] == 8


def test_a_query_without_a_right_answer_is_refused(fake_model: Path, sounds: Path) -> None:
    with pytest.raises(UsageError, match=r"`owl`: .*names no sound"):
        evaluate_model(str(fake_model), [sounds], queries(("low", "high", "owl")))
