"""Names of sounds, and that every listed one is known to libsndfile or optional."""

from __future__ import annotations

from pathlib import Path

import pytest

from atri_cli.audio import formats
from atri_cli.audio.decode import read_info
from atri_cli.errors import AudioError
from tests.sounds import write_tone


@pytest.mark.parametrize("name", ["a.wav", "A.WAV", "x.y.flac", "à.Opus", "b.m4a", "clip.MOV"])
def test_sound_names(name: str) -> None:
    assert formats.is_sound(Path(name))


@pytest.mark.parametrize("name", ["a.txt", "wav", ".wav", "a.wav.part", "a.ts", "a.raw", "a."])
def test_other_names(name: str) -> None:
    assert not formats.is_sound(Path(name))


def test_the_two_lists_do_not_overlap() -> None:
    assert not formats.EXTENSIONS & formats.OPTIONAL_EXTENSIONS


def test_without_av_optional_formats_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atri_cli.audio.source.has_optional", lambda: False)
    with pytest.raises(AudioError, match=r'pip install "atri-cli\[formats\]"') as caught:
        read_info(tmp_path / "song.m4a")
    assert caught.value.reason == "needs-formats-extra"


@pytest.mark.parametrize(
    "kind", ["wav", "flac", "ogg", "oga", "opus", "mp3", "aiff", "aif", "caf", "au", "snd", "w64",
             "rf64", "voc"]
)  # fmt: skip
def test_formats_that_libsndfile_writes_are_read(tmp_path: Path, kind: str) -> None:
    info = read_info(write_tone(tmp_path / f"tone.{kind}", seconds=1.5))
    assert (info.sample_rate, info.channels) == (16000, 1)
    assert info.seconds == pytest.approx(1.5, abs=0.01)
