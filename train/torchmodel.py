"""A model as torch modules, whatever its architecture: what is trained, kept in a folder, exported.

Folder: `audio.safetensors`, `text.safetensors`, `tokenizer.model`, `model.json` (architecture and
sizes), `facts.json` (what a card says beside that; optional).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from atri_cli.encoders.card import ModelCard
from atri_cli.encoders.card import TextTower as TextFacts
from atri_cli.encoders.nllb import CODES
from atri_cli.encoders.tokenizer import Tokenizer
from atri_cli.errors import ModelError
from train import large, model
from train.disk import write_json
from train.large import LargeShape
from train.model import ModelShape, write_folder
from train.towers.tower import Tower

MINI, LARGE = "mini", "large"
SHAPE_FILE, FACTS_FILE, TOKENIZER = "model.json", "facts.json", "tokenizer.model"
READING = ("lowercase", "strip", "tag")
FACTS = ("name", "revision", "languages", "licences", "quality")


@dataclass(frozen=True)
class TorchModel:
    """Towers, and the card that their export will have: files and hashes are empty in it.

    `card.folder` is where the tokenizer lies; `trained` is False when a head is as it was drawn.
    """

    shape: ModelShape | LargeShape
    audio: Tower
    text: Tower
    card: ModelCard
    trained: bool = True

    @property
    def kind(self) -> str:
        """`mini` or `large`."""
        return LARGE if isinstance(self.shape, LargeShape) else MINI

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """As the exported model will have it."""
        return Tokenizer(self.card)

    def called(self, **facts: Any) -> TorchModel:
        """The same with another name, revision, languages, licences or quality on its card."""
        if "languages" in facts:
            text = replace(self.card.text, languages=tuple(facts.pop("languages")))
            return replace(self, card=replace(self.card, text=text, **facts))
        return replace(self, card=replace(self.card, **facts))


def mini_card(shape: ModelShape, folder: Path, tokenizer: str = TOKENIZER) -> ModelCard:
    """The card of a model of atri-mini's architecture, but for its name."""
    text = TextFacts("", "", tokenizer, "", "xlmr", max_tokens=shape.text.positions // 2)
    return ModelCard("", "1", shape.dim, model.HEARING, text, folder=folder)


def large_card(
    shape: LargeShape, folder: Path, tokenizer: str = TOKENIZER, **reading: Any
) -> ModelCard:
    """The card of a model with the paper's towers, but for its name.

    Args:
        shape, folder: of the model; `tokenizer` is a file in the folder.
        reading: `lowercase`, `strip`, `tag`: what is done to a text first.
    """
    text = TextFacts("", "", tokenizer, "", "nllb", shape.text.tokens, language_codes=CODES)
    return ModelCard("", "1", shape.dim, large.HEARING, replace(text, **reading), folder=folder)


def save_torch_model(found: TorchModel, folder: Path) -> None:
    """Write a model folder; each file by rename, `facts.json` last."""
    text = found.card.text
    facts: dict[str, Any] = {"kind": found.kind, **asdict(found.shape)}
    if found.kind == LARGE:
        facts["reading"] = {name: getattr(text, name) for name in READING}
        facts["trained"] = found.trained
    write_folder(folder, facts, found.audio, found.text, found.card.tokenizer_path.read_bytes())
    card = {name: getattr(found.card, name) for name in FACTS if name != "languages"}
    card["languages"] = list(found.card.text.languages)
    write_json(folder / FACTS_FILE, card)


def load_torch_model(folder: Path) -> TorchModel:
    """Read a model folder, both towers in eval mode.

    Raises:
        ModelError: a file is missing or damaged; says what to do.
    """
    try:
        facts = json.loads((folder / SHAPE_FILE).read_text(encoding="utf-8"))
        found = _load_large(folder, facts) if facts.get("kind") == LARGE else _load_mini(folder)
        found.tokenizer.check()
        path = folder / FACTS_FILE
        card = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        known = {name: card[name] for name in FACTS if name in card}
        return found.called(**{"name": folder.name, **known})
    except Exception as error:  # whatever damaged files lead their readers to
        raise ModelError(
            f"The model in `{folder}` cannot be read.",
            why=f"{_first_line(error)}.",
            hint="Train it again, or take `atri-mini`.",
        ) from error


def _load_mini(folder: Path) -> TorchModel:
    shape, audio, text = model.load_model(folder)
    return TorchModel(shape, audio, text, mini_card(shape, folder))


def _load_large(folder: Path, facts: Mapping[str, Any]) -> TorchModel:
    from safetensors.torch import load_file

    shape = LargeShape.read(facts)
    towers = large.empty_towers(shape)
    for name, tower in zip(("audio", "text"), towers, strict=True):
        tower.load_state_dict(load_file(folder / f"{name}.safetensors"), assign=True)
        tower.requires_grad_(True).eval()
    card = large_card(shape, folder, **facts["reading"])
    return TorchModel(shape, *towers, card, trained=bool(facts["trained"]))


def _first_line(error: Exception) -> str:
    said = error.what if isinstance(error, ModelError) else str(error)
    missing = f"It lacks {said}" if isinstance(error, KeyError) else said
    return (missing.splitlines() or [type(error).__name__])[0].rstrip(".")
