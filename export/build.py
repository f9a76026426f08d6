"""A model folder of train/ → a model folder atri runs: two ONNX files, tokenizer, card.

Nothing is written to the target unless the ONNX graphs agree with torch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atri_cli.encoders.card import AudioTower as AudioFacts
from atri_cli.encoders.card import ModelCard, TextTower as TextFacts, write_card
from export.compact import pack_embedding, store_float16, weights_int8
from export.convert import compare, export_audio, export_text, quantise, require_agreement
from train.model import load_model
from train.phrasetokens import pad
from train.towers.mel import SAMPLE_RATE

MIN_SECONDS, SEGMENT_SECONDS, HOP_SECONDS = 1.0, 5.0, 4.0
MAX_TOKENS = 64


@dataclass(frozen=True)
class ExportReport:
    """Largest difference and smallest cosine against torch, and sizes in bytes."""

    audio: tuple[float, float]
    text: tuple[float, float]
    audio_bytes: int
    text_bytes: int


@dataclass(frozen=True)
class CardFacts:
    """What the card says beyond what the files say themselves."""

    name: str
    revision: str
    languages: tuple[str, ...]
    licences: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build(
    source: Path,
    target: Path,
    facts: CardFacts,
    texts: Sequence[str],
    *,
    text_precision: str = "int8-weights",
) -> ExportReport:
    """Convert `source` (written by train/) into `target`.

    Args:
        source: folder with `audio.safetensors`, `text.safetensors`, `tokenizer.model`.
        target: model folder to write; its files are replaced one by one, the card last.
        facts: name, revision, languages, licences, measured quality.
        texts: real texts to compare the text towers on.
        text_precision: `int8-weights` (8-bit weights in blocks), `int8` (dynamic, smaller and coarser) or `fp32`.

    Raises:
        DisagreementError: a graph does not give what torch gives.
    """
    _, audio, text = load_model(source)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        work = Path(scratch)
        export_audio(audio, work / "audio.onnx", int(MIN_SECONDS * SAMPLE_RATE))
        store_float16(work / "audio.onnx")
        audio_found = compare(work / "audio.onnx", audio, _audio_feeds())
        require_agreement("audio.onnx", audio_found, 5e-3, 0.9999)
        feeds = _text_feeds(source / "tokenizer.model", texts)
        pack_embedding(text)
        export_text(text, work / "fp32.onnx", MAX_TOKENS)
        require_agreement("text.onnx (fp32)", compare(work / "fp32.onnx", text, feeds), 1e-4, 0.9999)
        _lower_precision(work / "fp32.onnx", work / "text.onnx", text_precision)
        text_found = compare(work / "text.onnx", text, feeds)
        require_agreement("text.onnx", text_found, 0.1, 0.98)
        shutil.copy(source / "tokenizer.model", work / "tokenizer.model")
        target.mkdir(parents=True, exist_ok=True)
        for name in ("audio.onnx", "text.onnx", "tokenizer.model"):
            shutil.copy(work / name, target / f"{name}.part")
            (target / f"{name}.part").replace(target / name)
    write_card(_card(target, facts, text_precision, text.shape.dim), target)
    return ExportReport(
        audio_found,
        text_found,
        (target / "audio.onnx").stat().st_size,
        (target / "text.onnx").stat().st_size,
    )


def _lower_precision(source: Path, target: Path, precision: str) -> None:
    if precision == "int8":
        quantise(source, target)
    elif precision == "int8-weights":
        weights_int8(source, target)
    else:
        shutil.copy(source, target)


def _audio_feeds() -> list[dict[str, Tensor]]:
    """Noise and tones of several lengths and batch sizes, at several levels."""
    generator = torch.Generator().manual_seed(0)
    feeds = []
    for batch, seconds, level in ((1, 1.0, 0.5), (1, 5.0, 0.01), (3, 2.43, 0.1)):
        samples = int(seconds * SAMPLE_RATE)
        noise = torch.randn(batch, samples, generator=generator)
        tone = torch.sin(torch.arange(samples) * 0.05)[None]
        feeds.append({"waveform": (noise * 0.3 + tone) * level})
    return feeds


def _text_feeds(tokenizer: Path, texts: Sequence[str]) -> list[dict[str, Tensor]]:
    """Each text alone: a batch would lend its padding to dynamic quantisation."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer))
    tokens = [[0, *ids[: MAX_TOKENS - 2], 2] for ids in processor.encode(list(texts))]
    batches = [[row] for row in tokens]
    names = ("input_ids", "attention_mask")
    return [dict(zip(names, pad(batch), strict=True)) for batch in batches]


def _card(folder: Path, facts: CardFacts, precision: str, dim: int) -> ModelCard:
    audio = AudioFacts(
        file="audio.onnx",
        sha256=sha256(folder / "audio.onnx"),
        sample_rate=SAMPLE_RATE,
        segment_seconds=SEGMENT_SECONDS,
        hop_seconds=HOP_SECONDS,
        min_seconds=MIN_SECONDS,
    )
    text = TextFacts(
        file="text.onnx",
        sha256=sha256(folder / "text.onnx"),
        tokenizer="tokenizer.model",
        tokenizer_sha256=sha256(folder / "tokenizer.model"),
        tokenizer_rule="xlmr",
        max_tokens=MAX_TOKENS,
        languages=facts.languages,
    )
    return ModelCard(
        name=facts.name,
        revision=facts.revision,
        dim=dim,
        audio=audio,
        text=text,
        precision=precision,
        licences=facts.licences,
        quality=facts.quality,
        folder=folder,
    )


def load_facts(path: Path) -> CardFacts:
    """Read `CardFacts` from JSON."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data["languages"] = tuple(data["languages"])
    return CardFacts(**data)
