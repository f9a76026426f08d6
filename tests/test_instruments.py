"""Notes of General MIDI instruments as a user's files."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from atri_cli.errors import AtriError
from train import instruments
from train.data.filenames import words_of
from train.instruments import MELODIC, PERCUSSION, Note, midi, notes, presets, render
from train.phrases import translator, vocabulary_concepts


def font(path: Path, *there: tuple[int, int]) -> Path:
    """As much of a soundfont as `presets` reads."""
    rows = [struct.pack("<20sHH14x", b"name", program, bank) for bank, program in there]
    data = b"".join(rows) + bytes(38)
    path.write_bytes(b"RIFF....sfbkpdtaphdr" + struct.pack("<I", len(data)) + data)
    return path


@pytest.mark.parametrize("text", [MELODIC, PERCUSSION])
def test_names_say_their_concept(text: str) -> None:
    ids = {concept.id for concept in vocabulary_concepts()}
    for _, name, concept in instruments._table(text):
        assert concept in ids
        match = translator().find(words_of(f"{name} C4 forte"), languages=["en"])
        assert match is not None, name
        assert [one.id for one in match.concepts] == [concept]


def test_only_what_a_soundfont_has(tmp_path: Path) -> None:
    path = font(tmp_path / "x.sf2", (0, 12), (8, 13), (0, 104))
    assert presets(path) == {(0, 12), (8, 13), (0, 104)}
    found = notes(path, (48, 61), (80, 115))
    assert [note.file for note in found] == [
        "Marimba C3 mezzoforte.wav", "Marimba C#4 forte.wav",
        "Sitar C3 mezzoforte.wav", "Sitar C#4 forte.wav",
    ]  # fmt: skip
    drums = notes(font(tmp_path / "y.sf2", (128, 0)), (48, 61), (80,))
    assert drums[0].file == "Kick Drum mezzoforte.wav"
    assert {note.channel for note in drums} == {9}


def test_midi() -> None:
    data = midi([Note(0, 12, 60, 115, "Marimba", "marimba")] * 2)
    assert data[:14] == b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000)
    assert data[22:30] == bytes((0, 0xFF, 0x51, 3, 0x0F, 0x42, 0x40, 0))
    assert data.count(bytes((0x90, 60, 115))) == 2
    assert bytes((0x93, 0x44, 0x80, 60, 0)) in data  # 2,500 ticks later it is let go
    assert data.endswith(bytes((0xFF, 0x2F, 0)))


def test_without_fluidsynth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AtriError, match="fluidsynth"):
        render(tmp_path / "x.sf2", [], tmp_path)
