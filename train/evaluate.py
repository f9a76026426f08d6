"""What `atri evaluate` does: an installed model's vectors of a manifest's sounds and captions.

Runs the ONNX model, as `atri search` does; imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atri_cli.audio.decode import stream_windows
from atri_cli.audio.quiet import native_stderr_silenced
from atri_cli.encoders.types import Encoder
from atri_cli.errors import AtriError, AudioError, UsageError
from train.clips import Clip
from train.data.manifest import read_manifest
from train.retrieval import captions_of, retrieval

Tell = Callable[[int, int], None]
BATCH = 16


def evaluate_manifest(
    encoder: Encoder,
    manifest: Path,
    *,
    root: Path | None = None,
    languages: Sequence[str] = (),
    split: str = "",
    tell: Tell = lambda *_: None,
) -> tuple[dict[str, Any], list[AudioError]]:
    """Retrieval in both directions.

    Args:
        encoder: of the model.
        manifest: a query file with an `audio` column.
        root: what its paths are relative to; None is its own folder.
        languages: tags of the columns to ask in; none is all.
        split: only rows of this split; "" for all.
        tell: hears how many sounds are embedded, and of how many.

    Returns:
        As `train.retrieval.retrieval`, and the sounds that cannot be read; those take no part.

    Raises:
        UsageError: the manifest is wrong, or has no such language or split.
        AtriError: none of its sounds can be read.
    """
    clips = [c for c in read_manifest(manifest, root) if not split or c.split == split]
    spoken = list(dict.fromkeys(tag for clip in clips for tag in clip.captions))
    unknown = [tag for tag in languages if tag not in spoken]
    if unknown or not spoken:
        what = f"No caption in `{unknown[0]}`." if unknown else f"No row of the split `{split}`."
        raise UsageError(f"`{manifest}`: {what}", hint=f"It has {', '.join(spoken) or 'no such'}.")
    chosen = list(languages) or spoken
    kept, audio, problems = _embed_sounds(encoder, clips, tell)
    if not kept:
        raise AtriError(f"None of the sounds of `{manifest}` can be read.", why=str(problems[0]))
    text = {tag: _embed_texts(encoder, kept, tag) for tag in chosen}
    return retrieval(audio, text, kept), problems


def _embed_texts(
    encoder: Encoder, clips: Sequence[Clip], tag: str
) -> dict[str, NDArray[np.float32]]:
    texts, _ = captions_of(clips, tag)
    return dict(zip(texts, encoder.embed_text(texts, tag), strict=True)) if texts else {}


def _embed_sounds(
    encoder: Encoder, clips: Sequence[Clip], tell: Tell
) -> tuple[list[Clip], list[NDArray[np.float32]], list[AudioError]]:
    """Vectors of each clip's windows; several clips of one sound have it embedded once."""
    seen: dict[Path, NDArray[np.float32] | AudioError] = {}
    kept, audio = [], []
    with native_stderr_silenced():
        for number, clip in enumerate(clips):
            if clip.audio not in seen:
                seen[clip.audio] = _windows(encoder, clip.audio)
            found = seen[clip.audio]
            if not isinstance(found, AudioError):
                kept.append(clip)
                audio.append(found)
            tell(number + 1, len(clips))
    return kept, audio, [one for one in seen.values() if isinstance(one, AudioError)]


def _windows(encoder: Encoder, path: Path) -> NDArray[np.float32] | AudioError:
    facts = encoder.card.audio
    lengths = (facts.segment_seconds, facts.hop_seconds, facts.min_seconds)
    rows, waves = [], []
    try:
        for _, wave in stream_windows(path, facts.sample_rate, *lengths):
            waves.append(wave)
            if len(waves) == BATCH:
                rows.append(encoder.embed_audio(waves))
                waves = []
    except AudioError as error:
        return error
    if waves:
        rows.append(encoder.embed_audio(waves))
    return np.concatenate(rows)
