"""An encoder in plain numpy, for tests of the library that need no ONNX file."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atri_cli.encoders.card import AudioTower, ModelCard, TextTower


def fake_card(dim: int = 8, name: str = "fake") -> ModelCard:
    """A card of two-second segments at 16 kHz; `dim` and `name` change its pipeline id."""
    audio = AudioTower(f"{name}.onnx", "", 16000, 2.0, 1.0, 0.5)
    return ModelCard(name, "1", dim, audio, TextTower("t", "", "k", "", "xlmr", 8))


class FakeEncoder:
    """Vectors from a few bands of the spectrum. Counts the windows it embeds.

    Args:
        dim: of its vectors.
        seconds_each: how long it pretends to work on a window.
        name: of the model.
    """

    def __init__(self, dim: int = 8, seconds_each: float = 0.0, name: str = "fake") -> None:
        self.card = fake_card(dim, name)
        self.seconds_each = seconds_each
        self.embedded = 0
        self._lock = threading.Lock()

    def embed_audio(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        with self._lock:
            self.embedded += len(windows)
        time.sleep(self.seconds_each * len(windows))
        return np.stack([self._vector(window) for window in windows])

    def expect_text(self) -> None:
        pass

    def embed_text(self, texts: Sequence[str], lang: str | None = None) -> NDArray[np.float32]:
        assert lang is None
        return np.stack([self._unit(np.ones(self.card.dim)) for _ in texts])

    def _vector(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        power = np.abs(np.fft.rfft(window.astype(np.float64))) ** 2
        bands = np.array_split(power, self.card.dim)
        return self._unit(np.array([np.log1p(band.sum()) for band in bands]) + 1e-3)

    @staticmethod
    def _unit(values: NDArray[np.float64]) -> NDArray[np.float32]:
        return (values / np.linalg.norm(values)).astype(np.float32)


class PointingEncoder(FakeEncoder):
    """Any text is the direction given, float32 [dim]."""

    def __init__(self, direction: NDArray[np.float32]) -> None:
        super().__init__(len(direction))
        self.direction = direction

    def embed_text(self, texts: Sequence[str], lang: str | None = None) -> NDArray[np.float32]:
        assert lang is None
        return np.stack([self.direction for _ in texts])
