"""The recipe of atri-mini, from public packages to a model folder, in resumable stages.

    python -m train --data DIR --sounds DIR --work DIR

`mels` caches log-mels of every recording; `audio` teaches the audio tower (train/distill.py);
`text` fits the text tower (train/textfit.py); `features` runs both over everything; `align` brings
them into one space with KCL (train/align.py); `joint` trains audio network and head on, together
(train/joint.py) and writes the model folder that `export` converts.
An interrupted stage continues where it was saved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atri_cli.encoders.card import ModelCard
from train import validation
from train.align import Align, AlignData, AlignPlan
from train.captions import concepts_of, label_concepts
from train.cleaning import cleaned
from train.clipfeatures import ClipFeatures, augmented_features, clean_features
from train.distill import Distiller
from train.e5 import read_packed
from train.embedded import load_embedded
from train.joint import Joint, JointPlan
from train.lessons import lesson_sources, play_lessons
from train.lower import LowerLayers, start_from
from train.melcache import CachedClip, cache_mels, load_clips
from train.model import AudioTower, ModelShape, TextTower, save_model
from train.phrases import Concept, all_concepts, vocabulary_concepts
from train.phrasetokens import Phrases, by_length, pad, tokenise
from train.plans import make_plans
from train.repositories import repository_sources
from train.sources import Source, excluded_hashes, read_sources
from train.stages import TEACHER
from train.teacher import load_teacher
from train.textfit import TextFit
from train.tokens import choose_pieces, sentencepiece_model, used_pieces
from train.towers.audio import CLASSES, AudioNet, channels_last
from train.towers.text import TextShape

VOCABULARY_SIZE = 52_000
HELD_OUT = 20  # of 256: the share of concepts kept from text training
AUGMENTED_ROUNDS = 3


class Recipe:
    """Paths and plans of one run; each stage is a method.

    Args:
        data: folder of tables, teacher, UCS and captions (docs/training.md).
        sounds: folder of the recordings that the tables name.
        work: folder of caches, checkpoints and the result.
        seed: of every random choice.
        start: an installed model to learn on from: its audio network goes through the last phase of
            distillation again, and the text stage begins with the upper layers of its text tower.
        effort: the share of steps that every stage makes.
    """

    def __init__(
        self,
        data: Path,
        sounds: Path,
        work: Path,
        seed: int = 0,
        *,
        start: ModelCard | None = None,
        effort: float = 1.0,
    ) -> None:
        self.data, self.sounds, self.work, self.seed = data, sounds, work, seed
        self.start = start
        self.plans = make_plans(seed, effort)
        self.labels = label_concepts()

    def teacher(self) -> AudioNet:
        """The audio teacher, from the data folder."""
        return load_teacher(self.data / TEACHER)

    def sources(self) -> list[Source]:
        """Every recording on disk, of packages and repositories, and the soundfonts' notes."""
        excluded = excluded_hashes(self.data, self.sounds)
        packages = read_sources(self.data, self.sounds, excluded)
        known = excluded | {source.sha1 for source in packages}
        played = lesson_sources(self.sounds, self.work / "lessons")
        return packages + played + repository_sources(self.sounds, known)

    def clips(self) -> tuple[list[CachedClip], list[CachedClip]]:
        """Training clips and labelled validation clips (split by recording)."""
        found = load_clips(self.sources(), self.work / "mels")
        held = [c for c in found if c.source.validation and concepts_of(c.source, self.labels)]
        return [c for c in found if not c.source.validation], held

    def mels(self) -> None:
        """Log-mels of every recording on disk, and of notes played from soundfonts."""
        play_lessons(self.sounds, self.work / "lessons")
        cache_mels(self.sources(), self.work / "mels")

    def audio(self) -> None:
        """The audio tower, by distillation: from random weights, or on from the start model's."""
        training, held = self.clips()
        print(f"{len(training)} training clips, {len(held)} validation clips", flush=True)
        start = load_embedded(self.start)[1].net if self.start else None
        out = self.work / "audio"
        plan = self.plans.audio
        Distiller(self.teacher(), training, held[:320], plan, out, start=start).run()

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
        lower = LowerLayers(net, phrases, self.plans.text.frozen, folder / "lower.npy")
        if self.start is not None:
            upper = load_embedded(self.start)[2].layers[self.plans.text.frozen :]
            net.layers[self.plans.text.frozen :].load_state_dict(upper.state_dict())
        ids = {concept.id for concept in vocabulary_concepts()}  # no two of them mean the same
        own = [place for place, concept in enumerate(concepts) if concept.id in ids]
        fit = TextFit(
            net, phrases, held_out(concepts), lower, self.plans.text, out=folder, distinct=own
        )
        fit.run()

    def text_tower(self) -> TextTower:
        """The fitted text tower, its last map still to be trained."""
        from safetensors.torch import load_file

        weights = load_file(self.work / "text" / "text.safetensors")
        tower = TextTower(_shape(weights))
        tower.load_state_dict(weights)
        return tower.eval()

    def audio_net(self) -> AudioNet:
        """The distilled audio tower."""
        from safetensors.torch import load_file

        net = AudioNet(self.plans.audio.widen, self.plans.audio.widen_tail)
        net.load_state_dict(load_file(self.work / "audio" / "audio.safetensors"))
        return channels_last(net.eval())

    def features(self) -> None:
        """Both towers' outputs for all clips and phrases."""
        training, held = self.clips()
        net, teacher = self.audio_net(), self.teacher()
        labelled = [c for c in training if concepts_of(c.source, self.labels)]
        folder = self.work / "features"
        folder.mkdir(exist_ok=True)
        makers: dict[str, Callable[[], ClipFeatures]] = {
            "clean": lambda: clean_features(net, teacher, training),
            "augmented": lambda: augmented_features(
                net, teacher, labelled, AUGMENTED_ROUNDS, self.seed
            ),
            "held": lambda: clean_features(net, teacher, held),
        }
        for name, make in makers.items():
            if not (folder / f"{name}.npz").exists():
                make().save(folder / f"{name}.npz")
        if not (folder / "phrases.npy").exists():
            pooled = pooled_phrases(self.text_tower(), self.phrases()[1])
            np.save(folder / "phrases.part.npy", pooled)
            (folder / "phrases.part.npy").replace(folder / "phrases.npy")

    def align(self) -> None:
        """Head and text map with KCL, and the labels that stood; reports on validation."""
        concepts, phrases = self.phrases()
        training, held = ([clip.source for clip in clips] for clips in self.clips())
        data, owners = self._align_data(concepts, phrases, training)
        names, packages = [s.sha1 for s in owners], [s.package for s in owners]
        align = Align(cleaned(data, names, packages, self.plans.align), self.plans.align)
        align.run()
        labels = {
            owner.sha1: [concepts[place].id for place in own]
            for owner, own in zip(owners, align.data.row_concepts, strict=True)
            if own
        }
        align.save(self.work / "align")
        (self.work / "align" / "labels.json").write_text(json.dumps(labels, indent=0) + "\n")
        clips = ClipFeatures.load(self.work / "features" / "held.npz")
        report = validation.report(align, clips, self._numbers(concepts, held))
        _save(report, self.plans.align, self.work / "align")

    def joint(self) -> None:
        """The audio network and the head on from alignment, together; writes the model folder."""
        concepts, phrases = self.phrases()
        training, held = self.clips()
        data, owners = self._align_data(concepts, phrases, [clip.source for clip in training])
        number = _numbering(concepts)
        found = json.loads((self.work / "align" / "labels.json").read_text())
        labels = {sha1: [number[concept] for concept in own] for sha1, own in found.items()}
        data = replace(data, row_concepts=[labels.get(owner.sha1, []) for owner in owners])
        align = Align(data, self.plans.align)
        align.load(self.work / "align")
        clips = [(clip, labels.get(clip.source.sha1, [])) for clip in training]
        plan, out, teacher = self.plans.joint, self.work / "joint", self.teacher()
        net = Joint(align, self.audio_net(), teacher, clips, plan=plan, out=out).run()
        numbers = self._numbers(concepts, [clip.source for clip in held])
        report = validation.report(align, clean_features(net, teacher, held), numbers)
        _save(report, plan, self.work)
        self._write(align, net)

    def _numbers(self, concepts: Sequence[Concept], sources: Sequence[Source]) -> list[list[int]]:
        """Concept numbers of each recording."""
        number = _numbering(concepts)
        return [[number[c] for c in concepts_of(source, self.labels)] for source in sources]

    def _align_data(
        self, concepts: Sequence[Concept], phrases: Phrases, training: Sequence[Source]
    ) -> tuple[AlignData, list[Source]]:
        """What alignment learns from, and the recording of each row."""
        folder = self.work / "features"
        clean = ClipFeatures.load(folder / "clean.npz")
        augmented = ClipFeatures.load(folder / "augmented.npz")
        labelled = [source for source in training if concepts_of(source, self.labels)]
        owners = [training[i] for i in clean.clip] + [labelled[i] for i in augmented.clip]
        number = _numbering(concepts)
        data = AlignData(
            rows=np.concatenate([clean.rows, augmented.rows]),
            row_concepts=self._numbers(concepts, owners),
            scores=np.concatenate([clean.scores, augmented.scores]),
            phrases=phrases,
            pooled=np.load(folder / "phrases.npy"),
            classes=np.array([number[f"audioset:{i}"] for i in range(CLASSES)]),
            held_out=held_out(concepts),
        )
        return data, owners

    def _write(self, align: Align, net: AudioNet) -> None:
        """The trained parts together as a model folder."""
        text = self.text_tower()
        text.project.load_state_dict(align.project.state_dict())
        shape = ModelShape(
            widen=self.plans.audio.widen,
            widen_tail=self.plans.audio.widen_tail,
            head_inputs=align.rows.shape[1],
            head_hidden=self.plans.align.hidden,
            text=text.shape,
        )
        audio = AudioTower(shape)
        audio.net.load_state_dict(net.state_dict())
        audio.head.load_state_dict(align.head.state_dict())
        tokenizer = (self.work / "text" / "tokenizer.model").read_bytes()
        save_model(self.work / "model", shape, audio, text, tokenizer)


