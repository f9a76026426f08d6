"""The walk over a user's folders: what counts, what is passed over, what never blocks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.library import scan as scan_module
from atri_cli.library.ignore import Rules, parse_rules
from atri_cli.library.scan import Scan, is_online, scan
from tests.library_tools import without_root_rights


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(result: Scan) -> list[str]:
    return [os.fsdecode(file.path) for file in result.files]


def reasons(result: Scan) -> dict[str, str]:
    return {skipped.path.name: skipped.reason for skipped in result.skipped}


def scan_one(root: Path) -> Scan:
    return scan([(1, root)])


def test_sounds_by_extension_in_a_fixed_order(tmp_path: Path) -> None:
    make(tmp_path, "b/2.ogg", "b/1.FLAC", "a.wav", "z.mp3", "notes.txt", "b/c/deep.opus", "wav")
    result = scan_one(tmp_path)
    assert found(result) == ["a.wav", "z.mp3", "b/1.FLAC", "b/2.ogg", "b/c/deep.opus"]
    assert result.files[0][:3] == (1, b"a.wav", 1)
    assert result.files[0].mtime_ns == (tmp_path / "a.wav").stat().st_mtime_ns
    assert result.skipped == []


def test_hidden_files_and_junk_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, "._a.wav", ".hidden/b.wav", "@eaDir/c.wav", "__MACOSX/d.wav", "ok/e.wav")
    make(tmp_path, "$RECYCLE.BIN/f.wav", "System Volume Information/g.wav", ".Trash-1000/h.wav")
    make(tmp_path, ".AppleDouble/i.wav", "lost+found/j.wav")
    result = scan_one(tmp_path)
    assert found(result) == ["ok/e.wav"]
    assert result.skipped == []


def test_a_hidden_root_is_the_users_wish(tmp_path: Path) -> None:
    make(tmp_path / ".samples", "a.wav")
    assert found(scan_one(tmp_path / ".samples")) == ["a.wav"]


def test_atriignore(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "draft-1.wav", "raw/b.wav", "x/raw/c.wav", "x/keep/d.wav", "x/e.wav")
    make(tmp_path, "x/keep/draft-2.wav", "y/only/f.wav", "y/g.wav")
    (tmp_path / ".atriignore").write_text("# mine\n\ndraft-*\nraw/\n/y/only\n")
    (tmp_path / "x" / ".atriignore").write_text("e.wav\n!draft-2.wav\n")
    expected = ["a.wav", "x/keep/d.wav", "x/keep/draft-2.wav", "y/g.wav"]
    assert found(scan_one(tmp_path)) == expected


def test_an_atriignore_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", ".atriignore")
    (tmp_path / ".atriignore").chmod(0)
    with without_root_rights():
        result = scan_one(tmp_path)
    assert found(result) == ["a.wav"]
    assert reasons(result) == {".atriignore": "unreadable"}
    (tmp_path / ".atriignore").unlink()
    os.mkfifo(tmp_path / ".atriignore")
    assert found(scan_one(tmp_path)) == ["a.wav"]


@pytest.mark.parametrize(
    ("pattern", "ignored", "kept"),
    [
        ("*.wav", ["a.wav", "b/c.wav"], ["a.wave", "b/c.ogg"]),
        ("a?.wav", ["ab.wav"], ["a.wav", "abc.wav"]),
        ("[ab].wav", ["a.wav", "x/b.wav"], ["c.wav", "ab.wav"]),
        ("[!ab].wav", ["c.wav"], ["a.wav"]),
        ("take[1-3a].wav", ["take2.wav", "takea.wav"], ["take4.wav", "take-.wav"]),
        ("b/*.wav", ["b/c.wav"], ["b/d/c.wav", "x/b/c.wav"]),
        ("b/**/c.wav", ["b/c.wav", "b/d/e/c.wav"], ["c.wav", "b/xc.wav"]),
        ("**/old/*", ["old/a.wav", "x/old/a.wav"], ["old2/a.wav", "old/x/a.wav"]),
        ("/a.wav", ["a.wav"], ["b/a.wav"]),
        ("folder/", [], ["folder"]),
        ("\\#1.wav", ["#1.wav"], ["1.wav"]),
        ("# a.wav", [], ["# a.wav", "a.wav"]),
        ("[", ["["], ["a.wav"]),
        ("a+(b).wav", ["a+(b).wav"], ["aab.wav"]),
    ],
)
def test_patterns(pattern: str, ignored: Iterable[str], kept: Iterable[str]) -> None:
    rules = parse_rules(pattern)
    assert all(rules.ignores(path, False) for path in ignored)
    assert not any(rules.ignores(path, False) for path in kept)


def test_a_leading_slash_anchors() -> None:
    assert parse_rules("folder/").ignores("x/folder", True)
    assert not parse_rules("/folder/").ignores("x/folder", True)


def test_the_last_line_that_matches_decides() -> None:
    above = parse_rules("*.wav\n!good.wav\n")
    inner = parse_rules("good.wav\n", base="x", above=above)
    assert [above.ignores(name, False) for name in ("a.wav", "good.wav")] == [True, False]
    assert inner.ignores("x/good.wav", False)
    assert inner.ignores("x/a.wav", False)


@given(st.text(max_size=30), st.text(alphabet="ab/.*[]!\\", min_size=1, max_size=10))
def test_any_line_is_harmless(line: str, path: str) -> None:
    assert parse_rules(line).ignores(path, False) in (True, False)
    assert not Rules().ignores(path, False)


@given(st.text(alphabet="ab[]!*?\\^-", min_size=1, max_size=12))
def test_a_literal_name_ignores_itself(name: str) -> None:
    quoted = "".join(f"[{c}]" if c in "*?[" else c for c in name)
    if not quoted.startswith(("!", "\\")):
        assert parse_rules(quoted).ignores(name, False)


def test_things_that_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "folder.wav/inside.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket.wav")
        result = scan_one(tmp_path)
    assert found(result) == ["folder.wav/inside.wav"]
    assert reasons(result) == {
        "folder.wav": "not-a-file",
        "pipe.wav": "not-a-file",
        "socket.wav": "not-a-file",
        "gone.wav": "broken-link",
        "loop.wav": "broken-link",
    }
    assert result.may_hold(1, b"gone.wav")
    assert not result.may_hold(1, b"pipe.wav")


def test_links_to_folders(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    make(root, "real/a.wav")
    make(outside, "b.wav", "deep/c.wav")
    (root / "0-link").symlink_to(root / "real")  # found as real/ although 0-link sorts first
    (root / "real" / "up").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "out2").symlink_to(outside)
    (outside / "deep" / "back").symlink_to(outside)
    (root / "file.wav").symlink_to(outside / "b.wav")
    result = scan_one(root)
    assert sorted(found(result)) == ["file.wav", "out/b.wav", "out/deep/c.wav", "real/a.wav"]


def test_a_link_into_another_root_is_not_followed(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    make(one, "a.wav")
    make(two, "b.wav")
    (one / "link").symlink_to(two)
    assert found(scan([(1, one), (2, two)])) == ["a.wav", "b.wav"]
    assert found(scan([(1, one)], [two])) == ["a.wav"]
    assert found(scan([(1, one)])) == ["a.wav", "link/b.wav"]


def test_what_cannot_be_looked_into_may_hold_anything(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "secret/b.wav", "secrets.wav")
    (tmp_path / "secret").chmod(0)
    try:
        with without_root_rights():
            result = scan_one(tmp_path)
    finally:
        (tmp_path / "secret").chmod(0o755)
    assert found(result) == ["a.wav", "secrets.wav"]
    assert reasons(result) == {"secret": "unreadable"}
    assert result.may_hold(1, b"secret/b.wav")
    assert result.may_hold(1, b"secret/deep/c.wav")
    assert not result.may_hold(1, b"secrets.wav2")
    assert not result.may_hold(2, b"secret/b.wav")


def test_optional_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.m4a", "b.wav", "film.mkv")
    monkeypatch.setattr(scan_module, "has_optional", lambda: False)
    result = scan_one(tmp_path)
    assert found(result) == ["b.wav"]
    assert reasons(result) == {"a.m4a": "needs-formats-extra", "film.mkv": "needs-formats-extra"}
    assert "atri-cli[formats]" in result.skipped[0].detail
    assert result.may_hold(1, b"a.m4a")
    monkeypatch.setattr(scan_module, "has_optional", lambda: True)
    assert found(scan_one(tmp_path)) == ["a.m4a", "b.wav", "film.mkv"]


def test_names_of_any_bytes(tmp_path: Path) -> None:
    names = [b"latin-\xe9.wav", "עברית.wav".encode(), b"new\nline.wav", b"n" * 251 + b".wav"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    assert {file.path for file in scan_one(tmp_path).files} == set(names)


def test_paths_over_the_systems_limits(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(8):
        folder /= "d" * 100
    make(folder, "a.wav")
    assert found(scan_one(tmp_path)) == ["/".join(["d" * 100] * 8) + "/a.wav"]
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(50):  # beyond PATH_MAX only relative calls reach it
        os.mkdir("e" * 100, dir_fd=handle)
        deeper = os.open("e" * 100, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    result = scan_one(tmp_path)
    assert len(result.files) == 1
    assert [skipped.reason for skipped in result.skipped] == ["unreadable"]


def test_online(tmp_path: Path) -> None:
    make(tmp_path / "full", "a.wav")
    (tmp_path / "empty").mkdir()
    assert is_online(tmp_path / "full", True)
    assert is_online(tmp_path / "empty", False)
    assert not is_online(tmp_path / "empty", True)  # an unplugged drive's mount point
    (tmp_path / "empty" / ".directory").touch()
    (tmp_path / "empty" / "lost+found").mkdir()
    assert not is_online(tmp_path / "empty", True)
    assert not is_online(tmp_path / "gone", False)
    assert not is_online(tmp_path / "full" / "a.wav", False)
