"""Tiny checkpoints in the layouts of ML-CLAP and GLAP, with tokenizer, as they are pulled."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import sentencepiece
import torch

from tests.fake_model import CORPUS
from tests.patch_tools import CED_PATCH, DASHENG_PATCH, Patch, Weights, official
from train.towers.sonar import SonarShape, SonarText

SPM = "sentencepiece.source.256000.model"
PIECES = 160
SONAR = SonarShape(vocabulary=PIECES + 1 + 202 + 3, width=64, layers=2, heads=1, inner=128)


@dataclass(frozen=True)
class Size:
    """Sizes of a model, and its temperature."""

    width: int
    layers: int
    sonar: SonarShape
    dim: int
    tau: float = 0.07


TINY = Size(64, 2, SONAR, 32)


def tokenizer() -> bytes:
    """A sentencepiece model with NLLB's special pieces: `<unk>`, `<s>`, `</s>`."""
    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 3),
        model_writer=sink,
        model_type="unigram",
        vocab_size=PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    return sink.getvalue()


def sonar_weights(shape: SonarShape, seed: int) -> Weights:
    """A random text tower under the official keys."""
    torch.manual_seed(seed)
    return {key: value.clone() for key, value in SonarText(shape).state_dict().items()}


def checkpoint(patch: Patch, seed: int = 0, size: Size = TINY) -> Weights:
    """A random model under the keys of ML-CLAP or, by its patches, of GLAP."""
    weights = {
        f"audio_encoder.model.{key}": value
        for key, value in official(size.width, size.layers, patch, seed).items()
        if patch == CED_PATCH or not key.startswith("outputlayer.")
    }
    text = sonar_weights(size.sonar, seed + 1)
    weights |= {f"text_encoder.model.{key}": value for key, value in text.items()}
    for name, width in (("audio", size.width), ("text", size.sonar.width)):
        weights |= {f"{name}_proj.0.weight": 0.1 * torch.randn(size.dim, width)}
        weights |= {f"{name}_proj.2.weight": 0.3 * torch.randn(size.dim, size.dim)}
        weights |= {f"{name}_proj.{place}.bias": 0.1 * torch.randn(size.dim) for place in (0, 2)}
    return weights | ({"temperature": torch.tensor(size.tau)} if patch == CED_PATCH else {})


def make_ml_clap(folder: Path, seed: int = 0) -> Path:
    """`pretrain.pt` and the tokenizer, in a folder that is made."""
    return _written(folder, "pretrain.pt", checkpoint(CED_PATCH, seed))


def make_glap(folder: Path, seed: int = 0) -> Path:
    """`glap_checkpoint.pt` and the tokenizer, in a folder that is made."""
    return _written(folder, "glap_checkpoint.pt", {"model": checkpoint(DASHENG_PATCH, seed)})


def make_sonar(folder: Path, seed: int = 0) -> Path:
    """`sonar_text_encoder.pt` and the tokenizer, in a folder that is made."""
    return _written(folder, "sonar_text_encoder.pt", sonar_weights(SONAR, seed))


def _written(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / name)
    (folder / SPM).write_bytes(tokenizer())
    return folder
