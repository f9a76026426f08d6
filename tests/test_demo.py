"""`make demo`: on one's own sounds, on Debian packages (a made-up apt), and without either."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sounds import write_noise, write_tone

DEMO = Path(__file__).resolve().parents[1] / "demo" / "demo.py"
LANGUAGES = ["en", "fr", "de", "es", "nl", "ca", "ja", "zh"]

# `apt-get download NAME` gives a file with that name in it, except for one package;
# `dpkg-deb -x FILE FOLDER` unpacks a sound, a text and a copyright file.
APT = """#!/bin/sh
echo "$*" >> "$LOG"
case "$*" in
  "download triplea") echo "E: no such package" >&2; exit 100 ;;
  "download "*) echo "$2" > "$2_1_all.deb" ;;
esac
"""
DPKG = """#!/bin/sh
package=$(cat "$2"); share="$3/usr/share"
mkdir -p "$share/games/$package" "$share/doc/$package"
cp "$SOUND" "$share/games/$package/beep.wav"
echo text > "$share/games/$package/readme.txt"
echo free > "$share/doc/$package/copyright"
"""

Demo = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    """Runs the demonstration, with one thing to find in two languages."""
    queries = tmp_path / "queries.tsv"
    queries.write_text("id\ten\tzh\nlow\tlow tone\t低音\n", encoding="utf-8")
    fixed = ["--work", tmp_path / "work", "--queries", queries]

    def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, DEMO, *fixed, *options]
        environment = {**os.environ, "PYTHONPATH": str(DEMO.parents[1])}
        return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)

    return run


def test_queries_ask_in_eight_languages() -> None:
    header, *rows = [
        line.split("\t")
        for line in DEMO.with_name("queries.tsv").read_text(encoding="utf-8").splitlines()
    ]
    assert header == ["id", *LANGUAGES]
    assert len(rows) >= 2
    assert all(len(row) == len(header) and all(row) for row in rows)


@pytest.fixture(autouse=True)
def model(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))


def test_own_sounds_twice(tmp_path: Path, demo: Demo) -> None:
    write_tone(tmp_path / "sounds" / "low.wav", 200)
    write_noise(tmp_path / "sounds" / "noise.wav")
    for expected in ("added", "unchanged"):
        done = demo("--sounds", tmp_path / "sounds")
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout + done.stderr
        for language in ("en", "zh"):
            assert re.search(rf"^  {language}  .* sounds/low.wav, ", done.stdout, re.MULTILINE)
        assert "2 searches" in done.stdout


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Made-up system programs before the real ones; returns the log of apt-get's calls."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("SOUND", str(write_tone(tmp_path / "beep.wav")))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_packages_are_fetched_once(apt: Path, tmp_path: Path, demo: Demo) -> None:
    done = demo()
    assert done.returncode == 0, done.stderr
    assert "Without triplea: E: no such package" in done.stdout
    sounds = tmp_path / "work" / "sounds"
    kept = sorted(path.name for path in (sounds / "scorched3d-data").rglob("*") if path.is_file())
    assert kept == ["beep.wav", "copyright"]
    assert not [path for path in sounds.iterdir() if path.name.startswith(".")]
    apt.write_text("")
    assert demo().returncode == 0
    downloads = [line for line in apt.read_text().splitlines() if line.startswith("download")]
    assert set(downloads) == {"download triplea"}


def test_a_system_without_apt(tmp_path: Path, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = demo()
    assert done.returncode == 1
    assert "`apt-get` is not on this system" in done.stderr
    assert "make demo SOUNDS=DIR" in done.stderr


def test_own_sounds_that_are_not_there(tmp_path: Path, demo: Demo) -> None:
    done = demo("--sounds", tmp_path / "none")
    assert done.returncode == 1
    assert "is not a folder" in done.stderr
