"""`Library.index`: what is added, updated, moved, removed and kept, and how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import atri_cli
from atri_cli import Library
from atri_cli.errors import (
    LibraryBusyError,
    ModelError,
    NothingIndexedError,
    PipelineMismatchError,
    UsageError,
)
from atri_cli.library import hnsw, indexer, reading
from atri_cli.library.lock import writing
from atri_cli.library.types import IndexProgress, IndexReport, ProgressCallback, QueryPart
from tests.fake_encoder import FakeEncoder
from tests.fake_model import make_fake_model
from tests.library_tools import content, names
from tests.sounds import Samples, write_noise, write_tone

Counts = tuple[int, int, int, int, int]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Four files, 1 + 1 + 4 + 1 segments."""
    folder = tmp_path / "sounds"
    write_tone(folder / "a.wav", 300)
    write_tone(folder / "b.flac", 600, seconds=0.1)
    write_noise(folder / "deep" / "long.wav", seconds=5)
    write_tone(folder / "z.ogg", 900)
    return folder


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def library(tmp_path: Path, encoder: FakeEncoder) -> Library:
    return Library.open(tmp_path / "lib", encoder=encoder)


def counts(report: IndexReport) -> Counts:
    return (report.added, report.updated, report.moved, report.removed, report.unchanged)


def test_first_and_second_run(library: Library, sounds: Path, encoder: FakeEncoder) -> None:
    report = library.index([sounds])
    assert counts(report) == (4, 0, 0, 0, 0)
    assert (report.segments, encoder.embedded) == (7, 7)
    assert report.audio_seconds == pytest.approx(7.1, abs=0.01)
    assert report.skipped == {}
    again = library.index()
    assert counts(again) == (0, 0, 0, 0, 4)
    assert (again.segments, encoder.embedded) == (0, 7)
    status = library.status()
    assert (status.files, status.segments, status.model) == (4, 7, "fake")
    assert status.pipeline_id == encoder.card.pipeline_id
    assert status.last_indexed is not None
    assert [(root.path, root.files, root.online) for root in status.roots] == [(sounds, 4, True)]


def test_segments_cover_the_file(library: Library, sounds: Path, encoder: FakeEncoder) -> None:
    library.index([sounds])
    row = content(library.folder)[str(sounds / "deep" / "long.wav")]
    assert [(start, end) for start, end, _ in row[-1]] == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert row[-6:-1] == (5.0, 16000, 1, "ok", "")
    for _, _, vector in row[-1]:
        assert np.linalg.norm(np.frombuffer(vector, "<f4")) == pytest.approx(1, abs=1e-6)
    short = content(library.folder)[str(sounds / "b.flac")]
    assert [(start, round(end, 3)) for start, end, _ in short[-1]] == [(0, 0.1)]
    assert encoder.card.audio.min_seconds > 0.1  # the model heard it repeated


