"""Which recordings are learnt from, and which are held out: decided by name, once and for all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from train.clips import Clip

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def place_of(recording: str, seed: int = 0) -> float:
    """A number in [0, 1) that depends on nothing but the recording's key and the seed."""
    digest = hashlib.sha256(f"{seed}\0{recording}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def split(
    clips: Sequence[Clip], shares: Mapping[str, float] = SHARES, seed: int = 0
) -> dict[str, list[Clip]]:
    """Clips by split; all clips of a recording are in the same one.

    A clip added later moves no other. Where any clip of a recording is already in a split other
    than `train`, that split is kept for all of them.

    Args:
        clips: in any order, which the lists keep.
        shares: of the splits, adding up to 1.
        seed: another one gives another split.

    Raises:
        ValueError: the shares do not add up to 1.
    """
    if abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("the shares of the splits must add up to 1")
    given = {
        clip.recording or clip.id: clip.split for clip in clips if clip.split not in ("", "train")
    }
    found: dict[str, list[Clip]] = {name: [] for name in shares}
    for clip in clips:
        key = clip.recording or clip.id
        name = given.get(key) or _name(place_of(key, seed), shares)
        found.setdefault(name, []).append(replace(clip, split=name))
    return found


def _name(place: float, shares: Mapping[str, float]) -> str:
    end = 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    return next(reversed(list(shares)))
