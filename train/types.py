"""The model as the training loop sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from atri_cli.errors import AudioError
from train.clips import Clip

__all__ = ["Clip", "Inputs", "Tell", "TwoTower"]

TEXTS = 256  # captions encoded at a time outside of training
Tell = Callable[[int, int], None]

Inputs = tuple[Tensor, ...]
"""What a tower reads: tensors with the same first dimension, one row an example."""


class TwoTower(nn.Module, ABC):
    """A model as the training loop sees it: collate on the CPU, encode on the device.

    A frozen tower gives cached features from `collate_*`, so that encoding is only its head.
    """

    dim: int
    log_tau: nn.Parameter
    """Natural logarithm of the temperature, scalar; `requires_grad` says whether it is learned."""

    @abstractmethod
    def collate_audio(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Inputs:
        """What `encode_audio` reads for these clips; `rng` for crops and augmentation, or None."""

    @abstractmethod
    def collate_text(self, captions: Sequence[tuple[str, str]]) -> Inputs:
        """What `encode_text` reads for these captions, each (language tag, text)."""

    @abstractmethod
    def encode_audio(self, *inputs: Tensor) -> Tensor:
        """Unit vectors float [n, dim]."""

    @abstractmethod
    def encode_text(self, *inputs: Tensor) -> Tensor:
        """Unit vectors float [n, dim]."""

    def prepare(
        self,
        clips: Sequence[Clip],
        tell: Tell = lambda *_: None,  # noqa: ARG002
    ) -> tuple[list[Clip], list[AudioError]]:
        """Do once what serves all epochs; `tell` hears how many clips are done, and of how many.

        Returns:
            The clips that can be learnt from, and why the others cannot.
        """
        return list(clips), []

    @torch.no_grad()
    def windows(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        """Unit vectors of each clip's windows, float32 [windows, dim], as search has them."""
        self.eval()
        found = []
        for clip in clips:
            inputs = (one.to(self.log_tau.device) for one in self.collate_audio([clip], None))
            found.append(self.encode_audio(*inputs).cpu().numpy())
        return found

    @torch.no_grad()
    def texts(self, captions: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Unit vectors of captions, float32 [n, dim]."""
        self.eval()
        rows = []
        for at in range(0, len(captions), TEXTS):
            inputs = self.collate_text(captions[at : at + TEXTS])
            rows.append(self.encode_text(*(one.to(self.log_tau.device) for one in inputs)))
        return torch.cat(rows).cpu().numpy()
