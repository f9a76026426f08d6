"""What the recipe learns of instruments: soundfonts beside the recordings, played once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from train.captions import CONCEPTS
from train.instruments import LEARNT, Note, lesson, render
from train.sources import Source, sound_path

SECONDS = 4.0


def fonts(sounds: Path) -> Iterator[tuple[str, Path]]:
    """Package and path of each soundfont of `LEARNT` that is unpacked beside the recordings."""
    for package, inner in LEARNT:
        path = sound_path(sounds, package, inner)
        if path.is_file():
            yield package, path


def play_lessons(sounds: Path, folder: Path) -> None:
    """Render the notes and phrases of each soundfont into `folder/PACKAGE`, unless it is there.

    Raises:
        RuntimeMissingError: there is a soundfont, and `fluidsynth` is not installed.
        AtriError: it fails.
    """
    for package, font in fonts(sounds):
        if not (folder / package).exists():
            part = folder / f"{package}.part"
            made = render(font, lesson(font), part)
            part.replace(folder / package)
            print(f"{package}: {len(made)} notes and phrases", flush=True)


def lesson_sources(sounds: Path, folder: Path) -> list[Source]:
    """The rendered files as training recordings; their label is the concept itself."""
    return [
        _source(package, path, note)
        for package, font in fonts(sounds)
        for note in lesson(font)
        if (path := folder / package / note.file).is_file()
    ]


def _source(package: str, path: Path, note: Note) -> Source:
    return Source(
        package=package,
        path=path,
        sha1=hashlib.sha1(f"{package}/{note.file}".encode()).hexdigest()[:16],
        label=note.concept,
        kind=CONCEPTS,
        vague=False,
        seconds=SECONDS,
        validation=False,
    )
