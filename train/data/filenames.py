"""What file and folder names say: words, the UCS category, and which takes belong together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path, PurePath

from atri_cli.vocabulary.concepts import read_table

UCS = Path(__file__).parent.parent / "labels" / "ucs_ca.tsv"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What recorders, editors and folders of sounds are called says nothing about the sound.
_EMPTY = _words("""
    rec recording recordings recorder zoom tascam mixpre ste img vid mvi dsc aud ptt wa whatsapp
    memo untitled unnamed unknown new audio audios sound sounds sfx fx sample samples clip clips
    track tracks file files data asset assets media library lib libs take takes tk copy final edit
    edited master mastered mixdown version ver var variation alt test tmp temp wav wave bwf flac
    ogg oga opus mp3 mp2 aif aiff aifc caf khz hz bit bits kbps bpm db fps th nd aufnahme
    aufnahmen enregistrement enregistrements grabación grabacion opname enregistrament son sons
    sonido sonidos geluid geluiden klang klänge so 録音 录音 新規録音 usr share src dr
""")
_CHANNELS = _words("""
    stereo mono left right lr ms quad surround binaural ambix ambisonic mid side ch chan
""")
_MONTH = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_DATE = re.compile(rf"\d{{1,4}}[\W_]?(?:{_MONTH})[a-z]*[\W_]?\d{{1,4}}", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_FREESOUND = re.compile(r"\d+__.+?__(?=.)")
_TAKE = re.compile(r"(?:[\s_.\-(]*(?:take|tk|t|v)?[\s_.\-#(]*\d+\)?)+$", re.IGNORECASE)


@dataclass(frozen=True)
class Name:
    """What a file's name says: its words ("" when they mean nothing) and its UCS CatID or ""."""

    words: str
    category: str = ""


@cache
def ucs_categories(path: Path = UCS) -> Mapping[str, tuple[str, str]]:
    """CatID → (category, subcategory) in Catalan, the translation that atri carries."""
    return {row["catid"]: (row["category"], row["subcategory"]) for row in read_table(path)}


def read_name(path: PurePath) -> Name:
    """The words of a file's name, and its category when it follows the UCS.

    UCS 8: `CatID-UserCategory_VendorCategory-FXName_CreatorID_SourceID_UserData`, where all after
    the FXName names people and libraries, not sounds.
    """
    category, _, rest = path.stem.partition("_")
    catid, _, user = category.partition("-")
    if rest and catid in ucs_categories():
        return Name(words_of(f"{user} {rest.partition('_')[0]}"), catid)
    return Name(words_of(path.stem))


def words_of(name: str) -> str:
    """Words of a name without extension, separated by spaces.

    Separators and camelCase divide words. Take numbers, dates, rates, channels, hashes and what
    recorders call their files are left out; "" when nothing else is there.
    """
    name = _FREESOUND.sub("", unicodedata.normalize("NFC", name))
    name = _DATE.sub(" ", _UUID.sub(" ", name))
    pieces = [piece for piece in re.split(r"[\W_]+", name) if not _is_code(piece)]
    words = [word for piece in pieces for word in _camel_words(piece) if _says_something(word)]
    while words and words[-1].lower() in _CHANNELS:
        words.pop()
    said = " ".join(words)
    return said.lower() if said.isupper() else said


def recording_key(path: PurePath) -> str:
    """Takes of one recording share a key: folder and name without trailing numbers, lower case.

    A name that is nothing but a number or what a recorder gave stays as it is.
    """
    stem = _TAKE.sub("", path.stem)
    kept = stem if words_of(stem) else path.stem
    return (path.parent / kept).as_posix().casefold()


def _is_code(piece: str) -> bool:
    """Hashes and ids: 8 or more hexadecimal digits, or letters and numbers in turn."""
    if re.fullmatch(r"(?=.*\d)[0-9a-fA-F]{8,}", piece):
        return True
    return sum(a.isdigit() != b.isdigit() for a, b in pairwise(piece)) > 2


def _camel_words(piece: str) -> list[str]:
    """`GateOpen2` → Gate, Open; `TVNoise` → TV, Noise."""
    marked = re.sub(r"\d+", " ", piece)
    marks = [0]
    for at in range(1, len(marked)):
        before, here, after = marked[at - 1], marked[at], marked[at + 1 : at + 2]
        if here.isupper() and (before.islower() or (before.isupper() and after.islower())):
            marks.append(at)
    ends = [*marks[1:], len(marked)]
    return [
        word for start, end in zip(marks, ends, strict=True) for word in marked[start:end].split()
    ]


def _says_something(word: str) -> bool:
    """Neither a single letter nor a word about files; one Chinese or Japanese sign is a word."""
    return word.lower() not in _EMPTY and (len(word) > 1 or word >= "\u3000")
