"""A made-up world of sounds and words, and towers that learn it in seconds, without a download.

A class decides a sound's timbre and register, a recording its pitch, level, phase and noise. A
caption names the class and whether the sound is short or long, in invented words of its language.
"""

from __future__ import annotations

import math
import wave
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from atri_cli.audio.decode import load_span
from atri_cli.audio.segments import loop_to
from atri_cli.queryfile import QueryRow, write_queries
from train.data.augment import Augment, Wave, mix, noise
from train.towers.mel import N_MELS, SAMPLE_RATE, LogMel
from train.types import Clip, Inputs, TwoTower

Samples = NDArray[np.float64]

MANIFEST = "manifest.tsv"
RATE = 16_000
SECONDS = 1.0
LENGTHS = (0.3, 0.9)  # of a short and a long sound, as a share of the file
SPLITS = ("train", "train", "train", "validation", "test")
KINDS = 4
LOWEST, OCTAVES = 100.0, 4.5  # in Hz, and so that three harmonics stay below 8 kHz
CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"
BUCKETS = 512
SHORTEST = 0.1  # seconds that the front end hears at least


def make_synthetic(
    folder: Path, classes: int, clips_per_class: int, languages: Sequence[str], seed: int
) -> Path:
    """Write sounds (wav, 16 kHz, 16 bits, 1 s) and their manifest; the same bytes every time.

    Of five clips of a class, three are to learn from, one is for validation and one for the test.
    Each clip is a recording of its own.

    Args:
        folder: is made.
        classes: at most 4000.
        clips_per_class: fewer than five leave a split empty.
        languages: tags as in a query file.
        seed: of words and sounds.

    Returns:
        Path of the manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = {tag: _words(classes + len(LENGTHS), seed, tag) for tag in languages}
    rows = []
    for number in range(classes):
        for take in range(clips_per_class):
            rng = np.random.default_rng((seed, number, take))
            length = int(rng.integers(len(LENGTHS)))
            name = f"class{number}-{_letters(take)}"
            _write(folder / f"{name}.wav", _sound(number, classes, length, rng))
            texts = {tag: (f"{found[2 + number]} {found[length]}",) for tag, found in words.items()}
            rows.append(QueryRow(name, texts, (f"{name}.wav",), SPLITS[take % len(SPLITS)]))
    write_queries(folder / MANIFEST, rows, languages)
    return folder / MANIFEST


def _words(count: int, seed: int, tag: str) -> list[str]:
    """Different invented words of two syllables."""
    syllables = [c + v for c in CONSONANTS for v in VOWELS]
    order = np.random.default_rng((seed, *tag.encode())).permutation(len(syllables) ** 2)[:count]
    return [syllables[n // len(syllables)] + syllables[n % len(syllables)] for n in order]


def _letters(number: int) -> str:
    """A number in letters: trailing digits would make takes of one recording (`recording_key`)."""
    rest, last = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + chr(ord("a") + last)


def _sound(number: int, classes: int, length: int, rng: np.random.Generator) -> Wave:
    """A recording of a class, float32 [samples]."""
    kind, step = number % KINDS, number // KINDS
    height = (step + 0.5) / math.ceil(classes / KINDS)
    hertz = LOWEST * 2 ** (OCTAVES * height + rng.uniform(-0.1, 0.1))
    time = np.arange(round(RATE * SECONDS * LENGTHS[length] * rng.uniform(0.9, 1.1))) / RATE
    made = (_tone, _sweep, _noise_band, _clicks)[kind](time, hertz, rng)
    faded = made * np.minimum(1, np.minimum(time, time[-1] - time) / 0.01)
    silence = np.zeros(round(RATE * SECONDS))
    start = int(rng.integers(len(silence) - len(faded) + 1))
    silence[start : start + len(faded)] = faded / np.abs(faded).max() * 10 ** rng.uniform(-1, -0.1)
    heard = silence.astype(np.float32)
    return mix(heard, noise(len(heard), rng, "pink"), rng.uniform(15, 30), None)


def _tone(time: Samples, hertz: float, rng: np.random.Generator) -> Samples:
    """Three harmonics."""
    phases = rng.uniform(0, 2 * np.pi, 3)
    parts = [np.sin(2 * np.pi * hertz * n * time + phases[n - 1]) / n for n in (1, 2, 3)]
    summed: Samples = np.sum(parts, axis=0)
    return summed


def _sweep(time: Samples, hertz: float, rng: np.random.Generator) -> Samples:
    """Up by an octave and a half in the sound's whole length."""
    octaves = rng.uniform(1.4, 1.6)
    rate = octaves * math.log(2) / time[-1]
    swept: Samples = np.sin(2 * np.pi * hertz * (np.exp(rate * time) - 1) / rate)
    return swept


