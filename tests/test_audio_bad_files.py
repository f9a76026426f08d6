"""Files that are not what they say: a short reason each, never a crash, never a wait."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from atri_cli.audio.decode import load_span, read_info, stream_windows
from atri_cli.audio.formats import has_optional
from atri_cli.errors import AudioError
from tests.sounds import noise, tone, truncate, write, write_bad_files, write_noise, write_tone

NAMES = ["empty", "empty/header-only", "too-short", "silent", "not-finite", "not-audio",
         "not-audio/random", "not-a-file", "not-a-file/fifo", "broken-link",
         "broken-link/loop"]  # fmt: skip


def seconds_heard(path: Path) -> float:
    return max(window.end for window, _ in stream_windows(path, 16000, 2.0, 1.0, 0.25))


@pytest.mark.parametrize("name", NAMES)
def test_the_reason_is_given(tmp_path: Path, name: str) -> None:
    path = write_bad_files(tmp_path / "bad")[name]
    for read in (seconds_heard, lambda path: load_span(path, 16000)):
        with pytest.raises(AudioError) as caught:
            read(path)
        assert caught.value.reason == name.partition("/")[0]
        assert f"`{path}`" in caught.value.what


def test_damage_is_told_in_the_decoders_words(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:20] + b"\xff" * 24)
    with pytest.raises(AudioError) as caught:
        read_info(path)
    assert caught.value.reason == "damaged"
    assert caught.value.why.endswith(".")
    assert "Error opening" not in caught.value.why
    assert len(caught.value.why) > 10


def test_all_bad_files_are_named_here(tmp_path: Path) -> None:
    assert sorted(write_bad_files(tmp_path)) == sorted(NAMES)


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tone(tmp_path / "a.wav")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything

        def refuse(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("atri_cli.audio.files.os.open", refuse)
    with pytest.raises(AudioError) as caught:
        read_info(path)
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("name", [b"\xff\xfe caf\xe9.wav", "צליל של כלב.wav".encode(), b"a\nb.wav"])
def test_odd_names_are_read(tmp_path: Path, name: bytes) -> None:
    odd = Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))
    write_tone(tmp_path / "plain.wav").rename(odd)
    assert seconds_heard(odd) == 1.0


def test_the_message_of_an_odd_name_can_be_printed(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav"))
    with pytest.raises(AudioError, match=r"\\xff\.wav` is not there") as caught:
        read_info(path)
    str(caught.value.what).encode("utf-8")


@pytest.mark.parametrize("name", ["x" * 300 + ".wav", "/".join(["d" * 200] * 30) + "/a.wav", "\0"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(AudioError) as caught:
        read_info(tmp_path / name)
    assert caught.value.reason in {"unreadable", "missing"}


@pytest.mark.parametrize("kind", ["wav", "aiff", "flac", "ogg", "opus", "mp3"])
def test_a_truncated_file_gives_what_is_there(tmp_path: Path, kind: str) -> None:
    path = truncate(write_noise(tmp_path / f"a.{kind}", 6, 48000), 0.6)
    assert 2.0 < seconds_heard(path) < 4.5


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3"])
def test_a_file_cut_in_its_header_is_damaged(tmp_path: Path, kind: str) -> None:
    path = write_noise(tmp_path / f"a.{kind}")
    with pytest.raises(AudioError) as caught:
        seconds_heard(truncate(path, 60 / path.stat().st_size))
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_a_rate_that_cannot_be_is_refused(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", tone(), rate)
    with pytest.raises(AudioError, match=rf"claims {rate} Hz") as caught:
        read_info(path)
    assert caught.value.reason == "damaged"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_flipped_bytes_never_crash(tmp_path: Path, kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    path = write_noise(tmp_path / f"a.{kind}", 1.0)
    content = bytearray(path.read_bytes())
    for place in random.integers(0, len(content), 30):
        content[place] = random.integers(256)
    path.write_bytes(content)
    outcome = ""
    try:
        for _, waveform in stream_windows(path, 16000, 2.0, 1.0, 0.25):
            assert np.isfinite(waveform).all()
    except AudioError as error:
        outcome = error.reason
    assert outcome in {"", "damaged", "not-audio", "unsupported", "empty", "too-short"}


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(60))
    stream = stream_windows(path, 16000, 2.0, 1.0, 0.25)
    next(stream)
    truncate(path, 0.5)
    assert 10 < max(window.end for window, _ in stream) <= 32


def test_native_noise_stays_off_stderr(tmp_path: Path) -> None:
    path = truncate(write_noise(tmp_path / "a.mp3", 4, 44100), 0.5)
    script = f"""
import os, sys
from pathlib import Path
from atri_cli.audio.decode import load_span
from atri_cli.audio.quiet import native_stderr_silenced
with native_stderr_silenced():
    load_span(Path({str(path)!r}), 16000)
    os.write(2, b"native")
    print("ours", file=sys.stderr)
print("after", file=sys.stderr)
os.write(2, b"restored")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert run.stderr == "ours\nafter\nrestored"


@pytest.mark.skipif(not has_optional(), reason="the optional package av is not installed")
class TestOptionalFormats:
    @staticmethod
    def encode(path: Path, codec: str = "aac") -> Path:
        import av

        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=44100, layout="mono")
            for start in range(0, 5 * 44100, 1024):
                block = tone(440, 5, 44100)[None, start : start + 1024]
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 44100, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    @pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.mkv", "a.mov", "a.3gp"])
    def test_they_are_read(self, tmp_path: Path, name: str) -> None:
        path = self.encode(tmp_path / name)
        info = read_info(path)
        assert (info.sample_rate, info.channels) == (44100, 1)
        assert info.seconds == pytest.approx(5.0, abs=0.1)
        assert seconds_heard(path) == pytest.approx(5.0, abs=0.1)
        span = load_span(path, 16000, 2, 3)
        assert len(span) == 16000
        assert np.abs(np.fft.rfft(span)).argmax() == 440

    def test_a_truncated_one_gives_what_is_there(self, tmp_path: Path) -> None:
        path = truncate(self.encode(tmp_path / "a.mkv"), 0.6)
        assert 2.0 < seconds_heard(path) < 4.5

    @pytest.mark.parametrize("content", [b"a letter, not a sound\n" * 99, bytes(range(256)) * 99])
    def test_other_content_is_refused(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.m4a"
        path.write_bytes(content)
        with pytest.raises(AudioError) as caught:
            read_info(path)
        assert caught.value.reason == "not-audio"
