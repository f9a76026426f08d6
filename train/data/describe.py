"""Clips with captions from what a user's own sounds say: manifests, metadata and names.

The first of these that names a sound describes a file: a manifest beside it, its UCS category and
name, its titles and descriptions, its name, its folders, its comments and keywords.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path, PurePath

from atri_cli.vocabulary.translate import MOST_SOUNDS, Match, captions, vocabulary_language
from train.clips import Clip
from train.data.filenames import Name, read_name, recording_key, ucs_categories, words_of
from train.data.manifest import read_manifest
from train.data.metadata import Metadata, read_metadata
from train.phrases import Concept, translator

MANIFESTS = ("atri.tsv", "captions.tsv")
FOLDERS = 2
"""How many folders above a file say what it is."""
LEAST_SHARE = 1 / 3
"""Of a text in the file, so much must be recognised: titles of songs are about anything."""

NO_WORDS = "named by numbers, a date or a recorder"
UNKNOWN = "no word names a known sound"
NO_LANGUAGE = "no caption in these languages"


@dataclass
class Described:
    """Clips, where their captions came from, and the files that got none, by reason.

    `sources` counts clips by `manifest`, `UCS`, `metadata`, `file name`, `folder name`, `comment`.
    """

    clips: list[Clip] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    without: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @property
    def counts(self) -> dict[str, int]:
        """Reason → number of files without a caption."""
        return {reason: len(paths) for reason, paths in self.without.items()}


@dataclass(frozen=True)
class _Sound:
    """What a file says about itself.

    `inner` is its path below its root, `folders` the words of the folders above it, nearest first.
    """

    path: Path
    inner: PurePath
    name: Name
    metadata: Metadata
    folders: tuple[str, ...]


@dataclass(frozen=True)
class _Caption:
    source: str
    match: Match
    concepts: tuple[Concept, ...]
    own: dict[str, str]


def describe_folder(
    roots: Sequence[Path], files: Iterable[Path], languages: Sequence[str]
) -> Described:
    """Describe sounds by what lies in them and beside them.

    Args:
        roots: folders of the library, at least one; names above them say nothing.
        files: the sounds, each below a root.
        languages: tags of the captions wanted; one without vocabulary comes from manifests only.

    Raises:
        AtriError: a manifest is damaged, with line and column.
        ValueError: a file is below no root.
    """
    found = Described()
    manifests = _Manifests()
    base, tops = Path(commonpath(roots)), frozenset(roots)
    rest = []
    for path in files:
        inner = _inner(path, tops)
        clips = manifests.clips_of(path, inner)
        if not clips:
            rest.append(_read(path, inner))
        for clip in clips:
            key = clip.recording or recording_key(inner)
            _add(found, "manifest", replace(_filled(clip, languages), recording=key), NO_LANGUAGE)
    order = translator().languages_of(sound.name.words for sound in rest)
    for sound in rest:
        _describe(found, sound, base, languages, order)
    return found


def _inner(path: Path, roots: Collection[Path]) -> PurePath:
    """The path below the innermost root."""
    for folder in path.parents:
        if folder in roots:
            return path.relative_to(folder)
    raise ValueError(f"{path} is below none of the folders {', '.join(map(str, roots))}")


def _read(path: Path, inner: PurePath) -> _Sound:
    nearest = [words_of(part) for part in inner.parent.parts[: -FOLDERS - 1 : -1]]
    folders = tuple(words for words in nearest if words)
    return _Sound(path, inner, read_name(inner), read_metadata(path), folders)


def _add(found: Described, source: str, clip: Clip, reason: str) -> None:
    if clip.captions:
        found.clips.append(clip)
        found.sources[source] += 1
    else:
        found.without[reason].append(clip.audio)


def _describe(
    found: Described, sound: _Sound, base: Path, languages: Sequence[str], order: Sequence[str]
) -> None:
    best = next(_captions(sound, order), None)
    clip = Clip(
        id=sound.path.relative_to(base).as_posix(),
        audio=sound.path,
        captions=captions(best.concepts, languages, best.own) if best else {},
        recording=recording_key(sound.inner),
        note=f"{best.source}: {best.match.note}" if best else "",
    )
    silent = not (sound.name.words or sound.folders or sound.metadata.texts)
    reason = NO_LANGUAGE if best else NO_WORDS if silent else UNKNOWN
    _add(found, best.source if best else "", clip, reason)


def _captions(sound: _Sound, order: Sequence[str]) -> Iterator[_Caption]:
    """What names the sound, the most telling first."""
    find, words = translator().find, sound.name.words
    catid = sound.name.category or sound.metadata.category
    if catid in ucs_categories():
        yield from _ucs(catid, words, order)
    for text in sound.metadata.texts:
        match = find(text, languages=order)
        if match and match.share >= LEAST_SHARE:
            yield _Caption("metadata", match, match.concepts, {match.language: text})
    match = find(words, " ".join(sound.folders[:1]), order)
    if match and match.share:
        yield _Caption("file name", match, match.concepts, {match.language: words})
    for text in sound.folders:
        if match := find(text, languages=order):
            yield _Caption("folder name", match, match.concepts, {})
    for text in sound.metadata.remarks:
        match = find(text, languages=order)
        if match and match.share >= 2 * LEAST_SHARE:
            yield _Caption("comment", match, match.concepts, {match.language: text})


def _ucs(catid: str, words: str, order: Sequence[str]) -> Iterator[_Caption]:
    """The FXName's sounds, then the subcategory's; the category's when there are no others."""
    category, sub = ucs_categories()[catid]
    special = translator().find(words, languages=order)
    usual = translator().find(sub, category, ["ca"])
    if usual and not usual.share:
        whole = translator().find(category, languages=["ca"])
        usual = whole if whole and whole.share == 1 and not special else None
    matches = [match for match in (special, usual) if match]
    if matches:
        concepts = {concept.id: concept for match in matches for concept in match.concepts}
        own = {"ca": f"{category} {sub}"}
        own |= {special.language if special else order[0]: words} if words else {}
        yield _Caption("UCS", matches[0], tuple(concepts.values())[:MOST_SOUNDS], own)


def _filled(clip: Clip, languages: Sequence[str]) -> Clip:
    """A manifest's clip with the missing languages from the vocabulary, where it knows the text."""
    texts_of = {vocabulary_language(tag): texts for tag, texts in clip.captions.items()}
    named = {tag: vocabulary_language(tag) for tag in languages}
    given = {tag: texts_of[lang] for tag, lang in named.items() if lang in texts_of}
    for lang, texts in texts_of.items():
        match = translator().find(texts[0], languages=[lang])
        if match and match.share == 1:
            return replace(clip, captions=captions(match.concepts, languages) | given)
    return replace(clip, captions=given)


class _Manifests:
    """Manifests in the folders of a library, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[Path, list[Clip]]] = {}

    def clips_of(self, path: Path, inner: PurePath) -> list[Clip]:
        """The rows about a file in the nearest manifest that has any, up to the file's root."""
        for folder, _ in zip(path.parents, inner.parents, strict=False):
            rows = self._rows(folder)
            if rows and (clips := rows.get(path.resolve())):
                return clips
        return []

    def _rows(self, folder: Path) -> dict[Path, list[Clip]]:
        if folder not in self._read:
            rows: dict[Path, list[Clip]] = defaultdict(list)
            for name in MANIFESTS:
                if (folder / name).is_file():
                    for clip in read_manifest(folder / name):
                        rows[clip.audio.resolve()].append(clip)
            self._read[folder] = rows
        return self._read[folder]
