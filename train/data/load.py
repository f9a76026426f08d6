"""What a run learns from: a library's own sounds, or what `--data` names; described and split."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from atri_cli.audio.formats import is_sound
from atri_cli.errors import AtriError, UsageError
from atri_cli.settings import Settings
from train.clips import Clip
from train.data.describe import MANIFESTS, describe_folder
from train.data.manifest import read_manifest
from train.data.splits import split

SPLITS = {
    "val": "validation", "valid": "validation", "dev": "validation", "validation": "validation",
    "test": "test", "eval": "test", "evaluation": "test", "train": "train", "": "train",
}  # fmt: skip
HOW_TO_DESCRIBE = (
    f"Write a table `{MANIFESTS[0]}` beside the sounds: tab-separated, with the columns `audio` "
    "and `en` (`fr`, `ja`, …), a row a sound; or name the files by what they sound like, such as "
    "`dog barking 01.wav`."
)


@dataclass
class Data:
    """Clips by split, what they came from, and how many sounds could not be described, and why."""

    train: list[Clip] = field(default_factory=list)
    validation: list[Clip] = field(default_factory=list)
    test: list[Clip] = field(default_factory=list)
    origin: str = ""
    sources: Counter[str] = field(default_factory=Counter)
    without: dict[str, int] = field(default_factory=dict)

    @property
    def all(self) -> list[Clip]:
        """Clips of every split."""
        return [*self.train, *self.validation, *self.test]

    @property
    def digest(self) -> str:
        """16 hex digits of ids, captions and splits: another one is other data."""
        facts = [(c.id, str(c.audio), sorted(c.captions.items()), c.split) for c in self.all]
        return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def load_data(
    paths: Sequence[Path], settings: Settings, languages: Sequence[str], cache: Path
) -> Data:
    """Describe and split sounds.

    Args:
        paths: manifests (.tsv), webdataset shards (.tar), folders of either or of sounds; none
            stands for the sounds of the library.
        settings: names the library.
        languages: of the captions.
        cache: where shards are unpacked.

    Raises:
        AtriError: nothing to learn from: says what was found, and how to describe sounds.
        UsageError: a path is missing, or a manifest is damaged.
    """
    found = Data(origin=", ".join(map(str, paths)))
    if paths:
        clips = [clip for path in paths for clip in _of_path(path, languages, cache, found)]
    else:
        clips = _of_library(settings, languages, found)
    kept = [clip for clip in clips if any(clip.captions.get(tag) for tag in languages)]
    if len(kept) < len(clips):
        found.without["no caption in these languages"] = len(clips) - len(kept)
    _require_enough(found, kept)
    _split(found, kept)
    return found


def _of_path(path: Path, languages: Sequence[str], cache: Path, found: Data) -> list[Clip]:
    if not path.exists():
        raise UsageError(f"There is no `{path}`.", hint="Check the path after `--data`.")
    if path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar"))):
        from train.data.shards import read_shards

        tars = [path] if path.is_file() else sorted(path.glob("*.tar"))
        clips = read_shards(tars, cache / "shards")
        found.sources["shards"] += len(clips)
        return clips
    if path.is_dir():
        files = sorted(one for one in path.rglob("*") if one.is_file() and is_sound(one))
        return _described([path], files, languages, found)
    clips = read_manifest(path)
    found.sources["manifest"] += len(clips)
    return clips


def _of_library(settings: Settings, languages: Sequence[str], found: Data) -> list[Clip]:
    from atri_cli.library.library import Library

    with Library.open(settings.library_dir, model=None, device="cpu") as library:
        roots = [root.path for root in library.roots() if root.online]
        files = library.files()
    found.origin = f"library `{settings.library_name}`: {', '.join(map(str, roots)) or 'no folder'}"
    there = [path for path in files if any(path.is_relative_to(root) for root in roots)]
    return _described(roots, there, languages, found) if there else []


def _described(
    roots: Sequence[Path], files: Sequence[Path], languages: Sequence[str], found: Data
) -> list[Clip]:
    described = describe_folder(roots, files, languages)
    found.sources.update(described.sources)
    for reason, count in described.counts.items():
        found.without[reason] = found.without.get(reason, 0) + count
    return described.clips


def _require_enough(found: Data, clips: Sequence[Clip]) -> None:
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in found.without.items())
    if not clips:
        what = "No sound with a caption to learn from."
        why = f"{found.origin or 'The library is empty'}{': ' if reasons else ''}{reasons}."
        raise AtriError(what, why=why, hint=HOW_TO_DESCRIBE)
    if len({tuple(sorted(clip.captions.items())) for clip in clips}) < 2:
        raise AtriError(
            f"All {len(clips):,} described sounds have the same captions.",
            why=reasons and f"Not described: {reasons}.",
            hint=HOW_TO_DESCRIBE,
        )


def _split(found: Data, clips: Sequence[Clip]) -> None:
    """By the manifest's own column when it has one, else a tenth of the recordings each."""
    named = [replace(clip, split=_split_name(clip)) for clip in _unique(clips)]
    if any(clip.split != "train" for clip in named):
        parts = {name: [c for c in named if c.split == name] for name in set(SPLITS.values())}
    else:
        parts = split(named)
    found.train, found.validation = parts["train"], parts["validation"]
    found.test = parts["test"]
    if len(found.train) < 2:
        raise AtriError(
            f"Only {len(found.train)} of {len(clips):,} described sounds are left to learn from.",
            why=f"{len(found.validation)} are for validation, {len(found.test)} for the test.",
            hint="Describe more sounds, or mark their split in the manifest.",
        )


def _split_name(clip: Clip) -> str:
    try:
        return SPLITS[clip.split.lower()]
    except KeyError:
        raise UsageError(
            f"The clip `{clip.id}` (line {clip.line}) has the split `{clip.split}`.",
            hint="A split is `train`, `validation` or `test`.",
        ) from None


def _unique(clips: Sequence[Clip]) -> list[Clip]:
    """Ids of several manifests may meet: later ones get a number."""
    seen: Counter[str] = Counter()
    found = []
    for clip in clips:
        seen[clip.id] += 1
        times = seen[clip.id]
        found.append(clip if times == 1 else replace(clip, id=f"{clip.id}~{times}"))
    return found
