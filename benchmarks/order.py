"""Losses against each other on real sounds: same towers, data and steps; recall and MRV.

    python -m benchmarks.order run DATA SOUNDS --losses random,cacl,kcl --seeds 0,1,2
    python -m benchmarks.order table

Audio: atri-mini's network, frozen, its features cached; a fresh head. Text: multilingual-e5-small
as it is published, frozen or with its last layers trained; a fresh head (Linear, ReLU, Linear).
The captions are the vocabulary's, eight languages. Measured on recordings never trained on
(`validation`), on concepts never trained on (`unseen`), and on the test sounds (`test`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from atri_cli.encoders.card import load_card
from atri_cli.encoders.registry import embedded_dir
from atri_cli.vocabulary.translate import captions
from benchmarks.ordertable import SETS, table
from benchmarks.testset import QUERIES
from train.captions import concepts_of, label_concepts
from train.data.manifest import read_manifest
from train.e5 import read_packed
from train.embedded import load_embedded
from train.freezing import Freezing
from train.lower import start_from
from train.model import TextTower
from train.modeltowers import ModelTowers
from train.phrases import CORE, vocabulary_concepts
from train.plan import TrainPlan
from train.scoring import evaluate
from train.sources import in_validation, read_sources
from train.tokens import sentencepiece_model
from train.torchmodel import TOKENIZER, TorchModel, mini_card
from train.towers.heads import AudioHead, ProjectionHead
from train.trainer import Trainer
from train.types import Clip

PAPER = ("random", "mlclap", "cacl", "kcl", "kcl-joint")
RESULTS = Path("docs/results/order.jsonl")
GCOMPRIS = Path(".eval/gcompris")
CACHE = Path(".train/order")


class Head(ProjectionHead):
    """ML-CLAP's head, whose end the tower brings to unit length itself."""

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(self.first(pooled).relu())
        return found


def clips_of(data: Path, sounds: Path) -> dict[str, list[Clip]]:
    """Clips with captions of their first concept in eight languages, by set."""
    labels = label_concepts()
    concepts = {concept.id: concept for concept in vocabulary_concepts()}
    found: dict[str, list[Clip]] = defaultdict(list)
    for source in read_sources(data, sounds):
        names = [name for name in concepts_of(source, labels) if name in concepts]
        if not names:
            continue
        unseen = in_validation(f"concept {names[0]}")
        where = "unseen" if unseen else "validation" if source.validation else "train"
        texts = captions([concepts[names[0]]], CORE)
        found[where].append(Clip(source.sha1, source.path, texts, split=where))
    found["test"] = read_manifest(QUERIES, GCOMPRIS)
    return found


def towers(cache: Path, text_layers: int) -> ModelTowers:
    """Frozen networks, but for the last `text_layers` of the text; heads still to be drawn."""
    shape, audio, _, _ = load_embedded(load_card(embedded_dir() / "atri-mini"))
    packed = read_packed()
    net = start_from(packed, list(range(len(packed.pieces))))
    text = TextTower(net.shape)
    text.load_state_dict(net.state_dict())
    text.project = Head(net.shape.width, net.shape.dim)  # type: ignore[assignment]
    tokenizer = sentencepiece_model(packed.pieces, [float(score) for score in packed.scores])
    cache.mkdir(parents=True, exist_ok=True)
    (cache / TOKENIZER).write_bytes(tokenizer)
    shape = replace(shape, text=net.shape)
    model = TorchModel(shape, audio, text, mini_card(shape, cache))
    return ModelTowers(model, cache, freezing=Freezing("all", text_layers))


def draw_heads(model: ModelTowers, clips: Sequence[Clip], seed: int) -> None:
    """Fresh heads; the audio head knows mean and deviation of its inputs."""
    torch.manual_seed(seed)
    head = AudioHead(model.audio.head.up.in_features, 512, 0.3)
    rows = [model.collate_audio([clip], None)[0][0] for clip in clips]
    head.standardise(torch.cat(rows))
    model.audio.head = head
    for layer in model.text.project.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()


def run(options: argparse.Namespace) -> None:
    """Train each loss with each seed, and append a line a run."""
    torch.set_num_threads(options.threads)
    sets = clips_of(options.data, options.sounds)
    model = towers(CACHE, options.text_layers)
    for name in ("train", *SETS):
        sets[name], problems = model.prepare(sets[name])
        print(name, len(sets[name]), "clips;", len(problems), "unreadable", flush=True)
    start = {name: one.clone() for name, one in model.state_dict().items()}
    for seed in map(int, options.seeds.split(",")):
        for loss in options.losses.split(","):
            plan = TrainPlan(
                loss=loss,
                languages=CORE,
                epochs=options.epochs,
                batch_size=options.batch,
                lr=options.lr,
                tau=options.tau,
                seed=seed,
                patience=0,
                chunk=options.chunk,
            )
            model.load_state_dict(start)
            draw_heads(model, sets["train"][:1000], seed)
            entry = _measure(model, sets, plan)
            entry["text_layers"] = options.text_layers
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
            print(json.dumps({k: v for k, v in entry.items() if k != "sets"}), flush=True)


def _measure(model: ModelTowers, sets: dict[str, list[Clip]], plan: TrainPlan) -> dict[str, Any]:
    began = time.monotonic()
    name = hashlib.sha256(repr(plan).encode()).hexdigest()[:12]
    trainer = Trainer(model, sets["train"], plan, CACHE / "runs" / f"{name}-{began:.0f}")
    trainer.run()
    seconds = time.monotonic() - began
    found = {}
    for part in SETS:
        report = evaluate(model, sets[part], CORE)
        found[part] = {
            "clips": report["clips"],
            "queries": report["queries"],
            **{
                f"{way}_{measure}": round(report[way]["mean"][measure], 4)
                for way in ("t2a", "a2t")
                for measure in ("r1", "r5", "r10", "map10")
            },
            **{f"{way}_mrv": report[way]["mrv"] for way in ("t2a", "a2t")},
            "worst_over_english": min(report["t2a"]["gap"]["to_english"].values()),
            "ranks": report["ranks"]["t2a"],
        }
    return {
        "loss": plan.loss,
        "seed": plan.seed,
        "steps": trainer.steps,
        "batch": plan.batch_size,
        "lr": plan.lr,
        "tau": plan.tau,
        "train_clips": len(sets["train"]),
        "seconds": round(seconds, 1),
        "sets": found,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.order", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    commands = parser.add_subparsers(required=True)
    runs = commands.add_parser("run")
    runs.add_argument("data", type=Path)
    runs.add_argument("sounds", type=Path)
    runs.add_argument("--losses", default=",".join(PAPER))
    runs.add_argument("--seeds", default="0,1,2")
    runs.add_argument("--epochs", type=int, default=20)
    runs.add_argument("--batch", type=int, default=128)
    runs.add_argument("--lr", type=float, default=1e-3)
    runs.add_argument("--tau", type=float, default=0.07)
    runs.add_argument("--chunk", type=int)
    runs.add_argument("--threads", type=int, default=1)
    runs.add_argument("--text-layers", type=int, default=0)
    runs.set_defaults(do=run)
    commands.add_parser("table").set_defaults(do=lambda options: table(options.results))
    options = parser.parse_args()
    options.do(options)


if __name__ == "__main__":
    main()
