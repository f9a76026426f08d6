"""A model folder of train/ → a model folder atri runs: two ONNX files, tokenizer, card.

Nothing is written to the target unless the ONNX graphs agree with torch.
"""

from __future__ import annotations

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
from atri_cli.encoders.card import ModelCard, write_card
from atri_cli.encoders.card import TextTower as TextFacts
from atri_cli.encoders.registry import file_sha256
from export.compact import pack_embedding, store_float16, weights_int8, weights_outside
from export.convert import compare, export_audio, export_text, quantise, require_agreement
from train.model import AudioTower, TextTower, load_model
from train.phrasetokens import encode, pad
from train.towers.mel import SAMPLE_RATE

MIN_SECONDS, SEGMENT_SECONDS, HOP_SECONDS = 1.0, 5.0, 4.0
MAX_TOKENS = 64
AUDIO, TEXT, TOKENIZER = "audio.onnx", "text.onnx", "tokenizer.model"
TEXT_DATA = f"{TEXT}.data"


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
        text_precision: `int8-weights` (8-bit weights in blocks), `int8` (dynamic, smaller and
            coarser) or `fp32`.

    Raises:
        DisagreementError: a graph does not give what torch gives; the target stays as it was.
        ValueError: the token table has no exact 4-bit form.
    """
    _, audio, text = load_model(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        work = Path(scratch)
        audio_found = _convert_audio(audio, work / AUDIO)
        feeds = _text_feeds(source / TOKENIZER, texts)
        text_found = _convert_text(text, work / TEXT, feeds, text_precision)
        shutil.copy(source / TOKENIZER, work / TOKENIZER)
        _install(work, target)
    write_card(_card(target, facts, text_precision, text.shape.dim), target)
    sizes = {name: (target / name).stat().st_size for name in (AUDIO, TEXT, TEXT_DATA)}
    text_bytes = sizes[TEXT] + sizes[TEXT_DATA]
    return ExportReport(audio_found, text_found, sizes[AUDIO], text_bytes)


def _convert_audio(audio: AudioTower, path: Path) -> tuple[float, float]:
    """Write and check audio.onnx, its large weights in float16."""
    export_audio(audio, path, int(MIN_SECONDS * SAMPLE_RATE))
    store_float16(path)
    found = compare(path, audio, _audio_feeds())
    require_agreement(AUDIO, found, 5e-3, 0.9999)
    return found


def _convert_text(
    text: TextTower, path: Path, feeds: Sequence[dict[str, Tensor]], precision: str
) -> tuple[float, float]:
    """Write and check text.onnx, first in float32, then in the precision asked for."""
    pack_embedding(text)
    exact = path.with_name("fp32.onnx")
    export_text(text, exact, MAX_TOKENS)
    require_agreement(f"{TEXT} (fp32)", compare(exact, text, feeds), 1e-4, 0.9999)
    _lower_precision(exact, path, precision)
    weights_outside(path)
    found = compare(path, text, feeds)
    require_agreement(TEXT, found, 0.1, 0.98)
    return found


def _install(work: Path, target: Path) -> None:
    """Copy the files to the target, each by rename."""
    target.mkdir(exist_ok=True)
    for name in (AUDIO, TEXT, TEXT_DATA, TOKENIZER):
        shutil.copy(work / name, target / f"{name}.part")
        (target / f"{name}.part").replace(target / name)


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
    names = ("input_ids", "attention_mask")
    rows = encode(list(texts), tokenizer.read_bytes(), MAX_TOKENS)
    return [dict(zip(names, pad([row]), strict=True)) for row in rows]


def _card(folder: Path, facts: CardFacts, precision: str, dim: int) -> ModelCard:
    return ModelCard(
        name=facts.name,
        revision=facts.revision,
        dim=dim,
        audio=_audio_facts(folder),
        text=_text_facts(folder, facts.languages),
        precision=precision,
        licences=facts.licences,
        quality=facts.quality,
        folder=folder,
    )


def _audio_facts(folder: Path) -> AudioFacts:
    return AudioFacts(
        file=AUDIO,
        sha256=file_sha256(folder / AUDIO),
        sample_rate=SAMPLE_RATE,
        segment_seconds=SEGMENT_SECONDS,
        hop_seconds=HOP_SECONDS,
        min_seconds=MIN_SECONDS,
    )


def _text_facts(folder: Path, languages: tuple[str, ...]) -> TextFacts:
    return TextFacts(
        file=TEXT,
        sha256=file_sha256(folder / TEXT),
        tokenizer=TOKENIZER,
        tokenizer_sha256=file_sha256(folder / TOKENIZER),
        tokenizer_rule="xlmr",
        max_tokens=MAX_TOKENS,
        languages=languages,
        data=TEXT_DATA,
        data_sha256=file_sha256(folder / TEXT_DATA),
    )


def load_facts(path: Path) -> CardFacts:
    """Read `CardFacts` from JSON.

    Raises:
        TypeError: a fact is missing or unknown.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    data["languages"] = tuple(data["languages"])
    return CardFacts(**data)
