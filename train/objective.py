"""The loss of one batch and its gradient: draw captions, encode, compare, go back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from train.batches import Batch
from train.gather import gather, mean_gradients, processes, rank, sum_gradients
from train.gradcache import Chunked, Encode, encode_in_chunks
from train.losses import Loss
from train.plan import LOW_PRECISION, TrainPlan
from train.types import Inputs, TwoTower


@dataclass(frozen=True)
class Forward:
    """What a batch gives: the loss of all processes' clips, and the way back.

    `audio` float [N, D] and `texts` float [K, N, D] are of the whole batch.
    """

    loss: Tensor
    audio: Tensor
    texts: Tensor
    encoded: tuple[Chunked, ...]

    def backward(self, scale: Callable[[Tensor], Tensor] = lambda loss: loss) -> None:
        """Add this process's part of the gradient, times `scale`, to the parameters."""
        torch.autograd.backward(scale(self.loss))
        for one in self.encoded:
            one.backward()

    def suspects(self) -> list[int]:
        """Numbers of the clips whose vectors are not finite."""
        fine = self.audio.isfinite().all(1) & self.texts.isfinite().all(2).all(0)
        return [int(n) for n in (~fine).nonzero()[:, 0]]


def forward(
    model: TwoTower, loss: Loss, batch: Batch, plan: TrainPlan, seed: tuple[int, ...]
) -> Forward:
    """Encode this process's share of the batch, and take the loss of the whole.

    Only drawn captions are encoded. Crops, augmentation and dropout follow from `seed` and the
    number of the process.
    """
    device = model.log_tau.device
    rng = np.random.default_rng((*seed, rank()))
    torch.manual_seed(int(rng.integers(2**62)))
    drawn = loss.draw(batch.present, plan.anchor, batch.uniform)
    mine = _share(len(batch.clips))
    encoded = [
        _encode(model.encode_audio, model.collate_audio(batch.clips[mine], rng), plan, device)
    ]
    audio = encoded[0].vectors.to(model.log_tau.dtype)
    place = drawn[:, mine].nonzero(as_tuple=True)
    texts = audio.new_zeros((len(drawn), len(audio), model.dim))
    if captions := [
        (plan.languages[k], batch.texts[k][mine][n])
        for k, n in zip(*(index.tolist() for index in place), strict=True)
    ]:
        encoded.append(_encode(model.encode_text, model.collate_text(captions), plan, device))
        places = tuple(index.to(device) for index in place)
        texts = texts.index_put(places, encoded[1].vectors.to(audio.dtype))
    audio, texts = gather(audio), gather(texts.transpose(0, 1)).transpose(0, 1)
    value: Tensor = loss(
        audio,
        texts,
        drawn.to(device),
        model.log_tau.exp(),
        anchor=plan.anchor,
        clash=batch.clash.to(device),
    )
    if not value.requires_grad:  # `mlclap` may have drawn no caption at all
        value = value + 0 * audio.sum()
    return Forward(value, audio, texts, tuple(encoded))


def reduce_gradients(model: TwoTower, loss: nn.Module) -> None:
    """Make the gradient that of the whole batch, in every process."""
    behind = [model.log_tau, *loss.parameters()]
    sum_gradients(one for one in model.parameters() if one is not model.log_tau)
    mean_gradients(behind)


def _encode(encode: Encode, inputs: Inputs, plan: TrainPlan, device: torch.device) -> Chunked:
    low = LOW_PRECISION.get(plan.precision)
    with torch.autocast(device.type, low, enabled=low is not None):
        return encode_in_chunks(encode, tuple(one.to(device) for one in inputs), plan.chunk)


def _share(count: int) -> slice:
    """The clips of a batch that are this process's."""
    each = count // processes()
    return slice(rank() * each, (rank() + 1) * each)
