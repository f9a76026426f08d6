"""Augmentation: levels as asked, lengths kept, silence silent, filters equal to their recursion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.sounds import tone
from train.data.augment import (
    Augment,
    Band,
    Colour,
    crop,
    equalise,
    gain,
    mix,
    noise,
    peaking_filter,
)

RATE = 16_000
NEVER = Augment(crop=0, eq=0, mix=0, noise=0, gain=0)
ALWAYS = Augment(crop=1, eq=1, mix=1, noise=1, gain=1)

seeds = st.integers(0, 2**32)
levels = st.sampled_from([0.0, 1e-30, 1e-4, 0.3, 1.0])
lengths = st.integers(1, 3000)
colours = st.sampled_from(["white", "pink"])


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def wave(length: int, level: float, seed: int = 0) -> NDArray[np.float32]:
    return (level * rng(seed).uniform(-1, 1, length)).astype(np.float32)


def decibels(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    powers = [np.mean(np.square(one, dtype=np.float64)) for one in (first, second)]
    return float(10 * np.log10(powers[0] / powers[1]))


@given(lengths, levels, levels, seeds)
def test_a_view_is_finite_of_its_length_and_within_one(
    length: int, level: float, other: float, seed: int
) -> None:
    sound, others = wave(length, level, seed), [wave(length // 2 + 1, other)]
    before = sound.copy()
    view = ALWAYS(sound, RATE, rng(seed), others)
    assert view.dtype == np.float32
    assert view.shape == (length,)
    assert np.isfinite(view).all()
    assert np.abs(view).max() <= 1
    if level == 0:
        assert not view.any()
    np.testing.assert_array_equal(sound, before)
    np.testing.assert_array_equal(view, ALWAYS(sound, RATE, rng(seed), others))


@given(lengths, seeds)
def test_without_chances_nothing_changes_but_too_loud_a_peak(length: int, seed: int) -> None:
    sound = wave(length, 1.0, seed)
    np.testing.assert_array_equal(NEVER(sound, RATE, rng(seed), [sound]), sound)
    louder = NEVER(8 * sound + 1, RATE, rng(seed))
    np.testing.assert_allclose(louder, (8 * sound + 1) / max(1, np.abs(8 * sound + 1).max()), 1e-6)


@pytest.mark.parametrize("name", ["crop", "eq", "mix", "noise", "gain"])
def test_each_chance_switches_its_own_change(name: str) -> None:
    sound, others = 0.2 * tone(rate=RATE), [0.2 * tone(1234, rate=RATE)]
    changed = [
        not np.array_equal(replace(NEVER, **{name: 0.5})(sound, RATE, rng(seed), others), sound)
        for seed in range(60)
    ]
    assert 15 < sum(changed) < 45


def test_nothing_to_mix_in() -> None:
    sound = wave(100, 0.5)
    np.testing.assert_array_equal(replace(NEVER, mix=1)(sound, RATE, rng()), sound)


@given(st.integers(1, 40), st.integers(1, 90), st.none() | seeds)
def test_a_crop_is_a_piece_of_the_loop(length: int, wanted: int, seed: int | None) -> None:
    found = crop(np.arange(length), wanted, None if seed is None else rng(seed))
    assert len(found) == wanted
    np.testing.assert_array_equal(found, (found[0] + np.arange(wanted)) % length)
    if seed is None:
        assert found[0] == 0


@given(st.floats(-60, 20), seeds)
def test_gain_is_in_decibels(by: float, seed: int) -> None:
    sound = wave(500, 0.5, seed)
    assert decibels(gain(sound, by), sound) == pytest.approx(by, abs=1e-4)


@given(st.floats(-20, 40), st.integers(2, 2000), st.integers(2, 2000), seeds)
def test_mixtures_have_the_ratio_asked_for(snr: float, length: int, under: int, seed: int) -> None:
    sound, other = wave(length, 0.7, seed), wave(under, 1e-3, seed + 1)
    mixed = mix(sound, other, snr, rng(seed)).astype(np.float64)
    assert decibels(sound, mixed - sound) == pytest.approx(snr, abs=0.05)
    added, loops = mixed - sound, crop(other, length, rng(seed))
    np.testing.assert_allclose(added / added.std(), loops / loops.std(), atol=1e-3)


@given(lengths, st.floats(-20, 40))
def test_silence_neither_gives_nor_takes(length: int, snr: float) -> None:
    silent, sound = np.zeros(length, np.float32), wave(length, 0.5)
    assert not mix(silent, sound, snr, rng()).any()
    np.testing.assert_array_equal(mix(sound, silent, snr, rng()), sound)


@pytest.mark.parametrize(("colour", "slope"), [("white", 0.0), ("pink", -3.01)])
def test_noise_has_its_colour(colour: Colour, slope: float) -> None:
    power = np.square(np.abs(np.fft.rfft(noise(2**17, rng(), colour).astype(np.float64))))
    octaves = [np.log10(power[2**n : 2 ** (n + 1)].mean()) * 10 for n in range(8, 16)]
    assert np.polyfit(np.arange(8), octaves, 1)[0] == pytest.approx(slope, abs=0.15)
    assert [len(noise(n, rng(), colour)) for n in (1, 2, 3, 100)] == [1, 2, 3, 100]


def recursion(sound: NDArray[np.float32], band: Band) -> NDArray[np.float64]:
    """y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2]."""
    b, a = peaking_filter(band, RATE)
    x, y = np.concatenate([[0, 0], sound.astype(np.float64)]), np.zeros(len(sound) + 2)
    for n in range(2, len(y)):
        y[n] = b @ x[n - 2 : n + 1][::-1] - a[1] * y[n - 1] - a[2] * y[n - 2]
    return y[2:]


bands = st.builds(Band, st.floats(60, 7500), st.floats(-18, 18), st.floats(0.2, 8))


@given(st.integers(1, 500), bands, bands, seeds)
def test_the_equaliser_equals_its_recursion(n: int, first: Band, second: Band, seed: int) -> None:
    sound = wave(n, 1.0, seed)
    wanted = recursion(recursion(sound, first).astype(np.float32), second)
    np.testing.assert_allclose(equalise(sound, RATE, [first, second]), wanted, atol=2e-5)


@given(bands)
def test_a_bell_has_its_height_at_its_centre(band: Band) -> None:
    sound = tone(band.centre, 4.0, RATE)
    middle = slice(RATE, 3 * RATE)
    heard = equalise(sound, RATE, [band])
    assert decibels(heard[middle], sound[middle]) == pytest.approx(band.decibels, abs=0.05)


def test_a_filter_that_cannot_be() -> None:
    for band in (Band(8000, 3), Band(0, 3), Band(100, 3, 0)):
        with pytest.raises(ValueError, match="no filter at 16000 Hz"):
            equalise(wave(10, 1.0), RATE, [band])
