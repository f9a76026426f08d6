"""Files of one large tower with random weights: exported, lowered, compared with torch.

    python -m benchmarks.large_files exact FOLDER --tower ced-tiny [--sounds DIR]
    python -m benchmarks.large_files lower FOLDER --precision int8
    python -m benchmarks.large_files compare FOLDER --precision int8

Each step is a process of its own, so that its peak of memory is its own; prints one JSON object.
FOLDER gets `exact/`, `fp32/`, `fp16/`, `int8/` and `wanted.pt`: inputs and what torch makes of
them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.large_speed import memory

DIM = 1024
SEED = 20261126
SHORTEST = 2560
SMALL = "ced-none", "sonar-none"
"""Towers of one or two narrow layers, to see that the benchmark works."""
NAME = "tower.onnx"
SUFFIXES = (".wav", ".ogg", ".flac")


def draw(name: str, seed: int) -> Any:
    """The tower of this name, with weights drawn from this seed, in eval mode.

    Args:
        name: `ced-SIZE` or `sonar`; see also `SMALL`.
        seed: of the weights.
    """
    import torch

    from train.large import LargeAudio, LargeText, draw_head
    from train.towers.ced import CED_SHAPES, Ced, CedShape
    from train.towers.sonar import SonarShape, SonarText

    torch.manual_seed(seed)
    kind, _, size = name.partition("-")
    if kind == "sonar":
        small = SonarShape(vocabulary=400, width=64, layers=2, heads=4, inner=128)
        shape = small if size == "none" else SonarShape()
        return LargeText(SonarText(shape), draw_head(shape.width, DIM, seed)).eval()
    patches = CedShape(64, 1) if size == "none" else CED_SHAPES[size]
    return LargeAudio(Ced(patches), draw_head(patches.width, DIM, seed)).eval()


def feeds_for(tower: Any, sounds: Path | None, seed: int) -> list[Any]:
    """Sounds, noise and tones; or random token ids of several lengths, one batch padded."""
    from export.checks import audio_feeds
    from train.large import HEARING, LargeText

    if isinstance(tower, LargeText):
        return _token_feeds(tower.body.shape, seed)
    found = sorted(sounds.rglob("*")) if sounds else []
    return audio_feeds(HEARING, [path for path in found if path.suffix.lower() in SUFFIXES])


def _token_feeds(shape: Any, seed: int) -> list[Any]:
    import torch

    from export.checks import Feed

    random = torch.Generator().manual_seed(seed)
    feeds = []
    for rows, tokens in ((1, 2), (1, 5), (1, 10), (1, 20), (1, 100), (4, 20)):
        ids = torch.randint(4, shape.vocabulary, (rows, tokens), generator=random)
        mask = torch.ones_like(ids)
        for row in range(1, rows):
            ids[row, tokens - 4 * row :] = 0
            mask[row, tokens - 4 * row :] = 0
        what = f"{tokens} tokens" if rows == 1 else f"a padded batch of {rows}"
        feeds.append(Feed(what, {"input_ids": ids, "attention_mask": mask}))
    return feeds


def exact(folder: Path, name: str, sounds: Path | None, seed: int) -> dict[str, Any]:
    """Draw, remember what torch makes of the inputs, export."""
    import torch

    from export.convert import export_audio, export_text, vectors
    from train.large import LargeText

    tower = draw(name, seed)
    weights = sum(one.numel() for one in tower.parameters())
    feeds = feeds_for(tower, sounds, seed)
    path = folder / "exact" / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = [torch.from_numpy(one) for one in vectors(tower, feeds)]
    torch.save([(one.name, one.inputs, right) for one, right in zip(feeds, wanted, strict=True)],
               folder / "wanted.pt")  # fmt: skip
    if isinstance(tower, LargeText):
        export_text(tower, path, tower.body.shape.tokens)
    else:
        export_audio(tower, path, SHORTEST, tower.body.patching.longest_samples)
    return {"weights": weights, "inputs": [one.name for one in feeds]}


def lowered(folder: Path, precision: str) -> dict[str, Any]:
    """Write the files in a precision, as `atri export` does, fp32 too."""
    from export.precision import lower

    path = folder / precision / NAME
    path.parent.mkdir(exist_ok=True)
    lower(folder / "exact" / NAME, path, precision)
    return {"bytes": sum(one.stat().st_size for one in path.parent.iterdir())}


def compared(folder: Path, precision: str) -> dict[str, Any]:
    """The files in a precision against torch, over unit vectors."""
    import torch

    from export.checks import Feed
    from export.convert import compare

    kept = torch.load(folder / "wanted.pt", weights_only=True)
    feeds = [Feed(name, inputs) for name, inputs, _ in kept]
    found = compare(folder / precision / NAME, [right.numpy() for _, _, right in kept], feeds)
    facts = {"difference": found.difference, "cosine": found.cosine, "mean": found.mean_cosine}
    return {**facts, "worst": found.worst.name, "inputs": len(feeds)}


def main(arguments: Sequence[str]) -> int:
    """One step."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_files", description=__doc__)
    parser.add_argument("step", choices=("exact", "lower", "compare"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tower", default="ced-tiny")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    begin = time.perf_counter()
    if asked.step == "exact":
        found = exact(asked.folder, asked.tower, asked.sounds, asked.seed)
    else:
        step = lowered if asked.step == "lower" else compared
        found = step(asked.folder, asked.precision)
    seconds = time.perf_counter() - begin
    print(json.dumps({**found, "seconds": seconds, "memory": memory()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
