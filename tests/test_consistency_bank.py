"""The bank of vocabulary names: what it holds, and a cache that may be damaged in any way."""

from __future__ import annotations

import io
import os
import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.consistency import bank as module
from atri_cli.consistency.bank import bank, names
from atri_cli.vocabulary.concepts import vocabulary_concepts
from tests.fake_encoder import FakeEncoder
from tests.library_tools import without_root_rights

DIM = 4
WORDS = {"fr": ["chien", "chat", "pluie"], "zh-Hant": ["狗", "貓"]}


class Texts(FakeEncoder):
    """Vectors from the letters of a text; remembers what it embeds."""

    def __init__(self, name: str = "fake") -> None:
        super().__init__(DIM, name=name)
        self.asked: list[tuple[str | None, str]] = []

    def embed_text(self, texts, lang=None):  # type: ignore[no-untyped-def]
        self.asked += [(lang, text) for text in texts]
        rows = [np.random.default_rng(sum(map(ord, text))).normal(size=DIM) for text in texts]
        return np.stack([self._unit(row) for row in rows])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary of a few words."""
    monkeypatch.setattr(
        module, "names", lambda tags: {tag: WORDS[tag] for tag in tags if tag in WORDS}
    )


def test_names_are_the_first_phrases_each_once() -> None:
    found = names(["fr", "zh-Hans", "zh-Hant", "fr-CA", "tlh", "yo"])
    assert list(found) == ["fr", "zh-Hans", "zh-Hant", "fr-CA"]
    assert found["fr"] == found["fr-CA"]
    assert found["zh-Hans"] == names(["zh"])["zh"] != found["zh-Hant"]
    first = [one.phrases["fr"][0] for one in vocabulary_concepts() if one.phrases.get("fr")]
    assert set(found["fr"]) == set(first)
    assert len(found["fr"]) == len(set(first))


@pytest.mark.usefixtures("few")
def test_written_once_and_read_again(tmp_path: Path) -> None:
    encoder = Texts()
    first = bank(encoder, ["fr", "zh-Hant", "tlh"], tmp_path)
    assert [(tag, len(rows)) for tag, rows in first.items()] == [("fr", 3), ("zh-Hant", 2)]
    assert encoder.asked == [(tag, text) for tag, texts in WORDS.items() for text in texts]
    again = bank(encoder, ["zh-Hant", "fr"], tmp_path)
    assert len(encoder.asked) == 5
    for tag, rows in again.items():
        np.testing.assert_array_equal(rows, first[tag])
        assert (rows.dtype, rows.flags.writeable) == (np.float32, True)


@pytest.mark.usefixtures("few")
def test_another_model_or_vocabulary_has_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank(Texts(), ["fr"], tmp_path)
    other = Texts("other")
    bank(other, ["fr"], tmp_path)
    assert len(other.asked) == 3
    monkeypatch.setattr(module, "names", lambda _tags: {"fr": ["chien", "chat", "neige"]})
    changed = Texts()
    bank(changed, ["fr"], tmp_path)
    assert len(changed.asked) == 3
    assert len(list(tmp_path.rglob("*.npy"))) == 3


@pytest.mark.usefixtures("few")
def test_without_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(bank(Texts(), ["fr"], None)["fr"]) == 3
    assert list(tmp_path.iterdir()) == []


def saved(array: np.ndarray, **options: bool) -> bytes:
    sink = io.BytesIO()
    np.save(sink, array, **options)  # type: ignore[arg-type]
    return sink.getvalue()


class Harm:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.flag),)


def damages(flag: Path) -> dict[str, bytes]:
    """What may stand in the place of three vectors."""
    archive = io.BytesIO()
    np.savez(archive, x=np.zeros((3, DIM), np.float32))
    harm = np.empty(3, object)
    harm[:] = [Harm(flag)] * 3
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 4), }"
    magic = b"\x93NUMPY\x01\x00"
    return {
        "empty": b"",
        "magic": magic,
        "open bracket": magic + b"\x20\x00{'descr': (((\n" + b" " * 18,
        "bad indent": magic + b"\x10\x00\n  x\n y\n       \n",
        "no literal": magic + b"\x20\x00__import__('os').getcwd()" + b" " * 7,
        "huge": magic + b"\x76\x00" + (header % (b"9" * 12)).ljust(117) + b"\n" + bytes(48),
        "version": b"\x93NUMPY\x09\x00" + bytes(100),
        "pickle": pickle.dumps([Harm(flag)]),
        "objects": saved(harm, allow_pickle=True),
        "archive": archive.getvalue(),
        "broken archive": archive.getvalue()[:40],
        "other shape": saved(np.zeros((2, DIM), np.float32)),
        "other numbers": saved(np.zeros((3, DIM))),
        "nothing finite": saved(np.full((3, DIM), np.nan, np.float32)),
        "a number": saved(np.float32(3)),
        "short": saved(np.zeros((3, DIM), np.float32))[:-1],
    }


@pytest.mark.usefixtures("few")
def test_damage_is_passed_over_and_mended(tmp_path: Path) -> None:
    expected = bank(Texts(), ["fr"], tmp_path)["fr"]
    (file,) = tmp_path.rglob("*.npy")
    whole, flag = file.read_bytes(), tmp_path / "harm"
    for name, content in damages(flag).items():
        file.write_bytes(content)
        encoder = Texts()
        np.testing.assert_array_equal(bank(encoder, ["fr"], tmp_path)["fr"], expected, name)
        assert len(encoder.asked) == 3, name
        assert file.read_bytes() == whole, name
    assert not flag.exists()
    assert zipfile.is_zipfile(io.BytesIO(damages(flag)["archive"]))


@pytest.mark.usefixtures("few")
@given(st.integers(0, 175), st.binary(min_size=1, max_size=4))
def test_a_few_wrong_bytes(
    tmp_path_factory: pytest.TempPathFactory, place: int, wrong: bytes
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    bank(Texts(), ["fr"], folder)
    (file,) = folder.rglob("*.npy")
    content = bytearray(file.read_bytes())
    content[place : place + len(wrong)] = wrong
    file.write_bytes(content)
    found = bank(Texts(), ["fr"], folder)["fr"]
    assert (found.shape, found.dtype) == ((3, DIM), np.float32)
    assert np.isfinite(found).all()


@pytest.mark.usefixtures("few")
def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    expected = bank(Texts(), ["fr"], None)["fr"]
    (tmp_path / "file").touch()
    (tmp_path / "locked").mkdir(mode=0o500)
    taken = tmp_path / "taken"
    bank(Texts(), ["fr"], taken)
    (file,) = taken.rglob("*.npy")
    file.unlink()
    file.mkdir()
    with without_root_rights():
        for folder in (tmp_path / "file", tmp_path / "locked", taken, Path("/proc/nothing")):
            np.testing.assert_array_equal(bank(Texts(), ["fr"], folder)["fr"], expected)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.usefixtures("few")
def test_a_full_disk_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(file: io.BufferedWriter, array: np.ndarray, **_options: bool) -> None:
        file.write(array.tobytes()[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fill)
    assert len(bank(Texts(), ["fr"], tmp_path)["fr"]) == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("few")
def test_a_part_of_another_process_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes write at the same time: each whole, the later one stays."""
    expected = bank(Texts(), ["fr"], None)["fr"]
    waiting, seen = threading.Barrier(2), []
    save, numbers = np.save, iter((1001, 1002))

    def slowly(file: io.BufferedWriter, array: np.ndarray, **options: bool) -> None:
        seen.append(file.name)
        waiting.wait(10)
        save(file, array, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(np, "save", slowly)
    monkeypatch.setattr(module.os, "getpid", lambda: next(numbers))
    threads = [threading.Thread(target=bank, args=(Texts(), ["fr"], tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 2
    encoder = Texts()
    np.testing.assert_array_equal(bank(encoder, ["fr"], tmp_path)["fr"], expected)
    assert encoder.asked == []
    assert not list(tmp_path.rglob("*.part"))
