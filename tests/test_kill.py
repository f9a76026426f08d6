"""kill -9 at any moment: nothing that was saved is lost, and running again converges.

A helper process imports the library once and forks a child for each run, so that a kill costs
milliseconds. Each child is a real process that indexes until SIGKILL takes it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from atri_cli import Library
from atri_cli.errors import NothingIndexedError
from tests.fake_encoder import FakeEncoder
from tests.library_tools import Content, content
from tests.sounds import write_noise, write_tone

KILLS = 60
ENCODER = {"dim": 64, "seconds_each": 0.004}

LAUNCHER = """
import os, sys
from pathlib import Path
from atri_cli import Library
from atri_cli.library import indexer, reading
from tests.fake_encoder import FakeEncoder
import soundfile, soxr

indexer.BATCH_FILES = 3
library, sounds, dim, seconds = sys.argv[1:]
encoder = FakeEncoder(int(dim), float(seconds))
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        with Library.open(Path(library), encoder=encoder) as one:
            one.index([sounds], jobs=2, reindex=line.strip() == "reindex")
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Runs:
    """Index runs in child processes, killed after so many seconds."""

    def __init__(self, library: Path, sounds: Path) -> None:
        self.library, self.sounds = library, sounds
        arguments = [str(library), str(sounds), *map(str, ENCODER.values())]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert self._line() == "ready"
        self.kills = 0

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def run(self, seconds: float | None, order: str = "index") -> bool:
        """Start a run and kill it after `seconds`; whether it was over before."""
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        child = int(self._line())
        if seconds is not None:
            # The launcher reaps the child, so a number that is gone cannot be another's yet.
            signal.sigtimedwait([], seconds)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        status = int(self._line())
        assert status in (0, -signal.SIGKILL)
        self.kills += status != 0
        return status == 0

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0
        self.process.stdout.close()


def check(library: Path) -> int:
    """The library, killed just now, is whole; returns its segments."""
    with Library.open(library, encoder=FakeEncoder(dim=64)) as one:
        try:
            store = one.store
        except NothingIndexedError:
            return 0
        assert store.problems() == []
        ids, _ = store.vectors()
        assert len(store.segments_info(ids)) == len(ids)
        for row in content(library).values():
            assert row[-3] != "ok" or row[-1]  # a file without its segments was never saved
        return len(ids)


def fresh(sounds: Path, folder: Path, *, ids: bool = False) -> Content:
    with Library.open(folder, encoder=FakeEncoder(dim=64)) as one:
        one.index([sounds], jobs=1)
    return content(folder, ids=ids)


def change(sounds: Path, chance: random.Random, round_: int) -> None:
    """New, changed, renamed, copied, broken and deleted files."""
    files = sorted(path for path in sounds.rglob("*.wav") if path.is_file())
    for number, path in enumerate(chance.sample(files, 20)):
        match number % 5:
            case 0:
                path.unlink()
            case 1:
                path.rename(path.with_name(f"moved-{round_}-{number}.wav"))
            case 2:
                write_tone(path, 100 + chance.random() * 5000, seconds=0.7)
            case 3:
                copy = path.with_name(f"copy-{round_}-{number}.wav")
                copy.write_bytes(path.read_bytes())
            case _:
                path.write_bytes(path.read_bytes()[:100])
    for number in range(15):
        write_noise(sounds / f"new-{round_}" / f"{number}.wav", 0.6, seed=1000 * round_ + number)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for number in range(60):
        write_tone(tmp_path / "sounds" / f"{number % 7}" / f"{number}.wav", 100 + 40 * number, 0.6)
    write_noise(tmp_path / "sounds" / "3" / "long.flac", seconds=20)
    return tmp_path / "sounds"


def test_killed_again_and_again_it_converges(tmp_path: Path, sounds: Path) -> None:
    chance = random.Random(2)
    runs = Runs(tmp_path / "lib", sounds)
    try:
        most = 0
        while not runs.run(chance.uniform(0, 0.12)):
            segments = check(runs.library)
            assert segments >= most  # what was saved stays
            most = segments
        assert most > 0
        # Only additions so far: the same as one quiet run, down to the ids of rows.
        assert content(runs.library, ids=True) == fresh(sounds, tmp_path / "fresh", ids=True)

        rounds = 0
        while runs.kills < KILLS:
            rounds += 1
            change(sounds, chance, rounds)
            order = "reindex" if rounds == 3 else "index"
            while not runs.run(chance.uniform(0, 0.12), order):
                order = "index"
                check(runs.library)
            assert content(runs.library) == fresh(sounds, tmp_path / f"fresh-{rounds}")
    finally:
        runs.close()
    assert runs.kills >= KILLS


def test_killed_while_the_library_is_made(tmp_path: Path) -> None:
    write_tone(tmp_path / "sounds" / "a.wav")
    runs = Runs(tmp_path / "lib", tmp_path / "sounds")
    chance = random.Random(3)
    try:
        for _ in range(15):
            if runs.run(chance.uniform(0, 0.012)):
                break
            with Library.open(runs.library, encoder=FakeEncoder(dim=64)) as one:
                assert one.status().segments <= 1
        assert runs.run(None)
    finally:
        runs.close()
    assert content(runs.library) == fresh(tmp_path / "sounds", tmp_path / "fresh")
