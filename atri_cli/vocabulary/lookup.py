"""A query and its names in the other languages, found without reading the whole vocabulary.

`lookup.txt` is made from the tables (`python -m atri_cli.vocabulary.lookup`; a test compares it).
It has two kinds of lines: `=ID` with the sound's names in the core languages and the ids of the
sounds it is a kind of; and a form of a phrase, with the id, how near it is to a name, and the
languages. All are in order, so that a few steps into the mapped file find a key.
"""

from __future__ import annotations

import mmap
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from atri_cli.vocabulary.concepts import CORE, VOCABULARY, Concept, vocabulary_concepts
from atri_cli.vocabulary.translate import stems, tokens, vocabulary_language

FILE = VOCABULARY / "lookup.txt"
LONGEST = 200  # characters of a query that can be a name
SENTENCE = 4  # more words than these are typed in their order or not at all
NEARNESS = ("0", "1", "2", "3")  # a name, a longer phrase, and the same by their stems
KIND_NAMES = 8  # of what a sound is a kind of: as many as its own

_UNSPACED = re.compile(r"[\u3005\u3040-\u30ff\u3400-\u9fff]")

# What people put around a name when they ask for its sound; the vocabulary has the bare names.
_AROUND = re.compile(
    r"^(?:the )?(?:sounds?|noise) of |^(?:le )?(?:bruit|son) (?:de |du |des |d')?"
    r"|^geräusch (?:von )?|^(?:el )?(?:sonido|ruido) de |^(?:het )?geluid van "
    r"|^(?:el )?(?:so|soroll) (?:de |d')?"
    r"|(?:の|な)?(?:音|声|鳴き声)$|的?(?:声音|聲音|叫声|叫聲|鸣叫|声|聲)$|(?:の)?소리$"
    r"| sounds?$| noise$",
    re.IGNORECASE,
)


Lines = Mapping[str, Sequence[Sequence[str]]]
"""Key → the cells of each line that begins with it."""


def asked_as(
    text: str,
    lang: str | None = None,
    lines: Lines | None = None,
    taken: Sequence[str] = (),
) -> tuple[tuple[str, str], ...]:
    """The names that are searched for in place of a text that names a sound: (language, name).

    What the sound is called in each core language, then a few names of the well-known sounds that
    it is a kind of: a text tower may never have read of an oystercatcher, but it knows what a bird
    is. Names only, and the core languages only: longer phrases and the other languages, in which
    models know less, find less (docs/results/consistency.md).

    Args:
        text: a query, in any language of the vocabulary; words may stand in another order.
        lang: the tag of its language, when it is known.
        lines: from `read_lines`, for many texts; without it the file is searched.
        taken: languages that the model takes; none is any.

    Returns:
        Empty when the text as a whole is not known, or names different sounds in different
        languages.
    """
    sound = named_sound(text, lang, lines)
    return names_of(sound, lines, taken) if sound else ()


