"""Free text to the sounds it names, and from there to captions in K languages.

A text is matched against concepts (the shipped vocabulary; `atri train` adds the AudioSet classes)
in every language they have, without regard to case, accents, articles and a final `s`. A text
counts as written in the one language whose phrases cover most of its words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from atri_cli.vocabulary.concepts import CORE, Concept

TEMPLATES: Mapping[str, str] = {
    "en": "the sound of {}",
    "fr": "bruit : {}",
    "de": "Geräusch: {}",
    "es": "sonido de {}",
    "nl": "geluid van {}",
    "ca": "so: {}",
    "ja": "{}の音",
    "zh": "{}的声音",
}
"""`the sound of X` where X is a phrase as it stands: nothing that elides, contracts or inflects."""

LONGEST = 12
"""Words, or characters of Chinese and Japanese, in one phrase."""
MOST_TOKENS = 200
MOST_SOUNDS = 3
RARE = 0.05
"""A language that explains no more of a collection is taken for chance."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARTICLES = _words("""
    a an the of on in with and to un une le la les l de des du d et ein eine einem einen einer der
    die das dem den und auf mit el los las una del y en het een van op uns unes els i amb
""")
_HAN = r"[\u3005\u3400-\u4dbf\u4e00-\u9fff]"
_KATAKANA = r"[\u30a0-\u30ff]"
_TOKEN = re.compile(rf"{_HAN}|{_KATAKANA}|[\u3040-\u309f]|[^\W_\u3005\u3040-\u30ff\u3400-\u9fff]+")
_JOINTS = {"ja": "、", "zh": "、"}

Key = tuple[str, ...]
Form = Key | str | frozenset[str]
Span = tuple[int, int]


@dataclass(frozen=True)
class Match:
    """The sounds a text names.

    `language` is the text's, `words` are those that were recognised, `also` the ids of further
    concepts the same words name. `share` of the text's own words was recognised, 0 to 1; at 0 only
    the context was.
    """

    concepts: tuple[Concept, ...]
    language: str
    words: tuple[str, ...]
    also: tuple[str, ...] = ()
    share: float = 1.0

    @property
    def note(self) -> str:
        """What was recognised, and what it could have meant besides."""
        known = " + ".join(f"`{words}` ({self.language})" for words in self.words)
        return known + (f", which also names {', '.join(self.also)}" if self.also else "")


def fold(text: str) -> str:
    """Case and the accents of Latin letters taken away; voiced kana stay what they are."""
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", re.sub(r"[\u0300-\u036f]", "", plain))


def tokens(text: str) -> list[str]:
    """Folded words without articles; Chinese and Japanese character by character."""
    return [word for word in _TOKEN.findall(fold(text)) if word not in _ARTICLES]


def stems(words: Iterable[str]) -> list[str]:
    """Words without a final `s`, which is mostly a plural's."""
    return [w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] != "s" else w for w in words]


def _forms(key: Key) -> tuple[Form, ...]:
    """How a phrase may be recognised, from the loosest: any order, written as one word, as it is.

    The first two disregard a final `s`; characters keep their order.
    """
    if any(re.match(r"[\u3005-\u9fff]", word) for word in key):
        return (key,)
    bare = stems(key)
    same = frozenset(bare)
    return (same, "".join(bare), key) if len(same) == len(key) else ("".join(bare), key)


def _whole(words: Sequence[str], start: int, end: int) -> bool:
    """Whether a run of characters is no mere part of a Japanese or Chinese word.

    Katakana beside katakana, and a single Chinese character beside another, belong together.
    """
    sides = [words[max(start - 1, 0) : start + 1], words[end - 1 : end + 1]]
    torn = [_KATAKANA] if end - start > 1 else [_KATAKANA, _HAN]
    return not any(
        len(side) == 2 and all(re.match(script, word) for word in side)
        for side in sides
        for script in torn
    )


