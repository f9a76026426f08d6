"""Which files count as sounds, by their extension alone."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import PurePath


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What libsndfile reads and people keep. Left out: raw (no header) and names that mostly belong to
# other programs, such as mat (Matlab) and iff (images).
EXTENSIONS = _words("""
    wav wave bwf w64 rf64 flac ogg oga opus mp3 mp2 aiff aif aifc caf au snd voc 8svx avr paf pvf
    sf ircam nist sph sds
""")

# What the optional package `av` (PyAV) reads besides.
OPTIONAL_EXTENSIONS = _words("""
    m4a m4b aac mp4 m4v mov mkv mka webm weba wma wmv asf avi flv 3gp 3g2 ac3 eac3 amr ape wv tta
    mpg mpeg
""")

INSTALL_FORMATS = 'pip install "atri-cli[formats]"'


def extension(path: PurePath) -> str:
    """The extension without dot, lower case: `wav` for `Dog.WAV`."""
    return path.suffix[1:].lower()


def is_sound(path: PurePath) -> bool:
    """Whether the name is that of a sound, readable with or without the optional package."""
    return extension(path) in EXTENSIONS or is_optional(path)


def is_optional(path: PurePath) -> bool:
    """Whether reading this kind of file needs the optional package `av`."""
    return extension(path) in OPTIONAL_EXTENSIONS


@cache
def has_optional() -> bool:
    """Whether `av` is installed. Looks without importing it."""
    return importlib.util.find_spec("av") is not None
