"""What the parts of fine-tuning share: clips with captions, and the model as the loop sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
"""What a tower reads: tensors with the same first dimension, one row an example."""


@dataclass(frozen=True)
class Clip:
    """One sound and what it is called.

    `captions` maps BCP 47 tags to one or more phrasings; a language may be missing. `start` and
    `end` in seconds choose a part of the file. Clips of one `recording` never stand on both sides
    of a split. `line` is that of the manifest, for messages; 0 when there is none.
    """

    id: str
    audio: Path
    captions: Mapping[str, tuple[str, ...]]
    start: float | None = None
    end: float | None = None
    split: str = "train"
    recording: str = ""
    line: int = 0
    note: str = field(default="", compare=False)


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