class Translator:
    """The phrases of concepts by language, for finding them in a text.

    Args:
        concepts: earlier ones win where two share a phrase, unless it is only the later's first.
    """

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._index: dict[Form, dict[str, list[Concept]]] = defaultdict(lambda: defaultdict(list))
        self._seen: dict[Key, dict[str, list[Span]]] = {}
        entries = [
            (place > 0, lang, tuple(tokens(text)), concept)
            for concept in concepts
            for lang, texts in concept.phrases.items()
            for place, text in enumerate(texts)
        ]
        for _, lang, key, concept in sorted(entries, key=lambda entry: entry[0]):
            for form in _forms(key) if key else ():
                self._index[form][lang].append(concept)

    def languages_of(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The languages a collection of texts is in, the one that covers most of them first.

        Of the others, those stay that alone explain enough of the texts: in a folder of English
        names, `chat` and `house` are not French. Chinese and Japanese always stay.
        """
        covered = [
            Counter({lang: _covered(spans) for lang, spans in self._spans(words).items()})
            for words in {tuple(tokens(text)[:MOST_TOKENS]) for text in texts}
        ]
        total = sum(covered, Counter(dict.fromkeys(CORE, 0)))
        main = max(CORE, key=lambda lang: total[lang])
        better = Counter(lang for count in covered for lang in count if count[lang] > count[main])
        least = RARE * sum(bool(count) for count in covered)
        stay = [lang for lang in CORE if lang in (main, *_JOINTS) or better[lang] > least]
        return tuple(sorted(stay, key=lambda lang: -total[lang]))

    def find(self, text: str, context: str = "", languages: Sequence[str] = CORE) -> Match | None:
        """The sounds a text names, at most three; None when it names none we know.

        The whole text is tried first, then ever shorter runs of words. Runs may begin in `context`,
        which alone is used when no word of `text` is known. `languages` are those the text may be
        in, the likeliest first.
        """
        before = tokens(context)[-MOST_TOKENS:]
        words = (*before, *tokens(text)[:MOST_TOKENS])
        found = self._spans(words)
        best: tuple[tuple[int, int], str, list[Span]] = ((0, 0), "", [])
        for lang in languages:
            spans = found.get(lang, [])
            own = [span for span in spans if span[1] > len(before)]
            score = (_covered(own), _covered(spans))
            if score > best[0]:
                best = (score, lang, own or spans)
        share = best[0][0] / max(sum(word.isalpha() for word in words[len(before) :]), 1)
        return self._match(words, *best[1:], min(share, 1.0)) if best[2] else None

    def _match(self, words: Key, lang: str, spans: list[Span], share: float) -> Match:
        kept = sorted(sorted(spans, key=lambda span: span[0] - span[1])[:MOST_SOUNDS])
        keys = [words[start:end] for start, end in kept]
        named = [self._named(key)[lang] for key in keys]
        first = {concepts[0].id: concepts[0] for concepts in named}
        also = {
            concept.id: None
            for key, few in zip(keys, named, strict=True)
            for concept in few[1:]
            if not _is_name(key, concept, lang)
        }
        joint = "" if lang in _JOINTS else " "
        return Match(
            concepts=tuple(first.values()),
            language=lang,
            words=tuple(joint.join(key) for key in keys),
            also=tuple(id for id in also if id not in first),
            share=share,
        )

    def _named(self, key: Key) -> dict[str, list[Concept]]:
        """Concepts by language, those of the closest form."""
        found: dict[str, list[Concept]] = {}
        for form in _forms(key):
            found |= self._index.get(form, {})
        return found

    def _spans(self, words: Key) -> dict[str, list[Span]]:
        """Runs of words that are phrases, by language: longest first, none overlapping."""
        if words not in self._seen:
            spans: dict[str, list[Span]] = defaultdict(list)
            for start, end in _runs(len(words)):
                for lang in self._named(words[start:end]):
                    free = all(end <= a or b <= start for a, b in spans[lang])
                    if free and _whole(words, start, end):
                        spans[lang].append((start, end))
            self._seen[words] = spans
        return self._seen[words]


def _is_name(key: Key, concept: Concept, lang: str) -> bool:
    """Whether words are a concept's first phrase: then it is another entry of the same sound."""
    return _forms(key)[-2:][0] == _forms(tuple(tokens(concept.phrases[lang][0])))[-2:][0]


def _covered(spans: Iterable[Span]) -> int:
    return sum(end - start for start, end in spans)


def _runs(count: int) -> Iterator[Span]:
    """Every run of 1 to LONGEST of `count` words, longest first, from the left."""
    for length in range(min(count, LONGEST), 0, -1):
        for start in range(count - length + 1):
            yield start, start + length


def vocabulary_language(tag: str) -> str:
    """The vocabulary's name of a language: `fr-CA` is `fr`, `zh-Hans` is `zh`, `zh-Hant` is not."""
    language, _, rest = tag.partition("-")
    simplified = rest.split("-")[0] in ("", "Hans", "CN", "SG")
    return language if language != "zh" or simplified else tag


def captions(
    concepts: Sequence[Concept], languages: Iterable[str], own: Mapping[str, str] | None = None
) -> dict[str, tuple[str, ...]]:
    """What concepts are called in each language that has words for all of them.

    Several are listed with commas. `own` holds texts by language that are kept as the last
    phrasing of theirs. The keys are the tags as given.

    Returns:
        By language: the names, the template around them, the longer phrasings, the own text.
    """
    found = {}
    for tag in languages:
        lang = vocabulary_language(tag)
        texts = _phrasings([concept.phrases.get(lang, []) for concept in concepts], lang)
        texts += [text for key, text in (own or {}).items() if vocabulary_language(key) == lang]
        if texts:
            found[tag] = tuple(dict.fromkeys(texts))
    return found


def _phrasings(phrases: Sequence[Sequence[str]], lang: str) -> list[str]:
    if not phrases or not all(phrases):
        return []
    joint = _JOINTS.get(lang, ", ")
    names, longer = (joint.join(texts[place] for texts in phrases) for place in (0, -1))
    sound = names if names.endswith(("音", "声")) else TEMPLATES.get(lang, "{}").format(names)
    return [names, sound, longer]
