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


def translations(text: str, lang: str | None = None) -> dict[str, str]:
    """What a text's sounds are called in each core language of the vocabulary.

    Names only, and the core languages only: longer phrases and the other languages, in which models
    know less, find less (docs/results/consistency.md).

    Args:
        text: a query, in any language of the vocabulary.
        lang: the tag of its language, when it is known.

    Returns:
        Name by language; empty when any word of the text is unknown, since the rest would ask for
        something else.
    """
    languages = [vocabulary_language(lang)] if lang else vocabulary_languages()
    for form in dict.fromkeys((text, _AROUND.sub("", text.strip()))):
        match = _translator().find(form, languages=languages) if form.strip() else None
        if match is not None and match.share == 1.0:
            return {tag: names[0] for tag, names in captions(match.concepts, CORE).items()}
    return {}


@cache
def vocabulary_languages() -> tuple[str, ...]:
    """Every language of the vocabulary, the core ones first."""
    spoken = {tag for concept in vocabulary_concepts() for tag in concept.phrases}
    return (*CORE, *sorted(spoken - set(CORE)))


@cache
def _translator() -> Translator:
    return Translator(vocabulary_concepts())
