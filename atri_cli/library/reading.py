"""From files to vectors, on threads.

`jobs` reader threads each take a whole file: hash, decode, cut. They hand small batches of
windows to `jobs` embedding threads and stay at most `AHEAD` batches before them, so a three-hour
recording holds a few windows in memory and still keeps every core busy. Decoding, resampling and
the model release the GIL. Each run of the model uses one thread: several such runs side by side
beat one run on several threads, and a vector does not depend on how many there are. Batches
never cross files, so it does not depend on the neighbours either.

A content is embedded once: a second name for it waits for the first, or copies from the library.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from atri_cli.audio.decode import read_info, stream_windows
from atri_cli.audio.files import show
from atri_cli.errors import AtriError, AudioError, ModelError
from atri_cli.library.catalog import Embedded
from atri_cli.library.plan import Task, hash_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atri_cli.encoders.types import Encoder

BATCH = 8
AHEAD = 2

T = TypeVar("T")


class Stopped(Exception):
    """The run ends before this file is done."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Args:
        task: the file, with size and time as they were when it was read.
        content_hash: None when the content could not be read.
        sound: its segments, when it was embedded.
        reason, detail: why it is skipped; empty when it is not. Without `sound` and `reason` the
            library has the content already.
    """

    task: Task
    content_hash: bytes | None = None
    sound: Embedded | None = None
    reason: str = ""
    detail: str = ""


class Reader:
    """Reads files on threads. `close` it, or use it as a context manager."""

    def __init__(self, encoder: Encoder, known: set[bytes], jobs: int) -> None:
        """
        Args:
            encoder: its `embed_audio` is called from `jobs` threads at once.
            known: contents that need not be embedded.
            jobs: files read, and batches embedded, at the same time.
        """
        self._encoder = encoder
        self._known = known
        self._claims: dict[bytes, Future[Embedded]] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._model_works = False  # until then its errors are not one file's
        self._readers = ThreadPoolExecutor(jobs, "atri-read")
        self._embedders = ThreadPoolExecutor(jobs, "atri-embed")

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is not finished and wait for the threads."""
        self._stop.set()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self._embedders.shutdown(wait=True, cancel_futures=True)

    def submit(self, task: Task) -> Future[Outcome]:
        """Read a file on one of the threads."""
        return self._readers.submit(self._read, task)

    def saved(self, outcome: Outcome) -> None:
        """Say that the library has written an outcome: others may copy from there."""
        if outcome.content_hash is None:
            return
        with self._lock:
            if outcome.sound is not None:
                self._known.add(outcome.content_hash)
            self._claims.pop(outcome.content_hash, None)

    def lost(self, content_hash: bytes) -> None:
        """Say that the library no longer holds a content."""
        with self._lock:
            self._known.discard(content_hash)

    def _read(self, task: Task) -> Outcome:
        outcome = Outcome(task)
        try:
            with _held_still(task.path) as facts:
                found = task.found._replace(size=facts.st_size, mtime_ns=facts.st_mtime_ns)
                outcome = replace(outcome, task=replace(task, found=found))
                outcome = replace(outcome, content_hash=hash_file(task.path))
                sound = self._sound(outcome)
            return replace(outcome, sound=sound)
        except AudioError as error:
            return replace(outcome, reason=error.reason, detail=_about_it(error, task.path))
        except ModelError as error:
            if not self._model_works:
                raise
            return replace(outcome, reason="failed", detail=str(error))
        except (AtriError, Stopped):
            raise
        except FileNotFoundError:
            return replace(outcome, reason="missing", detail="The file went away.")
        except OSError as error:
            return replace(outcome, reason="unreadable", detail=error.strerror or str(error))
        except Exception as error:  # one strange file must not end the run
            return replace(outcome, reason="failed", detail=f"{type(error).__name__}: {error}")

    def _sound(self, outcome: Outcome) -> Embedded | None:
        content_hash, path = outcome.content_hash or b"", outcome.task.path
        if outcome.task.is_known_as(content_hash):
            return None
        with self._lock:
            if content_hash in self._known:
                return None
            claim = self._claims.get(content_hash)
            mine = claim is None
            if claim is None:
                claim = self._claims[content_hash] = Future()
        if mine:
            return self._fulfil(claim, content_hash, lambda: self._embed(path))
        try:
            return claim.result()
        except Exception:  # the other name may have failed for a reason of its own
            return self._embed(path)

    def _fulfil(
        self, claim: Future[Embedded], key: bytes, make: Callable[[], Embedded]
    ) -> Embedded:
        try:
            sound = make()
        except BaseException as error:
            with self._lock:
                self._claims.pop(key, None)
            claim.set_exception(error)
            raise
        claim.set_result(sound)
        return sound

    def _embed(self, path: Path) -> Embedded:
        info, card = read_info(path), self._encoder.card.audio
        stream = stream_windows(
            path, card.sample_rate, card.segment_seconds, card.hop_seconds, card.min_seconds
        )
        windows, vectors = [], []
        waiting: deque[Future[NDArray[np.float32]]] = deque()
        for batch in _batches(stream):
            if self._stop.is_set():
                raise Stopped
            windows += [window for window, _ in batch]
            samples = [waveform for _, waveform in batch]
            waiting.append(self._embedders.submit(self._encoder.embed_audio, samples))
            if len(waiting) > AHEAD:
                vectors.append(waiting.popleft().result())
        vectors += [one.result() for one in waiting]
        if not windows:
            raise AudioError(f"`{show(path)}` holds no sound.", reason="empty")
        self._model_works = True
        seconds = max(info.seconds, windows[-1].end)  # a header may promise less than there is
        matrix = np.concatenate(vectors)
        return Embedded(seconds, info.sample_rate, info.channels, tuple(windows), matrix)


def _about_it(error: AudioError, path: Path) -> str:
    """What and why, without the path, which the summary shows anyway and `relocate` changes."""
    rest = error.what.removeprefix(f"`{show(path)}` ")
    what = error.what if rest == error.what else f"It {rest}"
    return f"{what} {error.why}".strip()


def _batches(stream: Iterator[T]) -> Iterator[list[T]]:
    while batch := list(islice(stream, BATCH)):
        yield batch


@contextmanager
def _held_still(path: Path) -> Iterator[os.stat_result]:
    """Complain when the file is no regular one, or is another one after the block."""
    before = os.stat(path)
    if not stat.S_ISREG(before.st_mode):
        raise AudioError(f"`{show(path)}` is not a file.", reason="not-a-file")
    yield before
    after = os.stat(path)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise AudioError(
            f"`{show(path)}` changed while it was read.", reason="changed-while-reading"
        )
