"""The windows of a clip: cut as search cuts it, so many for every clip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atri_cli.audio.decode import load_span, stream_windows
from atri_cli.audio.segments import loop_to
from atri_cli.encoders.card import AudioTower as AudioFacts
from train.types import Clip

WINDOWS = 4
"""Windows that stand for a clip; one that has fewer repeats its own."""


def first_windows(clip: Clip, facts: AudioFacts) -> list[NDArray[np.float32]]:
    """The first windows of a clip as search cuts it, exactly `WINDOWS`: few ones are repeated.

    Args:
        clip: a file, or a part of it.
        facts: sample rate, and the lengths of segment, hop and shortest segment.

    Raises:
        AudioError: the sound cannot be read, or is silent.
    """
    rate = facts.sample_rate
    lengths = (facts.segment_seconds, facts.hop_seconds, facts.min_seconds)
    if clip.start is not None or clip.end is not None:
        length, hop, shortest = (round(seconds * rate) for seconds in lengths)
        wave = hear_span(clip, facts)
        starts = list(range(0, max(1, len(wave) - length + hop), hop))
        found = [wave[start : start + length] for start in starts[:WINDOWS]]
        found = [loop_to(one, shortest) for one in found]
    else:
        found = []
        for _, wave in stream_windows(clip.audio, rate, *lengths):
            found.append(wave)
            if len(found) == WINDOWS:
                break
    return [found[place % len(found)] for place in range(WINDOWS)]


def hear_span(clip: Clip, facts: AudioFacts) -> NDArray[np.float32]:
    """The whole clip, float32 [samples] at the model's sample rate.

    Raises:
        AudioError: the sound cannot be read.
    """
    return load_span(clip.audio, facts.sample_rate, clip.start, clip.end)
