"""AudioCaps and Clotho as clips: the forms that they are found in, and tables that are wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from atri_cli.errors import UsageError
from atri_cli.queryfile import write_queries
from tests.sounds import write_noise
from train.data.importers import Imported, as_rows, import_audiocaps, import_clotho, main
from train.data.manifest import read_manifest

AUDIOCAPS = "audiocap_id,youtube_id,start_time,caption"
CLOTHO = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5"


def table(path: Path, *lines: str, end: str = "\n", encoding: str = "utf-8") -> Path:
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    return path


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def audiocaps(folder: Path, *lines: str, header: str = AUDIOCAPS) -> Imported:
    sounds = touch(folder / "sounds", "aaaaaaaaaaa.wav")
    return import_audiocaps(table(folder / "test.csv", header, *lines), sounds)


def test_rows_of_a_video_are_phrasings(tmp_path: Path) -> None:
    sounds = touch(tmp_path / "sounds", "r1nicOVtvkQ.wav", "YvfY_TJq7n_U.wav")
    lines = [
        AUDIOCAPS,
        '5,vfY_TJq7n_U,130,"Rustling occurs, ducks quack"',
        "1,r1nicOVtvkQ,130,A woman talks",
        "6,vfY_TJq7n_U,130,Ducks call",
        "9,goneGONEgon,0,Nobody hears this",
    ]
    french = table(tmp_path / "fr.csv", "caption,audiocap_id", "Des canards,6", '"Ça bruit",5')
    more = table(tmp_path / "ja.csv", "audiocap_id,caption", "1,女性が話す", "5,", "77,別")
    path = table(tmp_path / "val.csv", *lines)
    found = import_audiocaps(path, sounds, {"fra_Latn": french, "ja": more, "EN": french})
    ducks, woman = found.clips
    assert found.missing == ["goneGONEgon"]
    assert ducks.captions == {
        "en": ("Rustling occurs, ducks quack", "Ducks call", "Ça bruit", "Des canards"),
        "fr": ("Ça bruit", "Des canards"),
    }
    assert woman.captions == {"en": ("A woman talks",), "ja": ("女性が話す",)}
    assert (ducks.id, ducks.recording, ducks.split, ducks.line) == (
        "vfY_TJq7n_U", "vfY_TJq7n_U", "validation", 2,
    )  # fmt: skip
    assert (woman.audio, woman.line) == (sounds / "r1nicOVtvkQ.wav", 3)
    assert ducks.audio == sounds / "YvfY_TJq7n_U.wav"


@pytest.mark.parametrize(
    "name",
    [
        "{}.wav", "{}.FLAC", "{}.mp3", "{}.ogg", "Y{}.wav", "{}_30.wav", "{}_30_40.flac",
        "Y{}_30.000_40.000.wav", "{}_30000.wav", "{}_30000_40000.mp3", "{}_30_end.wav",
    ],
)  # fmt: skip
@pytest.mark.parametrize("video", ["abcdefghijk", "-_abcdef_12", "Yabcdefgh_5", "_1234567_30"])
def test_names_of_sounds(tmp_path: Path, name: str, video: str) -> None:
    sounds = touch(tmp_path / "s", name.format(video), "abcdefghijk.txt", "other.wav")
    found = import_audiocaps(table(tmp_path / "train.csv", AUDIOCAPS, f"1,{video},30,x"), sounds)
    assert [clip.audio for clip in found.clips] == [sounds / name.format(video)]


@pytest.mark.parametrize("name", ["{}_40.wav", "{}_40_50.wav", "Z{}.wav", "{}x.wav", "{}.m4a"])
def test_sounds_of_another_clip(tmp_path: Path, name: str) -> None:
    sounds = touch(tmp_path / "s", name.format("abcdefghijk"))
    path = table(tmp_path / "train.csv", AUDIOCAPS, "1,abcdefghijk,30,x")
    with pytest.raises(UsageError, match=r"lacks 1 sounds of .*train\.csv.*`abcdefghijk`"):
        import_audiocaps(path, sounds)


def test_the_named_start_wins(tmp_path: Path) -> None:
    names = ("abcdefghijk.wav", "abcdefghijk_30.wav", "abcdefghijk_40.wav", "Yabcdefghijk_30.wav")
    path = table(tmp_path / "train.csv", AUDIOCAPS, "1,abcdefghijk,30,x")
    (clip,) = import_audiocaps(path, touch(tmp_path / "s", *names)).clips
    assert clip.audio.name == "abcdefghijk_30.wav"


def test_clotho(tmp_path: Path) -> None:
    names = ("Metallic  Gate.wav", "t34t [1].wav", "Cafe\u0301.wav")
    sounds = touch(tmp_path / "sounds", *names)
    path = table(
        tmp_path / "clotho_captions_development.csv",
        CLOTHO,
        'Metallic  Gate.wav,"A gate, old",b,c,d,e ',
        "t34t [1].wav,1,2,3,4,5",
        "",
        "Caf\u00e9.wav,v,w,x,y,z",
        end="\r\n",
        encoding="utf-8-sig",
    )
    german = table(tmp_path / "de.csv", CLOTHO, "Metallic  Gate.wav,Ein Tor,,,,Tor")
    found = import_clotho(path, sounds, {"de": german})
    gate, traffic, cafe = found.clips
    assert found.missing == []
    assert gate.captions == {"en": ("A gate, old", "b", "c", "d", "e"), "de": ("Ein Tor", "Tor")}
    assert traffic.captions == {"en": ("1", "2", "3", "4", "5")}
    assert (gate.id, gate.split, gate.line, cafe.line) == ("Metallic  Gate.wav", "train", 2, 5)
    assert [clip.audio.name for clip in found.clips] == list(names)


def test_missing_sounds_of_clotho(tmp_path: Path) -> None:
    sounds = touch(tmp_path / "sounds", "0.wav")
    rows = [f"{n}.wav,a,b,c,d,e" for n in range(6)]
    path = table(tmp_path / "clotho_captions_evaluation.csv", CLOTHO, *rows)
    with pytest.raises(UsageError) as error:
        import_clotho(path, sounds)
    assert "lacks 5 sounds" in error.value.what
    assert error.value.why == "`1.wav`, `2.wav`, `3.wav` and 2 more."


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"), ("val.csv", "validation"), ("test.csv", "test"),
        ("AudioCaps-Test_v2.csv", "test"), ("clotho_captions_validation.csv", "validation"),
        ("clotho_captions_evaluation.csv", "test"), ("clotho_captions_development.csv", "train"),
    ],
)  # fmt: skip
def test_splits(tmp_path: Path, name: str, split: str) -> None:
    sounds = touch(tmp_path / "s", "abcdefghijk.wav")
    path = table(tmp_path / name, AUDIOCAPS, "1,abcdefghijk,0,x")
    assert import_audiocaps(path, sounds).clips[0].split == split


@pytest.mark.parametrize("name", ["audiocaps.csv", "train_test.csv", "contest.csv"])
def test_no_split(tmp_path: Path, name: str) -> None:
    path = table(tmp_path / name, AUDIOCAPS, "1,abcdefghijk,0,x")
    with pytest.raises(UsageError, match="does not say which split"):
        import_audiocaps(path, touch(tmp_path / "s"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("1,aaaaaaaaaaa,0, ",), "line 2, column `caption`: It is empty"),
        (("1,,0,x",), "line 2, column `youtube_id`: It is empty"),
        ((",aaaaaaaaaaa,0,x",), "line 2, column `audiocap_id`: It is empty"),
        (("1,aaaaaaaaaaa,,x",), "line 2, column `start_time`: It is empty"),
        (("1,aaaaaaaaaaa,soon,x",), "line 2, column `start_time`: `soon` is no time"),
        (("1,aaaaaaaaaaa,-3,x",), "`-3` is no time"),
        (("1,aaaaaaaaaaa," + "9" * 400 + ",x",), "is no time"),
        (("1,aaaaaaaaaaa,0,x", "2,aaaaaaaaaaa,9,y"), "line 3, column `start_time`: The clip st"),
        (
            ('1,aaaaaaaaaaa,0,"x\ny"', "", "1,bbbbbbbbbbb,0,y"),
            "line 5, column `audiocap_id`: `1` stands in line 2 already",
        ),
        (("1,aaaaaaaaaaa,0,rain, wind",), "line 2: It has 5 cells, and the header 4"),
        (("1,aaaaaaaaaaa,0",), "line 2: It has 3 cells, and the header 4"),
        (("1,aaaaaaaaaaa,0,x", '2,bbbbbbbbbbb,0,"open', "3,c,0,y"), "line 3: It is not CSV"),
        (("1,aaaaaaaaaaa,0,a\0b",), "line 2, column `caption`: It is not UTF-8"),
        ((), "has a header and no rows"),
    ],
)
def test_wrong_rows(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as error:
        audiocaps(tmp_path, *lines)
    assert message in str(error.value)
    assert "test.csv`" in error.value.what


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("audiocap_id,youtube_id,caption", "line 1: The column `start_time` is missing"),
        (AUDIOCAPS.replace(",", "\t"), "line 1: The column `audiocap_id` is missing"),
        (AUDIOCAPS + ",caption", "line 1: The column `caption` is there twice"),
        ("", "line 1: The column `audiocap_id` is missing"),
    ],
)
def test_wrong_headers(tmp_path: Path, header: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        audiocaps(tmp_path, "1,aaaaaaaaaaa,0,x", header=header)
    assert message in error.value.what
    assert "`audiocap_id`, `youtube_id`, `start_time`, `caption`" in error.value.hint


def test_encodings(tmp_path: Path) -> None:
    sounds = touch(tmp_path / "s", "aaaaaaaaaaa.wav")
    rows = (AUDIOCAPS, "1,aaaaaaaaaaa,0,caf\u00e9")
    path = table(tmp_path / "train.csv", *rows, encoding="latin-1")
    with pytest.raises(UsageError, match="line 2, column `caption`: It is not UTF-8"):
        import_audiocaps(path, sounds)
    table(path, *rows, encoding="utf-16")
    with pytest.raises(UsageError, match="line 1, column `1`: It is not UTF-8"):
        import_audiocaps(path, sounds)
    table(path)
    with pytest.raises(UsageError, match="is empty"):
        import_audiocaps(path, sounds)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    path = table(tmp_path / "train.csv", AUDIOCAPS, "1,aaaaaaaaaaa,0,x")
    with pytest.raises(UsageError, match=r"Cannot read `.*none\.csv`"):
        import_audiocaps(tmp_path / "none.csv", tmp_path)
    with pytest.raises(UsageError, match="Cannot read the folder of sounds"):
        import_audiocaps(path, tmp_path / "none")


def test_wrong_translations(tmp_path: Path) -> None:
    sounds = touch(tmp_path / "s", "aaaaaaaaaaa.wav")
    path = table(tmp_path / "train.csv", AUDIOCAPS, "1,aaaaaaaaaaa,0,x")
    other = table(tmp_path / "fr.csv", "audiocap_id,caption", "2,chien")
    with pytest.raises(UsageError, match=r"fr\.csv` translates no row of `.*train\.csv`"):
        import_audiocaps(path, sounds, {"fr": other})
    with pytest.raises(UsageError, match="Unknown language `frnch`"):
        import_audiocaps(path, sounds, {"frnch": other})
    table(other, "audiocap_id,text", "1,chien")
    with pytest.raises(UsageError, match=r"fr\.csv`, line 1: The column `caption` is missing"):
        import_audiocaps(path, sounds, {"fr": other})
    table(other, "audiocap_id,caption", "1,chien", "1,chat")
    with pytest.raises(UsageError, match=r"fr\.csv`, line 3, column `audiocap_id`"):
        import_audiocaps(path, sounds, {"fr": other})


def test_saved_as_a_manifest(tmp_path: Path) -> None:
    odd = os.fsdecode(b"b\xe9ll.wav")
    names = ["Metallic  Gate.wav", "t  [1] .wav", " a|b.wav", "t34t [1].wav", "x\u00a0y.wav", odd]
    sounds = touch(tmp_path / "sounds", *names, "Metallic _Gate.wav", "t  1 .wav")
    write_noise(sounds / "plain.wav")
    clips = [
        clip
        for name in [*names[:-1], "plain.wav"]
        for clip in import_clotho(
            table(tmp_path / "test.csv", CLOTHO, f"{name},a,b,c,d,e"), sounds
        ).clips
    ]
    clips.append(type(clips[0])("bell", sounds / odd, {"en": ("bell",), "fr": ("cloche",)}))
    folder = touch(tmp_path / "tables")
    write_queries(folder / "q.tsv", as_rows(clips, folder), ["en", "fr"])
    found = read_manifest(folder / "q.tsv")
    assert [clip.audio.resolve() for clip in found] == [clip.audio for clip in clips]
    for before, after in zip(clips, found, strict=True):
        assert after.captions == before.captions
        assert (after.id, after.split) == (" ".join(before.id.split()), before.split)


def test_a_manifest_has_no_spans(tmp_path: Path) -> None:
    found = audiocaps(tmp_path, "1,aaaaaaaaaaa,0,x").clips[0]
    part = type(found)("part", found.audio, found.captions, start=1.0)
    with pytest.raises(UsageError, match=r"`part` is a part of `.*aaaaaaaaaaa\.wav`"):
        as_rows([part], tmp_path)


def test_the_command_writes_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sounds = touch(tmp_path / "sounds", "a b.wav", "c.wav")
    original = table(tmp_path / "clotho_captions_development.csv", CLOTHO,
                     "a b.wav,A,B,C,D,E", "c.wav,F,G,H,I,J")  # fmt: skip
    french = table(tmp_path / "fr.csv", CLOTHO, "c.wav,Un,Deux,,,")
    out = tmp_path / "made.tsv"
    words = ["clotho", str(original), str(sounds), "--out", str(out)]
    assert main([*words, "--translation", f"fr={french}"]) == 0
    first, second = read_manifest(out)
    assert (first.audio, first.split) == (sounds / "a b.wav", "train")
    assert second.captions == {"en": ("F", "G", "H", "I", "J"), "fr": ("Un", "Deux")}
    assert "2 clips in en, fr" in capsys.readouterr().err
    assert main([*words, "--translation", "french.csv"]) != 0
    assert "which language" in capsys.readouterr().err


def test_the_command_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = touch(tmp_path / "sounds", "aaaaaaaaaaa.wav")
    original = table(tmp_path / "val.csv", AUDIOCAPS, "1,aaaaaaaaaaa,0,A", "2,goneGONEgon,0,B")
    words = ["audiocaps", str(original), str(sounds), "--out", str(tmp_path / "made.tsv")]
    assert main(words) == 0
    assert "1 sounds are missing: `goneGONEgon`" in capsys.readouterr().err