def _numbering(concepts: Sequence[Concept]) -> dict[str, int]:
    """Concept id → its number."""
    return {concept.id: place for place, concept in enumerate(concepts)}


def _save(report: dict[str, Any], plan: AlignPlan | JointPlan, folder: Path) -> None:
    """Quality on validation, on stdout and in a file."""
    found = report | {"plan": asdict(plan)}
    (folder / "validation.json").write_text(json.dumps(found, indent=1) + "\n")
    print(validation.table(report), flush=True)


def put_towers(card: ModelCard, work: Path) -> None:
    """Write the towers of an installed model as if the stages `audio` and `text` had made them.

    Raises:
        ModelError: a file of the model is missing or damaged, or it is built otherwise.
    """
    from safetensors.torch import save_file

    _, audio, text, tokenizer = load_embedded(card)
    for name in ("audio", "text"):
        (work / name).mkdir(parents=True, exist_ok=True)
    weights = {key: value.contiguous() for key, value in audio.net.state_dict().items()}
    save_file(weights, work / "audio" / "audio.safetensors")
    (work / "text" / "tokenizer.model").write_bytes(tokenizer)
    save_file(text.state_dict(), work / "text" / "text.safetensors")


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
    for picks in by_length(phrases.tokens, 128):
        ids, mask = pad([phrases.tokens[pick] for pick in picks])
        pooled = tower.encode(tower.embed(ids), mask)
        rows[picks] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return rows


def _shape(weights: dict[str, Tensor]) -> TextShape:
    """The sizes of a text tower from its weights; heads as in multilingual-e5-small."""
    inner, width = weights["layers.0.up.weight"].shape
    return TextShape(
        vocabulary=len(weights["tokens.weight"]),
        width=width,
        layers=sum(key.endswith(".up.weight") for key in weights),
        inner=inner,
        positions=len(weights["positions.weight"]),
    )
