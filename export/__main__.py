"""`python -m export SOURCE TARGET --facts facts.json`: convert a trained model."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.build import build, load_facts
from train.phrases import audioset_concepts


def main() -> None:
    """Convert and print what was measured."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("source", type=Path, help="model folder written by train/")
    parser.add_argument("target", type=Path, help="model folder for atri")
    parser.add_argument("--facts", type=Path, required=True, help="name, languages, licences: JSON")
    parser.add_argument("--text-precision", default="int8-weights", choices=["int8", "int8-weights", "fp32"])
    options = parser.parse_args()
    concepts = audioset_concepts()[::9]
    texts = [found[0] for concept in concepts for found in concept.phrases.values()]
    facts = load_facts(options.facts)
    report = build(
        options.source, options.target, facts, texts, text_precision=options.text_precision
    )
    print(f"audio.onnx: {report.audio_bytes / 1e6:.1f} MB, difference {report.audio[0]:.1e}, "
          f"cosine {report.audio[1]:.6f}")  # fmt: skip
    print(f"text.onnx: {report.text_bytes / 1e6:.1f} MB, difference {report.text[0]:.1e}, "
          f"cosine {report.text[1]:.6f}")  # fmt: skip


if __name__ == "__main__":
    main()
