"""The audio tower of atri-mini: an inverted-residual CNN over log-mels (MobileNetV3 family).

Blocks end on the widths of EfficientAT's mn04 (Schmid et al., ICASSP 2023), so that each of them
can be taught by the teacher's block of the same place; inside, a block may be wider.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = 527
POOLED = 384
HIDDEN = 512


@dataclass(frozen=True)
class BlockSpec:
    """One inverted residual block: kernel, inner width, outer width, options, stride."""

    kernel: int
    inner: int
    outer: int
    squeeze: bool
    hardswish: bool
    stride: int


STEM = 8
TAIL = 12
BLOCKS = (
    BlockSpec(3, 8, 8, False, False, 1),
    BlockSpec(3, 24, 16, False, False, 2),
    BlockSpec(3, 32, 16, False, False, 1),
    BlockSpec(5, 32, 16, True, False, 2),
    BlockSpec(5, 48, 16, True, False, 1),
    BlockSpec(5, 48, 16, True, False, 1),
    BlockSpec(3, 96, 32, False, True, 2),
    BlockSpec(3, 80, 32, False, True, 1),
    BlockSpec(3, 72, 32, False, True, 1),
    BlockSpec(3, 72, 32, False, True, 1),
    BlockSpec(3, 192, 48, True, True, 1),
    BlockSpec(3, 272, 48, True, True, 1),
    BlockSpec(5, 272, 64, True, True, 2),
    BlockSpec(5, 384, 64, True, True, 1),
    BlockSpec(5, 384, 64, True, True, 1),
)


def conv_norm(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, then batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.05),
    )


def _round8(width: float) -> int:
    return max(8, int(width + 4) // 8 * 8)


class SqueezeExcitation(nn.Module):
    """Channel gates from the mean over frequency and time (Hu et al., CVPR 2018)."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, squeezed)
        self.fc2 = nn.Linear(squeezed, width)

    def forward(self, x: Tensor) -> Tensor:
        gates: Tensor = self.fc2(F.relu(self.fc1(x.mean((2, 3))))).sigmoid()
        return x * gates[:, :, None, None]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, squeeze, project; residual when the shape allows it."""

    def __init__(self, inputs: int, spec: BlockSpec, widen: float = 1.0) -> None:
        super().__init__()
        expands = spec.inner != inputs or widen != 1.0
        inner = _round8(spec.inner * widen)
        squeezed = min(_round8(inner // 4), 104)
        self.activation = nn.Hardswish() if spec.hardswish else nn.ReLU()
        self.expand = conv_norm(inputs, inner, 1) if expands else None
        self.filter = conv_norm(inner, inner, spec.kernel, stride=spec.stride, groups=inner)
        self.squeeze = SqueezeExcitation(inner, squeezed) if spec.squeeze else None
        self.project = conv_norm(inner, spec.outer, 1)
        self.residual = spec.stride == 1 and inputs == spec.outer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x if self.expand is None else self.activation(self.expand(x))
        y = self.activation(self.filter(y))
        if self.squeeze is not None:
            y = self.squeeze(y)
        y = self.project(y)
        return x + y if self.residual else y


class AudioNet(nn.Module):
    """Log-mel [batch, 1, 128, frames] → pooled features, hidden features, class scores.

    Args:
        widen: inner width of the blocks, relative to the teacher's.
        widen_tail: the same for the last three blocks, whose maps are small and whose function is
            the hardest to learn.
    """

    def __init__(self, widen: float = 1.0, widen_tail: float | None = None) -> None:
        super().__init__()
        wide = [widen] * TAIL + [widen_tail or widen] * (len(BLOCKS) - TAIL)
        self.stem = nn.Sequential(*conv_norm(1, STEM, 3, stride=2), nn.Hardswish())
        widths = [STEM, *(spec.outer for spec in BLOCKS)]
        self.blocks = nn.ModuleList(
            InvertedResidual(width, spec, factor)
            for width, spec, factor in zip(widths, BLOCKS, wide, strict=False)
        )
        self.last = nn.Sequential(*conv_norm(widths[-1], POOLED, 1), nn.Hardswish())
        self.hidden = nn.Linear(POOLED, HIDDEN)
        self.classes = nn.Linear(HIDDEN, CLASSES)

    def stages(self) -> list[nn.Module]:
        """Stem, blocks and last convolution in order: the places where a teacher can help."""
        return [self.stem, *self.blocks, self.last]

    def maps(self, x: Tensor, first: int = 0) -> list[Tensor]:
        """Output of each stage from `first` on; `x` is the input of that stage."""
        maps = []
        for stage in self.stages()[first:]:
            x = stage(x)
            maps.append(x)
        return maps

    def head(self, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Last map → pooled [batch, 384], hidden [batch, 512], class logits [batch, 527]."""
        pooled = last.mean((2, 3))
        hidden = F.hardswish(self.hidden(pooled))
        return pooled, hidden, self.classes(hidden)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        for stage in self.stages():
            mel = stage(mel)
        return self.head(mel)


def channels_last(net: AudioNet) -> AudioNet:
    """The same network with its convolutions laid out as processors prefer them."""
    moved: AudioNet = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def features(pooled: Tensor, hidden: Tensor, logits: Tensor) -> Tensor:
    """What the projection head sees: [batch, 384 + 512 + 527], scores as log-probabilities.

    Written out, since onnxruntime takes the logarithm of a sigmoid that is right to seven digits of
    1, which leaves few of a probability of .00001.
    """
    scores = logits.clamp_max(0.0) - (1.0 + (-logits.abs()).exp()).log()
    return torch.cat([pooled, hidden, scores / 4.0], dim=1)
