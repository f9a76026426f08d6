"""A query and what it is called in the other languages, from the vocabulary."""

from __future__ import annotations

import re
from functools import cache

from atri_cli.vocabulary.concepts import CORE, vocabulary_concepts
from atri_cli.vocabulary.translate import Translator, captions, vocabulary_language

# What people put around a name when they ask for its sound; the vocabulary has the bare names.
_AROUND = re.compile(
    r"^(?:the )?(?:sounds?|noise) of |^(?:le )?(?:bruit|son) (?:de |du |des |d')?"
    r"|^geräusch (?:von )?|^(?:el )?(?:sonido|ruido) de |^(?:het )?geluid van "
    r"|^(?:el )?(?:so|soroll) (?:de |d')?"
    r"|(?:の|な)?(?:音|声|鳴き声)$|的?(?:声音|叫声|鸣叫|声)$"
    r"| sounds?$| noise$",
    re.IGNORECASE,
)


def translations(text: str, lang: str | None = None) -> dict[str, tuple[str, ...]]:
    """What a text's sounds are called in each language of the vocabulary.

    Args:
        text: a query.
        lang: the tag of its language, when it is known.

    Returns:
        By language its names and longer phrases; empty when any word of the text is unknown, since
        the rest would ask for something else.
    """
    spoken = vocabulary_languages()
    languages = [vocabulary_language(lang)] if lang else spoken
    for form in dict.fromkeys((text, _AROUND.sub("", text.strip()))):
        match = _translator().find(form, languages=languages) if form.strip() else None
        if match is not None and match.share == 1.0:
            named = captions(match.concepts, spoken)
            # Without the middle one, a template around the name.
            return {tag: tuple(dict.fromkeys((t[0], t[-1]))) for tag, t in named.items()}
    return {}


@cache
def vocabulary_languages() -> tuple[str, ...]:
    """Every language of the vocabulary, the core ones first."""
    spoken = {tag for concept in vocabulary_concepts() for tag in concept.phrases}
    return (*CORE, *sorted(spoken - set(CORE)))


@cache
def _translator() -> Translator:
    return Translator(vocabulary_concepts())
