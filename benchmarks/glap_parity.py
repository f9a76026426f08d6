"""The own towers against the public code of GLAP and ML-CLAP, over the same random weights.

`make test-glap` runs it in an environment of its own; `--ml-clap DIR`, a clone of ML-CLAP's
repository, compares that too. Prints a table; exits with 1 when a figure is over its limit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.glap_upstream import CAPTIONS, CODES, Upstream, glap, ml_clap, ml_clap_words
from train.towers.patches import WINDOW, window_starts
from train.towers.published import Published, load_published

LIMIT = 2e-6
SECOND = 16_000
SEED = 20261126


@dataclass(frozen=True)
class Figure:
    """Largest difference between unit vectors; without a limit it is only shown."""

    what: str
    worst: float
    cosine: float
    limit: float | None = LIMIT

    @property
    def passed(self) -> bool:
        return self.limit is None or self.worst <= self.limit


def figure(what: str, ours: Tensor, theirs: Tensor, limit: float | None = LIMIT) -> Figure:
    """Compare unit vectors [n, dim]."""
    worst, cosine = (ours - theirs).abs().max(), (ours.double() * theirs.double()).sum(1).min()
    return Figure(what, float(worst), float(cosine), limit)


def sound(samples: int, seed: int, loudness: float = 0.1) -> Tensor:
    """Noise whose loudness and colour change, with tones, float32 [1, samples]."""
    random = torch.Generator().manual_seed(SEED + seed)
    time = torch.arange(samples) / SECOND
    noise = torch.randn(samples, generator=random)
    tones = [torch.sin(2 * torch.pi * pitch * (seed + 1) * time) for pitch in (220, 1370, 3110)]
    swell = 0.2 + torch.sin(2 * torch.pi * 0.3 * time + seed) ** 2
    return (loudness * swell * (0.3 * noise + sum(tones)))[None]


def audio(found: Published, upstream: Upstream) -> list[Figure]:
    """One clip at a time, then clips of different loudness in one batch."""

    def ours(waveform: Tensor) -> Tensor:
        embedded: Tensor = found.audio_head(found.audio(waveform))
        return embedded

    patching = found.audio.patching
    lengths = [patching.shortest_samples, SECOND // 2, 3 * SECOND + 7, 10 * SECOND]
    lengths.append(patching.longest_samples)
    figures = []
    for seed, samples in enumerate(lengths):
        clip = sound(samples, seed)
        what = f"audio, one clip of {samples / SECOND:.3f} s ({samples:,} samples)"
        figures.append(figure(what, ours(clip), upstream.audio(clip)))
    clips = torch.cat([sound(5 * SECOND, seed, 10.0 ** (-2 * seed)) for seed in range(4)])
    alone = torch.cat([upstream.audio(clip[None]) for clip in clips])
    together = upstream.audio(clips)
    what = "audio, four clips 40 dB apart"
    return [
        *figures,
        figure("audio, two different clips", ours(clips[:1]), ours(clips[1:2]), None),
        figure(f"{what}: our batch, theirs one by one", ours(clips), alone),
        figure(f"{what}: theirs in a batch, and one by one", together, alone, None),
    ]


def long_audio(found: Published, upstream: Upstream) -> list[Figure]:
    """Clips of more than one piece: our windows, and the public code's own rule."""
    figures = []
    for seconds in (10.08, 10.12, 20.24, 25.0):
        clip = sound(round(seconds * SECOND), 9)
        if clip.shape[1] <= found.audio.patching.longest_samples:
            continue
        theirs, ours = upstream.audio(clip), found.audio_head(found.audio(clip))
        windows = [clip[:, start : start + WINDOW] for start in window_starts(clip.shape[1])]
        pooled = torch.stack([upstream.pooled(window) for window in windows]).mean(0)
        name = f"audio, {seconds} s ({clip.shape[1]:,} samples)"
        ruled = found.audio_head(by_their_rule(found, clip))
        figures += [
            figure(f"{name}: our parts under their rule", ruled, theirs),
            figure(f"{name}: ours, their towers on our windows", ours, found.audio_head(pooled)),
            figure(f"{name}: ours, theirs", ours, theirs, None),
        ]
    return figures


