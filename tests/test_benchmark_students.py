"""Students, teachers and mixtures are compared by what they claim to measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from atri_cli.vocabulary.concepts import vocabulary_concepts
from atri_cli.vocabulary.together import asked_together
from benchmarks.mixtures import AND, LEVEL, joined, mixed, pairs
from benchmarks.students import (
    STUDENTS,
    class_truth,
    learn,
    left_out,
    measured,
    retrieval,
    short_plan,
)
from train.captions import CONCEPTS
from train.hints import head_loss
from train.melcache import CachedClip
from train.sources import Source
from train.towers.audio import AudioNet


def source(name: str, label: str, package: str = "p") -> Source:
    return Source(package, Path(name), name, label, CONCEPTS, False, 1.0, False)


def clips(count: int) -> list[CachedClip]:
    rng = np.random.default_rng(0)
    labels = ("dog_bark", "rain")
    return [
        CachedClip(
            source(f"{n}.wav", labels[n % 2]), rng.normal(size=(200, 128)).astype(np.float16)
        )
        for n in range(count)
    ]


@pytest.mark.parametrize("name", STUDENTS)
def test_a_student_gives_what_the_teacher_gives(name: str) -> None:
    torch.manual_seed(0)
    net, teacher = STUDENTS[name].make().eval(), AudioNet().eval()
    mel = torch.randn(2, 1, 128, 150)
    ours, theirs = net(mel), teacher(mel)
    assert [one.shape for one in ours] == [one.shape for one in theirs]
    assert torch.isfinite(head_loss(ours, theirs))


def test_students_are_of_one_size() -> None:
    weights = {n: sum(p.numel() for p in s.make().parameters()) for n, s in STUDENTS.items()}
    assert max(weights.values()) < 1.3 * min(weights.values()), weights


def test_learning_ends_by_the_clock_and_is_measured() -> None:
    torch.manual_seed(1)
    teacher, heard = AudioNet().eval().requires_grad_(False), clips(6)
    net, steps = learn(STUDENTS["patches"], teacher, heard, minutes=0.01, seed=0)
    assert steps >= 1
    assert not net.training
    found = measured(net, teacher, heard)
    assert (found["queries"], found["recordings"]) == (2, 6)
    assert measured(teacher, teacher, heard)["pooled"] == 0.0


def test_a_class_is_found_where_its_scores_are_highest() -> None:
    truth = class_truth([source("a", "dog_bark"), source("b", "rain"), source("c", "no such")])
    assert sorted(truth.values()) == [[0], [1]]
    scores = np.zeros((527, 3), np.float32)
    for number, (place,) in truth.items():
        scores[number, place] = 1.0
    assert retrieval(scores, truth) == {"R@1": 1.0, "R@10": 1.0, "mAP@10": 1.0}
    assert retrieval(-scores, truth)["R@1"] == 0.0


def test_a_fifth_of_the_packages_is_left_out_always_the_same() -> None:
    names = [f"package-{n}" for n in range(2000)]
    assert 0.17 < sum(map(left_out, names)) / len(names) < 0.23
    assert [left_out(name) for name in names] == [left_out(name) for name in names]
    assert short_plan(10, 3).seed == 3
    assert short_plan(20, 0).block_steps == 2 * short_plan(10, 0).block_steps


def test_pairs_share_no_sound_and_come_once() -> None:
    named = [(source(str(n), ""), [f"c{n % 4}", "x"] if n % 5 else [f"c{n % 4}"]) for n in range(9)]
    found = list(pairs(named, 5))
    asked = {frozenset((a, b)) for (_, a), (_, b) in found}
    assert len(asked) == 5
    for (one, _), (other, _) in found:
        labels = {s.sha1: set(ids) for s, ids in named}
        assert not labels[one.sha1] & labels[other.sha1]


def test_a_mixture_has_both_at_the_same_level(tmp_path: Path) -> None:
    time = np.arange(32_000) / 32_000
    for name, hertz, level, seconds in (("low", 200, 0.9, 1.0), ("high", 3_000, 0.01, 0.5)):
        wave = level * np.sin(2 * np.pi * hertz * time[: int(32_000 * seconds)])
        soundfile.write(tmp_path / f"{name}.wav", wave, 32_000, subtype="FLOAT")
    found = mixed(tmp_path / "low.wav", tmp_path / "high.wav")
    assert found.shape == (32_000,)
    spectrum = np.abs(np.fft.rfft(found)) * np.sqrt(2) / len(found)
    assert spectrum[200] == pytest.approx(LEVEL, rel=0.05)
    assert spectrum[3_000] == pytest.approx(LEVEL, rel=0.05)


def test_joined_names_are_taken_apart_again() -> None:
    known = {concept.id: concept for concept in vocabulary_concepts()}
    for text in joined(known["dog_bark"], known["rain"], 0, AND):
        assert len(asked_together(text)) == 2, text
