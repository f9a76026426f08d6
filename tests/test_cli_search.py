"""`atri search` on a small real library."""

from __future__ import annotations

import base64
import csv
import io
import os
import shlex
from pathlib import Path

import pytest

from tests.cli_tools import Done, atri, make_sounds, run
from tests.sounds import write_tone

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def sounds(
    tmp_path: Path, fake_model: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: Capture
) -> Path:
    """A folder of three sounds, indexed into the default library with the fake model."""
    monkeypatch.setenv("ATRI_MODEL", str(fake_model))
    folder = make_sounds(tmp_path / "sounds")
    done = run(capsysbinary, "index", folder)
    assert done.code == 0, done.err
    return folder


def first(done: Done) -> str:
    assert done.code == 0, done.err
    return Path(done.lines[0]).name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a low tone", "low.wav"),
        ("un son grave", "low.wav"),
        ("低音", "low.wav"),
        ("hoher ton hoch", "high.wav"),
        ("soroll", "noise.flac"),
        ("噪音 🎵", "noise.flac"),
        ("bruit \x07\x1b[31m\x00" + "é" * 5, "noise.flac"),
        ("ruido " * 2000, "noise.flac"),
    ],
)
def test_a_text_in_any_language_finds_its_sound(
    text: str, name: str, sounds: Path, capsysbinary: Capture
) -> None:
    assert sounds.is_dir()
    assert first(run(capsysbinary, "search", text, "--paths")) == name


def test_json_is_schema_2(sounds: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "search", "low^2", "--not", "noise^0.5", "--segments", "2", "--json")
    found = done.json
    assert list(found) == ["schema", "query", "library", "model", "hits"]
    assert (found["schema"], found["library"], found["model"]) == (2, "default", "fake")
    assert found["query"] == [
        {"text": "low", "weight": 2.0, "lang": None},
        {"text": "noise", "weight": -0.5, "lang": None},
    ]
    best = found["hits"][0]
    assert list(best) == ["path", "root", "start", "end", "score", "z", "cosine", "segments"]
    assert (best["path"], best["root"]) == (str(sounds / "low.wav"), str(sounds))
    assert len(best["segments"]) == 2
    assert best["segments"][0] == {
        key: best[key] for key in ("start", "end", "score", "z", "cosine")
    }
    scores = [hit["score"] for hit in found["hits"]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3


def test_jsonl_csv_and_paths_say_the_same(sounds: Path, capsysbinary: Capture) -> None:
    words = ["search", "bruit", "--segments", "3"]
    whole = run(capsysbinary, *words, "--json").json["hits"]
    assert whole[0]["path"] == str(sounds / "sub" / "noise.flac")
    lines = run(capsysbinary, *words, "--jsonl").lines
    assert len(lines) == len(whole) == 3
    table = list(csv.DictReader(io.StringIO(run(capsysbinary, *words, "--csv").out)))
    places = [place for hit in whole for place in hit["segments"]]
    assert [float(row["score"]) for row in table] == [place["score"] for place in places]
    assert list(table[0]) == ["path", "root", "start", "end", "score", "z", "cosine"]
    assert run(capsysbinary, *words, "--paths").lines == [hit["path"] for hit in whole]
    zero = run(capsysbinary, *words, "-0").raw
    assert zero == b"".join(hit["path"].encode() + b"\0" for hit in whole)


def test_plain_text_shows_path_span_score_and_z(sounds: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "search", "low", "-n", "2", "--segments", "2")
    assert done.lines[0].split() == ["score", "z", "time", "file"]
    score, z, span, path = done.lines[1].split()
    assert (span, path) == ("0:00.0-0:02.0", "low.wav")
    assert float(score) > 0.9
    assert z.startswith("+")
    assert done.lines[2].split()[2:] == ["0:01.0-0:03.0"]
    assert (sounds / done.lines[3].split()[-1]).is_file()
    assert len(done.lines) == 4


def test_hits_of_several_roots_name_them(
    sounds: Path, tmp_path: Path, capsysbinary: Capture
) -> None:
    write_tone(tmp_path / "more" / "deep.wav", 210, 2)
    run(capsysbinary, "index", tmp_path / "more")
    done = run(capsysbinary, "search", "low")
    assert {"sounds/low.wav", "more/deep.wav"} <= {line.split()[-1] for line in done.lines}
    assert sounds.name == "sounds"


def test_the_language_goes_with_every_text(sounds: Path, capsysbinary: Capture) -> None:
    assert sounds.is_dir()
    words = ["search", "son grave", "--not", "bruit^0.1", "--lang", "FR", "-n", "1"]
    done = run(capsysbinary, *words, "--json")
    assert [part["lang"] for part in done.json["query"]] == ["FR", "FR"]
    assert first(run(capsysbinary, *words, "--paths")) == "low.wav"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ([], {"low.wav", "high.wav", "noise.flac"}),
        (["--path", "sub/*"], {"high.wav", "noise.flac"}),
        (["--path", "*.flac", "--path", "low*"], {"noise.flac", "low.wav"}),
        (["--ext", "FLAC,ogg"], {"noise.flac"}),
        (["--duration", "2..4"], {"low.wav"}),
        (["--duration", "..2s"], {"high.wav"}),
        (["--duration", "4.."], {"noise.flac"}),
        (["--since", "7d"], {"low.wav", "high.wav"}),
        (["--since", "2001-01-01"], {"low.wav", "high.wav"}),
        (["--limit", "1"], {"low.wav"}),
        (["--ext", "wav", "--duration", "2.."], {"low.wav"}),
        (["--ext", "mp3"], set()),
    ],
)
def test_filters(filters: list[str], names: set[str], sounds: Path, capsysbinary: Capture) -> None:
    os.utime(sounds / "sub" / "noise.flac", (10**8, 10**8))
    assert run(capsysbinary, "index").code == 0
    done = run(capsysbinary, "search", "low", "--paths", *filters)
    assert {Path(line).name for line in done.lines} == names


