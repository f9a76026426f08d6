"""Several sounds in one query: `rain and wind`, `un chien qui aboie sous la pluie`, 犬と猫.

A text that is no sound's name as a whole, but a few of them with a word or a sign between,
is asked by the names of each (`lookup.py`), so that it is the same query in every language. One
piece that the vocabulary does not know, and the text stays as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from atri_cli.vocabulary.lookup import LONGEST, Lines, asked_as

MOST_SOUNDS = 4

# Words between sounds that are heard together, or one in the other, where spaces part words: those
# of the core languages, then of it, pt, da, no, sv, fi, pl, tr, ru, uk, ko, ar. Not those for `on`:
# in *metal on wood* the wood is no sound of its own.
_WORDS = """
    and with plus while over in under during behind
    et avec dans sous pendant pendant:que tandis:que derrière
    und mit während in im unter bei hinter
    y e con en bajo durante mientras mientras:que
    en met terwijl in onder tijdens achter
    i amb en sota dins durant mentre mentre:que
    e ed con mentre in nel nella sotto durante
    e com enquanto em no na sob durante
    og med mens i under och medan samtidigt:som
    ja sekä samalla:kun i oraz podczas z w pod ve ile
    и с со пока в под і й та з зі поки у під
    그리고 و مع في تحت
"""
# 의, 的 and の say that one belongs to the other, which is no joint.
_UNSPACED = "とともに|と一緒に|の中の|の中で|しながら|と|や|以及|伴随着|伴隨著|和|与|與|跟|中的"
_BETWEEN = re.compile(
    r"\s*[,;+&/،؛、，；＋＆]\s*(?:(?:and|und|et|och|og)\s+)?"
    rf"|\s+(?:{'|'.join(w.replace(':', ' ') for w in dict.fromkeys(_WORDS.split()))})\s+"
    rf"|\s+و|(?<=\S)(?:이랑|랑|하고|와|과)\s+|{_UNSPACED}",
    re.IGNORECASE,
)


Names = tuple[tuple[str, str], ...]
"""(language, name) of each, as `lookup.asked_as` gives them."""


class Named(NamedTuple):
    """A piece of a text and the names that its sound is asked by."""

    piece: str
    names: Names


def asked_together(
    text: str, lang: str | None = None, lines: Lines | None = None, taken: Sequence[str] = ()
) -> tuple[Named, ...]:
    """The sounds that a text names, with the names each is asked by (`lookup.asked_as`).

    Args:
        text: a query, in any language of the vocabulary.
        lang: the tag of its language, when it is known.
        lines: from `read_lines`, for many texts; without it the file is searched.
        taken: languages that the model takes; none is any.

    Returns:
        One for a text that names a sound as a whole, up to four for sounds that it joins, each
        sound once; none when a piece is unknown or the model takes no language of its names.
    """
    ask = partial(asked_as, lang=lang, lines=lines, taken=taken)
    first: dict[Names, str] = {}
    for piece, names in _pieces(text.strip(), MOST_SOUNDS, ask):
        first.setdefault(names, piece)
    return tuple(Named(piece, names) for names, piece in first.items())


def _pieces(text: str, most: int, ask: Callable[[str], Names]) -> tuple[Named, ...]:
    """A text as `most` sounds or fewer; none when that cannot be done."""
    whole = ask(text)
    if whole:
        return (Named(text, whole),)
    for joint in _BETWEEN.finditer(text[:LONGEST]) if most > 1 else ():
        before, after = text[: joint.start()], text[joint.end() :]
        names = ask(before) if before and after else ()
        if names and (rest := _pieces(after, most - 1, ask)):
            return (Named(before, names), *rest)
    return ()
