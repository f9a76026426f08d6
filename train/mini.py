"""The recipe of atri-mini, from public packages to a model folder, in resumable stages.

    python -m train.mini --data ../shared/data --sounds ~/.cache/atri-sounds --work work

`mels` caches log-mels of every recording; `audio` teaches the audio tower (train/distill.py);
`text` fits the text tower (train/textfit.py); `features` runs both over everything; `align` brings
them into one space with KCL (train/align.py) and writes the model folder that `export` converts.
A stage whose result exists is skipped; an interrupted one continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train import validation
from train.align import Align, AlignData, AlignPlan
from train.captions import concepts_of, label_concepts
from train.clipfeatures import ClipFeatures, augmented_features, clean_features
from train.distill import Distiller, DistillPlan
from train.e5 import read_packed
from train.melcache import CachedClip, cache_mels, load_clips
from train.model import AudioTower, ModelShape, TextTower, save_model
from train.phrases import Concept, all_concepts
from train.sources import read_sources
from train.teacher import load_teacher
from train.textfit import LowerLayers, Phrases, TextFit, TextPlan, pad, start_from, tokenise
from train.tokens import choose_pieces, sentencepiece_model, used_pieces
from train.towers.audio import AudioNet

VOCABULARY_SIZE = 48_000
HELD_OUT = 20  # of 256: the share of concepts kept from text training
AUGMENTED_ROUNDS = 2


class Recipe:
    """Paths and plans of one run; each stage is a method."""

    def __init__(self, data: Path, sounds: Path, work: Path, seed: int = 0) -> None:
        self.data, self.sounds, self.work, self.seed = data, sounds, work, seed
        self.distill_plan = DistillPlan(seed=seed)
        self.text_plan = TextPlan(seed=seed)
        self.align_plan = AlignPlan(seed=seed)
        self.labels = label_concepts()

    def teacher(self) -> AudioNet:
        return load_teacher(self.data / "teachers" / "mn04_as_mAP_432.pt")

    def clips(self) -> tuple[list[CachedClip], list[CachedClip]]:
        """Training clips and labelled validation clips (split by recording)."""
        found = load_clips(read_sources(self.data, self.sounds), self.work / "mels")
        held = [c for c in found if c.source.validation and concepts_of(c.source, self.labels)]
        return [c for c in found if not c.source.validation], held

    def mels(self) -> None:
        """Log-mels of every recording on disk."""
        cache_mels(read_sources(self.data, self.sounds), self.work / "mels")

    def audio(self) -> None:
        """The audio tower, by distillation."""
        training, held = self.clips()
        print(f"{len(training)} training clips, {len(held)} validation clips", flush=True)
        out = self.work / "audio"
        Distiller(self.teacher(), training, held[:320], self.distill_plan, out).run()

    def phrases(self) -> tuple[list[Concept], Phrases]:
        """All concepts and their phrases under the pruned vocabulary (made if missing)."""
        concepts = all_concepts(self.data)
        path = self.work / "text" / "tokenizer.model"
        if not path.exists():
            self._choose_vocabulary(concepts, path)
        return concepts, tokenise(concepts, path.read_bytes())

    def _choose_vocabulary(self, concepts: Sequence[Concept], path: Path) -> None:
        packed = read_packed()
        texts = [text for c in concepts for found in c.phrases.values() for text in found]
        texts += (self.data / "audiocaps" / "train.txt").read_text(encoding="utf-8").splitlines()
        texts += (self.data / "ucs" / "ucs.tsv").read_text(encoding="utf-8").splitlines()
        keep = choose_pieces(packed, used_pieces(packed, texts), VOCABULARY_SIZE)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_name("keep.npy"), np.array(keep))
        scores = [float(packed.scores[k]) for k in keep]
        path.write_bytes(sentencepiece_model([packed.pieces[k] for k in keep], scores))

    def text(self) -> None:
        """The text tower, from multilingual-e5-small."""
        concepts, phrases = self.phrases()
        folder = self.work / "text"
        net = start_from(read_packed(), np.load(folder / "keep.npy").tolist())
        lower = LowerLayers(net, phrases, self.text_plan.frozen, folder / "lower.npy")
        TextFit(net, phrases, held_out(concepts), lower, self.text_plan, folder).run()

    def text_tower(self) -> TextTower:
        """The fitted text tower, its last map still to be trained."""
        from safetensors.torch import load_file

        from train.towers.text import TextShape

        weights = load_file(self.work / "text" / "text.safetensors")
        shape = TextShape(len(weights["tokens.weight"]), positions=len(weights["positions.weight"]))
        tower = TextTower(shape)
        tower.load_state_dict(weights)
        return tower.eval()

    def audio_net(self) -> AudioNet:
        """The distilled audio tower."""
        from safetensors.torch import load_file

        net = AudioNet(self.distill_plan.widen, self.distill_plan.widen_tail)
        net.load_state_dict(load_file(self.work / "audio" / "audio.safetensors"))
        return net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def features(self) -> None:
        """Both towers' outputs for all clips and phrases."""
        training, held = self.clips()
        net, teacher = self.audio_net(), self.teacher()
        labelled = [c for c in training if concepts_of(c.source, self.labels)]
        folder = self.work / "features"
        folder.mkdir(exist_ok=True)
        _store(folder / "clean.npz", lambda: clean_features(net, teacher, training))
        _store(
            folder / "augmented.npz",
            lambda: augmented_features(net, teacher, labelled, AUGMENTED_ROUNDS, self.seed),
        )
        _store(folder / "held.npz", lambda: clean_features(net, teacher, held))
        if not (folder / "phrases.npy").exists():
            np.save(folder / "phrases.npy", pooled_phrases(self.text_tower(), self.phrases()[1]))

    def align(self) -> None:
        """Head and text map with KCL; reports on validation; writes the model folder."""
        concepts, phrases = self.phrases()
        number = {concept.id: place for place, concept in enumerate(concepts)}
        training, held = self.clips()
        names = [[number[c] for c in concepts_of(x.source, self.labels)] for x in training]
        held_names = [[number[c] for c in concepts_of(x.source, self.labels)] for x in held]
        folder = self.work / "features"
        clean, augmented = _read(folder / "clean.npz"), _read(folder / "augmented.npz")
        labelled = [row for row in names if row]
        data = AlignData(
            rows=np.concatenate([clean.rows, augmented.rows]),
            row_concepts=[names[i] for i in clean.clip] + [labelled[i] for i in augmented.clip],
            scores=np.concatenate([clean.scores, augmented.scores]),
            phrases=phrases,
            pooled=np.load(folder / "phrases.npy"),
            classes=np.array([number[f"audioset:{i}"] for i in range(527)]),
            held_out=held_out(concepts),
        )
        align = Align(data, self.align_plan)
        align.run()
        report = validation.report(align, _read(folder / "held.npz"), held_names)
        report["plan"] = asdict(self.align_plan)
        (self.work / "validation.json").write_text(json.dumps(report, indent=1) + "\n")
        print(validation.table(report), flush=True)
        self._write(align)

    def _write(self, align: Align) -> None:
        text = self.text_tower()
        text.project.load_state_dict(align.project.state_dict())
        shape = ModelShape(
            widen=self.distill_plan.widen,
            widen_tail=self.distill_plan.widen_tail,
            head_inputs=align.rows.shape[1],
            head_hidden=self.align_plan.hidden,
            text=text.shape,
        )
        audio = AudioTower(shape)
        audio.net.load_state_dict(self.audio_net().state_dict())
        audio.head.load_state_dict(align.head.state_dict())
        tokenizer = (self.work / "text" / "tokenizer.model").read_bytes()
        save_model(self.work / "model", shape, audio, text, tokenizer)


