"""SONAR's text encoder through the real sonar-space, where its package is installed.

`--via sonar-space`: the package builds its own module and reads the checkpoint in its own way; the
weights then become those of our tower, after both have given the same vectors.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atri_cli.errors import ModelError, RuntimeMissingError
from train.towers.layouts import fill, read_weights
from train.towers.sonar import SonarShape, SonarText, sonar_shape

INSTALL = 'pip install "atri-cli[sonar]"'
MOST = 2e-6
"""Largest difference of unit vectors between the package and our tower."""


def load_via_sonar_space(path: Path) -> SonarText:
    """The encoder of an official checkpoint as sonar-space reads it, in eval mode.

    Raises:
        RuntimeMissingError: sonar-space or fairseq2 is not installed.
        ModelError: the checkpoint is unreadable or no SONAR, or our tower does not give what the
            package gives.
    """
    if any(importlib.util.find_spec(name) is None for name in ("sonar", "fairseq2")):
        raise RuntimeMissingError(
            "`--via sonar-space` needs the package sonar-space.",
            why="It exists for Python 3.11 and 3.12, on Linux x86-64 and macOS arm64.",
            hint=f"Type `{INSTALL}` in an environment of its own, or leave out `--via`.",
        )
    real, shape = real_encoder(read_weights(path), path)
    with torch.device("meta"):
        net = SonarText(shape)
    net = fill(net, real.state_dict(), path).eval()
    ids, mask = _texts(shape)
    with torch.no_grad():
        pair = [
            F.normalize(found, dim=-1) for found in (real_vectors(real, ids, mask), net(ids, mask))
        ]
    apart = float((pair[0] - pair[1]).abs().max())
    if not apart <= MOST:
        raise ModelError(
            f"The tower of `{path}` does not give what sonar-space gives.",
            why=f"Unit vectors differ by {apart:.1e}.",
            hint="Leave out `--via`, and report it.",
        )
    return net


def real_encoder(weights: Mapping[str, Tensor], path: Path) -> tuple[nn.Module, SonarShape]:
    """The package's own module with these weights, in eval mode, and its sizes."""
    checkpoints: Any = importlib.import_module("sonar.models.sonar_text.checkpoint")
    config = _config(shape := sonar_shape(weights))
    try:
        state = checkpoints._convert_sonar_text_encoder_checkpoint({"model": dict(weights)}, config)
        real = new_encoder(shape)
        real.load_state_dict(state)
    except (KeyError, RuntimeError, AttributeError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ModelError(f"sonar-space cannot load `{path}`.", why=why) from error
    return real.eval(), shape


def new_encoder(shape: SonarShape) -> nn.Module:
    """The package's module with weights as it draws them."""
    package: Any = importlib.import_module("sonar.models.sonar_text")
    found: nn.Module = package.SonarTextEncoderFactory(_config(shape)).create_model()
    return found


def _config(shape: SonarShape) -> Any:
    """`basic` of the package in these sizes."""
    package: Any = importlib.import_module("sonar.models.sonar_text")
    words: Any = importlib.import_module("fairseq2.data.tokenizers.vocab_info")
    vocabulary = words.VocabularyInfo(
        size=shape.vocabulary, unk_idx=1, bos_idx=2, eos_idx=3, pad_idx=1
    )
    return package.SonarTextEncoderConfig(
        model_dim=shape.width,
        vocab_info=vocabulary,
        max_seq_len=shape.tokens - 2,
        num_encoder_layers=shape.layers,
        num_decoder_layers=shape.layers,
        num_encoder_attn_heads=shape.heads,
        num_decoder_attn_heads=shape.heads,
        ffn_inner_dim=shape.inner,
        pooling="mean",
        _from_fairseq=True,
    )


def real_vectors(real: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
    """Sentence vectors [batch, width] of the package's module; ids and mask [batch, tokens]."""
    parts: Any = importlib.import_module("fairseq2.nn")
    layout = parts.BatchLayout(tuple(ids.shape), seq_lens=mask.sum(1).tolist())
    found: Tensor = real(ids, layout).sentence_embeddings
    return found


def _texts(shape: SonarShape) -> tuple[Tensor, Tensor]:
    """Three rows of ids of different lengths, padded."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, shape.vocabulary, (3, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor([[12], [3], [7]])).long()
    return ids * mask, mask
