"""A trained model as torch modules: what `export/` converts, and its folder.

Folder: `audio.safetensors`, `text.safetensors`, `tokenizer.model`, `model.json` (sizes and facts).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from atri_cli.encoders.card import AudioTower as AudioFacts
from train.phrasetokens import by_length, pad
from train.towers.audio import AudioNet, features
from train.towers.freezing import Freeze
from train.towers.heads import AudioHead
from train.towers.mel import SAMPLE_RATE, LogMel
from train.towers.text import TextNet, TextShape
from train.towers.tower import Tower

HEARING = AudioFacts("", "", SAMPLE_RATE, segment_seconds=5.0, hop_seconds=4.0, min_seconds=1.0)
"""How its audio tower is fed; its files are not known yet."""


@dataclass(frozen=True)
class ModelShape:
    """Everything needed to build the modules before loading their weights."""

    widen: float
    widen_tail: float
    head_inputs: int
    head_hidden: int
    text: TextShape
    dim: int = 256


class AudioTower(Tower):
    """Waveform float32 [batch, samples] at 32 kHz → unit vectors float32 [batch, dim]."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.mel = LogMel()
        self.net = AudioNet(shape.widen, shape.widen_tail)
        self.head = AudioHead(shape.head_inputs, shape.head_hidden, 0.0, shape.dim)

    def pooled(self, waveform: Tensor) -> Tensor:
        return features(*self.net(self.mel(waveform)))

    def forward(self, waveform: Tensor) -> Tensor:
        return self.unit(self.pooled(waveform))


class TextTower(TextNet, Tower):
    """Ids and mask int64 [batch, tokens] → unit vectors float32 [batch, dim].

    As in alignment, the pooled vector is brought to unit length before the last linear map.
    """

    HEAD = "project"

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return F.normalize(self.encode(self.embed(input_ids), attention_mask), dim=-1)

    def unit(self, pooled: Tensor) -> Tensor:
        return F.normalize(self.project(pooled), dim=-1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.unit(self.pooled(input_ids, attention_mask))

    def freeze(self, how: Freeze) -> None:
        """Freeze the network; the tokens stay: rare words keep their vectors, the table 4 bits."""
        super().freeze(how)
        self.tokens.requires_grad_(False)


def save_model(
    folder: Path, shape: ModelShape, audio: AudioTower, text: TextTower, tokenizer: bytes
) -> None:
    """Write a model folder; each file by rename, `model.json` last."""
    write_folder(folder, asdict(shape), audio, text, tokenizer)


def write_folder(
    folder: Path, facts: Mapping[str, Any], audio: Tower, text: Tower, tokenizer: bytes
) -> None:
    """Write the files of a model of any architecture; `facts` go into `model.json`, last."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    for name, module in (("audio", audio), ("text", text)):
        part = folder / f"{name}.part"
        try:
            save_file({k: v.contiguous() for k, v in module.state_dict().items()}, part)
            part.replace(folder / f"{name}.safetensors")
        finally:
            part.unlink(missing_ok=True)
    (folder / "tokenizer.model").write_bytes(tokenizer)
    (folder / "model.json").write_text(json.dumps(dict(facts), indent=1) + "\n")


def load_model(folder: Path) -> tuple[ModelShape, AudioTower, TextTower]:
    """Read a model folder back, both towers in eval mode.

    Raises:
        FileNotFoundError: a file is missing.
        RuntimeError: weights of another shape.
    """
    from safetensors.torch import load_file

    facts = json.loads((folder / "model.json").read_text())
    sizes = {name: value for name, value in facts.items() if name not in ("kind", "sample_rate")}
    shape = ModelShape(**{**sizes, "text": TextShape(**facts["text"])})
    audio, text = AudioTower(shape), TextTower(shape.text)
    audio.load_state_dict(load_file(folder / "audio.safetensors"))
    text.load_state_dict(load_file(folder / "text.safetensors"))
    return shape, audio.eval(), text.eval()


@torch.no_grad()
def embed_texts(text: TextTower, tokens: list[list[int]], size: int = 64) -> Tensor:
    """Unit vectors [n, dim] of tokenised texts, in batches padded on the right."""
    rows = torch.empty(len(tokens), text.shape.dim)
    for picks in by_length(tokens, size):
        rows[picks] = text(*pad([tokens[i] for i in picks]))
    return rows
