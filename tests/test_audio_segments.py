"""Cutting: every sample is heard, whatever the blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.audio.segments import TAIL_SHARE, Mono, cut, loop_to


def ramp(samples: int) -> Mono:
    return np.arange(samples, dtype=np.float32)


@given(st.lists(st.integers(0, 70), max_size=12), st.integers(1, 40), st.data())
def test_windows_cover_the_stream(sizes: list[int], segment: int, data: st.DataObject) -> None:
    hop = data.draw(st.integers(1, segment))
    whole = ramp(sum(sizes))
    windows = list(cut(np.split(whole, np.cumsum(sizes)), segment, hop))
    heard = np.zeros(len(whole), bool)
    for start, window in windows:
        np.testing.assert_array_equal(window, whole[start : start + len(window)])
        heard[start : start + len(window)] = True
    assert (~heard).sum() <= TAIL_SHARE * hop
    assert all(len(window) == min(segment, len(whole)) for _, window in windows)
    starts = [start for start, _ in windows]
    assert starts == sorted(set(starts))


@given(st.lists(st.integers(0, 70), max_size=12), st.integers(1, 40), st.integers(1, 60))
def test_blocks_do_not_matter(sizes: list[int], segment: int, hop: int) -> None:
    whole = ramp(sum(sizes))
    pieces = list(cut(np.split(whole, np.cumsum(sizes)), segment, hop))
    at_once = list(cut([whole], segment, hop))
    assert [start for start, _ in pieces] == [start for start, _ in at_once]
    for (_, one), (_, other) in zip(pieces, at_once, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_last_window_ends_with_the_stream() -> None:
    assert [start for start, _ in cut([ramp(250)], 100, 50)] == [0, 50, 100, 150]
    assert [start for start, _ in cut([ramp(260)], 100, 50)] == [0, 50, 100, 150, 160]


def test_a_tail_of_a_tenth_of_the_hop_is_left() -> None:
    assert [start for start, _ in cut([ramp(255)], 100, 50)] == [0, 50, 100, 150]
    assert [start for start, _ in cut([ramp(256)], 100, 50)] == [0, 50, 100, 150, 156]


def test_windows_own_their_samples() -> None:
    windows = list(cut([ramp(30)], 10, 5))
    windows[0][1][:] = -1
    np.testing.assert_array_equal(windows[1][1], ramp(30)[5:15])


@given(st.integers(1, 50), st.integers(0, 200))
def test_looping_repeats_from_the_start(length: int, wanted: int) -> None:
    looped = loop_to(ramp(length), wanted)
    assert len(looped) == max(length, wanted)
    np.testing.assert_array_equal(looped, np.arange(len(looped)) % length)


def test_nothing_cannot_be_looped() -> None:
    assert len(loop_to(ramp(0), 10)) == 0
