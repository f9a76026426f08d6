"""LAION-CLAP's audio tower as its package runs it, with random weights, in a process of its own.

Run by the Python of `.venv-htsat` (`benchmarks/htsat.txt`); prints what `large_speed` prints.
The front end is part of it, its two quantisations to 16 bits and the text tower are not.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

SIZES = {"tiny": 768, "base": 1024}
"""Published audio towers, and the width of what they give."""
JOINT = 512
LIBRARIES: list[Any] = []
"""Declared operators live as long as these."""


def main(arguments: Sequence[str]) -> int:
    """Build it, run a window `runs` times after one run that does not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--samples", type=int, default=480_000, help="at 48 kHz")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    begin = time.perf_counter()
    import torch
    from large_speed import memory

    htsat = _import()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(asked.seed)
    found: dict[str, Any] = {"import": time.perf_counter() - begin, "before": memory()}
    begin = time.perf_counter()
    tower, head = _build(htsat, asked.size)
    found |= {"load": time.perf_counter() - begin, "loaded": memory()}
    found["weights"] = sum(one.numel() for net in (tower, head) for one in net.parameters())
    feed = {"waveform": torch.randn(1, asked.samples) * 0.1}
    with torch.inference_mode():
        found["first"] = _run(tower, head, feed)
        begin = time.process_time()
        times = [_run(tower, head, feed) for _ in range(asked.runs)]
        used = (time.process_time() - begin) / asked.runs
    size = str(asked.samples)
    found |= {"seconds": {size: times}, "processor": {size: used}}
    print(json.dumps(found | {"end": memory()}), flush=True)
    os._exit(0)


def _import() -> Any:
    """The package's module of this tower.

    By the name that the package itself uses: `laion_clap` would fetch three tokenizers.
    """
    _torchvision()
    found = importlib.util.find_spec("laion_clap")
    if not found or not found.submodule_search_locations:
        raise SystemExit("laion_clap is not installed: `make bench-large` does that.")
    sys.path.append(found.submodule_search_locations[0])
    sys.argv = sys.argv[:1]  # the package reads it when it is imported
    from clap_module import htsat

    return htsat


def _torchvision() -> None:
    """Import it, beside a torch for the CPU too.

    A build for CUDA has no compiled part there, and ends for want of operators that no audio tower
    uses; it is satisfied when they have been declared.
    """
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        LIBRARIES.append(library)


def _build(htsat: Any, size: str) -> tuple[Any, Any]:
    """The tower and its projection, shaped as `HTSAT-tiny.json` and `HTSAT-base.json` say."""
    from torch import nn

    facts = SimpleNamespace(
        audio_length=1024,
        clip_samples=480_000,
        mel_bins=64,
        sample_rate=48_000,
        window_size=1024,
        hop_size=480,
        fmin=50,
        fmax=14_000,
        class_num=527,
        model_type="HTSAT",
        model_name=size,
        enable_fusion=False,
        fusion_type="None",
    )
    tower = htsat.create_htsat_model(facts, False, "None")
    head = nn.Sequential(nn.Linear(SIZES[size], JOINT), nn.ReLU(), nn.Linear(JOINT, JOINT))
    return tower.eval(), head.eval()


def _run(tower: Any, head: Any, feed: dict[str, Any]) -> float:
    from torch.nn.functional import normalize

    begin = time.perf_counter()
    normalize(head(tower(feed, device="cpu")["embedding"]), dim=-1)
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