def held_out(concepts: Sequence[Concept]) -> set[int]:
    """The concepts no text training sees, by hash of their id: the same everywhere."""
    return {
        place
        for place, concept in enumerate(concepts)
        if hashlib.blake2b(concept.id.encode(), digest_size=2).digest()[0] < HELD_OUT
    }


@torch.no_grad()
def pooled_phrases(tower: TextTower, phrases: Phrases) -> NDArray[np.float32]:
    """Pooled unit vectors of all phrases, [phrases, width]."""
    rows = np.zeros((len(phrases.texts), tower.shape.width), dtype=np.float32)
    order = np.argsort([len(row) for row in phrases.tokens], kind="stable")
    for at in range(0, len(order), 128):
        picks = order[at : at + 128]
        ids, mask = pad([phrases.tokens[pick] for pick in picks])
        pooled = tower.encode(tower.embed(ids), mask)
        rows[picks] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return rows


def _store(path: Path, make: Callable[[], ClipFeatures]) -> None:
    if not path.exists():
        found = make()
        part = path.with_suffix(".part.npz")
        np.savez(part, rows=found.rows, clip=found.clip, scores=found.scores)
        part.replace(path)


def _read(path: Path) -> ClipFeatures:
    with np.load(path) as stored:
        return ClipFeatures(stored["rows"], stored["clip"], stored["scores"])


STAGES = ("mels", "audio", "text", "features", "align")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one stage or all of them."""
    parser = argparse.ArgumentParser(prog="python -m train.mini", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="tables, teachers, UCS, captions")
    parser.add_argument("--sounds", type=Path, required=True, help="where the sounds were fetched")
    parser.add_argument("--work", type=Path, required=True, help="caches, checkpoints, result")
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    recipe = Recipe(options.data, options.sounds, options.work, options.seed)
    for stage in STAGES if options.stage == "all" else (options.stage,):
        print(f"stage {stage}", flush=True)
        getattr(recipe, stage)()


if __name__ == "__main__":
    main()
