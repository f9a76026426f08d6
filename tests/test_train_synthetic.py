"""The made-up world: the same bytes every time, recordings apart, and sounds that can be learnt."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from atri_cli import metrics
from atri_cli.errors import AudioError
from train.batches import Batches
from train.data.augment import Augment
from train.data.manifest import read_manifest
from train.data.splits import split
from train.data.synthetic import SyntheticTowers, _letters, make_synthetic
from train.losses import kcl
from train.trainer import Trainer, TrainPlan
from train.types import Clip, TwoTower

torch.set_num_threads(1)

ROOT = Path(__file__).parents[1]
LANGUAGES = ("en", "fr", "ja")
CLASSES = 8


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    return read_manifest(make_synthetic(tmp_path_factory.mktemp("s"), CLASSES, 10, LANGUAGES, 0))


def part(clips: list[Clip], name: str) -> list[Clip]:
    return [clip for clip in clips if clip.split == name]


def recall(model: TwoTower, clips: list[Clip]) -> float:
    """Text-to-audio R@1 over all languages: one query a caption, right are the clips it is of."""
    with torch.no_grad():
        audio = model.encode_audio(*model.collate_audio(clips, None))
        asked = sorted({(tag, clip.captions[tag][0]) for clip in clips for tag in LANGUAGES})
        scores = model.encode_text(*model.collate_text(asked)) @ audio.T
    truth = np.array([[clip.captions[tag] == (text,) for clip in clips] for tag, text in asked])
    return metrics.recall_at(metrics.ranks(scores.numpy(), truth), 1)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    make_synthetic(tmp_path / "a", 5, 3, LANGUAGES, 7)
    code = (
        "from pathlib import Path; from train.data.synthetic import make_synthetic;"
        f"make_synthetic(Path({str(tmp_path / 'b')!r}), 5, 3, {LANGUAGES}, 7)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    first = digests(tmp_path / "a")
    assert len(set(first.values())) == 16
    assert digests(tmp_path / "b") == first
    make_synthetic(tmp_path / "c", 5, 3, LANGUAGES, 8)
    assert not set(digests(tmp_path / "c").values()) & set(first.values())


def test_the_manifest_is_a_manifest(clips: list[Clip]) -> None:
    assert len(clips) == 80
    assert {name: len(part(clips, name)) for name in ("train", "validation", "test")} == {
        "train": 48,
        "validation": 16,
        "test": 16,
    }
    for tag in LANGUAGES:
        words = {word for clip in clips for text in clip.captions[tag] for word in text.split()}
        assert len(words) == CLASSES + 2
    assert len({clip.captions["en"][0] for clip in clips}) > CLASSES
    sound = soundfile.info(clips[0].audio)
    assert (sound.samplerate, sound.channels, sound.frames) == (16_000, 1, 16_000)


def test_every_clip_is_a_recording_of_its_own(clips: list[Clip]) -> None:
    assert len({clip.recording for clip in clips}) == len(clips)
    kept = split(clips, {"train": 1.0, "validation": 0.0, "test": 0.0})
    assert {clip.id: name for name, some in kept.items() for clip in some} == {
        clip.id: clip.split for clip in clips
    }


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_letters_tell_takes_apart(first: int, second: int) -> None:
    assert (_letters(first) == _letters(second)) == (first == second)
    assert _letters(first).isalpha()


def test_sixty_steps_of_kcl_find_sounds_never_heard(clips: list[Clip]) -> None:
    model, held = SyntheticTowers(), part(clips, "test")
    batches = Batches(part(clips, "train"), LANGUAGES, 24, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), 2e-3)
    assert recall(model, held) < 0.3
    for epoch in range(30):
        for batch in batches.epoch(epoch):
            audio = model.encode_audio(*model.collate_audio(batch.clips, None))
            rows = [
                [(tag, text) for text in row]
                for tag, row in zip(LANGUAGES, batch.texts, strict=True)
            ]
            texts = torch.stack([model.encode_text(*model.collate_text(row)) for row in rows])
            loss = kcl(audio, texts, model.log_tau.exp(), clash=batch.clash)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    assert recall(model, held) > 0.75


def test_the_loop_trains_them_with_augmentation(clips: list[Clip], tmp_path: Path) -> None:
    model, train = SyntheticTowers(augment=Augment()), part(clips, "train")
    plan = TrainPlan("cacl", LANGUAGES, epochs=30, batch_size=24, lr=5e-3, patience=0)
    Trainer(model, train, plan, tmp_path / "run").run()
    assert recall(model, part(clips, "test")) > 0.6


def test_views_differ_and_follow_from_the_rng(clips: list[Clip]) -> None:
    model, some = SyntheticTowers(augment=Augment()), clips[:3]
    plain, *views = (
        model.collate_audio(some, rng)[0]
        for rng in (None, *(np.random.default_rng(seed) for seed in (1, 1, 2)))
    )
    assert plain.shape == (3, 256)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])
    assert not torch.equal(views[0], plain)
    unchanged = SyntheticTowers().collate_audio(some, np.random.default_rng(1))[0]
    assert torch.equal(unchanged, plain)


def test_the_language_reaches_the_text_tower() -> None:
    model = SyntheticTowers()
    words = [("en", "gato"), ("fr", "gato"), ("en", " GATO "), ("en", "gatos"), ("ja", "猫")]
    english, french, spaced, plural, cat = model.encode_text(*model.collate_text(words))
    assert torch.equal(english, spaced)
    assert not torch.equal(english, french)
    assert not torch.equal(english, plural)
    assert torch.isfinite(cat).all()


def test_weights_follow_from_the_seed_and_leave_the_global_state() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, same, other = (SyntheticTowers(seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["audio.0.weight"], other["audio.0.weight"])


def test_a_sound_that_is_none(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"nothing")
    with pytest.raises(AudioError):
        SyntheticTowers().collate_audio([Clip("x", bad, {"en": ("x",)})], None)
