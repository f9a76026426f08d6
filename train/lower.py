"""Where text training starts: e5-small's weights, and its lower layers computed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.e5 import PackedE5
from train.phrasetokens import Phrases, by_length, pad
from train.towers.text import TextNet, TextShape

BATCH = 128
_NAMES = {
    "query": "q", "key": "k", "value": "v", "out": "ao", "attention_norm": "aln",
    "up": "fi", "down": "fo", "out_norm": "oln",
}  # fmt: skip


def start_from(packed: PackedE5, keep: Sequence[int], positions: int = 128) -> TextNet:
    """A tower with e5-small's weights and only the vocabulary rows `keep`, in that order.

    Its last map, `project`, is random.

    Raises:
        KeyError, ValueError: the packed model lacks a tensor.
    """
    shape = TextShape(
        vocabulary=len(keep),
        width=packed.width,
        layers=packed.layers,
        heads=packed.heads,
        inner=packed.inner,
        positions=positions,
    )
    net = TextNet(shape)
    weights = {key: torch.from_numpy(value) for key, value in _renamed(packed, keep, shape).items()}
    missing = net.load_state_dict(weights, strict=False).missing_keys
    if set(missing) != {"project.weight", "project.bias"}:
        raise ValueError(f"the packed model lacks {missing}")
    return net


def _renamed(
    packed: PackedE5, keep: Sequence[int], shape: TextShape
) -> dict[str, NDArray[np.float32]]:
    """The packed tensors in the names of `TextNet`; all our texts are of segment type 0."""
    tensors = packed.tensors
    places = tensors["emb.pos"].reshape(-1, shape.width)[: shape.positions]
    state = {
        "tokens.weight": tensors["emb.word"][list(keep)],
        "positions.weight": places + tensors["emb.type"].reshape(-1, shape.width)[0],
        "embedding_norm.weight": tensors["emb.ln.w"],
        "embedding_norm.bias": tensors["emb.ln.b"],
    }
    for layer in range(shape.layers):
        for ours, theirs in _NAMES.items():
            state[f"layers.{layer}.{ours}.weight"] = tensors[f"l{layer}.{theirs}.w"]
            state[f"layers.{layer}.{ours}.bias"] = tensors[f"l{layer}.{theirs}.b"]
    return state


class LowerLayers:
    """Output of the frozen part for every phrase: float16 on disk, [total tokens, width].

    Args:
        net: the tower; its embedding and first `frozen` layers are used.
        phrases: all phrases.
        frozen: layers that are never trained.
        path: the file; computed when it is not there.

    Raises:
        ValueError: the file was made from other phrases.
    """

    def __init__(self, net: TextNet, phrases: Phrases, frozen: int, path: Path) -> None:
        lengths = np.array([len(row) for row in phrases.tokens])
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        total = int(self.ends[-1])
        if not path.exists():
            part = path.with_suffix(".part.npy")
            store = np.lib.format.open_memmap(part, "w+", np.float16, (total, net.shape.width))
            self._fill(net, phrases, frozen, store)
            store.flush()
            part.replace(path)
        self.store: NDArray[np.float16] = np.load(path, mmap_mode="r")
        if len(self.store) != total:
            raise ValueError(f"{path} was made from other phrases: delete it")

    @torch.no_grad()
    def _fill(
        self, net: TextNet, phrases: Phrases, frozen: int, store: NDArray[np.float16]
    ) -> None:
        for picks in by_length(phrases.tokens, BATCH):
            ids, mask = pad([phrases.tokens[pick] for pick in picks])
            x = net.hidden(net.embed(ids), mask, last=frozen)
            for row, pick in zip(x.numpy(), picks, strict=True):
                first, last = self.starts[pick], self.ends[pick]
                store[first:last] = row[: last - first]

    def take(self, picks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Hidden states float32 [n, tokens, width] and mask int64 [n, tokens] of these phrases."""
        lengths = [int(self.ends[p] - self.starts[p]) for p in picks]
        x = np.zeros((len(picks), max(lengths), self.store.shape[1]), dtype=np.float32)
        mask = np.zeros(x.shape[:2], dtype=np.int64)
        for row, (pick, length) in enumerate(zip(picks, lengths, strict=True)):
            x[row, :length] = self.store[self.starts[pick] : self.ends[pick]]
            mask[row, :length] = 1
        return torch.from_numpy(x), torch.from_numpy(mask)