@pytest.mark.parametrize("jobs", [2, 7])
def test_the_result_does_not_depend_on_jobs(
    tmp_path: Path, sounds: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        write_noise(sounds / f"n{number % 9}" / f"{number}.wav", 1 + number % 3, seed=number % 10)
    monkeypatch.setattr(reading, "BATCH", 2)
    one, many = (Library.open(tmp_path / name, encoder=FakeEncoder()) for name in ("one", "many"))
    one.index([sounds], jobs=1)
    many.index([sounds], jobs=jobs)
    assert content(one.folder, ids=True) == content(many.folder, ids=True)


def test_changes(library: Library, sounds: Path, encoder: FakeEncoder) -> None:
    library.index([sounds])
    write_tone(sounds / "a.wav", 500)  # new content
    os.utime(sounds / "b.flac", (1, 1))  # a new date alone
    (sounds / "deep").rename(sounds / "other")  # moved
    (sounds / "z.ogg").unlink()
    write_tone(sounds / "new.wav", 700)
    plan = library.index(dry_run=True)
    assert counts(plan) == (1, 1, 1, 1, 1)
    assert plan.dry_run
    encoder.embedded = 0
    assert counts(library.index()) == (1, 1, 1, 1, 1)
    assert encoder.embedded == 2
    assert names(library.folder) == {"a.wav", "b.flac", "long.wav", "new.wav"}
    assert counts(library.index()) == (0, 0, 0, 0, 4)
    fresh = Library.open(library.folder.parent / "fresh", encoder=encoder)
    fresh.index([sounds])
    assert content(library.folder) == content(fresh.folder)


def test_a_move_keeps_segment_ids(library: Library, sounds: Path) -> None:
    library.index([sounds])
    before = content(library.folder, ids=True)
    generation = library.store.generation
    (sounds / "a.wav").rename(sounds / "deep" / "renamed.wav")
    assert library.index().moved == 1
    after = content(library.folder, ids=True)
    assert after[str(sounds / "deep" / "renamed.wav")] == before[str(sounds / "a.wav")]
    assert library.store.generation == generation


def test_a_copy_is_not_embedded(library: Library, sounds: Path, encoder: FakeEncoder) -> None:
    shutil.copy(sounds / "deep" / "long.wav", sounds / "twin.wav")
    assert counts(library.index([sounds], jobs=4)) == (5, 0, 0, 0, 0)
    assert encoder.embedded == 7
    shutil.copy(sounds / "a.wav", sounds / "copy.wav")
    report = library.index()
    assert (report.added, report.segments, encoder.embedded) == (1, 1, 7)
    rows = content(library.folder)
    assert rows[str(sounds / "copy.wav")][-1] == rows[str(sounds / "a.wav")][-1]


def test_contents_that_change_places(library: Library, sounds: Path) -> None:
    library.index([sounds])
    a, z = sounds / "a.wav", sounds / "b.wav"
    write_tone(z, 1234)
    library.index()
    a.rename(sounds / "x")
    z.rename(a)
    (sounds / "x").rename(z)
    os.utime(a, (5, 5))
    os.utime(z, (6, 6))
    assert library.index().updated == 2
    fresh = Library.open(library.folder.parent / "fresh", encoder=FakeEncoder())
    fresh.index([sounds])
    assert content(library.folder) == content(fresh.folder)


def test_a_file_moved_over_another(library: Library, sounds: Path) -> None:
    library.index([sounds])
    (sounds / "b.flac").rename(sounds / "a.wav")
    report = library.index()
    assert counts(report) == (0, 1, 0, 1, 2)
    assert names(library.folder) == {"a.wav", "long.wav", "z.ogg"}


def test_dry_run_writes_nothing(library: Library, sounds: Path, encoder: FakeEncoder) -> None:
    assert counts(library.index([sounds], dry_run=True)) == (4, 0, 0, 0, 0)
    assert not library.folder.exists()
    library.index([sounds])
    before = content(library.folder, ids=True)
    write_tone(sounds.parent / "more" / "1.wav")
    assert library.index([sounds.parent / "more"], dry_run=True).added == 1
    assert library.index(reindex=True, dry_run=True).updated == 4
    assert content(library.folder, ids=True) == before
    assert [root.path for root in library.roots()] == [sounds]
    assert encoder.embedded == 7


def test_an_unplugged_root_is_kept(library: Library, sounds: Path) -> None:
    other = sounds.parent / "other"
    write_tone(other / "o.wav", 100)
    library.index([sounds, other])
    sounds.rename(sounds.parent / "away")
    for empty_mount_point in (False, True):
        if empty_mount_point:
            sounds.mkdir()
        report = library.index()
        assert report.offline_roots == [sounds]
        assert counts(report) == (0, 0, 0, 0, 1)
        assert [root.online for root in library.roots()] == [False, True]
        assert len(names(library.folder)) == 5
    assert library.index([sounds]).offline_roots == [sounds]
    sounds.rmdir()
    assert library.index([sounds]).offline_roots == [sounds]
    (sounds.parent / "away").rename(sounds)
    assert counts(library.index()) == (0, 0, 0, 0, 5)


def test_all_files_of_a_root_can_leave_one_by_one(library: Library, tmp_path: Path) -> None:
    write_tone(tmp_path / "s" / "a.wav")
    (tmp_path / "s" / "notes.txt").touch()
    library.index([tmp_path / "s"])
    (tmp_path / "s" / "a.wav").unlink()
    assert library.index().removed == 1
    assert library.status().segments == 0
    with pytest.raises(NothingIndexedError):
        library.search("anything")


def test_the_same_folder_in_many_ways(library: Library, sounds: Path) -> None:
    (sounds.parent / "link").symlink_to(sounds)
    ways = [sounds, f"{sounds}/", sounds / "deep" / "..", sounds.parent / "link", sounds / "deep"]
    assert counts(library.index(ways)) == (4, 0, 0, 0, 0)
    assert [root.path for root in library.roots()] == [sounds]


def test_an_outer_root_takes_the_inner_one_in(
    library: Library, sounds: Path, encoder: FakeEncoder
) -> None:
    library.index([sounds / "deep"])
    assert counts(library.index([sounds])) == (3, 0, 0, 0, 1)
    assert encoder.embedded == 7
    assert [root.path for root in library.roots()] == [sounds]
    assert counts(library.index([sounds / "deep"])) == (0, 0, 0, 0, 4)


def test_forget(library: Library, sounds: Path) -> None:
    library.index([sounds])
    with pytest.raises(UsageError, match=f"Did you mean `{sounds}`"):
        library.forget(f"{sounds}2")
    assert library.forget(sounds) == 4
    assert library.roots() == []
    assert library.status().segments == 0
    assert (sounds / "a.wav").exists()
    with pytest.raises(UsageError, match="atri index DIR"):
        library.index()


def test_relocate(library: Library, sounds: Path, encoder: FakeEncoder) -> None:
    library.index([sounds])
    new = sounds.parent / "new"
    with pytest.raises(UsageError, match="no folder"):
        library.relocate(sounds, new)
    new.mkdir()
    with pytest.raises(UsageError, match="holds none of the 4 sounds"):
        library.relocate(sounds, new)
    new.rmdir()
    sounds.rename(new)
    assert library.relocate(sounds, new).path == new
    assert counts(library.index()) == (0, 0, 0, 0, 4)
    assert encoder.embedded == 7
    write_tone(sounds / "x.wav")
    library.index([sounds])
    with pytest.raises(UsageError, match="overlaps"):
        library.relocate(sounds, new / "deep")


def test_folders_that_are_none(library: Library, sounds: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        library.index([sounds / "nowhere"])
    with pytest.raises(UsageError, match="not a folder"):
        library.index([sounds / "a.wav"])
    with pytest.raises(UsageError, match="at least one job"):
        library.index([sounds], jobs=0)
    library.index([sounds])
    with pytest.raises(UsageError, match="no folder"):
        library.index([sounds / "nowhere"])


def test_another_model(library: Library, sounds: Path) -> None:
    library.index([sounds])
    other = Library.open(library.folder, encoder=FakeEncoder(dim=16, name="other"))
    for use in (other.index, lambda: other.search("x"), lambda: other.index(dry_run=True)):
        with pytest.raises(PipelineMismatchError, match=r"`fake`.*`other`.*--reindex"):
            use()
    assert other.status().model == "fake"
    report = other.index(reindex=True)
    assert counts(report) == (0, 4, 0, 0, 0)
    assert report.segments == 7
    ids, matrix = other.store.vectors()
    assert matrix.shape == (7, 16)
    assert ids.min() > 7
    with pytest.raises(PipelineMismatchError):
        library.search("x")
    fresh = Library.open(library.folder.parent / "fresh", encoder=FakeEncoder(16, name="other"))
    fresh.index([sounds])
    assert content(other.folder) == content(fresh.folder)


def test_reindexing_waits_for_an_unplugged_root(library: Library, sounds: Path) -> None:
    library.index([sounds])
    sounds.rename(sounds.parent / "away")
    other = Library.open(library.folder, encoder=FakeEncoder(dim=16, name="other"))
    report = other.index(reindex=True)
    assert (counts(report), report.offline_roots) == ((0, 0, 0, 0, 0), [sounds])
    assert other.status().skipped == {"pending": 4}
    (sounds.parent / "away").rename(sounds)
    assert counts(other.index()) == (0, 4, 0, 0, 0)


def test_progress(library: Library, sounds: Path) -> None:
    told: list[IndexProgress] = []
    library.index([sounds], progress=told.append)
    assert [one.done_files for one in told] == [1, 2, 3, 4, 4]
    assert {one.total_files for one in told} == {4}
    assert [one.current.name for one in told if one.current] == [
        "a.wav",
        "b.flac",
        "z.ogg",
        "long.wav",
    ]
    assert told[-1].audio_seconds == pytest.approx(7.1, abs=0.01)


def impatient_at(files: int) -> ProgressCallback:
    """Press Ctrl-C, once, when so many files are done."""
    pressed: list[bool] = []

    def press(progress: IndexProgress) -> None:
        if progress.done_files >= files and not pressed:
            pressed.append(True)
            raise KeyboardInterrupt

    return press


def test_ctrl_c_saves_what_is_finished(
    library: Library, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        write_tone(sounds / f"{number:02}.wav", 100 + 10 * number)
    monkeypatch.setattr(indexer, "BATCH_FILES", 4)

    report = library.index([sounds], progress=impatient_at(10), jobs=2)
    assert report.interrupted
    assert 10 <= report.added < 34
    assert len(names(library.folder)) == report.added
    assert threading.active_count() == 1
    rest = library.index()
    assert not rest.interrupted
    assert rest.added == 34 - report.added


def test_an_interrupted_run_removes_nothing(library: Library, sounds: Path) -> None:
    library.index([sounds])
    (sounds / "a.wav").unlink()
    write_tone(sounds / "new.wav")

    assert library.index(progress=impatient_at(1)).interrupted
    assert "a.wav" in names(library.folder)
    assert library.index().removed == 1


def test_two_at_once(library: Library, sounds: Path) -> None:
    library.index([sounds])
    with writing(library.folder):
        with pytest.raises(LibraryBusyError, match="Another `atri index`"):
            library.index()
        with pytest.raises(LibraryBusyError):
            library.forget(sounds)
        assert library.store.segment_count() == 7
        assert library.status().files == 4


def test_reading_goes_on_while_another_thread_indexes(
    library: Library, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.index([sounds])
    for number in range(20):
        write_tone(sounds / f"{number:02}.wav", 100 + 10 * number)
    monkeypatch.setattr(indexer, "BATCH_FILES", 2)
    slow = Library.open(library.folder, encoder=FakeEncoder(seconds_each=0.005))
    thread = threading.Thread(target=slow.index)
    thread.start()
    seen = set()
    while thread.is_alive():
        with library.store.snapshot():
            ids, _ = library.store.vectors()
            assert len(library.store.segments_info(ids)) == len(ids)
        seen.add(len(ids))
    thread.join()
    assert min(seen) >= 7
    assert len(library.store.vectors()[0]) == 27


def test_a_model_that_does_not_work_is_not_the_files_fault(tmp_path: Path, sounds: Path) -> None:
    class Broken(FakeEncoder):
        def embed_audio(self, windows: Sequence[Samples]) -> Samples:
            raise ModelError(f"The model is broken for {len(windows)} windows.")

    library = Library.open(tmp_path / "lib", encoder=Broken())
    with pytest.raises(ModelError, match="broken"):
        library.index([sounds])
    assert library.status().skipped == {}
    assert threading.active_count() == 1


def test_a_strange_file_does_not_end_the_run(tmp_path: Path, sounds: Path) -> None:
    class Fussy(FakeEncoder):
        fails = True

        def embed_audio(self, windows: Sequence[Samples]) -> Samples:
            if self.fails and len(windows) == 4:
                raise ModelError("The vector is not finite.")
            if self.fails and len(windows[0]) == 8000:  # b.flac, repeated to half a second
                raise ZeroDivisionError("0")
            return super().embed_audio(windows)

    encoder = Fussy()
    library = Library.open(tmp_path / "lib", encoder=encoder)
    report = library.index([sounds], jobs=1)
    assert (report.added, report.skipped) == (2, {"failed": 2})
    encoder.fails = False
    assert counts(library.index()) == (2, 0, 0, 0, 2)


def test_the_search_cache_follows(
    library: Library, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.index([sounds])
    assert library.status().cache_state == "unused"
    monkeypatch.setattr(hnsw, "EXACT_LIMIT", 3)
    assert library.status().cache_state == "missing"
    told: list[IndexProgress] = []
    library.index(progress=told.append)
    assert [(one.graph_done, one.graph_total) for one in told] == [(0, 7)]
    assert library.status().cache_state == "fresh"
    write_tone(sounds / "new.wav", 700)
    library.index()
    assert library.status().cache_state == "fresh"


def test_before_anything_is_indexed(library: Library) -> None:
    with pytest.raises(NothingIndexedError, match="atri index"):
        library.search("dog")
    with pytest.raises(NothingIndexedError):
        library.forget("/x")
    assert library.roots() == []
    status = library.status()
    assert (status.files, status.segments, status.last_indexed) == (0, 0, None)
    assert not library.folder.exists()


def test_a_long_file_needs_little_memory(library: Library, tmp_path: Path) -> None:
    write_noise(tmp_path / "s" / "long.wav", seconds=900)  # 58 MB as float32
    tracemalloc.start()
    try:
        report = library.index([tmp_path / "s"], jobs=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.segments == 899
    assert peak < 16e6


def test_the_library_of_the_settings_and_a_real_model(
    atri_home: Path, fake_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, high = (
        write_tone(tmp_path / "s" / "1.wav", 200),
        write_tone(tmp_path / "s" / "2.wav", 3000),
    )
    with Library.open(model=str(fake_model), device="cpu") as library:
        assert library.index([tmp_path / "s"]).added == 2
        assert atri_home in library.folder.parents
        assert library.search("son grave").hits[0].path == low
        assert library.search(QueryPart(text="high")).hits[0].path == high
    with Library.open() as library:
        assert library.search([QueryPart(text="low")], limit=1).hits[0].path == low
        assert library.index().unchanged == 2
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    with Library.open() as library:
        assert library.index().unchanged == 2


def test_the_model_is_found_again_without_being_named(
    fake_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tone(tmp_path / "s" / "1.wav", 200)
    mine = tmp_path / "modèles" / "mine"
    shutil.copytree(fake_model, mine)
    monkeypatch.chdir(mine.parent)
    with Library.open(model="./mine", device="cpu") as library:
        library.index([tmp_path / "s"])
    monkeypatch.chdir(tmp_path)
    make_fake_model(tmp_path / "fake", 8)  # of the recorded name, but only in this folder
    with Library.open() as library:
        assert library.search("low").model == "fake"
        assert library.card.folder == mine
    mine.rename(tmp_path / "elsewhere")
    with Library.open() as library, pytest.raises(ModelError, match="--model DIR") as caught:
        library.search("low")
    assert caught.value.why == f"It was in `{mine}`."
    with Library.open() as library:
        assert library.status().files == 1


def test_a_lazy_import_of_everything_that_is_public() -> None:
    assert all(getattr(atri_cli, name) for name in atri_cli.__all__)
    assert "Library" in dir(atri_cli)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = atri_cli.nothing
    code = "import sys, atri_cli.commands, atri_cli.library.types; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
