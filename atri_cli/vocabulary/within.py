"""Which sounds have their names in a text that is no sound's name as a whole."""

from __future__ import annotations

from atri_cli.vocabulary.lookup import Lines, find, forms
from atri_cli.vocabulary.translate import tokens, vocabulary_language

MOST_TOKENS = 24  # of the text, from its start
LONGEST_NAME = 8  # words, or characters of Chinese and Japanese


def named_within(
    text: str, lang: str | None = None, lines: Lines | None = None
) -> dict[str, float]:
    """Sounds by their ids, and how much of the text the longest of their names in it is.

    Args:
        text: words in any language of the vocabulary.
        lang: the tag of its language, when it is known.
        lines: from `read_lines`, for many texts; without it the file is searched.

    Returns:
        Above 0, at most 1: letters of the name's words over those of all words, without articles.
    """
    words = tokens(text)[:MOST_TOKENS]
    letters = sum(map(len, words))
    tag = vocabulary_language(lang) if lang else ""
    found: dict[str, float] = {}
    for start in range(len(words)):
        for stop in range(start + 1, min(start + LONGEST_NAME, len(words)) + 1):
            span = words[start:stop]
            share = sum(map(len, span)) / letters
            for sound in _named(" ".join(span), tag, lines):
                found[sound] = max(share, found.get(sound, 0.0))
    return found


def _named(words: str, tag: str, lines: Lines | None) -> set[str]:
    """Every sound that has these words for a name or a phrase, in their order or another."""
    return {
        sound
        for form in forms(words)
        if form
        for sound, _, tags in find(form, lines)
        if not tag or tag in tags.split(" ")
    }
