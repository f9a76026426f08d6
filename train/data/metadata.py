"""What a sound file says about itself, read from its headers alone.

WAV, RF64 and AIFF: BWF `bext`, iXML, RIFF INFO, names and annotations; ID3v1 and v2 there and in
MP3; Vorbis comments in FLAC, Ogg Vorbis and Opus. A damaged part gives nothing, and no part is read
beyond 1 MiB.
"""

from __future__ import annotations

import os
import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 1 << 20
MOST_PARTS = 4096
MOST_TEXT = 1000

Field = tuple[str, str]
"""Key and text; keys are those of `TEXTS` and `REMARKS`, and `catid`."""

TEXTS = ("fxname", "description", "title", "subcategory", "category")
REMARKS = ("comment", "keywords")

_IXML = {
    "FXNAME": "fxname",
    "DESCRIPTION": "description",
    "BWF_DESCRIPTION": "description",
    "NOTE": "comment",
    "CATEGORY": "category",
    "SUBCATEGORY": "subcategory",
    "KEYWORDS": "keywords",
    "CATID": "catid",
}
_INFO = {b"INAM": "title", b"ICMT": "comment", b"IKEY": "keywords", b"ISBJ": "description"}
_INFO[b"IGNR"] = "keywords"
_ID3 = {b"TIT2": "title", b"TT2": "title", b"COMM": "comment", b"COM": "comment"}
_ID3 |= {b"TCON": "keywords", b"TCO": "keywords"}
_VORBIS = {
    "TITLE": "title",
    "DESCRIPTION": "description",
    "COMMENT": "comment",
    "GENRE": "keywords",
}
_AIFF = {b"NAME": "title", b"ANNO": "comment"}
_DAMAGE = (ValueError, LookupError, struct.error, ET.ParseError)


@dataclass(frozen=True)
class Metadata:
    """Texts about a sound, the most telling first; remarks, which may be about anything; UCS CatID.

    Comments, keywords and genres are remarks.
    """

    texts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    category: str = ""


def read_metadata(path: Path) -> Metadata:
    """What the file's headers say; nothing where they are missing, damaged or unreadable."""
    try:
        with path.open("rb") as file:
            fields = list(_fields(file, os.fstat(file.fileno()).st_size))
    except OSError:
        return Metadata()
    found = [(key, text) for key, raw in fields if (text := _clean(raw))]
    texts, remarks, category = (
        tuple(dict.fromkeys(text for key in keys for found_key, text in found if found_key == key))
        for keys in (TEXTS, REMARKS, ("catid",))
    )
    return Metadata(texts, remarks, (*category, "")[0])


