"""`python -m export SOURCE TARGET --facts facts.json`: convert a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.build import build, load_facts
from train.phrases import audioset_concepts

PRECISIONS = ("int8", "int8-weights", "fp32")


def main() -> None:
    """Convert and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("source", type=Path, help="model folder written by train/")
    parser.add_argument("target", type=Path, help="model folder for atri")
    parser.add_argument("--facts", type=Path, required=True, help="name, languages, licences: JSON")
    parser.add_argument("--text-precision", default="int8-weights", choices=PRECISIONS)
    options = parser.parse_args()
    texts = [found[0] for concept in audioset_concepts()[::9] for found in concept.phrases.values()]
    report = build(
        options.source,
        options.target,
        load_facts(options.facts),
        texts,
        text_precision=options.text_precision,
    )
    print(line("audio.onnx", report.audio_bytes, *report.audio))
    print(line("text.onnx", report.text_bytes, *report.text))


def line(name: str, size: int, difference: float, cosine: float) -> str:
    """What was measured of one file."""
    return f"{name}: {size / 1e6:.1f} MB, difference {difference:.1e}, cosine {cosine:.6f}"


if __name__ == "__main__":
    main()
