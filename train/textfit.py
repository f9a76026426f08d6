"""Fit the text tower so that one sound has one vector, whatever the language.

The tower starts from multilingual-e5-small. Its embedding and lower layers stay frozen and their
output is cached once, so that only the upper layers are computed in training. Each step draws
concepts and, for each, one phrase in several languages; every phrase must find its concept's
other phrases among all phrases of the batch (supervised contrastive loss, Khosla et al., 2020:
with one positive per language it is the joint 1-to-K loss of CCRK, KDD 2024).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from train.e5 import PackedE5
from train.phrases import CORE, Concept
from train.towers.text import TextNet, TextShape

MAX_TOKENS = 24
CHUNK = 96
_NAMES = {
    "query": "q", "key": "k", "value": "v", "out": "ao", "attention_norm": "aln",
    "up": "fi", "down": "fo", "out_norm": "oln",
}  # fmt: skip


def start_from(packed: PackedE5, keep: Sequence[int], positions: int = 128) -> TextNet:
    """A tower with e5-small's weights and only the vocabulary rows `keep`, in that order."""
    tensors = packed.tensors
    shape = TextShape(len(keep), packed.width, packed.layers, packed.heads, packed.inner, positions)
    places = tensors["emb.pos"].reshape(-1, packed.width)[:positions]
    state = {
        "tokens.weight": tensors["emb.word"][list(keep)],
        "positions.weight": places + tensors["emb.type"].reshape(-1, packed.width)[0],
        "embedding_norm.weight": tensors["emb.ln.w"],
        "embedding_norm.bias": tensors["emb.ln.b"],
    }
    for layer in range(packed.layers):
        for ours, theirs in _NAMES.items():
            for kind, suffix in (("weight", "w"), ("bias", "b")):
                state[f"layers.{layer}.{ours}.{kind}"] = tensors[f"l{layer}.{theirs}.{suffix}"]
    net = TextNet(shape)
    missing = net.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    if set(missing.missing_keys) != {"project.weight", "project.bias"}:
        raise ValueError(f"the packed model lacks {missing.missing_keys}")
    return net


@dataclass(frozen=True)
class Phrases:
    """All phrases, tokenised: flat ids with offsets; concept and language of each phrase."""

    texts: list[str]
    concept: NDArray[np.int64]
    lang: NDArray[np.int64]
    languages: list[str]
    tokens: list[list[int]]

    def groups(self) -> list[dict[int, list[int]]]:
        """For each concept: language → its phrases' numbers."""
        found: list[dict[int, list[int]]] = [{} for _ in range(int(self.concept.max()) + 1)]
        for number, (concept, lang) in enumerate(zip(self.concept, self.lang, strict=True)):
            found[int(concept)].setdefault(int(lang), []).append(number)
        return found


def tokenise(concepts: Sequence[Concept], model: bytes) -> Phrases:
    """Tokenise every phrase: <s> pieces </s>, at most `MAX_TOKENS`."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    languages = sorted({lang for concept in concepts for lang in concept.phrases})
    rows = [
        (text, place, languages.index(lang))
        for place, concept in enumerate(concepts)
        for lang, texts in concept.phrases.items()
        for text in texts
    ]
    ids = processor.encode([text for text, _, _ in rows])
    tokens = [[0, *found[: MAX_TOKENS - 2], 2] for found in ids]
    return Phrases(
        [row[0] for row in rows],
        np.array([row[1] for row in rows]),
        np.array([row[2] for row in rows]),
        languages,
        tokens,
    )


def pad(tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids padded on the right with 1, and their mask."""
    longest = max(map(len, tokens))
    ids = torch.tensor([[*row, *[1] * (longest - len(row))] for row in tokens])
    return ids, (ids != 1).long()