def names_of(
    sound: str, lines: Lines | None = None, taken: Sequence[str] = ()
) -> tuple[tuple[str, str], ...]:
    """The names that a sound, given by its id, is searched for by: see `asked_as`."""
    *own, kinds = find("=" + sound, lines)[0]
    found = _taken(own, taken)
    for kind in kinds.split():
        names = _taken(find("=" + kind, lines)[0][:-1], taken)
        found += names[: KIND_NAMES // len(kinds.split())]
    return tuple(found)


def named_sound(text: str, lang: str | None = None, lines: Lines | None = None) -> str:
    """The id of the sound that a text as a whole names; "" for none."""
    bare = _AROUND.sub("", text.strip())
    for words in dict.fromkeys((text, bare)):
        sound = _concept(words, vocabulary_language(lang) if lang else "", lines)
        if sound:
            return sound
    return ""


def _taken(names: Sequence[str], taken: Sequence[str]) -> list[tuple[str, str]]:
    """Names in the core languages with their tags, in the languages that the model takes."""
    return [(tag, name) for tag, name in zip(CORE, names, strict=True) if not taken or tag in taken]


def read_lines() -> Lines:
    """The whole of `lookup.txt`, for whoever asks for thousands of texts."""
    found: dict[str, list[list[str]]] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        key, *cells = line.split("\t")
        found.setdefault(key, []).append(cells)
    return found


def forms(text: str) -> tuple[str, ...]:
    """How a phrase is looked up, from the closest: its words, their stems in the order of the
    alphabet, and, where they are two, these written as one. Chinese, Japanese and whole sentences
    keep their order.
    """
    words = tokens(text[:LONGEST])
    if any(_UNSPACED.match(word) for word in words):
        return ("".join(words),)
    if len(words) > SENTENCE:
        return (" ".join(words),)
    bare = stems(words)
    joined = ["".join(bare)] if len(bare) == 2 else []
    return tuple(dict.fromkeys([" ".join(words), " ".join(sorted(bare)), *joined]))


def compiled(concepts: Iterable[Concept]) -> str:
    """The contents of `lookup.txt`."""
    lines: dict[str, None] = {}
    known = list(concepts)
    for concept in known:
        names = (concept.phrases[tag][0] for tag in CORE)
        lines["\t".join([f"={concept.id}", *names, " ".join(concept.kinds)])] = None
    rows: dict[tuple[str, str, int], dict[str, None]] = {}
    for concept in known:
        for tag, phrases in concept.phrases.items():
            for place, phrase in enumerate([*phrases, *concept.forms.get(tag, ())]):
                for number, form in enumerate(forms(phrase)):
                    near = min(place, 1) + 2 * min(number, 1)
                    rows.setdefault((form, concept.id, near), {})[tag] = None
    for (form, name, near), tags in rows.items():
        lines[f"{form}\t{name}\t{near}\t{' '.join(tags)}"] = None
    return "\n" + "\n".join(sorted(lines)) + "\n"


def _concept(text: str, lang: str, lines: Lines | None) -> str:
    """The id of the sound that a text names; "" for none, or different ones in different languages.

    A name goes before a longer phrase, and what is written alike before what has the same stems.
    """
    for form in forms(text) if tokens(text) else ():
        found = [line for line in find(form, lines) if not lang or lang in line[2].split(" ")]
        for near in NEARNESS:
            named = {name: set(tags.split(" ")) for name, n, tags in found if n == near}
            if named:
                return _one(named)
    return ""


def _one(named: Mapping[str, set[str]]) -> str:
    """Of several sounds with one name the one that has it in most languages.

    The vocabulary calls a few sounds alike (two kinds of modem): any of them will do, as long as
    one language says so of all.
    """
    if len(named) > 1 and not set.intersection(*named.values()):
        return ""
    return min(named, key=lambda name: (-len(named[name]), name))


def find(key: str, lines: Lines | None) -> Sequence[Sequence[str]]:
    """The cells of each line that begins with a key, from memory or from the file."""
    if lines is not None:
        return lines.get(key, ())
    data, sought = _data(), f"{key}\t".encode()
    first = bisect_left(range(len(data)), sought, key=lambda at: _following(data, at, len(sought)))
    start, found = data.find(b"\n", max(first - 1, 0)) + 1, []
    while data[start : start + len(sought)] == sought:
        end = data.find(b"\n", start)
        found.append(data[start + len(sought) : end].decode().split("\t"))
        start = end + 1
    return found


def _following(data: mmap.mmap, at: int, length: int) -> bytes:
    """So much of the first line that begins at a place or behind it: it grows with the place."""
    start = data.find(b"\n", max(at - 1, 0)) + 1
    return data[start : start + length] or b"\xff"


@cache
def _data() -> mmap.mmap:
    with FILE.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


if __name__ == "__main__":
    part = FILE.with_suffix(".part")  # a process that has the old one mapped keeps it
    part.write_text(compiled(vocabulary_concepts()), encoding="utf-8")
    part.replace(FILE)
