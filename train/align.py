"""Bring audio and text into one space: KCL over captions in eight languages, on cached features.

Both towers are frozen and their outputs cached, so K languages cost nothing. What is trained: the
audio head, and one linear map of the text tower. Three terms: KCL on labelled recordings, with
agreement between languages and the recording's name among all names; soft targets, the teacher's
class probabilities against the class names, on every recording and both ways; and the supervised
contrastive loss on phrases, which keeps languages together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from train.losses import kcl
from train.losses.agreement import jsd
from train.phrases import CORE
from train.phrasetokens import Phrases
from train.textfit import supervised_contrastive
from train.towers.heads import DIM, AudioHead
from train.views import draw


@dataclass(frozen=True)
class AlignPlan:
    """Steps, clips a batch, loss weights, temperature, rates, seed."""

    steps: int = 1500
    batch: int = 192
    jsd_weight: float = 3.0
    classes_weight: float = 1.0
    ranking_weight: float = 1.0
    phrases_weight: float = 0.5
    names_weight: float = 0.5
    tau: float = 0.07
    classes_tau: float = 0.07
    lr: float = 1e-3
    text_lr: float = 2e-4
    dropout: float = 0.3
    hidden: int = 512
    seed: int = 0


def principal_map(vectors: NDArray[np.float32], dim: int = DIM) -> nn.Linear:
    """A linear map to the first `dim` principal directions, centred and partly whitened."""
    mean = vectors.mean(0)
    _, spread, directions = np.linalg.svd(vectors - mean, full_matrices=False)
    weight = directions[:dim] / np.sqrt(spread[:dim, None] / spread[0])
    linear = nn.Linear(vectors.shape[1], dim)
    linear.weight.data = torch.from_numpy(weight.astype(np.float32))
    linear.bias.data = torch.from_numpy((-weight @ mean).astype(np.float32))
    return linear


def phrase_table(
    groups: Sequence[dict[int, list[int]]], core: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Phrase numbers [concepts, languages, most phrases] and how many of them count.

    A concept without a phrase in a language has those of the first of `core` in its place.
    """
    lists = [[group.get(lang) or group[core[0]] for lang in core] for group in groups]
    most = max(len(cell) for row in lists for cell in row)
    table = np.array([[[*cell, *[0] * (most - len(cell))] for cell in row] for row in lists])
    return table, np.array([[len(cell) for cell in row] for row in lists])


def rarity(firsts: Sequence[int]) -> NDArray[np.float64]:
    """Cumulated chances of recordings by their first concept: the more there are, the less each."""
    chance = np.bincount(firsts)[firsts] ** -0.6
    return np.cumsum(chance / chance.sum())


@dataclass(frozen=True)
class AlignData:
    """Rows of audio features with concepts of their recording, and pooled phrase vectors.

    `row_concepts[i]` holds concept numbers (into the groups of `phrases`), empty if unlabelled;
    `scores` the teacher's probabilities; `classes` the concept number of each AudioSet class.
    """

    rows: NDArray[np.float32]
    row_concepts: list[list[int]]
    scores: NDArray[np.float16]
    phrases: Phrases
    pooled: NDArray[np.float32]
    classes: NDArray[np.int64]
    held_out: set[int]


