"""Steps a second and peak memory of each loss for K languages, both towers trained.

`python -m benchmarks.losses` prints the table; `--device cuda` measures on a GPU.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from train.gradcache import encode_in_chunks
from train.losses import get_loss
from train.memory import saved_bytes
from train.towers.audio import AudioNet, features
from train.towers.text import TextNet, TextShape

CLIPS, TOKENS, FRAMES = 24, 12, 500
LOSSES = ("random", "mlclap", "cacl", "kcl", "kcl-joint", "kcl+jsd")
LANGUAGES = (2, 4, 8, 16)


class Towers(nn.Module):
    """atri-mini's towers with random weights (normalisation as in evaluation)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = AudioNet(1.5, 3.0).eval()
        self.head = nn.Linear(384 + 512 + 527, 256)
        self.text = TextNet(TextShape(vocabulary=1000))

    def encode_audio(self, mel: Tensor) -> Tensor:
        return F.normalize(self.head(features(*self.net(mel))), dim=-1)

    def encode_text(self, ids: Tensor) -> Tensor:
        pooled = self.text.encode(self.text.embed(ids), torch.ones_like(ids))
        return F.normalize(self.text.project(pooled), dim=-1)


def step(towers: Towers, name: str, count: int, chunk: int | None, device: str) -> int:
    """One forward and backward pass; the captions that were encoded."""
    generator = torch.Generator().manual_seed(1)
    loss = get_loss(name)
    uniform = torch.rand(count + 1, CLIPS, generator=generator)
    drawn = loss.draw(torch.ones(count, CLIPS, dtype=torch.bool), 0, uniform).to(device)
    place = drawn.nonzero(as_tuple=True)
    mels = torch.randn(CLIPS, 1, 128, FRAMES, generator=generator).to(device)
    ids = torch.randint(0, 1000, (len(place[0]), TOKENS), generator=generator).to(device)
    audio = encode_in_chunks(towers.encode_audio, (mels,), chunk)
    text = encode_in_chunks(towers.encode_text, (ids,), chunk)
    texts = text.vectors.new_zeros((count, CLIPS, 256)).index_put(place, text.vectors)
    torch.autograd.backward(loss(audio.vectors, texts, drawn, 0.07))
    audio.backward()
    text.backward()
    towers.zero_grad(set_to_none=True)
    return len(place[0])


def measure(towers: Towers, name: str, count: int, chunk: int | None, device: str) -> str:
    """A row of the table."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with saved_bytes() as saved:
        captions = step(towers, name, count, chunk, device)
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else saved.peak
    started = time.perf_counter()
    step(towers, name, count, chunk, device)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    label = f"{name}, chunks of {chunk}" if chunk else name
    return f"| {label} | {count} | {captions} | {peak / 1e6:.0f} MB | {1 / seconds:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    device = parser.parse_args().device
    towers = Towers().to(device)
    step(towers, "kcl", 2, None, device)
    print("| loss | K | captions a step | peak of saved activations | steps a second |")
    print("|---|---|---|---|---|")
    for count in LANGUAGES:
        for name in LOSSES:
            print(measure(towers, name, count, None, device), flush=True)
        print(measure(towers, "kcl", count, CLIPS, device), flush=True)


if __name__ == "__main__":
    main()
