"""The test set's reader and query file."""

from __future__ import annotations

import struct
import unicodedata
import zlib
from pathlib import Path

import pytest

from atri_cli.errors import RuntimeMissingError, UsageError
from benchmarks import testset
from benchmarks.rcc import read_rcc
from benchmarks.testset import (
    QUERIES,
    QuerySet,
    download_package,
    extract_sounds,
    find_truth,
    list_sounds,
    read_queries,
)

LANGUAGES = ("en", "fr", "de", "es", "nl", "ca", "ja", "zh")


def resource(files: dict[str, bytes], compress: bool, version: int = 1) -> bytes:
    """A Qt resource file with `files` in one folder named `sons`."""
    names, nodes, payload = b"", [], b""

    def name(text: str) -> int:
        nonlocal names
        at = len(names)
        names += struct.pack(">HI", len(text), 0) + text.encode("utf-16-be")
        return at

    extra = b"" if version < 2 else bytes(8)
    nodes.append(struct.pack(">IHII", name(""), 2, 1, 1) + extra)
    nodes.append(struct.pack(">IHII", name("sons"), 2, len(files), 2) + extra)
    for text, content in files.items():
        flags = 1 if compress else 0
        entry = struct.pack(">I", len(content)) + zlib.compress(content) if compress else content
        nodes.append(struct.pack(">IHHHI", name(text), flags, 0, 0, len(payload)) + extra)
        payload += struct.pack(">I", len(entry)) + entry
    tree = b"".join(nodes)
    header = struct.pack(">4I", version, 20, 20 + len(tree), 20 + len(tree) + len(payload))
    return b"qres" + header + tree + payload + names


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("version", [1, 2])
def test_resource_files_are_read(tmp_path: Path, compress: bool, version: int) -> None:
    files = {"chien.ogg": b"ouah" * 50, "été.txt": b""}
    (tmp_path / "a.rcc").write_bytes(resource(files, compress, version))
    expected = {f"sons/{name}": content for name, content in files.items()}
    assert dict(read_rcc(tmp_path / "a.rcc")) == expected


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rcc").write_bytes(b"RIFF" + bytes(40))
    with pytest.raises(ValueError, match="not a Qt resource file"):
        list(read_rcc(tmp_path / "a.rcc"))


def test_only_sounds_are_extracted_and_paths_kept(tmp_path: Path) -> None:
    package, out = tmp_path / "package" / "usr", tmp_path / "out"
    package.mkdir(parents=True)
    content = resource({"chien.ogg": b"ouah", "image.png": b"png"}, compress=True)
    (package / "a.rcc").write_bytes(content)
    assert extract_sounds(package.parent, out) == 1
    assert list_sounds(out) == [out / "sons" / "chien.ogg"]
    assert (out / "sons" / "chien.ogg").read_bytes() == b"ouah"


def test_a_path_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rcc").write_bytes(resource({"../../chien.ogg": b"ouah"}, compress=False))
    with pytest.raises(UsageError, match="outside"):
        extract_sounds(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_sounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No sound"):
        extract_sounds(tmp_path, tmp_path / "out")


def test_without_apt_the_hint_is_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeMissingError, match="`apt-get` is not on this system") as caught:
        download_package(tmp_path)
    assert "--package" in caught.value.hint


def test_a_failed_download_says_what_apt_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(RuntimeMissingError) as caught:
        testset.make_testset(tmp_path / "out")
    assert caught.value.why == "E: Unable to locate package"


@pytest.fixture(scope="module")
def queries() -> QuerySet:
    return read_queries(QUERIES)


def test_every_concept_is_asked_in_every_language(queries: QuerySet) -> None:
    assert tuple(queries.texts) == LANGUAGES
    assert len(queries) >= 45
    for texts in queries.texts.values():
        assert all(texts)
        assert all(unicodedata.is_normalized("NFC", text) for text in texts)


def test_no_two_concepts_have_the_same_query(queries: QuerySet) -> None:
    for tag, texts in queries.texts.items():
        assert len({text.casefold() for text in texts}) == len(texts), tag


def test_queries_are_in_the_script_of_their_language(queries: QuerySet) -> None:
    for tag, texts in queries.texts.items():
        assert all(any(ord(c) > 0x2E80 for c in text) == (tag in ("ja", "zh")) for text in texts)


def test_globs_are_relative_and_plain(queries: QuerySet) -> None:
    for globs in queries.audio:
        assert len(set(globs)) == len(globs)
        assert all(glob.startswith("gcompris/src/") for glob in globs)
        assert all("*" not in str(Path(glob).parent) for glob in globs)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "column `id`"),
        ("id\ten\n", "column `audio`"),
        ("id\taudio\ten\ten\n", "line 1"),
        ("id\taudio\ten\na\tb\n", "line 2: 2 columns"),
        ("id\taudio\ten\na\tx.wav\tdog\na\ty.wav\tcat\n", "line 3, column `id`: `a`"),
        ("id\taudio\ten\na\t \tdog\n", "line 2, column `audio`"),
    ],
)
def test_a_bad_query_file_is_named_by_line_and_column(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "q.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_queries(tmp_path / "q.tsv")


@pytest.mark.parametrize("content", [None, b"id\taudio\t\xff"])
def test_an_unreadable_query_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "q.tsv").write_bytes(content)
    with pytest.raises(UsageError, match=r"Cannot read the query file `.*q\.tsv`"):
        read_queries(tmp_path / "q.tsv")


def test_truth_follows_globs_and_alternatives(tmp_path: Path) -> None:
    for name in ("dog1.wav", "dog2.wav", "cat.wav", "wolf.wav"):
        (tmp_path / name).touch()
    files = list_sounds(tmp_path)
    found = QuerySet(("dog",), (("dog*.wav", "wolf.wav"),), {"en": ("dog",)})
    assert find_truth(found, tmp_path, files) == [{1, 2, 3}]
    missing = QuerySet(("owl",), (("owl.wav",),), {"en": ("owl",)})
    with pytest.raises(UsageError, match=r"`owl\.wav` names no sound"):
        find_truth(missing, tmp_path, files)
