"""A model as the training loop sees it: towers frozen and cached, partly frozen, or trained.

A frozen network runs once over every sound and caption; its output is kept on disk, and a step
trains the heads alone. Then K languages cost no more than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from atri_cli.encoders.languages import nllb_code
from atri_cli.errors import AudioError, UsageError
from train.captioncache import Caption, CaptionCache
from train.data.augment import Augment, crop
from train.freezing import Freezing
from train.phrasetokens import by_length
from train.torchmodel import TorchModel
from train.towers.freezing import Freeze, blocks_of
from train.towers.tower import Tower
from train.types import Clip, Inputs, Tell, TwoTower
from train.windows import WINDOWS, first_windows, hear_span

VIEWS = 2
"""Cached views of a clip: as it is, and augmented."""
TAU = 0.07


class ModelTowers(TwoTower):
    """The towers of any model.

    Args:
        model: its towers become this module's.
        cache: folder for the outputs of frozen networks.
        freezing: what is not trained.
        augment: of waveforms; None for none.

    Raises:
        UsageError: more blocks are to be trained than there are.
    """

    def __init__(
        self,
        model: TorchModel,
        cache: Path,
        *,
        freezing: Freezing = Freezing(),  # noqa: B008
        augment: Augment | None = Augment(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.model, self.audio, self.text = model, model.audio, model.text
        self.facts, self.dim = model.card.audio, model.card.dim
        self.log_tau = nn.Parameter(torch.tensor(math.log(TAU)), requires_grad=False)
        self.freezing, self.augment = freezing, augment
        _freeze("audio", self.audio, freezing.audio)
        _freeze("text", self.text, freezing.text)
        self._cache = cache
        self._rows: dict[str, NDArray[np.float32]] = {}

    # Made when first used: a digest reads all weights, 3 GB of SONAR, and a network that is trained
    # has no use for it.

    @cached_property
    def _sounds(self) -> CaptionCache:
        key = f"sounds {VIEWS} {self.augment} {self.audio.digest()}"
        return CaptionCache(self._cache, key)

    @cached_property
    def _captions(self) -> CaptionCache:
        reading = replace(self.model.card.text, tokenizer="", languages=())
        return CaptionCache(self._cache, f"captions {reading} {self.text.digest()}")

    def train(self, mode: bool = True) -> ModelTowers:
        """Batch normalisation keeps its statistics: export folded them into the convolutions."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    @property
    def hears_cached(self) -> bool:
        """Whether sounds come from the cache: the audio network is frozen as a whole."""
        return self.audio.is_frozen

    @property
    def reads_cached(self) -> bool:
        """Whether captions come from the cache: the text network is frozen as a whole."""
        return self.text.is_frozen

    def require_languages(self, tags: Sequence[str]) -> None:
        """Let pass the languages that the model has a code for.

        Raises:
            UsageError: it has none for one of them, with the nearest.
        """
        codes = self.model.card.text.language_codes
        for tag in tags if codes else ():
            nllb_code(tag, codes)

    # Sounds

    def prepare(
        self, clips: Sequence[Clip], tell: Tell = lambda *_: None
    ) -> tuple[list[Clip], list[AudioError]]:
        """Read every sound once; with a frozen network, keep what it makes of it.

        Returns:
            The clips that can be learnt from, and why the others cannot.
        """
        kept, problems = [], []
        for number, clip in enumerate(clips):
            try:
                if self.hears_cached:
                    self._rows[_key(clip)] = self._cached_rows(clip)
                else:
                    first_windows(clip, self.facts)
                kept.append(clip)
            except AudioError as error:
                problems.append(error)
            tell(number + 1, len(clips))
        return kept, problems

    def _cached_rows(self, clip: Clip) -> NDArray[np.float32]:
        """Features of all views of a clip, float32 [views, windows, inputs of the head]."""
        try:
            stat = clip.audio.stat()
        except OSError as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
            raise AudioError(f"Cannot read `{clip.audio}`.", reason=reason) from error
        state = f"{_key(clip)} {clip.id} {stat.st_size} {stat.st_mtime_ns}"
        found = self._sounds.get([("sound", state)], lambda _: self._hear(clip))
        rows: NDArray[np.float32] = found.reshape(VIEWS, WINDOWS, -1)
        return rows

    @torch.no_grad()
    def _hear(self, clip: Clip) -> NDArray[np.float32]:
        """Run the network over the views of a clip: float32 [1, views · windows · inputs]."""
        windows = first_windows(clip, self.facts)
        rng = np.random.default_rng(list(clip.id.encode("utf-8", "surrogateescape")))
        views = [*windows, *(self._changed(one, rng) for one in windows)]
        self.audio.eval()
        rows = [self.audio.pooled(self._there(view[None])) for view in views]
        return torch.cat(rows).flatten()[None].cpu().numpy()

    def _there(self, waves: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(waves).to(self.log_tau.device)

    def _changed(self, wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return wave if self.augment is None else self.augment(wave, self.facts.sample_rate, rng)

    @property
    def _window(self) -> int:
        return round(self.facts.segment_seconds * self.facts.sample_rate)

    def collate_audio(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Inputs:
        """With `rng` one window or view of each clip [n, …], without it all windows [n, 4, …].

        What a frozen network made of a window, else its samples.

        Raises:
            AudioError: a sound cannot be read.
        """
        if self.hears_cached:
            rows = [self._rows_of(clip) for clip in clips]
            if rng is None:
                return (torch.from_numpy(np.stack([row[0] for row in rows])),)
            picks = [row.reshape(VIEWS * WINDOWS, -1) for row in rows]
            drawn = [row[int(rng.integers(len(row)))] for row in picks]
            return (torch.from_numpy(np.stack(drawn)),)
        if rng is None:
            full = [self._filled(one) for c in clips for one in first_windows(c, self.facts)]
            return (torch.unflatten(torch.from_numpy(np.stack(full)), 0, (len(clips), WINDOWS)),)
        heard = [crop(hear_span(clip, self.facts), self._window, rng) for clip in clips]
        return (torch.from_numpy(np.stack([self._changed(wave, rng) for wave in heard])),)

    def _filled(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """A whole window: a shorter waveform is repeated, so that a batch has one length."""
        return np.resize(wave, self._window).astype(np.float32)

    def _rows_of(self, clip: Clip) -> NDArray[np.float32]:
        key = _key(clip)
        if key not in self._rows:
            self._rows[key] = self._cached_rows(clip)
        return self._rows[key]

    def encode_audio(self, *inputs: Tensor) -> Tensor:
        (rows,) = inputs
        if rows.ndim == 2:
            return self._unit(rows)
        each = torch.unflatten(self._unit(rows.flatten(0, 1)), 0, rows.shape[:2])
        return F.normalize(each.mean(1), dim=-1)

    def _unit(self, rows: Tensor) -> Tensor:
        return self.audio.unit(rows if self.hears_cached else self.audio.pooled(rows))

    @torch.no_grad()
    def windows(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        """Unit vectors of each clip's windows, float32 [4, dim], as search has them."""
        self.eval()
        device = self.log_tau.device
        found = []
        for clip in clips:
            (rows,) = self.collate_audio([clip], None)
            found.append(self._unit(rows[0].to(device)).cpu().numpy())
        return found

    # Captions

    def collate_text(self, captions: Sequence[tuple[str, str]]) -> Inputs:
        """Pooled vectors [n, width] of a frozen network, else ids and mask [n, tokens]."""
        if self.reads_cached:
            pooled = self._captions.get(list(captions), self._read)
            return (torch.from_numpy(pooled),)
        return self._padded([self._ids(caption) for caption in captions])

    def _ids(self, caption: Caption) -> list[int]:
        lang, text = caption
        return self.model.tokenizer.encode(text, lang)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        ids, mask = self.model.tokenizer.pad(rows)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    @torch.no_grad()
    def _read(self, captions: Sequence[Caption]) -> NDArray[np.float32]:
        """Pooled vectors float32 [n, width]; a network without dropout needs no eval mode."""
        tokens = [self._ids(caption) for caption in captions]
        order = list(by_length(tokens, 64))
        parts = []
        for picks in order:
            ids, mask = self._padded([tokens[pick] for pick in picks])
            device = self.log_tau.device
            parts.append(self.text.pooled(ids.to(device), mask.to(device)).cpu().numpy())
        found = np.concatenate(parts)
        rows = np.empty_like(found)
        rows[np.concatenate(order)] = found
        return rows

    def encode_text(self, *inputs: Tensor) -> Tensor:
        if self.reads_cached:
            return self.text.unit(inputs[0])
        found: Tensor = self.text(*inputs)
        return found


def _freeze(name: str, tower: Tower, how: Freeze) -> None:
    try:
        tower.freeze(how)
    except ValueError:
        most = len(blocks_of(tower))
        raise UsageError(
            f"The {name} tower has {most} blocks, and {how} cannot be trained.",
            hint=f"Give a number from 0 to {most}.",
        ) from None


def _key(clip: Clip) -> str:
    return f"{clip.audio.absolute()} {clip.start} {clip.end}"
