"""The paper's kind of model as torch modules: CED or Dasheng, and SONAR, with a head each.

Folder: `audio.safetensors`, `text.safetensors`, `tokenizer.model`, `model.json` (sizes and facts).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atri_cli.encoders.card import AudioTower as AudioFacts
from train.towers.ced import Ced
from train.towers.dasheng import Dasheng
from train.towers.decibels import SAMPLE_RATE
from train.towers.heads import ProjectionHead
from train.towers.patches import PatchTower, TowerShape
from train.towers.sonar import SonarShape, SonarText
from train.towers.tower import Tower

NETWORKS: dict[str, type[PatchTower]] = {"ced": Ced, "dasheng": Dasheng}
"""Audio networks, by the name that `model.json` has for them."""
HEARING = AudioFacts("", "", SAMPLE_RATE, segment_seconds=10.0, hop_seconds=8.0, min_seconds=0.16)
"""How its audio tower is fed; its files are not known yet."""


@dataclass(frozen=True)
class LargeShape:
    """Everything needed to build the modules before loading their weights."""

    network: str
    audio: TowerShape
    text: SonarShape
    dim: int

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> LargeShape:
        """The shape that `asdict` gave.

        Raises:
            KeyError, TypeError: it is none.
        """
        network, audio = facts["network"], TowerShape(**facts["audio"])
        if network not in NETWORKS:
            raise KeyError(f"network `{network}`")
        return cls(network, audio, SonarShape(**facts["text"]), int(facts["dim"]))


class LargeAudio(Tower):
    """Waveform float32 [batch, samples] at 16 kHz → unit vectors float32 [batch, dim]."""

    def __init__(self, body: PatchTower, head: ProjectionHead) -> None:
        super().__init__()
        self.body, self.head = body, head

    def pooled(self, waveform: Tensor) -> Tensor:
        found: Tensor = self.body(waveform)
        return found

    def forward(self, waveform: Tensor) -> Tensor:
        return self.unit(self.pooled(waveform))


class LargeText(Tower):
    """Ids and mask int64 [batch, tokens] → unit vectors float32 [batch, dim]."""

    def __init__(self, body: SonarText, head: ProjectionHead) -> None:
        super().__init__()
        self.body, self.head = body, head

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found: Tensor = self.body(input_ids, attention_mask)
        return found

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.unit(self.pooled(input_ids, attention_mask))


def empty_towers(shape: LargeShape) -> tuple[LargeAudio, LargeText]:
    """Towers on the meta device, to be given weights."""
    with torch.device("meta"):
        audio = LargeAudio(
            NETWORKS[shape.network](shape.audio), ProjectionHead(shape.audio.width, shape.dim)
        )
        text = LargeText(SonarText(shape.text), ProjectionHead(shape.text.width, shape.dim))
    return audio, text


def shape_of(audio: LargeAudio, text: LargeText) -> LargeShape:
    """The shape of towers that were built from something else."""
    network = next(name for name, kind in NETWORKS.items() if isinstance(audio.body, kind))
    return LargeShape(network, audio.body.shape, text.body.shape, audio.head.second.out_features)


def draw_head(inputs: int, dim: int, seed: int) -> ProjectionHead:
    """A head that nothing has trained yet; the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ProjectionHead(inputs, dim)