def _fields(file: BinaryIO, size: int) -> Iterator[Field]:
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        yield from _riff(file, size, "<")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        yield from _riff(file, size, ">")
    elif head[:4] == b"fLaC":
        yield from _flac(file)
    elif head[:4] == b"OggS":
        yield from _guarded(_ogg, _part(file, 0, MOST_BYTES // 8))
    else:
        yield from _guarded(_id3v2, _part(file, 0, MOST_BYTES if head[:3] == b"ID3" else 0))
        yield from _guarded(_id3v1, _part(file, max(size - 128, 0), 128))


def _part(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(min(size, MOST_BYTES))


def _guarded(parse: Callable[[bytes], Iterator[Field]], data: bytes) -> Iterator[Field]:
    """The fields up to where the data is damaged."""
    try:
        yield from parse(data)
    except _DAMAGE:
        return


def _riff(file: BinaryIO, end: int, order: str) -> Iterator[Field]:
    """Chunks of RIFF (`<`) or AIFF (`>`). In RF64 the size of `data` stands in `ds64`."""
    start, long_data = 12, 0
    for _ in range(MOST_PARTS):
        head = _part(file, start, 8)
        if len(head) < 8:
            return
        kind, size = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if kind == b"data" and size == 0xFFFFFFFF:
            size = long_data
        start += 8
        if kind == b"ds64":
            long_data = int.from_bytes(_part(file, start, 16)[8:], "little")
        elif kind in _CHUNKS and start + size <= end:
            yield from _guarded(_CHUNKS[kind], _part(file, start, size))
        elif kind in _AIFF and start + size <= end:
            yield _AIFF[kind], _text(_part(file, start, size))
        start += size + size % 2


def _bext(data: bytes) -> Iterator[Field]:
    """EBU Tech 3285: the description is the first 256 bytes.

    Field recorders write there `sSCENE=…` lines, of which only the note is about the sound.
    """
    lines = _text(data[:256]).splitlines()
    notes = [re.sub(r"^sNOTE=", "", line) for line in lines]
    yield "description", " ".join(line for line in notes if not re.match(r"[\w ]+=", line))


def _ixml(data: bytes) -> Iterator[Field]:
    """The wanted elements wherever they stand; a document that declares anything is refused."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = data.decode("utf-16" if wide else "utf-8-sig").rstrip("\0 \r\n")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return
    for element in ET.fromstring(text).iter():
        key = _IXML.get(element.tag.upper())
        if key and element.text:
            yield key, element.text


def _list(data: bytes) -> Iterator[Field]:
    start = 4 if data[:4] == b"INFO" else len(data)
    while start + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, start)
        if kind in _INFO:
            yield _INFO[kind], _text(data[start + 8 : start + 8 + size])
        start += 8 + size + size % 2


def _flac(file: BinaryIO) -> Iterator[Field]:
    start = 4
    for _ in range(MOST_PARTS):
        head = _part(file, start, 4)
        if len(head) < 4:
            return
        size = int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == 4:
            yield from _guarded(_vorbis, _part(file, start + 4, size))
        if head[0] & 0x80:
            return
        start += 4 + size


def _ogg(data: bytes) -> Iterator[Field]:
    """RFC 3533: the second packet of the first stream holds the comments."""
    packets, start, stream = [b""], 0, data[14:18]
    while len(packets) < 3 and data[start : start + 4] == b"OggS":
        sizes = data[start + 27 : start + 27 + data[start + 26]]
        body = start + 27 + len(sizes)
        for size in sizes if data[start + 14 : start + 18] == stream else b"":
            packets[-1] += data[body : body + size]
            body += size
            if size < 255:
                packets.append(b"")
        start = start + 27 + len(sizes) + sum(sizes)
    comments = packets[1] if len(packets) > 1 else b""
    for magic in (b"\x03vorbis", b"OpusTags"):
        if comments.startswith(magic):
            yield from _vorbis(comments[len(magic) :])


def _vorbis(data: bytes) -> Iterator[Field]:
    """Vorbis I, section 5: vendor, then counted `KEY=text` in UTF-8."""
    (vendor,) = struct.unpack_from("<I", data)
    start = 8 + vendor
    (count,) = struct.unpack_from("<I", data, 4 + vendor)
    for _ in range(min(count, MOST_PARTS)):
        (size,) = struct.unpack_from("<I", data, start)
        key, _, text = data[start + 4 : start + 4 + size].decode("utf-8", "replace").partition("=")
        if key.upper() in _VORBIS:
            yield _VORBIS[key.upper()], text
        start += 4 + size


def _synchsafe(data: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(data, (21, 14, 7, 0), strict=True))


def _id3v2(data: bytes) -> Iterator[Field]:
    """ID3v2.2 to 2.4: title, comment, genre."""
    if data[:3] != b"ID3" or not 2 <= data[3] <= 4:
        return
    version, flags, end = data[3], data[5], 10 + _synchsafe(data[6:10])
    body = data[10:end].replace(b"\xff\0", b"\xff") if flags & 0x80 else data[10:end]
    id_size, head = (3, 6) if version == 2 else (4, 10)
    start = 0
    if flags & 0x40 and version > 2:
        start = _synchsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")
    while start + head < len(body) and body[start]:
        kind, raw = body[start : start + id_size], body[start + id_size : start + 2 * id_size]
        size = _synchsafe(raw) if version == 4 else int.from_bytes(raw, "big")
        if kind in _ID3:
            yield _ID3[kind], _id3_text(kind, body[start + head : start + head + size])
        start += head + size


def _id3_text(kind: bytes, data: bytes) -> str:
    """A frame's text; a comment begins with its language and a heading, of which programs' go."""
    coding = ("latin-1", "utf-16", "utf-16-be", "utf-8")[data[0]]
    if not kind.startswith(b"COM"):
        return data[1:].decode(coding, "replace")
    heading, _, text = data[4:].decode(coding, "replace").partition("\0")
    return "" if heading.startswith("iTun") else text.lstrip("\ufeff")


def _id3v1(data: bytes) -> Iterator[Field]:
    if data[:3] == b"TAG":
        yield "title", _text(data[3:33])
        yield "comment", _text(data[97:125])


def _text(data: bytes) -> str:
    """Up to the first NUL; UTF-8, or what Windows programs wrote before it."""
    data = data.partition(b"\0")[0]
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _clean(text: str) -> str:
    """One line without addresses and control characters; "" for what holds no word.

    `Blues` is what ID3v1 calls a genre that nobody set.
    """
    text = re.sub(r"(?:https?://|www\.)\S+|[\0-\x1f\x7f\ufeff]", " ", text[:MOST_TEXT])
    silent = text == "Blues" or not re.search(r"[^\W\d_]{2}|[\u3040-\u9fff]", text)
    return "" if silent else " ".join(text.split())


_CHUNKS: dict[bytes, Callable[[bytes], Iterator[Field]]] = {
    b"bext": _bext,
    b"iXML": _ixml,
    b"LIST": _list,
    b"id3 ": _id3v2,
    b"ID3 ": _id3v2,
}