def test_root_takes_a_folder_as_it_is_typed(
    sounds: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sounds)
    done = run(capsysbinary, "search", "low", "--root", "sub", "--paths")
    assert {Path(line).name for line in done.lines} == {"high.wav", "noise.flac"}


def test_root_follows_links(sounds: Path, tmp_path: Path, capsysbinary: Capture) -> None:
    (tmp_path / "link").symlink_to(sounds)
    done = run(capsysbinary, "search", "low", "--root", tmp_path / "link" / "sub", "--paths")
    assert {Path(line).parent for line in done.lines} == {sounds / "sub"}


def test_like_a_sound_or_a_part_of_one(sounds: Path, tmp_path: Path, capsysbinary: Capture) -> None:
    assert sounds.is_dir()
    other = write_tone(tmp_path / "other@1-2.wav", 3100, 2)
    for value in (other, f"{other}@0:00.5-1.5", f"{other}@1-^0.5"):
        assert first(run(capsysbinary, "search", "--like", value, "--paths")) == "high.wav"
    query = run(capsysbinary, "search", "--like", f"{other}@1-", "--json").json["query"]
    assert query == [{"like": str(other), "start": 1.0, "end": None, "weight": 1.0}]


def test_what_is_not_wanted_sinks(sounds: Path, capsysbinary: Capture) -> None:
    assert sounds.is_dir()
    words = ["search", "low", "noise^1.1", "--paths"]
    assert first(run(capsysbinary, *words)) == "noise.flac"
    assert first(run(capsysbinary, *words, "--not", "noise^0.9")) == "low.wav"


def test_the_query_can_come_from_stdin(sounds: Path, capsysbinary: Capture) -> None:
    assert sounds.is_dir()
    done = run(capsysbinary, "search", "-", "--paths", stdin="\ufeff 低音 \n".encode())
    assert first(done) == "low.wav"
    done = run(capsysbinary, "search", "-", "--json", stdin=b"low^2")
    assert done.json["query"] == [{"text": "low^2", "weight": 1.0, "lang": None}]


def test_nothing_found(sounds: Path, capsysbinary: Capture) -> None:
    assert sounds.is_dir()
    words = ["search", "dog barking", "--ext", "mp3"]
    done = run(capsysbinary, *words)
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines() == [
        "No sound passes the filters.",
        "Hint: Without filters: `atri search 'dog barking'`",
    ]
    assert run(capsysbinary, *words, "--fail-if-empty").code == 3
    done = run(capsysbinary, *words, "--quiet", "--fail-if-empty", "--json")
    assert (done.code, done.json["hits"], done.err) == (3, [], "")
    assert run(capsysbinary, "search", "low", "-q", "--fail-if-empty") == Done(0, b"", "")


