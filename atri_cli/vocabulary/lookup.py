"""A query and its names in the other languages, found without reading the whole vocabulary.

`lookup.txt` is made from the tables (`python -m atri_cli.vocabulary.lookup`; a test compares it).
It has two kinds of lines: `=ID` with the sound's names in the core languages; and a folded form of
a phrase, with the id, 0 for a name or 1 for another phrase, and the languages. It is searched as
bytes, in a few milliseconds.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from atri_cli.vocabulary.concepts import CORE, VOCABULARY, Concept, vocabulary_concepts
from atri_cli.vocabulary.translate import stems, tokens, vocabulary_language

FILE = VOCABULARY / "lookup.txt"
LONGEST = 200  # characters of a query that can be a name
COMPOUND = 3  # words that may also be written as one

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


def translations(text: str, lang: str | None = None, lines: Lines | None = None) -> dict[str, str]:
    """What the sound that a text names is called in each core language.

    Names only, and the core languages only: longer phrases and the other languages, in which models
    know less, find less (docs/results/consistency.md).

    Args:
        text: a query, in any language of the vocabulary; words may stand in another order.
        lang: the tag of its language, when it is known.
        lines: from `read_lines`, for many texts; without it the file is searched.

    Returns:
        Name by language; empty when the text as a whole is not known, or names different sounds in
        different languages.
    """
    bare = _AROUND.sub("", text.strip())
    for words in dict.fromkeys((text, bare)):
        name = _concept(words, vocabulary_language(lang) if lang else "", lines)
        if name:
            return dict(zip(CORE, _find("=" + name, lines)[0], strict=True))
    return {}


def read_lines() -> Lines:
    """The whole of `lookup.txt`, which takes as long as some forty searches in it."""
    found: dict[str, list[list[str]]] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        key, *cells = line.split("\t")
        found.setdefault(key, []).append(cells)
    return found


def forms(text: str) -> tuple[str, ...]:
    """How a phrase is looked up: its stems in the order of the alphabet; a few also as one word."""
    words = stems(tokens(text[:LONGEST]))
    joined = ["".join(words)] if 1 < len(words) <= COMPOUND else []
    return tuple(dict.fromkeys([" ".join(sorted(words)), *joined])) if words else ()


def compiled(concepts: Iterable[Concept]) -> str:
    """The contents of `lookup.txt`."""
    lines: dict[str, None] = {}
    known = list(concepts)
    for concept in known:
        names = (concept.phrases[tag][0] for tag in CORE)
        lines["\t".join([f"={concept.id}", *names])] = None
    rows: dict[tuple[str, str, int], dict[str, None]] = {}
    for concept in known:
        for tag, phrases in concept.phrases.items():
            for place, phrase in enumerate([*phrases, *concept.forms.get(tag, ())]):
                for form in forms(phrase):
                    rows.setdefault((form, concept.id, min(place, 1)), {})[tag] = None
    for (form, name, place), tags in sorted(rows.items()):
        lines[f"{form}\t{name}\t{place}\t{' '.join(tags)}"] = None
    return "\n" + "\n".join(lines) + "\n"


def _concept(text: str, lang: str, lines: Lines | None) -> str:
    """The id of the one sound that a text names; "" for none or several.

    A sound's name goes before another sound's longer phrase, words in their order before words
    written as one.
    """
    for form in forms(text):
        found = [line for line in _find(form, lines) if not lang or lang in line[2].split(" ")]
        for place in ("0", "1"):
            ids = {name for name, n, _ in found if n == place}
            if ids:
                return ids.pop() if len(ids) == 1 else ""
    return ""


def _find(key: str, lines: Lines | None) -> Sequence[Sequence[str]]:
    if lines is not None:
        return lines.get(key, ())
    data, sought = _data(), f"\n{key}\t".encode()
    found, start = [], data.find(sought)
    while start >= 0:
        first = start + len(sought)
        end = data.find(b"\n", first)
        found.append(data[first:end].decode().split("\t"))
        start = data.find(sought, end)
    return found


@cache
def _data() -> mmap.mmap:
    with FILE.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


if __name__ == "__main__":
    FILE.write_text(compiled(vocabulary_concepts()), encoding="utf-8")
