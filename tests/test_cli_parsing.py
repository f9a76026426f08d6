"""The small languages of `atri search`."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.commands import parsing
from atri_cli.errors import UsageError
from atri_cli.library.types import QueryPart
from atri_cli.wording import clock


@pytest.mark.parametrize(
    ("text", "words", "weight"),
    [
        ("rain", "rain", 1.0),
        ("rain^2", "rain", 2.0),
        ("rain^0.5", "rain", 0.5),
        ("rain^.5", "rain", 0.5),
        ("a\nb^3", "a\nb", 3.0),
        (r"x\^2", "x^2", 1.0),
        ("x^", "x^", 1.0),
        ("x^-2", "x^-2", 1.0),
        ("x^2 y", "x^2 y", 1.0),
        ("^2", "", 2.0),
        ("", "", 1.0),
    ],
)
def test_weights(text: str, words: str, weight: float) -> None:
    assert parsing.split_weight(text) == (words, weight)


@given(st.text(max_size=20), st.floats(0.001, 1000))
def test_a_weight_can_be_put_behind_any_text(text: str, weight: float) -> None:
    if not text.endswith("\\"):
        words, found = parsing.split_weight(f"{text}^{weight:.4f}")
        assert words == text
        assert found == pytest.approx(weight, abs=1e-4)


def test_text_parts() -> None:
    assert parsing.text_part("rain^2", "en") == QueryPart(text="rain", weight=2.0, lang="en")
    assert parsing.text_part("rain^2", None, -1.0) == QueryPart(text="rain", weight=-2.0)


@pytest.mark.parametrize(
    ("value", "file", "start", "end", "weight"),
    [
        ("a.wav", "a.wav", None, None, 1.0),
        ("a.wav^2", "a.wav", None, None, 2.0),
        ("a.wav@3-4.5", "a.wav", 3.0, 4.5, 1.0),
        ("a.wav@1:05-1:08^2", "a.wav", 65.0, 68.0, 2.0),
        ("a.wav@1:00:01-", "a.wav", 3601.0, None, 1.0),
        ("a.wav@-4", "a.wav", 0.0, 4.0, 1.0),
        ("me@home.wav", "me@home.wav", None, None, 1.0),
        ("me@home.wav@1-2", "me@home.wav", 1.0, 2.0, 1.0),
        ("a@-", "a@-", None, None, 1.0),
        ("~nobody-of-this-name/a.wav", "~nobody-of-this-name/a.wav", None, None, 1.0),
    ],
)
def test_like(value: str, file: str, start: float | None, end: float | None, weight: float) -> None:
    part = QueryPart(like=Path(file), like_start=start, like_end=end, weight=weight)
    assert parsing.like_part(value) == part


def test_a_file_whose_name_looks_like_a_span_is_meant_itself(tmp_path: Path) -> None:
    odd = tmp_path / "a@1-2^3"
    odd.touch()
    assert parsing.like_part(str(odd)) == QueryPart(like=odd)
    assert parsing.like_part(f"{odd}^2") == QueryPart(like=odd, weight=2.0)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(UsageError, match="ends before it starts"):
        parsing.like_part("a.wav@5-3")


@given(st.integers(0, 10**6), st.integers(1, 10**5))
def test_a_shown_span_can_be_asked_for(start: int, length: int) -> None:
    shown = f"a.wav@{clock(start / 10)}-{clock((start + length) / 10)}"
    part = parsing.like_part(shown)
    assert part.like_start == pytest.approx(start / 10)
    assert part.like_end == pytest.approx((start + length) / 10)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("1..10", 1.0, 10.0),
        ("..5", None, 5.0),
        ("60..", 60.0, None),
        ("1.5m..2h", 90.0, 7200.0),
        (" 2s .. 3s ", 2.0, 3.0),
        ("0..0", 0.0, 0.0),
    ],
)
def test_durations(value: str, low: float | None, high: float | None) -> None:
    assert parsing.duration_range(value) == (low, high)


@pytest.mark.parametrize("value", ["", "..", "5", "a..b", "10..1", "-1..2", "1..2..3", "1d..2d"])
def test_wrong_durations_are_refused_with_an_example(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsing.duration_range(value)
    assert "1..10" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("90s", 90), ("2h", 7200), ("7d", 604800), ("30m", 1800), ("1.5w", 907200)],
)
def test_ages(value: str, seconds: float) -> None:
    assert parsing.since(value, now=1e9) == 1e9 - seconds
    assert parsing.since(value) == pytest.approx(time.time() - seconds, abs=60)


def test_dates_are_local_unless_they_say_otherwise() -> None:
    assert parsing.since("2026-01-31") == datetime(2026, 1, 31).timestamp()
    assert parsing.since("1970-01-02T00:00+00:00") == 86400


@pytest.mark.parametrize("value", ["", "soon", "7", "2026-13-01", "31.01.2026", "7y"])
def test_other_dates_are_refused_with_an_example(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsing.since(value)
    assert "7d" in caught.value.hint


def test_extensions() -> None:
    assert parsing.extensions(["wav,.FLAC", " ogg ", "wav", ""]) == ("wav", "flac", "ogg")
