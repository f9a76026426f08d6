"""SONAR's text tower and tokenizer against the real sonar-space, on random weights.

`make test-sonar` runs it in an environment of its own; it exits with 1 when a figure is over its
limit. `--full` takes the published size (766 million weights, 3 GB a copy) in place of a small one.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from atri_cli.encoders.card import AudioTower, ModelCard, TextTower
from atri_cli.encoders.nllb import CODES
from atri_cli.encoders.tokenizer import Tokenizer
from train.towers.sonar import SonarShape, load_sonar
from train.towers.sonar_space import load_via_sonar_space, new_encoder, real_vectors

LIMIT = 2e-6
SMALL = SonarShape(vocabulary=2000, width=256, layers=4, heads=4, inner=1024)
LENGTHS = ((1, 2), (1, 7), (1, 40), (1, 514), (5, 30))
TEXTS = ("A dog barks in the distance", "  two   spaces\ttab ", "一只狗在叫", "犬の鳴き声", "",
         "literal </s> and __eng_Latn__", "ﬁligature ＡＢＣ", "собака лает",
         "emoji 🐶 unk Ω")  # fmt: skip


def main() -> None:
    """Print a table of differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the published size")
    parser.add_argument("--seed", type=int, default=20261126)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        worst = _towers(SonarShape() if options.full else SMALL, Path(folder))
        differ = _tokenizers(Path(folder))
    sys.exit(max(worst) > LIMIT or differ > 0)


def _towers(shape: SonarShape, folder: Path) -> list[float]:
    """Largest differences of unit vectors: our loader, and through the package."""
    path = folder / "sonar_text_encoder.pt"
    real = new_encoder(shape).eval()
    torch.save({"model": real.state_dict()}, path)
    generator = torch.Generator().manual_seed(1)
    inputs = []
    for rows, tokens in LENGTHS:
        ids = torch.randint(4, shape.vocabulary, (rows, tokens), generator=generator)
        lengths = torch.linspace(tokens, 2, rows).long()[:, None] if rows > 1 else tokens
        mask = (torch.arange(tokens) < torch.as_tensor(lengths)).long()
        inputs.append((ids * mask, mask.expand_as(ids).contiguous()))
    with torch.no_grad():
        wanted = [F.normalize(real_vectors(real, *pair), dim=-1) for pair in inputs]
    del real
    found = []
    for name, load in (("load_sonar", load_sonar), ("--via sonar-space", load_via_sonar_space)):
        began = time.monotonic()
        net = load(path)
        print(f"{name}: loaded in {time.monotonic() - began:.1f} s")
        with torch.no_grad():
            for (ids, mask), right in zip(inputs, wanted, strict=True):
                off = float((F.normalize(net(ids, mask), dim=-1) - right).abs().max())
                print(
                    f"| {name}, {ids.shape[0]} x {ids.shape[1]} tokens | {off:.1e} | {LIMIT:.0e} |"
                )
                found.append(off)
        del net
    return found


def _tokenizers(folder: Path) -> int:
    """Texts that get other ids than the package's, in the 202 languages."""
    import sentencepiece

    sink = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXTS[:4], "abcdefghijklmnopqrstuvwxyz"] * 9), model_writer=sink,
        model_type="bpe", vocab_size=120, hard_vocab_limit=False, character_coverage=1.0,
        unk_id=0, bos_id=1, eos_id=2, minloglevel=2,
    )  # fmt: skip
    (folder / "spm.model").write_bytes(sink.getvalue())
    nllb: Any = importlib.import_module("fairseq2.models.nllb.tokenizer")
    config = nllb.NllbTokenizerConfig(langs=list(CODES), default_lang="eng_Latn")
    real = nllb.load_nllb_tokenizer(folder / "spm.model", config)
    text = TextTower("", "", "spm.model", "", "nllb", 514, language_codes=CODES)
    sound = AudioTower("", "", 16_000, 10.0, 8.0, 0.16)
    ours = Tokenizer(ModelCard("x", "1", 1, sound, text, folder=folder))
    differ = 0
    for code in CODES:
        encode = real.create_encoder(task="translation", lang=code, mode="source")
        for one in TEXTS:
            differ += encode(one).tolist() != ours.encode(one, code)
    print(f"| ids of {len(TEXTS)} texts in {len(CODES)} languages that differ | {differ} | 0 |")
    return differ


if __name__ == "__main__":
    main()
