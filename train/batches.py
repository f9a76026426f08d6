"""Batches of clips with one phrasing a language; each follows from seed and number alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atri_cli.errors import UsageError
from train.types import Clip


@dataclass(frozen=True)
class Batch:
    """`texts[k][n]` is clip n's caption in language k, empty where `present` bool [K, N] is False.

    `uniform` float [K + 1, N] decides what a loss draws, `clash` bool [N, N] says which clips
    share a caption.
    """

    clips: tuple[Clip, ...]
    texts: tuple[tuple[str, ...], ...]
    present: Tensor
    uniform: Tensor
    clash: Tensor


class Batches:
    """The batches of a run.

    The last, incomplete batch of an epoch is left out unless it is the only one. What a clip shows
    in an epoch (its phrasings, the languages drawn) depends on seed, epoch and clip alone.

    Args:
        clips: to learn from.
        languages: tags, in the order of K.
        size: clips a batch.
        seed: of everything.

    Raises:
        UsageError: no clip has a caption in these languages.
    """

    def __init__(
        self, clips: Sequence[Clip], languages: Sequence[str], size: int, seed: int
    ) -> None:
        self.clips = [clip for clip in clips if any(clip.captions.get(tag) for tag in languages)]
        if not self.clips:
            raise UsageError(
                f"No clip has a caption in {', '.join(languages)}.",
                hint="Name other languages with `--languages`, or add columns to the manifest.",
            )
        self.languages = tuple(languages)
        self.seed = seed
        self.size = min(size, len(self.clips))
        self._captions = [self._all_captions(clip) for clip in self.clips]

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.clips) // self.size

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from its `first` on."""
        order = np.random.default_rng((self.seed, number)).permutation(len(self.clips))
        for step in range(first, len(self)):
            yield self._batch(order[step * self.size : (step + 1) * self.size].tolist(), number)

    def _batch(self, chosen: list[int], epoch: int) -> Batch:
        count = len(self.languages)
        numbers = np.stack(
            [np.random.default_rng((self.seed, epoch, n)).random(2 * count + 1) for n in chosen], 1
        )
        clips = tuple(self.clips[n] for n in chosen)
        texts = tuple(
            tuple(_phrasing(clip, tag, numbers[k, n]) for n, clip in enumerate(clips))
            for k, tag in enumerate(self.languages)
        )
        present = torch.tensor([[bool(text) for text in row] for row in texts])
        uniform = torch.from_numpy(numbers[count:].astype(np.float32)).clamp_max(1 - 2**-24)
        return Batch(clips, texts, present, uniform, self._clash(chosen))

    def _all_captions(self, clip: Clip) -> frozenset[tuple[str, str]]:
        found = ((tag, text) for tag in self.languages for text in clip.captions.get(tag, ()))
        return frozenset((tag, " ".join(text.casefold().split())) for tag, text in found)

    def _clash(self, chosen: list[int]) -> Tensor:
        owners: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for place, number in enumerate(chosen):
            for caption in self._captions[number]:
                owners[caption].append(place)
        clash = torch.zeros(len(chosen), len(chosen), dtype=torch.bool)
        for places in owners.values():
            clash[torch.tensor(places)[:, None], torch.tensor(places)] = True
        return clash


def _phrasing(clip: Clip, tag: str, chance: float) -> str:
    phrasings = clip.captions.get(tag, ())
    return phrasings[int(chance * len(phrasings))] if phrasings else ""
