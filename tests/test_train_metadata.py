"""Texts from the headers of sound files: well-formed, damaged, and hostile."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sounds import tone, write_tone
from train.data.metadata import MOST_BYTES, Metadata, read_metadata

IXML = """<?xml version="1.0" encoding="UTF-8"?><BWFXML><PROJECT>Trip</PROJECT>
<NOTE>windy day</NOTE><USER><CATEGORY>ANIMALS</CATEGORY><SUBCATEGORY>DOG</SUBCATEGORY>
<CATID>ANMLDog</CATID><FXNAME>Bark Large</FXNAME><DESCRIPTION>a hound at a gate</DESCRIPTION>
</USER></BWFXML>"""
COMMENTS = ("TITLE=Vent fort", "ARTIST=Lion", "description=Rafales", "COMMENT=près de la mer")


def chunk(kind: bytes, data: bytes, order: str = "<") -> bytes:
    return kind + struct.pack(f"{order}I", len(data)) + data + b"\0" * (len(data) % 2)


def wav(*chunks: bytes, magic: bytes = b"RIFF") -> bytes:
    fmt = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16))
    body = b"WAVE" + fmt + b"".join(chunks) + chunk(b"data", bytes(64))
    return magic + struct.pack("<I", len(body)) + body


def info(**fields: str) -> bytes:
    return chunk(
        b"LIST", b"INFO" + b"".join(chunk(k.encode(), v.encode()) for k, v in fields.items())
    )


def bext(text: bytes) -> bytes:
    return chunk(b"bext", text.ljust(602, b"\0"))


def vorbis(*comments: str) -> bytes:
    packed = [struct.pack("<I", len(raw := text.encode())) + raw for text in comments]
    return struct.pack("<I", 4) + b"atri" + struct.pack("<I", len(packed)) + b"".join(packed)


def page(*packets: bytes, stream: int = 7) -> bytes:
    sizes = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, stream, 0, 0, len(sizes))
    return head + sizes + b"".join(packets)


def ogg(*comments: str) -> bytes:
    return page(b"\x01vorbis" + bytes(23)) + page(b"\x03vorbis" + vorbis(*comments) + b"\x01")


def flac(*comments: str) -> bytes:
    body = vorbis(*comments)
    return b"fLaC\0\0\0\x22" + bytes(34) + b"\x84" + len(body).to_bytes(3, "big") + body


def safe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def id3(*frames: tuple[bytes, bytes], version: int = 4) -> bytes:
    size: Callable[[int], bytes] = safe if version == 4 else lambda n: n.to_bytes(4, "big")
    flags = b"\0\0"
    if version == 2:
        size, flags = (lambda n: n.to_bytes(3, "big")), b""
    body = b"".join(kind + size(len(data)) + flags + data for kind, data in frames)
    return b"ID3" + bytes([version, 0, 0]) + safe(len(body) + 20) + body + bytes(20)


def read(folder: Path, data: bytes) -> Metadata:
    path = folder / "sound.bin"
    path.write_bytes(data)
    return read_metadata(path)


# What each kind of header gives


def test_bext_and_info(tmp_path: Path) -> None:
    found = read(tmp_path, wav(bext(b"owl at night"), info(INAM="Owl", ICMT="far", IKEY="bird")))
    assert found == Metadata(("owl at night", "Owl"), ("far", "bird"))


def test_the_lines_of_field_recorders_are_dropped_but_for_the_note(tmp_path: Path) -> None:
    text = b"sSPEED=024.000-ND\r\nsTAKE=03\r\nsNOTE=geese overhead\r\nsFILENAME=dog.WAV\r\n"
    assert read(tmp_path, wav(bext(text))).texts == ("geese overhead",)


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_ixml_gives_ucs_fields_the_most_telling_first(tmp_path: Path, codec: str) -> None:
    found = read(tmp_path, wav(chunk(b"iXML", (IXML + "\0").encode(codec))))
    assert found.texts == ("Bark Large", "a hound at a gate", "DOG", "ANIMALS")
    assert (found.remarks, found.category) == (("windy day",), "ANMLDog")


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_chunks_behind_data_of_more_than_32_bits_are_found(tmp_path: Path, magic: bytes) -> None:
    ds64 = chunk(b"ds64", struct.pack("<QQQI", 0, 64, 32, 0))
    data = b"data" + struct.pack("<I", 0xFFFFFFFF) + bytes(64)
    body = b"WAVE" + ds64 + data + info(INAM="Rain")
    assert read(tmp_path, magic + b"\xff" * 4 + body).texts == ("Rain",)


def test_aiff_names_and_annotations(tmp_path: Path) -> None:
    parts = [chunk(b"NAME", b"Sea", ">"), chunk(b"ANNO", b"calm", ">")]
    parts.append(chunk(b"ID3 ", id3((b"TIT2", b"\3Waves")), ">"))
    body = b"AIFF" + b"".join(parts)
    assert read(tmp_path, b"FORM" + bytes(4) + body) == Metadata(("Sea", "Waves"), ("calm",))


@pytest.mark.parametrize("make", [flac, ogg])
def test_vorbis_comments(tmp_path: Path, make: Callable[..., bytes]) -> None:
    found = read(tmp_path, make(*COMMENTS))
    assert found == Metadata(("Rafales", "Vent fort"), ("près de la mer",))


def test_opus_tags_over_two_pages(tmp_path: Path) -> None:
    tags = b"OpusTags" + vorbis("ENCODER=" + "x" * 600, "TITLE=Heron")
    head = page(b"OpusHead" + bytes(11))
    cut = struct.pack("<4sBBqIIIB", b"OggS", 0, 0, 0, 7, 0, 0, 2) + b"\xff\xff" + tags[:510]
    other = page(b"\x80theora", stream=9)
    assert read(tmp_path, head + cut + other + page(tags[510:])).texts == ("Heron",)


@pytest.mark.parametrize(
    ("version", "title", "comment"),
    [(2, b"TT2", b"COM"), (3, b"TIT2", b"COMM"), (4, b"TIT2", b"COMM")],
)
def test_id3(tmp_path: Path, version: int, title: bytes, comment: bytes) -> None:
    frames = [
        (title, b"\1" + "猫の声".encode("utf-16")),
        (comment, b"\0eng" + b"iTunNORM\0 0000"),
        (comment, b"\1eng" + "\0".encode("utf-16") + "naïve".encode("utf-16")),
    ]
    found = read(tmp_path, id3(*frames, version=version))
    assert found == Metadata(("猫の声",), ("naïve",))


def test_id3v1_stands_at_the_end(tmp_path: Path) -> None:
    tag = b"TAG" + b"Door".ljust(30, b"\0") + bytes(64) + b"old hinge".ljust(30, b"\0") + b"\0"
    assert read(tmp_path, b"\xff\xfb" + bytes(500) + tag) == Metadata(("Door",), ("old hinge",))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_what_soundfile_writes_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with soundfile.SoundFile(path, "w", 16000, 1, format=suffix.upper()) as file:
        file.title, file.comment = "Crow in a tree", "near"
        file.write(tone())
    assert "Crow in a tree" in read_metadata(path).texts


def test_texts_in_the_code_page_of_windows(tmp_path: Path) -> None:
    data = wav(chunk(b"LIST", b"INFO" + chunk(b"INAM", "Kälte".encode("cp1252"))))
    assert read(tmp_path, data).texts == ("Kälte",)


@pytest.mark.parametrize("text", ["", "12 - 3", "https://example.org/dog", "\x01\x02", "Blues"])
def test_texts_that_say_nothing_are_left_out(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, wav(info(INAM=text, ISBJ="owl"))) == Metadata(("owl",))


# Damage


def test_files_without_metadata(tmp_path: Path) -> None:
    assert read_metadata(write_tone(tmp_path / "a.wav")) == Metadata()
    assert read(tmp_path, b"") == Metadata()
    assert read_metadata(tmp_path / "nowhere.wav") == Metadata()
    assert read_metadata(tmp_path) == Metadata()


@pytest.mark.parametrize(
    "document",
    [
        '<!DOCTYPE a [<!ENTITY b "dog">]><a><FXNAME>&b;</FXNAME></a>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a><FXNAME>dog</FXNAME></a>',
        "<a><FXNAME>dog</a>",
        "<a>" * 100_000,
        "<a>" * 100_000 + "</a>" * 100_000,
        "",
    ],
    ids=["entity", "external", "unclosed", "deep", "deep-closed", "empty"],
)
def test_hostile_xml_gives_nothing_and_spoils_nothing(tmp_path: Path, document: str) -> None:
    for codec in ("utf-8", "utf-16"):
        data = wav(chunk(b"iXML", document.encode(codec)), info(INAM="Owl"))
        assert read(tmp_path, data) == Metadata(("Owl",))


def test_a_damaged_chunk_spoils_no_other(tmp_path: Path) -> None:
    broken = chunk(b"LIST", b"INFO" + b"INAM" + struct.pack("<I", 2**31) + b"Owl")
    assert read(tmp_path, wav(broken, bext(b"rain"))).texts == ("rain", "Owl")
    assert read(tmp_path, wav(info(INAM="Owl")) + b"bext" + b"\xff" * 6).texts == ("Owl",)


@pytest.mark.parametrize(
    "data",
    [
        wav(chunk(b"iXML", b"<a>" + b"x" * (3 * MOST_BYTES))),
        b"fLaC" + b"\x04\xff\xff\xff" + struct.pack("<I", 0) + b"\xff" * 4 + bytes(MOST_BYTES),
        b"ID3\4\0\0\x7f\x7f\x7f\x7f" + b"TIT2\x7f\x7f\x7f\x7f\0\0" + b"x" * (3 * MOST_BYTES),
        page(b"\x01vorbis") + (page(b"y" * 60_000)) * 40,
        b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 300_000,
    ],
    ids=["xml", "flac", "id3", "ogg", "chunks"],
)
def test_memory_and_time_are_bounded(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(data)
    tracemalloc.start()
    started = time.process_time()
    read_metadata(path)
    used, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MOST_BYTES
    assert used < 2


GOOD = [
    wav(bext(b"owl"), info(INAM="Owl"), chunk(b"iXML", IXML.encode()), chunk(b"id3 ", id3())),
    flac(*COMMENTS),
    ogg(*COMMENTS),
    id3((b"TIT2", b"\1" + "Gate".encode("utf-16")), (b"COMM", b"\3engx\0creaks")),
    id3((b"TT2", b"\0Gate"), version=2),
    b"FORM" + bytes(4) + b"AIFC" + chunk(b"NAME", b"Sea", ">"),
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=5)), max_size=6),
    st.floats(0, 1),
)
def test_bytes_changed_anywhere_raise_nothing(
    tmp_path: Path, data: bytes, changes: list[tuple[float, bytes]], kept: float
) -> None:
    for place, raw in changes:
        at = int(place * len(data))
        data = data[:at] + raw + data[at + len(raw) :]
    assert isinstance(read(tmp_path, data[: int(kept * len(data)) + 1]), Metadata)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([data[:12] for data in GOOD]), st.binary(max_size=400))
def test_random_bytes_raise_nothing(tmp_path: Path, head: bytes, tail: bytes) -> None:
    assert isinstance(read(tmp_path, head + tail), Metadata)
