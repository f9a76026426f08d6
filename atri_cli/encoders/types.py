"""What every model offers to the rest of atri: two towers and the facts on its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atri_cli.encoders.card import ModelCard

    Vectors = NDArray[np.float32]


class Encoder(Protocol):
    """Turns sound and text into unit vectors of one shared space."""

    @property
    def card(self) -> ModelCard:
        """Facts about the model: sample rate, segment length and hop, dimension, pipeline id."""

    def expect_text(self) -> None:
        """Say that `embed_text` will be called soon: what takes long to load may begin to load."""

    def embed_audio(self, windows: Sequence[NDArray[np.float32]]) -> Vectors:
        """Embed mono waveforms at the card's sample rate.

        Args:
            windows: n waveforms, float32, any lengths up to the card's segment length.

        Returns:
            float32 [n, dim], each row of unit length. A row depends on its own waveform alone:
            not on the batch, its order, or the number of threads (max difference 1e-5).
        """

    def embed_text(self, texts: Sequence[str], lang: str | None = None) -> Vectors:
        """Embed texts.

        Args:
            texts: n texts in any of the card's languages.
            lang: BCP 47 tag; only models whose tokenizer takes a language use it.

        Returns:
            float32 [n, dim], each row of unit length.
        """