class Align:
    """Trains the audio head and the text map.

    Args:
        data: features, labels, phrases.
        plan: steps, weights of the terms, temperatures, rates, seed.
    """

    def __init__(self, data: AlignData, plan: AlignPlan) -> None:
        torch.manual_seed(plan.seed)
        self.data, self.plan = data, plan
        self.groups = data.phrases.groups()
        self.core = [data.phrases.languages.index(lang) for lang in CORE]
        self.table, self.counts = phrase_table(self.groups, self.core)
        self.held_out = np.array(sorted(data.held_out))
        self.rows = torch.from_numpy(data.rows)
        self.pooled = torch.from_numpy(data.pooled)
        self.head = AudioHead(data.rows.shape[1], plan.hidden, plan.dropout)
        self.head.standardise(self.rows)
        self.project = principal_map(data.pooled)
        self.named = np.unique(np.concatenate([c for c in data.row_concepts if c]))
        self.names = self.pooled[torch.from_numpy(self.table[:, :, 0])].mean(1)
        self.labelled = np.array([i for i, c in enumerate(data.row_concepts) if c])
        self.chance = self._chance()
        self.optimiser = torch.optim.AdamW(
            [
                {"params": self.head.parameters(), "lr": plan.lr, "peak": plan.lr},
                {"params": self.project.parameters(), "lr": plan.text_lr, "peak": plan.text_lr},
            ],
            weight_decay=0.02,
        )

    def _chance(self) -> NDArray[np.float64]:
        """Cumulated chances of the labelled rows: a frequent concept is drawn less than it is."""
        return rarity([self.data.row_concepts[i][0] for i in self.labelled])

    def name_vectors(self, concepts: NDArray[np.int64]) -> Tensor:
        """Unit vectors [concepts, dim] of concepts, each the mean of its names in core languages.

        Nearly as search asks for them: search takes the mean after the map, which would cost eight
        times as much here.
        """
        return F.normalize(self.project(self.names[torch.from_numpy(concepts)]), dim=-1)

    def text(self, numbers: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Unit vectors [n, dim] of the phrases of these numbers."""
        return F.normalize(self.project(self.pooled[torch.as_tensor(numbers)]), dim=-1)

    def audio(self, rows: Tensor) -> Tensor:
        """Unit vectors [n, dim] of rows of features [n, inputs]."""
        found: Tensor = self.head(rows)
        return found

    def _draw(
        self, rng: np.random.Generator, concepts: NDArray[np.int64], lang: int
    ) -> NDArray[np.int64]:
        """One phrase of each concept in core language number `lang` (English where it lacks)."""
        counts = self.counts[concepts, lang]
        drawn: NDArray[np.int64] = self.table[concepts, lang, rng.integers(counts)]
        return drawn

    def _kcl(self, rng: np.random.Generator) -> Tensor:
        """`captions_loss` of labelled rows."""
        picks = self.labelled[draw(rng, self.chance, self.plan.batch)]
        concepts = [self.data.row_concepts[i] for i in picks]
        return self.captions_loss(self.audio(self.rows[picks]), concepts, rng)

    def captions_loss(
        self, audio: Tensor, concepts: Sequence[Sequence[int]], rng: np.random.Generator
    ) -> Tensor:
        """KCL, with agreement of the languages and the name of each recording among all names.

        Args:
            audio: unit vectors [n, dim].
            concepts: of each, best first; a phrase of one of them is drawn in every language.
            rng: draws concepts and phrases.
        """
        chosen = np.array([c[0] if rng.random() < 0.7 else int(rng.choice(c)) for c in concepts])
        numbers = [self._draw(rng, chosen, lang) for lang in range(len(self.core))]
        texts = torch.stack([self.text(row) for row in numbers])
        loss = kcl(audio, texts, self.plan.tau, clash=self._clash(concepts))
        if self.plan.jsd_weight:
            everywhere = torch.ones(texts.shape[:2], dtype=torch.bool)
            loss = loss + self.plan.jsd_weight * jsd(audio, texts, everywhere, self.plan.tau)
        if self.plan.names_weight:
            loss = loss + self.plan.names_weight * self._names(audio, concepts, chosen)
        return loss

    def _names(
        self, audio: Tensor, concepts: Sequence[Sequence[int]], chosen: NDArray[np.int64]
    ) -> Tensor:
        """Cross-entropy of each recording's concept among all that recordings have."""
        logits = audio @ self.name_vectors(self.named).T / self.plan.tau
        target = torch.from_numpy(np.searchsorted(self.named, chosen))
        other = self._members(concepts)[:, torch.from_numpy(self.named)] > 0
        other[torch.arange(len(other)), target] = False
        return F.cross_entropy(logits.masked_fill(other, -1e4), target)

    def _clash(self, concepts: Sequence[Sequence[int]]) -> Tensor:
        """bool [n, n]: which recordings share a concept."""
        member = self._members(concepts)
        return member @ member.T > 0

    def _members(self, concepts: Sequence[Sequence[int]]) -> Tensor:
        """1.0 [n, concepts] where a recording has a concept, else 0.0."""
        member = torch.zeros(len(concepts), len(self.groups))
        for row, members in enumerate(concepts):
            member[row, members] = 1.0
        return member

    def _classes(self, rng: np.random.Generator) -> Tensor:
        """`classes_loss` of any rows."""
        picks = rng.integers(len(self.rows), size=self.plan.batch)
        scores = torch.from_numpy(self.data.scores[picks].astype(np.float32))
        return self.classes_loss(self.audio(self.rows[picks]), scores, rng)

    def classes_loss(self, audio: Tensor, scores: Tensor, rng: np.random.Generator) -> Tensor:
        """What the teacher hears: which class a sound is of, and which sound a class is in.

        The first is a cross-entropy over class names for each sound. Search asks the second, so
        for each class the batch is ranked too: a cross-entropy over the sounds, in which a class
        counts as much as the teacher hears of it.

        Args:
            audio: unit vectors [n, dim].
            scores: the teacher's probabilities [n, 527].
            rng: draws the language and a phrase of each class.
        """
        said = self.text(self._draw(rng, self.data.classes, int(rng.integers(len(self.core)))))
        wanted = scores / scores.sum(1, keepdim=True).clamp_min(0.05)
        told = (audio @ said.T / self.plan.classes_tau).log_softmax(1)
        ranked = (
            audio @ self.name_vectors(self.data.classes).T / self.plan.classes_tau
        ).log_softmax(0)
        heard = scores.sum(0).clamp(1e-6, 1.0)
        found = (scores / scores.sum(0).clamp_min(1e-6) * ranked).sum(0) @ heard / heard.sum()
        return (
            -self.plan.classes_weight * (wanted * told).sum(1).mean()
            - self.plan.ranking_weight * found
        )

    def _phrases(self, rng: np.random.Generator) -> Tensor:
        """The supervised contrastive loss on phrases of concepts not held out."""
        concepts = np.unique(rng.integers(len(self.groups), size=96))
        concepts = concepts[~np.isin(concepts, self.held_out)]
        numbers = [self._draw(rng, concepts, lang) for lang in range(len(self.core))]
        vectors = self.text(np.concatenate(numbers))
        owner = torch.from_numpy(np.tile(concepts, len(self.core)))
        allowed = torch.ones(len(owner), len(owner), dtype=torch.bool)
        return supervised_contrastive(vectors, owner, allowed, self.plan.tau)

    def train_step(self, step: int) -> list[float]:
        """One step; returns the three terms."""
        plan = self.plan
        rng = np.random.default_rng((plan.seed, step))
        factor = min(1.0, (step + 1) / 100) * (1 + math.cos(math.pi * step / plan.steps)) / 2
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * factor
        terms = [self._kcl(rng), self._classes(rng), self._phrases(rng)]
        weights = (1.0, 1.0, plan.phrases_weight)
        loss = torch.stack([w * t for w, t in zip(weights, terms, strict=True)]).sum()
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        return [float(term.detach()) for term in terms]

    def save(self, folder: Path) -> None:
        """Write head and text map into `folder`."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.head.state_dict(), folder / "head.safetensors")
        save_file(self.project.state_dict(), folder / "project.safetensors")

    def load(self, folder: Path) -> None:
        """Take what `save` wrote, as after `run`."""
        from safetensors.torch import load_file

        self.head.load_state_dict(load_file(folder / "head.safetensors"))
        self.project.load_state_dict(load_file(folder / "project.safetensors"))
        self.head.eval()

    def run(self, report_every: int = 500) -> None:
        """Train to the end of the plan."""
        self.head.train()
        sums = np.zeros(3)
        for step in range(self.plan.steps):
            sums += self.train_step(step)
            if (step + 1) % report_every == 0:
                print(step + 1, (sums / report_every).round(3), flush=True)
                sums[:] = 0
        self.head.eval()
