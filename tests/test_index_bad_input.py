"""Everything that goes wrong in real folders: a reason in the report, never a lost library."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from atri_cli import Library
from atri_cli.errors import LibraryError
from atri_cli.library import connection
from atri_cli.library.types import IndexReport
from tests.fake_encoder import FakeEncoder
from tests.library_tools import content, names, without_root_rights
from tests.sounds import (
    Samples,
    noise,
    tone,
    truncate,
    write,
    write_bad_files,
    write_noise,
    write_tone,
)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder with one good file, `good.wav`."""
    write_tone(tmp_path / "sounds" / "good.wav")
    return tmp_path / "sounds"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.open(tmp_path / "lib", encoder=FakeEncoder())


def reasons(report: IndexReport) -> dict[str, str]:
    assert sum(report.skipped.values()) == len(report.skipped_files)
    return {skipped.path.name: skipped.reason for skipped in report.skipped_files}


def test_bad_files_have_reasons_and_keep_them(library: Library, sounds: Path) -> None:
    bad = write_bad_files(sounds / "bad")
    expected = {path.name: reason.split("/")[0] for reason, path in bad.items()}
    (sounds / "empty.flac").touch()
    expected["empty.flac"] = "empty"
    for _ in range(2):
        report = library.index([sounds])
        assert reasons(report) == expected
        assert all(skipped.detail for skipped in report.skipped_files)
        assert names(library.folder) == {"good.wav"}
    assert (report.added, report.unchanged) == (0, 1)
    assert library.status().skipped["not-audio"] == 2


def test_a_bad_file_that_becomes_good(library: Library, sounds: Path) -> None:
    (sounds / "new.wav").write_text("soon")
    assert reasons(library.index([sounds])) == {"new.wav": "not-audio"}
    write_tone(sounds / "new.wav", 999)
    assert library.index().added == 1
    (sounds / "new.wav").write_text("gone bad")
    report = library.index()
    assert reasons(report) == {"new.wav": "not-audio"}
    assert names(library.folder) == {"good.wav"}
    os.utime(sounds / "new.wav", (1, 1))
    assert reasons(library.index()) == {"new.wav": "not-audio"}


def test_ten_megabytes_of_noise(library: Library, sounds: Path) -> None:
    (sounds / "random.wav").write_bytes(np.random.default_rng(1).bytes(10_000_000))
    (sounds / "random.mp3").write_bytes(np.random.default_rng(2).bytes(1_000_000))
    skipped = reasons(library.index([sounds]))
    assert skipped["random.wav"] in ("not-audio", "damaged")
    assert "good.wav" in names(library.folder)
    assert library.store.problems() == []


def test_unusual_sounds_are_indexed(library: Library, sounds: Path) -> None:
    write(sounds / "fast.wav", tone(seconds=1, rate=192_000), 192_000)
    write(sounds / "eight.wav", np.stack([noise(seed=n) for n in range(8)], axis=1))
    write(
        sounds / "some-nan.wav", np.where(np.arange(16000) % 100, noise(), np.nan), 16000, "FLOAT"
    )
    truncate(write_noise(sounds / "cut.wav", seconds=4), 0.5)
    assert library.index([sounds]).skipped == {}
    rows = content(library.folder)
    assert rows[str(sounds / "fast.wav")][-5:-3] == (192_000, 1)
    assert rows[str(sounds / "eight.wav")][-5:-3] == (16_000, 8)
    assert rows[str(sounds / "cut.wav")][-1][-1][1] == pytest.approx(2, abs=0.1)
    assert np.isfinite(library.store.vectors()[1]).all()


def test_names_in_any_script_and_any_bytes(library: Library, sounds: Path) -> None:
    strange = [b"latin-\xe9\xff.wav", "כלב נובח.wav".encode(), "犬が吠える.wav".encode()]
    strange += [b"new\nline\t\x1b[31m.wav", b"n" * 251 + b".wav", b"%d%s'\"*?[.wav"]
    for number, name in enumerate(strange):
        write_tone(sounds / os.fsdecode(name), 200 + 50 * number)
    (sounds / os.fsdecode(b"bad-\xff.wav")).write_text("not a sound")
    report = library.index([sounds])
    assert (report.added, report.skipped) == (7, {"not-audio": 1})
    assert library.index().unchanged == 7
    ids, _ = library.store.vectors()
    stored = {os.fsencode(info.path) for info in library.store.segments_info(ids)}
    assert stored == {*strange, b"good.wav"}


def test_a_root_and_a_path_of_any_bytes(library: Library, sounds: Path) -> None:
    deep = sounds / os.fsdecode(b"\xff") / "/".join(["d" * 100] * 5)
    write_tone(deep / "a.wav")
    root = sounds / os.fsdecode(b"\xff")
    assert library.index([root]).added == 1
    assert [one.path for one in library.roots()] == [root]
    assert library.index().unchanged == 1


def test_links_and_loops(library: Library, sounds: Path) -> None:
    (sounds / "loop").symlink_to(sounds)
    (sounds / "self").symlink_to("self")
    (sounds / "again.wav").symlink_to("good.wav")
    report = library.index([sounds])
    assert (report.added, report.skipped) == (2, {})


