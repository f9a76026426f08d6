"""Batch normalisation that export folded away, made fit for training again."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from train.towers.audio import AudioNet

LEAST_VARIANCE = 1e-6


@torch.no_grad()
def restore_statistics(net: AudioNet, batches: Iterable[Tensor]) -> None:
    """Measure what comes into each normalisation, and change its weights so that nothing changes.

    A network read back from ONNX has identity norms: in training mode they would suddenly divide
    by a deviation they never knew.

    Args:
        net: its norms' statistics, weights and biases are replaced; its outputs in eval mode stay.
        batches: log-mels float32 [n, 1, 128, frames] to measure on.
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    moments: dict[nn.Module, list[tuple[Tensor, Tensor]]] = {norm: [] for norm in norms}

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        moments[norm].append((x.mean((0, 2, 3)), x.square().mean((0, 2, 3))))

    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    net.eval()
    for mel in batches:
        net(mel)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        mean, square = (torch.stack(found).mean(0) for found in zip(*moments[norm], strict=True))
        _take(norm, mean, (square - mean.square()).clamp_min(LEAST_VARIANCE))


def _take(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """The same line through other points: scale · x + offset, by the new mean and variance."""
    old_mean, old_variance = norm.running_mean, norm.running_var
    if old_mean is None or old_variance is None:
        raise ValueError("A normalisation without statistics has none to replace.")
    scale = norm.weight / (old_variance + norm.eps).sqrt()
    offset = norm.bias - scale * old_mean
    norm.weight.copy_(scale * (variance + norm.eps).sqrt())
    norm.bias.copy_(offset + scale * mean)
    old_mean.copy_(mean)
    old_variance.copy_(variance)
