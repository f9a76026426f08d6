"""Bad files and bad libraries through the real command: a message or correct work, no traceback."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from atri_cli.library.connection import PAGE_BYTES
from tests.cli_tools import REPOSITORY, Done, atri, make_sounds, run
from tests.library_tools import without_root_rights
from tests.sounds import noise, tone, truncate, write, write_bad_files, write_noise, write_tone

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture(autouse=True)
def _model(fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))


@pytest.fixture
def library(tmp_path: Path, atri_home: Path, capsysbinary: Capture) -> Path:
    """The folder of a library of three sounds."""
    assert run(capsysbinary, "index", make_sounds(tmp_path / "sounds")).code == 0
    return atri_home / "libraries" / "default"


def is_message(done: Done) -> bool:
    lines = done.err.splitlines()
    return done.out == "" and lines[0].startswith("Error: ") and "Traceback" not in done.err


def test_every_kind_of_bad_file_is_skipped_with_its_reason(tmp_path: Path) -> None:
    folder = make_sounds(tmp_path / "sounds")
    bad = write_bad_files(folder / "bad")
    (folder / "loop").symlink_to(folder)
    (folder / "random.mp3").write_bytes(np.random.default_rng(1).bytes(10_000_000))
    truncate(write_noise(folder / "cut.flac", 3), 0.01)
    done = atri("index", folder, "--json")
    assert (done.code, done.err) == (0, "Hint: Find something: `atri search 'dog barking'`\n")
    skipped = {Path(one["path"]).name: one["reason"] for one in done.json["skipped_files"]}
    for reason, path in bad.items():
        assert skipped[path.name] == reason.split("/")[0]
    assert skipped["random.mp3"] in ("not-audio", "damaged")
    assert done.json["added"] + ("cut.flac" not in skipped) >= 3
    again = atri("index", "--json").json
    assert (again["added"], again["skipped"]) == (0, done.json["skipped"])


def test_odd_but_good_files_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    deep = folder.joinpath(*["d" * 200] * 3)
    write(folder / "fast.wav", tone(200, 1, 192000), 192000)
    write(folder / "eight.wav", np.tile(tone(200)[:, None], 8))
    write_tone(folder / "صوت منخفض.wav", 200)
    write_tone(folder / "雨\n.wav", 200)
    write_tone(deep / "deep.wav", 200)
    os.rename(write_tone(folder / "x.wav", 200), os.fsencode(folder) + b"/\xff\xfe.wav")
    done = atri("index", folder, "--json")
    assert (done.code, done.json["added"], done.json["skipped"]) == (0, 6, {})
    found = atri("search", "low", "-0")
    names = {os.path.basename(path) for path in found.raw.split(b"\0") if path}
    assert names == {
        *(b"fast.wav", b"eight.wav", b"deep.wav", b"\xff\xfe.wav"),
        *("صوت منخفض.wav".encode(), "雨\n.wav".encode()),
    }
    assert "雨\\n.wav" in atri("search", "low").out


def test_files_that_may_not_be_read(tmp_path: Path, capsysbinary: Capture) -> None:
    folder = make_sounds(tmp_path / "sounds")
    (folder / "low.wav").chmod(0)
    (folder / "sub").chmod(0)
    with without_root_rights():
        done = run(capsysbinary, "index", folder)
    (folder / "sub").chmod(0o755)
    assert done.code == 0
    assert "unreadable: may not be read by you; change their permissions" in done.out
    (folder / "low.wav").chmod(0o644)
    assert run(capsysbinary, "index", "--json").json["added"] == 3


def test_a_read_only_library_can_be_searched_but_not_written(
    library: Path, capsysbinary: Capture
) -> None:
    for path in (*library.iterdir(), library):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with without_root_rights():
        found = run(capsysbinary, "search", "low", "--paths", "-n", "1")
        done = run(capsysbinary, "index")
    library.chmod(0o755)
    assert (found.code, found.out.endswith("low.wav\n")) == (0, True)
    assert done.code == 1
    assert is_message(done)
    assert "writable" in done.err


@pytest.mark.parametrize("words", [["search", "low"], ["index"], ["status"], ["roots"]])
def test_a_library_of_a_newer_version(
    words: list[str], library: Path, capsysbinary: Capture
) -> None:
    with closing(sqlite3.connect(library / "library.db")) as db, db:
        db.execute("PRAGMA user_version = 999")
        db.execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'")
    done = run(capsysbinary, *words)
    assert done.code == 1
    assert is_message(done)
    assert "newer version" in done.err


@pytest.mark.parametrize("words", [["search", "low"], ["index"], ["status"], ["roots"]])
def test_a_file_that_is_no_database(words: list[str], library: Path, capsysbinary: Capture) -> None:
    for path in library.glob("library.db-*"):
        path.unlink()
    (library / "library.db").write_bytes(b"no database " * 1000)
    done = run(capsysbinary, *words)
    assert done.code == 1
    assert is_message(done)
    assert "your sounds are untouched" in done.err


@pytest.mark.parametrize("noise", [b"\xa5", b"\x00"])
def test_a_damaged_page_anywhere(noise: bytes, library: Path, capsysbinary: Capture) -> None:
    path = library / "library.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    failed = 0
    for start in range(0, len(whole), PAGE_BYTES):
        path.write_bytes(whole[:start] + noise * PAGE_BYTES + whole[start + PAGE_BYTES :])
        for words in (["search", "low"], ["status"], ["index", "--dry-run"]):
            done = run(capsysbinary, *words)
            assert done.code == 0 or (is_message(done) and "unforeseen" not in done.err), done.err
            failed += done.code
    assert failed > len(whole) // PAGE_BYTES


def test_rows_that_contradict_each_other(library: Path, capsysbinary: Capture) -> None:
    with closing(sqlite3.connect(library / "library.db")) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("UPDATE segments SET file_id = 99")
    done = run(capsysbinary, "search", "low")
    assert done.code == 1
    assert "A segment belongs to no file." in done.err


@pytest.mark.parametrize("words", [["search", "low"], ["index"], ["status"]])
def test_a_file_in_place_of_the_library(
    words: list[str], tmp_path: Path, capsysbinary: Capture
) -> None:
    (tmp_path / "lib").touch()
    words = [*words, "--library", str(tmp_path / "lib")]
    if "index" in words:
        words.append(str(make_sounds(tmp_path / "sounds")))
    done = run(capsysbinary, *words)
    assert "Traceback" not in done.err
    assert done.code == (0 if "status" in words else 1)


def test_two_at_once(library: Path, capsysbinary: Capture) -> None:
    with (library / "index.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(capsysbinary, "index")
        found = run(capsysbinary, "search", "low", "--paths", "-n", "1")
    assert done.code == 1
    assert is_message(done)
    assert found.out.endswith("low.wav\n")


def test_searching_during_an_index(tmp_path: Path, library: Path) -> None:
    for number in range(200):
        write(tmp_path / "more" / f"{number}.wav", noise(2, seed=number))
    process = subprocess.Popen(
        [sys.executable, "-m", "atri_cli", "index", str(tmp_path / "more"), "--quiet"],
        cwd=REPOSITORY,
    )
    searches = 0
    while process.poll() is None and searches < 20:
        done = atri("search", "low", "--paths", "-n", "1")
        assert done.lines == [str(tmp_path / "sounds" / "low.wav")], done.err
        searches += 1
        time.sleep(0.02)
    assert process.wait(60) == 0
    assert searches >= 1
    assert library.is_dir()
    assert atri("status", "--json").json["files"] == 203


def test_a_full_disk(tmp_path: Path) -> None:
    """A small tmpfs in a mount namespace of its own, where the system allows that."""
    folder = tmp_path / "sounds"
    write_noise(folder / "long.wav", 400)
    small = tmp_path / "small"
    small.mkdir()
    script = (
        f"mount -t tmpfs -o size=200k none {small} && "
        f"ATRI_HOME={small} {sys.executable} -m atri_cli index {folder}; echo code $?"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "bash", "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespaces here: {done.stderr.strip()[:200]}")
    assert done.stdout.endswith("code 1\n"), done.stderr
    assert "No space is left for the library" in done.stderr
    assert "Traceback" not in done.stderr
