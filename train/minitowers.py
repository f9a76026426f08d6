"""atri-mini as the training loop sees it: towers frozen and cached, partly frozen, or trained.

A frozen network runs once over every sound and caption; its output is kept on disk, and a step
trains the heads alone. Then K languages cost no more than one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from atri_cli.audio.decode import load_span, stream_windows
from atri_cli.audio.segments import loop_to
from atri_cli.errors import AudioError, UsageError
from train.captioncache import Caption, CaptionCache
from train.data.augment import Augment, crop
from train.model import AudioTower, TextTower
from train.phrasetokens import by_length, encode, pad
from train.towers.audio import features
from train.towers.freezing import Freeze, blocks_of, freeze
from train.towers.mel import SAMPLE_RATE, LogMel
from train.types import Clip, Inputs, Tell, TwoTower

WINDOW_SECONDS, HOP_SECONDS, MIN_SECONDS = 5.0, 4.0, 1.0
WINDOWS = 4
"""Windows of 5 s that stand for a clip; a shorter clip repeats its own."""
VIEWS = 2
"""Cached views of a clip: as it is, and augmented."""
TAU = 0.07


@dataclass(frozen=True)
class Freezing:
    """What stays as it is of each network; the heads are always trained.

    `"all"`, `"none"`, or the number of last blocks that are trained.
    """

    audio: Freeze = "all"
    text: Freeze = "all"

    @classmethod
    def parse(cls, words: str) -> Freezing:
        """`towers`, `none`, `audio`, `text`, or `audio,text:2` (all but the last 2 blocks).

        Raises:
            UsageError: anything else.
        """
        found: dict[str, Freeze] = {"audio": "none", "text": "none"}
        for word in words.split(","):
            tower, colon, blocks = word.strip().partition(":")
            if tower == "towers" and not colon:
                found = {"audio": "all", "text": "all"}
            elif tower in found and (not colon or blocks.isdigit()):
                found[tower] = int(blocks) if colon else "all"
            elif word.strip() != "none":
                raise UsageError(
                    f"`--freeze {words}` is not understood.",
                    hint="Give `towers`, `audio`, `text`, `none`, or `audio,text:2`, which trains "
                    "the last 2 blocks of the text tower.",
                )
        return cls(found["audio"], found["text"])


class MiniTowers(TwoTower):
    """The towers of a model of atri-mini's architecture.

    Args:
        audio, text: as `train.model.load_model` or `train.embedded.load_embedded` gives them.
        tokenizer: contents of the sentencepiece model.
        cache: folder for the outputs of frozen networks.
        freezing: what is not trained.
        augment: of waveforms; None for none.

    Raises:
        UsageError: more blocks are to be trained than there are.
    """

    def __init__(
        self,
        audio: AudioTower,
        text: TextTower,
        tokenizer: bytes,
        cache: Path,
        *,
        freezing: Freezing = Freezing(),
        augment: Augment | None = Augment(),  # noqa: B008
    ) -> None:
        super().__init__()
        self.audio, self.text, self.tokenizer = audio, text, tokenizer
        self.dim = text.shape.dim
        self.log_tau = nn.Parameter(torch.tensor(math.log(TAU)), requires_grad=False)
        self.freezing, self.augment = freezing, augment
        _freeze("audio", audio.net, freezing.audio)
        _freeze("text", text, 0 if freezing.text == "all" else freezing.text)
        text.tokens.requires_grad_(False)  # rare words stay, and the table keeps its 4 bits
        self._front = LogMel()
        self._rows: dict[str, NDArray[np.float32]] = {}
        self._sounds = CaptionCache(cache, f"sounds {VIEWS} {augment} {_digest(audio.net)}")
        self._captions = CaptionCache(cache, f"captions {_digest(text, 'project')}")

    def train(self, mode: bool = True) -> MiniTowers:
        """Batch normalisation keeps its statistics: export folded them into the convolutions."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    @property
    def hears_cached(self) -> bool:
        """Whether sounds come from the cache: the audio network is frozen as a whole."""
        return self.freezing.audio == "all"

    @property
    def reads_cached(self) -> bool:
        """Whether captions come from the cache: the text network is frozen as a whole."""
        return self.freezing.text in ("all", 0)

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
                    _windows(clip)
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
        windows = _windows(clip)
        rng = np.random.default_rng(list(clip.id.encode("utf-8", "surrogateescape")))
        views = [*windows, *(self._changed(one, rng) for one in windows)]
        self.audio.net.eval()
        rows = [self._features(self._mel([one])) for one in views]
        return torch.cat(rows).flatten()[None].numpy()

    def _changed(self, wave: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return wave if self.augment is None else self.augment(wave, SAMPLE_RATE, rng)

    def _mel(self, waves: Sequence[NDArray[np.float32]]) -> Tensor:
        with torch.no_grad():
            mel: Tensor = self._front(torch.from_numpy(np.stack(waves)))
        return mel

    def _features(self, mel: Tensor) -> Tensor:
        return features(*self.audio.net(mel))

    def collate_audio(self, clips: Sequence[Clip], rng: np.random.Generator | None) -> Inputs:
        """With `rng` one window or view of each clip [n, …], without it all windows [n, 4, …].

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
            full = [_fill(one) for clip in clips for one in _windows(clip)]
            return (torch.unflatten(self._mel(full), 0, (len(clips), WINDOWS)),)
        length = round(WINDOW_SECONDS * SAMPLE_RATE)
        waves = [crop(load_span(c.audio, SAMPLE_RATE, c.start, c.end), length, rng) for c in clips]
        return (self._mel([self._changed(wave, rng) for wave in waves]),)

    def _rows_of(self, clip: Clip) -> NDArray[np.float32]:
        key = _key(clip)
        if key not in self._rows:
            self._rows[key] = self._cached_rows(clip)
        return self._rows[key]

    def encode_audio(self, *inputs: Tensor) -> Tensor:
        (rows,) = inputs
        if rows.ndim in (2, 4):
            return self._heads(rows)
        each = torch.unflatten(self._heads(rows.flatten(0, 1)), 0, rows.shape[:2])
        return F.normalize(each.mean(1), dim=-1)

    def _heads(self, rows: Tensor) -> Tensor:
        found: Tensor = self.audio.head(rows if self.hears_cached else self._features(rows))
        return found

    @torch.no_grad()
    def windows(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        """Unit vectors of each clip's windows, float32 [4, dim], as search has them."""
        self.eval()
        device = self.log_tau.device
        found = []
        for clip in clips:
            (rows,) = self.collate_audio([clip], None)
            found.append(self._heads(rows[0].to(device)).cpu().numpy())
        return found

    # Captions

    def collate_text(self, captions: Sequence[tuple[str, str]]) -> Inputs:
        """Pooled vectors [n, width] of a frozen network, else ids and mask [n, tokens]."""
        if self.reads_cached:
            pooled = self._captions.get(list(captions), self._read)
            return (torch.from_numpy(pooled),)
        return pad(self._ids([text for _, text in captions]))

    def _ids(self, texts: list[str]) -> list[list[int]]:
        return encode(texts, self.tokenizer, self.text.shape.positions // 2)

    @torch.no_grad()
    def _read(self, captions: Sequence[Caption]) -> NDArray[np.float32]:
        """Pooled unit vectors float32 [n, width]; a network without dropout needs no eval mode."""
        tokens = self._ids([text for _, text in captions])
        device = self.log_tau.device
        rows = np.zeros((len(tokens), self.text.shape.width), np.float32)
        for picks in by_length(tokens, 64):
            ids, mask = (one.to(device) for one in pad([tokens[pick] for pick in picks]))
            rows[picks] = F.normalize(self.text.encode(self.text.embed(ids), mask), dim=-1).cpu()
        return rows

    def encode_text(self, *inputs: Tensor) -> Tensor:
        if self.reads_cached:
            return F.normalize(self.text.project(inputs[0]), dim=-1)
        found: Tensor = self.text(*inputs)
        return found


def _freeze(name: str, tower: nn.Module, how: Freeze) -> None:
    try:
        freeze(tower, how)
    except ValueError:
        most = len(blocks_of(tower))
        raise UsageError(
            f"The {name} tower has {most} blocks, and {how} cannot be trained.",
            hint=f"Give a number from 0 to {most}.",
        ) from None


def _windows(clip: Clip) -> list[NDArray[np.float32]]:
    """The first windows of a clip as search cuts it, exactly `WINDOWS`: few ones are repeated.

    Raises:
        AudioError: the sound cannot be read, or is silent.
    """
    if clip.start is not None or clip.end is not None:
        wave = load_span(clip.audio, SAMPLE_RATE, clip.start, clip.end)
        length = round(WINDOW_SECONDS * SAMPLE_RATE)
        hop = round(HOP_SECONDS * SAMPLE_RATE)
        starts = list(range(0, max(1, len(wave) - length + hop), hop))
        found = [wave[start : start + length] for start in starts[:WINDOWS]]
        found = [loop_to(one, round(MIN_SECONDS * SAMPLE_RATE)) for one in found]
    else:
        found = []
        settings = (SAMPLE_RATE, WINDOW_SECONDS, HOP_SECONDS, MIN_SECONDS)
        for _, wave in stream_windows(clip.audio, *settings):
            found.append(wave)
            if len(found) == WINDOWS:
                break
    return [found[place % len(found)] for place in range(WINDOWS)]


def _fill(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """A whole window: a shorter waveform is repeated, so that a batch has one length."""
    return np.resize(wave, round(WINDOW_SECONDS * SAMPLE_RATE)).astype(np.float32)


def _key(clip: Clip) -> str:
    return f"{clip.audio.absolute()} {clip.start} {clip.end}"


def _digest(module: nn.Module, without: str = "") -> str:
    """SHA-256 of a module's weights but for those whose name begins with `without`."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if not without or not name.startswith(without):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
