"""Soundfonts as recordings of the recipe: found, played once, labelled by their concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.test_instruments import font
from train import lessons
from train.captions import concepts_of
from train.instruments import DRUMS, KEYS, LEARNT, STRIKES, Note, lesson
from train.phrases import vocabulary_concepts

PACKAGE, INNER = LEARNT[0]


def unpacked(sounds: Path) -> Path:
    path = sounds / "x" / PACKAGE / INNER
    path.parent.mkdir(parents=True)
    return font(path, (0, 12), (128, 0))


def play(_: Path, wanted: Sequence[Note], folder: Path) -> list[tuple[Path, Note]]:
    """In place of fluidsynth: an empty file for every note but the first, which is silent."""
    folder.mkdir(parents=True)
    for note in wanted[1:]:
        (folder / note.file).touch()
    return [(folder / note.file, note) for note in wanted[1:]]


def test_a_lesson_has_notes_and_phrases_each_in_a_file_of_its_own(tmp_path: Path) -> None:
    found = lesson(font(tmp_path / "x.sf2", (0, 12), (128, 0)))
    assert len({note.file for note in found}) == len(found)
    marimba = [note for note in found if note.concept == "marimba"]
    assert len(marimba) == 2 * len(KEYS)
    assert {len(note.steps) for note in marimba} == {1, 4, 6, 9}
    strikes = {note.steps for note in found if note.channel == DRUMS}
    assert strikes == set(STRIKES)
    assert {note.concept for note in found} <= {concept.id for concept in vocabulary_concepts()}


def test_fonts_lie_beside_the_recordings(tmp_path: Path) -> None:
    assert list(lessons.fonts(tmp_path)) == []
    beside = unpacked(tmp_path)
    assert list(lessons.fonts(tmp_path)) == [(PACKAGE, beside)]


def test_played_once_and_labelled_by_concept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds, folder = tmp_path / "sounds", tmp_path / "lessons"
    wanted = lesson(unpacked(sounds))
    monkeypatch.setattr(lessons, "render", play)
    lessons.play_lessons(sounds, folder)
    monkeypatch.setattr(lessons, "render", lambda *_: pytest.fail("played again"))
    lessons.play_lessons(sounds, folder)
    found = lessons.lesson_sources(sounds, folder)
    assert len(found) == len(wanted) - 1, "what is silent is left out"
    assert len({source.sha1 for source in found}) == len(found)
    assert concepts_of(found[0], {}) == ["marimba"]
    assert not any(source.validation for source in found)
    listed = replace(found[0], kind="instrument", label="kick")
    assert concepts_of(listed, {"kick": ["kick_drum"]}) == ["kick_drum"], "a row of a table"
