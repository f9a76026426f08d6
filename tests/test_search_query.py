"""From query parts to one vector: weights, texts of every kind, sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders.card import load_card
from atri_cli.encoders.registry import load_encoder
from atri_cli.encoders.types import Encoder
from atri_cli.errors import AudioError, UsageError
from atri_cli.library.query import query_vector
from atri_cli.library.types import QueryPart
from tests.sounds import noise, tone, write, write_tone
from tests.vector_data import Vectors


@pytest.fixture(scope="module")
def encoder(fake_model: Path) -> Encoder:
    return load_encoder(load_card(fake_model), "cpu", 1)


def vector(encoder: Encoder, *texts: str) -> Vectors:
    return query_vector(encoder, [QueryPart(text=text) for text in texts])


def test_weights_add_up(encoder: Encoder) -> None:
    low, high = vector(encoder, "low"), vector(encoder, "high")
    mixed = query_vector(encoder, [QueryPart("low", weight=3), QueryPart("high", weight=-1)])
    expected = 3 * low - high
    np.testing.assert_allclose(mixed, expected / np.linalg.norm(expected), atol=1e-6)
    assert mixed @ high < low @ high
    assert mixed.dtype == np.float32


@given(st.lists(st.floats(-5, 5).filter(lambda w: abs(w) > 0.01), min_size=1, max_size=3))
def test_the_result_has_unit_length(encoder: Encoder, weights: list[float]) -> None:
    parts = [
        QueryPart(t, weight=w) for t, w in zip(("low", "high", "noise"), weights, strict=False)
    ]
    assert np.linalg.norm(query_vector(encoder, parts)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b\u3000", "\x00\x07", "\ud800", None])
def test_nothing_visible_is_an_empty_query(encoder: Encoder, text: str | None) -> None:
    with pytest.raises(UsageError, match="empty"):
        query_vector(encoder, [QueryPart(text=text)])


def test_no_parts_are_an_empty_query(encoder: Encoder) -> None:
    with pytest.raises(UsageError, match="empty"):
        query_vector(encoder, [])


@pytest.mark.parametrize(
    "text",
    ["🐕", "dog\x00\x1b[31m", "x" * 10_000, "犬 chien dog كلب", "?", "low\udce9", "a\u0301", "٣"],
)
def test_odd_texts_work(encoder: Encoder, text: str) -> None:
    assert np.isfinite(vector(encoder, text)).all()


@given(st.text(max_size=40))
def test_any_text_gives_a_unit_vector_or_a_usage_error(encoder: Encoder, text: str) -> None:
    try:
        found = vector(encoder, text)
    except UsageError:
        return
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


def test_parts_that_cancel_out_are_refused(encoder: Encoder) -> None:
    parts = [QueryPart("low"), QueryPart("low", weight=-1)]
    with pytest.raises(UsageError, match="cancel"):
        query_vector(encoder, parts)
    with pytest.raises(UsageError, match="weight 0"):
        query_vector(encoder, [QueryPart("low", weight=0)])


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_must_be_finite(encoder: Encoder, weight: float) -> None:
    with pytest.raises(UsageError, match="finite"):
        query_vector(encoder, [QueryPart("low", weight=weight)])


def test_a_part_is_a_text_or_a_sound(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not both"):
        query_vector(encoder, [QueryPart("low", like=tmp_path / "a.wav")])


def test_a_sound_finds_its_like(encoder: Encoder, tmp_path: Path) -> None:
    low = query_vector(encoder, [QueryPart(like=write_tone(tmp_path / "low.wav", 200, 3.5))])
    assert low @ vector(encoder, "low") > 0.9 > low @ vector(encoder, "high")


def test_a_span_of_a_sound(encoder: Encoder, tmp_path: Path) -> None:
    both = np.concatenate([tone(200, 4.0), tone(3000, 4.0), noise(4.0)])
    path = write(tmp_path / "both.wav", both)
    for start, end, name in ((0.5, 3.5, "low"), (4.5, 7.5, "high"), (8.5, None, "noise")):
        found = query_vector(encoder, [QueryPart(like=path, like_start=start, like_end=end)])
        cosines = {word: found @ vector(encoder, word) for word in ("low", "high", "noise")}
        assert max(cosines, key=cosines.__getitem__) == name
    short = query_vector(encoder, [QueryPart(like=path, like_start=0, like_end=0.1)])
    assert np.isfinite(short).all()


def test_a_sound_that_cannot_be_read(encoder: Encoder, tmp_path: Path) -> None:
    with pytest.raises(AudioError):
        query_vector(encoder, [QueryPart(like=tmp_path / "missing.wav")])
    path = write_tone(tmp_path / "short.wav", 200, 1.0)
    with pytest.raises(AudioError):
        query_vector(encoder, [QueryPart(like=path, like_start=5, like_end=6)])