def by_their_rule(found: Published, clip: Tensor) -> Tensor:
    """Pieces of the normalised spectrogram, the last filled up with zeros; their mean.

    CED's code drops the last piece when it needs no filling.
    """
    longest = found.audio.patching.longest
    mel = found.audio.spectrogram(clip)
    rest = -mel.shape[-1] % longest
    pieces = F.pad(mel, (0, rest)).split(longest, dim=-1)
    if not rest and type(found.audio).__name__ == "Ced":
        pieces = pieces[:-1]
    return torch.stack([found.audio.pool(piece) for piece in pieces]).mean(0)


def text(found: Published, upstream: Upstream) -> list[Figure]:
    """Captions one by one and in one padded batch, as many tokens as fit, all by the same ids."""
    theirs = torch.cat([upstream.text([c], code) for c, code in zip(CAPTIONS, CODES, strict=True)])
    ids = [upstream.ids(c, code) for c, code in zip(CAPTIONS, CODES, strict=True)]
    alone = torch.cat([embed(found, [one]) for one in ids])
    long = " ".join(CAPTIONS * 40)
    most = found.text.shape.tokens
    whole = embed(found, [upstream.ids(long, "eng_Latn")[:most]])
    return [
        figure(f"text, {len(ids)} captions one by one", alone, theirs),
        figure(f"text, {len(ids)} captions in one batch", embed(found, ids), theirs),
        figure("text, two different captions", alone[:1], alone[1:2], None),
        figure(f"text, {most} tokens", whole, upstream.text([long], "eng_Latn")),
    ]


def embed(found: Published, ids: list[list[int]]) -> Tensor:
    """Unit vectors of token ids, padded on the right."""
    longest = max(map(len, ids))
    padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
    embedded: Tensor = found.text_head(found.text(padded, mask))
    return embedded


def words(found: Published, clone: Path) -> Figure:
    """Captions whose words differ from those that ML-CLAP's code leaves of them."""
    odd = ["A (loud) dog , barks !", "“x” | y*z ...", "雨、 雪 。風", "ÉCOLE: a;b", 'say "no" ?']
    spaces = str.maketrans(dict.fromkeys(found.strip, " "))
    theirs = ml_clap_words(clone)
    wrong = [c for c in (*CAPTIONS, *odd) if c.lower().translate(spaces).split() != theirs(c)]
    return Figure(f"text, words of {len(CAPTIONS) + len(odd)} captions that differ", len(wrong), 1)


@torch.inference_mode()
def compare(name: str, upstream: Upstream) -> tuple[Published, list[Figure]]:
    """All figures of one model; its public code and ours have the same weights."""
    found = load_published(upstream.checkpoint)
    print(f"{name}: {found.audio.shape}, {found.text.shape}", file=sys.stderr)
    return found, [
        *audio(found, upstream),
        *long_audio(found, upstream),
        *text(found, upstream),
    ]


def table(name: str, figures: list[Figure]) -> str:
    """The figures as Markdown."""
    lines = [f"| {name} | largest difference | least cosine | limit |", "| --- | --- | --- | --- |"]
    for one in figures:
        limit = "" if one.limit is None else f"{one.limit:.0e}{'' if one.passed else ' **missed**'}"
        lines.append(f"| {one.what} | {one.worst:.1e} | {one.cosine:.6f} | {limit} |")
    return "\n".join(lines)


def main() -> int:
    """Compare, print, and say by the exit code whether all is within its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ml-clap", type=Path, metavar="DIR", help="a clone of its repository")
    parser.add_argument("--full", action="store_true", help="SONAR at its full size, 11 GB")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    passed = True
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _, figures = compare("GLAP", glap(folder, full=options.full))
        print(table("GLAP", figures))
        passed &= all(one.passed for one in figures)
        if options.ml_clap:
            upstream = ml_clap(options.ml_clap, folder, full=options.full)
            found, figures = compare("ML-CLAP", upstream)
            figures.append(words(found, options.ml_clap))
            print("\n" + table("ML-CLAP", figures))
            passed &= all(one.passed for one in figures)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
