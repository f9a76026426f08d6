"""Captions are embedded once, whatever happens in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from train.captioncache import Caption, CaptionCache

ROOT = Path(__file__).parents[1]


class Embedder:
    """Vectors that say which caption they are of; counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Caption] = []

    def __call__(self, captions: Sequence[Caption]) -> NDArray[np.float32]:
        assert 0 < len(captions) <= 256
        self.asked += captions
        rows = [np.random.default_rng([*f"{a} {b}".encode()]).random(5) for a, b in captions]
        return np.array(rows, np.float32)


def captions(count: int, first: int = 0) -> list[Caption]:
    return [(("en", "fr")[n % 2], f"sound {n}") for n in range(first, first + count)]


def test_each_is_embedded_once(tmp_path: Path) -> None:
    embed, again = Embedder(), Embedder()
    wanted = [*captions(600), *captions(3), ("fr", "sound 0")]
    found = CaptionCache(tmp_path, "m").get(wanted, embed)
    assert len(embed.asked) == 601
    np.testing.assert_array_equal(found, np.concatenate([Embedder()([one]) for one in wanted]))
    np.testing.assert_array_equal(CaptionCache(tmp_path, "m").get(wanted, again), found)
    assert again.asked == []
    CaptionCache(tmp_path, "m").get(captions(602), again)
    assert again.asked == captions(2, 600)


def test_another_model_has_another_file(tmp_path: Path) -> None:
    embed = Embedder()
    for key in ("a", "b", "a"):
        CaptionCache(tmp_path, key).get(captions(4), embed)
    assert len(embed.asked) == 8


def test_a_damaged_file_is_filled_again(tmp_path: Path) -> None:
    cache = CaptionCache(tmp_path, "m")
    first = cache.get(captions(5), Embedder())
    cache.path.write_bytes(b"no database at all" * 100)
    embed = Embedder()
    np.testing.assert_array_equal(cache.get(captions(5), embed), first)
    assert len(embed.asked) == 5


def test_what_an_embedder_may_not_do(tmp_path: Path) -> None:
    cache = CaptionCache(tmp_path, "m")
    with pytest.raises(ValueError, match="no caption"):
        cache.get([], Embedder())
    with pytest.raises(ValueError, match="2 captions gave"):
        cache.get(captions(2), lambda _: np.zeros((1, 5), np.float32))
    cache.get(captions(2), Embedder())
    with pytest.raises(ValueError, match="different sizes"):
        cache.get(captions(3), lambda some: np.zeros((len(some), 4), np.float32))


WRITER = """
import sys
from pathlib import Path
from tests.test_train_captioncache import CaptionCache, Embedder, captions
for n in range(1000):
    CaptionCache(Path(sys.argv[1]), "m").get(captions(20, 20 * n), Embedder())
    print(n, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_two_writers_and_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    time.sleep(0.1)
    for writer in writers:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    embed = Embedder()
    found = CaptionCache(tmp_path, "m").get(captions(400), embed)
    np.testing.assert_array_equal(found, np.concatenate([Embedder()([c]) for c in captions(400)]))
    assert len(embed.asked) <= 380
