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

from train.lower import LowerLayers
from train.phrases import CORE
from train.phrasetokens import Phrases, by_length
from train.steps import descend, log_progress
from train.towers.text import TextNet

CHUNK = 96
NEAREST = 10


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
    """Steps, concepts a step, languages besides the core ones, frozen layers, rates, seed.

    `neighbours` of each of `seeds` concepts are drawn from the `NEAREST` to it, the rest at random.
    """

    steps: int = 1500
    concepts: int = 40
    seeds: int = 5
    neighbours: int = 3
    extra_languages: int = 4
    frozen: int = 8
    lr: float = 3e-4
    tau: float = 0.05
    seed: int = 0


class TextFit:
    """Runs the plan and reports translation R@1 on concepts held out from training.

    Args:
        net: the tower to fit, from `start_from`; its layers from `plan.frozen` on are trained.
        phrases: all phrases.
        held_out: concept numbers that are only reported on.
        lower: the frozen layers' output for `phrases`.
        plan: steps, batches, rates.
        out: folder of checkpoint and log; a run found there goes on.
        distinct: concepts of which no two mean the same: only these are drawn beside neighbours.
    """

    def __init__(
        self,
        net: TextNet,
        phrases: Phrases,
        held_out: set[int],
        lower: LowerLayers,
        plan: TextPlan,
        *,
        out: Path,
        distinct: Sequence[int] = (),
    ) -> None:
        self.net, self.phrases, self.lower = net, phrases, lower
        self.plan, self.out = plan, out
        self.groups = phrases.groups()
        self.held_out = sorted(held_out)
        self.training = [c for c in range(len(self.groups)) if c not in held_out]
        self.core = [phrases.languages.index(lang) for lang in CORE if lang in phrases.languages]
        self.texts = [
            frozenset(phrases.texts[p].lower() for numbers in group.values() for p in numbers)
            for group in self.groups
        ]
        self.near = self._nearest([c for c in distinct if c not in held_out])
        self.optimiser = torch.optim.AdamW(self._trained(), lr=plan.lr, weight_decay=0.01)
        self.step = 0
        self._resume()

    def _trained(self) -> list[Tensor]:
        """Freeze the tower but for its upper layers, and give their weights."""
        self.net.requires_grad_(False)
        for layer in self.net.layers[self.plan.frozen :]:
            layer.requires_grad_(True)
        return [weight for weight in self.net.parameters() if weight.requires_grad]

    def _resume(self) -> None:
        path = self.out / "text-state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.net.load_state_dict(state["trained"], strict=False)
            self.optimiser.load_state_dict(state["optimiser"])
            self.step = state["step"]

    def save(self) -> None:
        """Write weights (safetensors) and the state to continue from, each by rename."""
        from safetensors.torch import save_file

        part = self.out / "text.safetensors.part"
        save_file({k: v.contiguous() for k, v in self.net.state_dict().items()}, part)
        part.replace(self.out / "text.safetensors")
        trained = {name for name, weight in self.net.named_parameters() if weight.requires_grad}
        state = {
            "trained": {k: v for k, v in self.net.state_dict().items() if k in trained},
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, self.out / "text-state.part")
        (self.out / "text-state.part").replace(self.out / "text-state.pt")

    @torch.no_grad()
    def _nearest(self, concepts: list[int]) -> dict[int, NDArray[np.int64]]:
        """The concepts nearest to each of these before training, by their first names."""
        if len(concepts) <= NEAREST:
            return {}
        found = self._centred(self.core[0], concepts)
        order = (found @ found.T).fill_diagonal_(-2).topk(NEAREST).indices.numpy()
        numbers = np.array(concepts)
        return {concept: numbers[row] for concept, row in zip(concepts, order, strict=True)}

    def _concepts(self, rng: np.random.Generator) -> list[int]:
        """The concepts of one step: some with their neighbours, which are hard to tell apart."""
        plan = self.plan
        count = plan.seeds if self.near else 0
        drawn = dict.fromkeys(rng.choice([*self.near], count, replace=False).astype(int).tolist())
        for seed in list(drawn):
            near = rng.choice(self.near[seed], plan.neighbours, replace=False)
            drawn |= dict.fromkeys(map(int, near))
        others = rng.choice(self.training, plan.concepts, replace=False)
        return list(drawn | dict.fromkeys(map(int, others)))[: plan.concepts]

    def _draw(self, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        """Phrase numbers and their concepts for one step."""
        picks, concepts = [], []
        for concept in self._concepts(rng):
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
        batches = list(by_length([self.phrases.tokens[p] for p in picks], CHUNK))
        chunks = []
        for batch in batches:
            x, mask = self.lower.take([picks[i] for i in batch])
            chunks.append(self.net.encode(x, mask, self.plan.frozen))
        back = torch.from_numpy(np.argsort(np.concatenate(batches)))
        return F.normalize(torch.cat(chunks)[back], dim=-1)

    def _rate(self) -> float:
        """Linear warm-up over 100 steps; cosine to 2 % of the peak."""
        warm = min(1.0, (self.step + 1) / 100)
        decay = 0.02 + 0.98 * (1 + math.cos(math.pi * self.step / self.plan.steps)) / 2
        return self.plan.lr * warm * decay

    def train_step(self) -> float:
        """One optimiser step; returns the loss."""
        picks, concepts = self._draw(np.random.default_rng((self.plan.seed, self.step)))
        allowed = self._allowed(concepts)
        vectors = self.pooled(picks)
        loss = supervised_contrastive(vectors, torch.tensor(concepts), allowed, self.plan.tau)
        clip = (self.net.parameters(), 1.0)
        value = descend(loss, self.optimiser, self._rate(), clip=clip)
        self.step += 1
        return value

    @torch.no_grad()
    def translation(self) -> dict[str, float]:
        """R@1 of finding a held-out concept's English phrase among all held-out ones."""
        english = self.phrases.languages.index("en")
        usable = [c for c in self.held_out if english in self.groups[c]]
        gallery = self._centred(english, usable)
        scores = {}
        for lang in self.core:
            of = [c for c in usable if lang in self.groups[c]]
            if lang != english and of:
                truth = torch.tensor([usable.index(c) for c in of])
                hits = (self._centred(lang, of) @ gallery.T).argmax(1) == truth
                scores[self.phrases.languages[lang]] = round(float(hits.float().mean()), 3)
        return scores

    def _centred(self, lang: int, concepts: Sequence[int]) -> Tensor:
        """Unit vectors of the concepts' first phrases, less their mean."""
        found = self.pooled([self.groups[c][lang][0] for c in concepts])
        return F.normalize(found - found.mean(0), dim=-1)

    def run(self, report_every: int = 100) -> TextNet:
        """Train to the end of the plan, saving and logging to `text-log.jsonl`."""
        began = time.monotonic()
        losses: list[float] = []
        if self.step == 0:
            print(json.dumps({"step": 0, **self.translation()}), flush=True)
        while self.step < self.plan.steps:
            losses.append(self.train_step())
            if self.step % report_every == 0 or self.step == self.plan.steps:
                self.save()
                log = self.out / "text-log.jsonl"
                seconds = time.monotonic() - began
                log_progress(log, self.step, losses, seconds, self.translation())
                losses.clear()
        return self.net
