"""What a converted model is compared on: real sounds and texts, alone and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atri_cli.audio.decode import stream_windows
from atri_cli.audio.quiet import native_stderr_silenced
from atri_cli.encoders.card import AudioTower as AudioFacts
from atri_cli.errors import AudioError
from train.phrases import audioset_concepts
from train.torchmodel import TorchModel

Waves = list[tuple[str, NDArray[np.float32]]]

SOUNDS = 8
CONCEPTS = 9  # every ninth class of AudioSet, in eight languages


@dataclass(frozen=True)
class Feed:
    """One input of a tower, by its names in the graph, and what to call it."""

    name: str
    inputs: dict[str, Tensor]


def audio_feeds(facts: AudioFacts, sounds: Sequence[Path]) -> list[Feed]:
    """First windows of the sounds, each alone, and all that are long enough as one batch.

    Sounds that cannot be read are passed over. Noise and tones of several lengths, levels and batch
    sizes are always among them, and stand alone where there are no sounds.
    """
    waves = _first_windows(facts, sounds)
    feeds = [Feed(name, {"waveform": torch.from_numpy(wave)[None]}) for name, wave in waves]
    if len(waves) > 1:
        shortest = min(len(wave) for _, wave in waves)
        batch = np.stack([wave[:shortest] for _, wave in waves])
        feeds.append(Feed(f"a batch of {len(waves)}", {"waveform": torch.from_numpy(batch)}))
    return feeds + _made_up(facts)


def _first_windows(facts: AudioFacts, sounds: Sequence[Path]) -> Waves:
    found: Waves = []
    lengths = (facts.segment_seconds, facts.hop_seconds, facts.min_seconds)
    with native_stderr_silenced():
        for path in sounds:
            try:
                _, wave = next(iter(stream_windows(path, facts.sample_rate, *lengths)))
            except (AudioError, StopIteration):
                continue
            found.append((path.name, np.asarray(wave, np.float32)))
            if len(found) == SOUNDS:
                break
    return found


def _made_up(facts: AudioFacts) -> list[Feed]:
    """Noise and tones of several lengths and batch sizes, at several levels."""
    generator = torch.Generator().manual_seed(0)
    feeds = []
    for batch, share, level in ((1, 0.0, 0.5), (1, 1.0, 0.01), (3, 0.49, 0.1)):
        seconds = max(facts.min_seconds, share * facts.segment_seconds)
        samples = round(seconds * facts.sample_rate)
        noise = torch.randn(batch, samples, generator=generator)
        tone = torch.sin(torch.arange(samples) * 0.05)[None]
        name = f"noise and a tone, {batch} of {seconds:.2f} s"
        feeds.append(Feed(name, {"waveform": (noise * 0.3 + tone) * level}))
    return feeds


def text_feeds(model: TorchModel, texts: Sequence[tuple[str, str]]) -> list[Feed]:
    """Each text, given as (language tag, text), alone; then sixteen of them, padded, as a batch."""
    tokenizer = model.tokenizer
    rows = [tokenizer.encode(text, lang) for lang, text in texts]
    feeds = [_padded(model, [row], text) for row, (_, text) in zip(rows, texts, strict=True)]
    every = max(1, len(rows) // 16)
    return [*feeds, _padded(model, rows[::every], f"a padded batch of {len(rows[::every])}")]


def _padded(model: TorchModel, rows: Sequence[Sequence[int]], name: str) -> Feed:
    ids, mask = (torch.from_numpy(one) for one in model.tokenizer.pad(rows))
    return Feed(name, {"input_ids": ids, "attention_mask": mask})


def sound_names() -> list[tuple[str, str]]:
    """Language tag and name of every ninth class of AudioSet, in eight languages."""
    chosen = audioset_concepts()[::CONCEPTS]
    return [(lang, names[0]) for concept in chosen for lang, names in concept.phrases.items()]