class LowerLayers:
    """Output of the frozen part for every phrase: float16 on disk, [total tokens, width]."""

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
        order = np.argsort([len(row) for row in phrases.tokens], kind="stable")
        for at in range(0, len(order), 128):
            picks = order[at : at + 128]
            ids, mask = pad([phrases.tokens[pick] for pick in picks])
            x = net.embed(ids)
            bias = (1.0 - mask[:, None, None, :].float()) * -1e4
            for layer in net.layers[:frozen]:
                x = layer(x, bias)
            for row, pick in zip(x.numpy(), picks, strict=True):
                first, last = self.starts[pick], self.ends[pick]
                store[first:last] = row[: last - first]

    def take(self, picks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Hidden states [n, tokens, width] and mask of these phrases."""
        lengths = [int(self.ends[p] - self.starts[p]) for p in picks]
        x = np.zeros((len(picks), max(lengths), self.store.shape[1]), dtype=np.float32)
        mask = np.zeros(x.shape[:2], dtype=np.int64)
        for row, (pick, length) in enumerate(zip(picks, lengths, strict=True)):
            x[row, :length] = self.store[self.starts[pick] : self.ends[pick]]
            mask[row, :length] = 1
        return torch.from_numpy(x), torch.from_numpy(mask)


def supervised_contrastive(vectors: Tensor, concept: Tensor, allowed: Tensor, tau: float) -> Tensor:
    """Mean over phrases of -log of the mean probability mass on the concept's other phrases.

    Args:
        vectors: float32 [n, dim], unit length.
        concept: int64 [n].
        allowed: bool [n, n], False where two phrases are neither positives nor fair negatives.
        tau: temperature.
    """
    n = len(vectors)
    self_pairs = torch.eye(n, dtype=torch.bool)
    same = (concept[:, None] == concept[None, :]) & ~self_pairs
    logits = (vectors @ vectors.T / tau).masked_fill(self_pairs | ~(allowed | same), -1e4)
    log_probability = logits.log_softmax(1)
    positives = same.sum(1).clamp_min(1)
    return -((log_probability * same).sum(1) / positives).mean()


@dataclass(frozen=True)
class TextPlan:
    """Steps, concepts a step, languages besides the core ones, frozen layers, rates, seed."""

    steps: int = 1500
    concepts: int = 40
    extra_languages: int = 3
    frozen: int = 8
    lr: float = 3e-4
    tau: float = 0.05
    seed: int = 0


class TextFit:
    """Runs the plan and reports translation R@1 on concepts held out from training."""

    def __init__(
        self,
        net: TextNet,
        phrases: Phrases,
        held_out: set[int],
        lower: LowerLayers,
        plan: TextPlan,
        out: Path,
    ) -> None:
        self.net, self.phrases, self.lower = net, phrases, lower
        self.plan, self.out = plan, out
        self.groups = phrases.groups()
        self.held_out = sorted(held_out)
        self.training = [c for c in range(len(self.groups)) if c not in held_out]
        self.core = [phrases.languages.index(lang) for lang in CORE if lang in phrases.languages]
        self.texts = [frozenset(phrases.texts[p].lower() for ps in g.values() for p in ps)
                      for g in self.groups]  # fmt: skip
        net.requires_grad_(False)
        for layer in net.layers[plan.frozen :]:
            layer.requires_grad_(True)
        trained = [p for p in net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, lr=plan.lr, weight_decay=0.01)
        self.step = 0

    def _draw(self, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Phrase numbers and their concepts for one step."""
        picks, concepts = [], []
        for concept in rng.choice(self.training, self.plan.concepts, replace=False):
            group = self.groups[concept]
            langs = [lang for lang in self.core if lang in group]
            others = [lang for lang in group if lang not in self.core]
            rng.shuffle(others)
            for lang in langs + others[: self.plan.extra_languages]:
                picks.append(int(rng.choice(group[lang])))
                concepts.append(int(concept))
        return picks, concepts

    def _allowed(self, concepts: Sequence[int]) -> Tensor:
        """Concepts that share a phrase in any language are not each other's negatives."""
        names = sorted(set(concepts))
        clash = torch.tensor([[bool(self.texts[a] & self.texts[b]) for b in names] for a in names])
        places = torch.tensor([names.index(c) for c in concepts])
        return ~clash[places][:, places]

    def pooled(self, picks: Sequence[int]) -> Tensor:
        """Unit vectors [n, width], computed in chunks of like length: little is padding."""
        order = np.argsort([len(self.phrases.tokens[p]) for p in picks], kind="stable")
        chunks = []
        for at in range(0, len(order), CHUNK):
            x, mask = self.lower.take([picks[i] for i in order[at : at + CHUNK]])
            chunks.append(self.net.encode(x, mask, self.plan.frozen))
        back = torch.from_numpy(np.argsort(order))
        return F.normalize(torch.cat(chunks)[back], dim=-1)

    def train_step(self) -> float:
        plan = self.plan
        rng = np.random.default_rng((plan.seed, self.step))
        picks, concepts = self._draw(rng)
        warm = min(1.0, (self.step + 1) / 100)
        decay = 0.02 + 0.98 * (1 + math.cos(math.pi * self.step / plan.steps)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = plan.lr * warm * decay
        loss = supervised_contrastive(
            self.pooled(picks), torch.tensor(concepts), self._allowed(concepts), plan.tau
        )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    @torch.no_grad()
    def translation(self) -> dict[str, float]:
        """R@1 of finding a held-out concept's English phrase among all held-out ones."""
        english = self.phrases.languages.index("en")
        usable = [c for c in self.held_out if english in self.groups[c]]

        def vectors(lang: int, of: list[int]) -> Tensor:
            found = self.pooled([self.groups[c][lang][0] for c in of])
            return F.normalize(found - found.mean(0), dim=-1)

        gallery = vectors(english, usable)
        scores = {}
        for lang in self.core:
            of = [c for c in usable if lang in self.groups[c]]
            if lang == english or not of:
                continue
            truth = torch.tensor([usable.index(c) for c in of])
            hits = (vectors(lang, of) @ gallery.T).argmax(1) == truth
            scores[self.phrases.languages[lang]] = round(float(hits.float().mean()), 3)
        return scores

    def save(self) -> None:
        from safetensors.torch import save_file

        part = self.out / "text.safetensors.part"
        save_file({k: v.contiguous() for k, v in self.net.state_dict().items()}, part)
        part.replace(self.out / "text.safetensors")

    def run(self, report_every: int = 100) -> TextNet:
        """Train to the end of the plan."""
        began, mean = time.monotonic(), 0.0
        print(json.dumps({"step": 0, **self.translation()}), flush=True)
        while self.step < self.plan.steps:
            mean += self.train_step()
            if self.step % report_every == 0 or self.step == self.plan.steps:
                entry = {"step": self.step, "loss": round(mean / report_every, 4),
                         "seconds": round(time.monotonic() - began, 1),
                         **self.translation()}  # fmt: skip
                mean = 0.0
                print(json.dumps(entry), flush=True)
                with (self.out / "text-log.jsonl").open("a") as log:
                    log.write(json.dumps(entry) + "\n")
                self.save()
        return self.net