def test_what_may_not_be_read(library: Library, sounds: Path) -> None:
    write_tone(sounds / "locked.wav", 300)
    write_tone(sounds / "private" / "inside.wav", 500)
    library.index([sounds])
    write_tone(sounds / "new.wav", 700)
    locked = [sounds / "locked.wav", sounds / "new.wav", sounds / "private"]
    os.utime(sounds / "locked.wav", (1, 1))
    for path in locked:
        path.chmod(0)
    with without_root_rights():
        report = library.index()
    expected = {"locked.wav": "unreadable", "new.wav": "unreadable", "private": "unreadable"}
    assert reasons(report) == expected
    assert report.removed == 0
    assert names(library.folder) == {"good.wav", "locked.wav", "inside.wav"}
    for path in locked:
        path.chmod(0o755)
    report = library.index()
    assert (report.added, report.unchanged, report.skipped) == (1, 3, {})


class Meddler(FakeEncoder):
    """Does something to the files while they are read."""

    def __init__(self, deed: object) -> None:
        super().__init__()
        self.deed = deed

    def embed_audio(self, windows: Sequence[Samples]) -> Samples:
        assert callable(self.deed)
        self.deed()
        return super().embed_audio(windows)


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, sounds: Path) -> None:
    def append() -> None:
        with open(sounds / "good.wav", "ab") as file:
            file.write(b"\0" * 3200)

    library = Library.open(tmp_path / "lib", encoder=Meddler(append))
    assert reasons(library.index([sounds])) == {"good.wav": "changed-while-reading"}
    quiet = Library.open(tmp_path / "lib", encoder=FakeEncoder())
    assert quiet.index().added == 1
    write_tone(sounds / "good.wav", 999)
    report = library.index()
    assert reasons(report) == {"good.wav": "changed-while-reading"}
    assert names(library.folder) == {"good.wav"}  # the old content is still there to be found
    assert quiet.index().updated == 1


def test_a_file_that_goes_while_it_is_read(tmp_path: Path, sounds: Path) -> None:
    library = Library.open(tmp_path / "lib", encoder=Meddler((sounds / "good.wav").unlink))
    assert reasons(library.index([sounds])) == {"good.wav": "missing"}
    (sounds / "other.txt").touch()
    report = library.index()
    assert (report.skipped, content(library.folder)) == ({}, {})


def test_a_full_disk(tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library.open(tmp_path / "lib", encoder=FakeEncoder(dim=4096))
    library.index([sounds])
    for number in range(20):
        write_noise(sounds / f"{number:02}.wav", seconds=4, seed=number)
    configured = connection._configured

    def small(db: sqlite3.Connection) -> sqlite3.Connection:
        configured(db).execute("PRAGMA max_page_count = 40")
        return db

    with monkeypatch.context() as patch:
        patch.setattr(connection, "_configured", small)
        with pytest.raises(LibraryError, match="No space is left") as caught:
            library.index()
        assert "safe" in caught.value.why
    assert names(library.folder) == {"good.wav"}
    assert library.store.problems() == []
    assert library.index().added == 20
    assert_like_new(library, sounds)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """One megabyte of memory as a disk."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    if not made:
        pytest.skip("mounting a small disk needs rights that this user has not")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, sounds: Path) -> None:
    folder = small_disk / "lib"
    with Library.open(folder, encoder=FakeEncoder(dim=4096)) as library:
        library.index([sounds])
        for number in range(20):
            write_noise(sounds / f"{number:02}.wav", seconds=4, seed=number)
        for _ in range(2):
            with pytest.raises(LibraryError, match=r"No space is left|Cannot (use|write)"):
                library.index()
            assert "good.wav" in names(folder)
            assert library.store.problems() == []
            library.close()
        subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
        library.index()
        assert_like_new(library, sounds)


def assert_like_new(library: Library, sounds: Path) -> None:
    fresh = Library.open(sounds.parent / "fresh", encoder=FakeEncoder(dim=4096))
    fresh.index([sounds])
    assert content(library.folder) == content(fresh.folder)


def test_a_library_folder_that_cannot_be_written(library: Library, sounds: Path) -> None:
    library.index([sounds])
    library.close()
    (library.folder / "index.lock").chmod(0o444)
    library.folder.chmod(0o555)
    try:
        with without_root_rights():
            with pytest.raises(LibraryError):
                library.index()
            assert len(library.store.vectors()[0]) == 1
            assert library.status().files == 1
    finally:
        library.close()
        library.folder.chmod(0o755)


def test_a_damaged_library_says_what_to_do(library: Library, sounds: Path) -> None:
    library.index([sounds])
    library.close()
    path = library.folder / "library.db"
    path.write_bytes(b"\xa5" * path.stat().st_size)
    for use in (library.index, library.status, library.roots, lambda: library.search("x")):
        with pytest.raises(LibraryError, match="damaged") as caught:
            use()
        assert "move the file away" in caught.value.hint
    path.rename(path.with_suffix(".old"))
    for log in library.folder.glob("library.db-*"):
        log.unlink()
    assert library.index([sounds]).added == 1
