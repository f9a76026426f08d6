"""A model in torch → a model folder atri runs: two ONNX files, tokenizer, card.

Nothing is written to the target unless the ONNX graphs agree with torch.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atri_cli.encoders.card import ModelCard, write_card
from atri_cli.encoders.registry import file_sha256, load_encoder
from atri_cli.errors import ModelError
from export.checks import Feed, audio_feeds, sound_names, text_feeds
from export.compact import pack_embedding
from export.convert import (
    Agreements,
    compare,
    export_audio,
    export_text,
    require_agreement,
    vectors,
)
from export.names import NAMES
from export.precision import lower
from train.evaluate import evaluate_manifest
from train.large import LargeAudio
from train.torchmodel import MINI, TorchModel
from train.towers.tower import Tower

AUDIO, TEXT, TOKENIZER = "audio.onnx", "text.onnx", "tokenizer.model"
EXACT = (1e-4, 0.99999)
"""Largest difference and smallest cosine that a graph in float32 may have against torch."""
LOWERED = {"fp32": EXACT, "fp16": (5e-3, 0.9999), "int8": (0.1, 0.98)}
"""The same for each precision."""

Measures = dict[str, Any]


@dataclass(frozen=True)
class TowerReport:
    """A tower against torch: in float32, and as it is kept; its size in bytes."""

    exact: Agreements
    kept: Agreements
    bytes: int


@dataclass(frozen=True)
class ExportReport:
    """Both towers, and retrieval on a manifest in float32 and as kept (None without one)."""

    audio: TowerReport
    text: TowerReport
    retrieval: tuple[Measures, Measures] | None = None


def build(
    model: TorchModel,
    target: Path,
    *,
    precision: str = "int8",
    sounds: Sequence[Path] = (),
    texts: Sequence[tuple[str, str]] | None = None,
    manifest: Path | None = None,
    root: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> ExportReport:
    """Convert a model into the folder `target`.

    Args:
        model: its card has the name, languages, licences.
        target: model folder to write; its files are replaced one by one, the card last.
        precision: one of `export.precision.PRECISIONS`. The audio tower of atri-mini's
            architecture is kept in float16 for `int8`: it is all convolutions.
        sounds: to compare the audio towers on, beside made-up ones.
        texts: to compare the text towers on, each (language tag, text); None is names of sounds.
        manifest: a query file with an `audio` column, its paths relative to `root`.
        tell: hears what is being done; large models take minutes.

    Raises:
        ModelError: the heads are untrained.
        DisagreementError: a graph does not give what torch gives; the target stays as it was.
        ValueError: the token table has no exact 4-bit form.
    """
    if not model.trained:
        raise _untrained(model)
    heard = audio_feeds(model.card.audio, sounds)
    read = text_feeds(model, sound_names() if texts is None else texts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        exact, kept = Path(scratch) / "exact", Path(scratch) / "kept"
        exact.mkdir()
        kept.mkdir()
        tell(f"Converting the audio tower, and comparing it on {len(heard)} inputs.")
        audio = _convert(model, AUDIO, heard, (exact, kept), precision)
        tell(f"Converting the text tower, and comparing it on {len(read)} inputs.")
        text = _convert(model, TEXT, read, (exact, kept), precision)
        card = _card(model.card, kept, precision)
        found = None
        if manifest:
            tell("Measuring retrieval in float32 and as kept.")
            cards = (_card(model.card, exact, "fp32"), card)
            found = _retrieval(cards, manifest, root)
        report = ExportReport(audio, text, found)
        quality = {**card.quality, **_quality(report, precision)}
        _install(kept, target, replace(card, quality=quality))
    return report


def _untrained(model: TorchModel) -> ModelError:
    return ModelError(
        f"`{model.card.name}` cannot find anything yet: its heads were never trained.",
        why="They are as they were drawn.",
        hint="Train them with `atri train --model`, then export the folder that it wrote.",
    )


def _convert(
    model: TorchModel, name: str, feeds: Sequence[Feed], folders: tuple[Path, Path], precision: str
) -> TowerReport:
    """Write and check one ONNX file, first in float32, then in the precision asked for."""
    tower = model.audio if name == AUDIO else model.text
    exact, kept = folders
    if name == AUDIO and model.kind == MINI and precision == "int8":
        precision = "fp16"
    wanted = vectors(tower.eval(), feeds)
    _write_exact(model, tower, exact / name)
    full = compare(exact / name, wanted, feeds)
    require_agreement(f"{name} (fp32)", full, *EXACT)
    lower(exact / name, kept / name, precision)
    found = compare(kept / name, wanted, feeds)
    require_agreement(f"{name} ({precision})", found, *LOWERED[precision])
    return TowerReport(full, found, sum(path.stat().st_size for path in kept.glob(f"{name}*")))


def _write_exact(model: TorchModel, tower: Tower, path: Path) -> None:
    if tower is model.text:
        if model.kind == MINI:
            pack_embedding(tower)  # type: ignore[arg-type]
        export_text(tower, path, model.card.text.max_tokens)
        return
    facts = model.card.audio
    shortest = round(facts.min_seconds * facts.sample_rate)
    if isinstance(tower, LargeAudio):
        export_audio(tower, path, shortest, tower.body.patching.longest_samples)
    else:
        export_audio(tower, path, shortest)


def _retrieval(
    cards: tuple[ModelCard, ModelCard], manifest: Path, root: Path | None
) -> tuple[Measures, Measures]:
    """Retrieval with each of the two models."""
    before, after = (
        evaluate_manifest(load_encoder(card, "cpu"), manifest, root=root)[0] for card in cards
    )
    return before, after


def _quality(report: ExportReport, precision: str) -> dict[str, str]:
    """What the conversion cost, for the card."""
    if precision == "fp32":
        return {}
    towers = (("audio", report.audio), ("text", report.text))
    found = {
        f"{precision} {name}": f"cosine to torch at least {one.kept.cosine:.5f}, "
        f"{one.kept.mean_cosine:.5f} on average"
        for name, one in towers
    }
    if report.retrieval:
        before, after = report.retrieval
        found[f"{precision} retrieval"] = (
            f"R@10 {recall(before):.3f} in float32, {recall(after):.3f} as kept, over "
            f"{after['queries']} queries"
        )
    return found


def recall(found: Measures) -> float:
    """R@10, text to audio, mean over the languages."""
    return float(found["t2a"]["mean"]["r10"])


def _install(work: Path, target: Path, card: ModelCard) -> None:
    """Copy the files to the target, each by rename; the card last."""
    write_card(card, work)
    target.mkdir(exist_ok=True)
    names = sorted(path.name for path in work.iterdir() if path.name != "card.toml")
    for name in [*names, "card.toml"]:
        shutil.copy(work / name, target / f"{name}.part")
        (target / f"{name}.part").replace(target / name)
    # An earlier model may have had its weights outside, and names of its own.
    for name in {f"{AUDIO}.data", f"{TEXT}.data", NAMES} - set(names):
        (target / name).unlink(missing_ok=True)


def _card(card: ModelCard, folder: Path, precision: str) -> ModelCard:
    """The card with the files of a folder, the tokenizer among them from now on."""
    shutil.copy(card.tokenizer_path, folder / TOKENIZER)
    files = {name: _files(folder, name) for name in (AUDIO, TEXT)}
    text = replace(
        card.text,
        **files[TEXT],
        tokenizer=TOKENIZER,
        tokenizer_sha256=file_sha256(folder / TOKENIZER),
    )
    audio = replace(card.audio, **files[AUDIO])
    return replace(card, audio=audio, text=text, precision=precision, folder=folder)


def _files(folder: Path, name: str) -> dict[str, Any]:
    found = {"file": name, "sha256": file_sha256(folder / name)}
    data = folder / f"{name}.data"
    if data.is_file():
        found |= {"data": data.name, "data_sha256": file_sha256(data)}
    return found