def _noise_band(time: Samples, hertz: float, rng: np.random.Generator) -> Samples:
    """Noise half an octave wide."""
    spectrum = np.fft.rfft(rng.standard_normal(len(time)))
    octaves = np.log2(np.fft.rfftfreq(len(time), 1 / RATE) / hertz + 1e-9)
    return np.fft.irfft(np.where(np.abs(octaves) < 0.25, spectrum, 0), len(time))


def _clicks(time: Samples, hertz: float, rng: np.random.Generator) -> Samples:
    """Twelve to sixteen short rings a second."""
    since = (time + rng.uniform(0, 0.1)) % (1 / rng.uniform(12, 16))
    rings: Samples = np.sin(2 * np.pi * hertz * since) * np.exp(-since / 0.005)
    return rings


def _write(path: Path, samples: Wave) -> None:
    whole = np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(whole.tobytes())


class SyntheticTowers(TwoTower):
    """Tiny towers: statistics of the log-mel, and hashed pieces of words; a hidden layer each.

    Args:
        dim: of the vectors.
        hidden: width of the hidden layers.
        seed: of the weights.
        augment: changes the sounds of a batch, when the loop gives an rng; they are mixed with
            one another.
    """

    def __init__(
        self, dim: int = 32, hidden: int = 64, seed: int = 0, augment: Augment | None = None
    ) -> None:
        super().__init__()
        self.dim, self.augment = dim, augment
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.audio, self.text = _head(2 * N_MELS, hidden, dim), _head(BUCKETS, hidden, dim)
        self.log_tau = nn.Parameter(torch.tensor(math.log(0.07)))
        self._clean: dict[tuple[Path, float | None, float | None], Tensor] = {}

    def collate_audio(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Inputs:
        """Mean and deviation of the log-mel over time, float32 [n, 256].

        Raises:
            AudioError: a sound cannot be read.
        """
        if rng is None or self.augment is None:
            return (torch.stack([self._features(clip) for clip in clips]),)
        waves = [_load(clip) for clip in clips]
        views = [self.augment(one, SAMPLE_RATE, rng, waves) for one in waves]
        return (torch.stack([_statistics(view) for view in views]),)

    def _features(self, clip: Clip) -> Tensor:
        key = (clip.audio, clip.start, clip.end)
        if key not in self._clean:
            self._clean[key] = _statistics(_load(clip))
        return self._clean[key]

    def collate_text(self, captions: Sequence[tuple[str, str]]) -> Inputs:
        """Which pieces each caption has in its language, of unit length, float32 [n, 512]."""
        rows = torch.stack([_pieces(tag, text) for tag, text in captions])
        return (F.normalize(rows, dim=-1),)

    def encode_audio(self, *inputs: Tensor) -> Tensor:
        return F.normalize(self.audio(inputs[0]), dim=-1)

    def encode_text(self, *inputs: Tensor) -> Tensor:
        return F.normalize(self.text(inputs[0]), dim=-1)


def _head(inputs: int, hidden: int, dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, dim))


@cache
def _front() -> LogMel:
    """On the CPU whatever the model's device is, as collating is done there."""
    return LogMel()


def _load(clip: Clip) -> Wave:
    waveform = load_span(clip.audio, SAMPLE_RATE, clip.start, clip.end)
    return loop_to(waveform, round(SHORTEST * SAMPLE_RATE))


@torch.no_grad()
def _statistics(samples: Wave) -> Tensor:
    mel = _front()(torch.from_numpy(samples)[None])[0, 0]
    return torch.cat([mel.mean(1), mel.std(1)])


def _pieces(tag: str, text: str) -> Tensor:
    """How often each hash of three characters occurs, float32 [512]."""
    spaced = f" {' '.join(text.casefold().split())} "
    hashes = [
        zlib.crc32(f"{tag}\0{spaced[at : at + 3]}".encode()) % BUCKETS
        for at in range(max(1, len(spaced) - 2))
    ]
    return torch.bincount(torch.tensor(hashes), minlength=BUCKETS).float()