def test_a_path_without_wildcards_gets_a_hint(sounds: Path, capsysbinary: Capture) -> None:
    done = run(capsysbinary, "search", "low", "--path", sounds.name)
    assert (done.code, done.out) == (0, "")
    assert f"Hint: `--path` must match the whole path: `--path '*{sounds.name}*'`" in done.err
    assert len(run(capsysbinary, "search", "low", "--path", f"*{sounds.name}*").lines) > 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing to search for."),
        ([""], "The query is empty."),
        ([" \t\n"], "The query is empty."),
        (["\x07\x1b"], "The query is empty."),
        (["^2"], "The query is empty."),
        (["-"], "No text came from stdin."),
        (["-", "-"], "Only one text"),
        (["a", "--json", "--csv"], "`--json` and `--csv` exclude each other."),
        (["a", "--duration", "ten"], "`--duration ten` is not a range."),
        (["a", "--since", "soon"], "neither an age nor a date"),
        (["a", "--limit", "0"], "--limit"),
        (["a", "--limit", "many"], "--limit"),
        (["a", "--segments", "0"], "--segments"),
        (["a", "--device", "tpu"], "`cpu`, `cuda`, `auto`"),
        (["a", "--lang", "klingon!"], "klingon!"),
        (["low", "--not", "low"], "cancel each other out"),
        (["--like", "a.wav@3-2"], "ends before it starts"),
    ],
)
def test_wrong_queries_are_wrong_usage(
    words: list[str], said: str, sounds: Path, capsysbinary: Capture
) -> None:
    assert sounds.is_dir()
    done = run(capsysbinary, "search", *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_sound_to_compare_with_that_cannot_be_read(sounds: Path, capsysbinary: Capture) -> None:
    (sounds / "text.wav").write_text("a letter")
    for name in ("missing.wav", "text.wav"):
        done = run(capsysbinary, "search", "--like", sounds / name)
        assert (done.code, done.out) == (1, "")
        assert name in done.err


def test_before_anything_is_indexed_it_says_what_to_type(capsysbinary: Capture) -> None:
    done = run(capsysbinary, "search", "dog", "--library", "my field")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        "Error: Nothing is indexed in `my field` yet.",
        "Hint: Type `atri index ~/sounds --library 'my field'` with your own folder of sounds, "
        "then try again.",
    ]


def test_paths_that_are_not_utf8_come_out_as_they_are(sounds: Path, capsysbinary: Capture) -> None:
    name = os.fsencode(sounds) + b"/caf\xe9.wav"
    os.rename(sounds / "low.wav", name)
    assert run(capsysbinary, "index").code == 0
    words = ["search", "low", "-n", "1"]
    assert run(capsysbinary, *words, "--paths").raw == name + b"\n"
    assert run(capsysbinary, *words, "-0").raw == name + b"\0"
    hit = run(capsysbinary, *words, "--json").json["hits"][0]
    assert hit["path"].endswith("/caf\ufffd.wav")
    assert base64.b64decode(hit["path_bytes"]) == name
    assert run(capsysbinary, *words).lines[1].endswith("caf\\xe9.wav")
    done = atri("search", "--like", name, "--paths")  # the shell hands over bytes
    assert done.raw.splitlines()[0] == name


def player(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_play_hands_the_best_place_to_the_first_player(
    sounds: Path, tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    heard = tmp_path / "heard"
    for name in ("mpv", "aplay"):
        player(tmp_path / "bin", name, f'echo {name} "$@" > {shlex.quote(str(heard))}')
    done = run(capsysbinary, "search", "bruit", "--play", "--paths")
    assert done.code == 0, done.err
    expected = "mpv --no-video --really-quiet --start=0.000 --length=2.000"
    assert heard.read_text() == f"{expected} {sounds / 'sub' / 'noise.flac'}\n"
    assert len(done.lines) == 3


def test_play_without_a_player_or_with_one_that_fails(
    sounds: Path, tmp_path: Path, capsysbinary: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    done = run(capsysbinary, "search", "low", "--play")
    assert (done.code, done.out) == (1, "")
    assert "No player was found." in done.err
    assert "ffplay, mpv, play, afplay, paplay, aplay" in done.err
    player(tmp_path / "bin", "play", "echo no sound card >&2; exit 4")
    done = run(capsysbinary, "search", "low", "--play")
    assert done.code == 1
    assert "no sound card" in done.err
    assert str(sounds / "low.wav") in done.err
