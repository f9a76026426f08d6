"""What a fine-tuning is asked for, and the model that it starts from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from atri_cli.encoders.card import CARD_FILE, ModelCard, load_card
from atri_cli.encoders.registry import find_model
from atri_cli.errors import ModelError, UsageError
from atri_cli.settings import Settings
from train.embedded import load_embedded
from train.minitowers import Freezing, MiniTowers
from train.model import AudioTower, ModelShape, TextTower, load_model
from train.plan import TrainPlan
from train.towers.freezing import checkpoint_blocks

MODEL = "model"
CARD = "facts.json"


@dataclass(frozen=True)
class Request:
    """What was asked for.

    `data` is empty for the library's own sounds; `model` is a name, an installed model's folder or
    one that an earlier run wrote; `threads` None leaves torch as it is; `share` of what was learnt
    in the result, None for what validation likes best; `recompute`: blocks run twice
    (`train.towers.freezing.checkpoint_blocks`).

    Raises:
        UsageError: the share is not between 0 and 1.
    """

    plan: TrainPlan
    settings: Settings
    model: str
    out: Path
    cache: Path
    data: tuple[Path, ...] = ()
    freezing: Freezing = field(default_factory=Freezing)
    resume: bool = False
    threads: int | None = None
    tensorboard: bool = False
    share: float | None = None
    recompute: bool = False

    def __post_init__(self) -> None:
        if self.share is not None and not 0 <= self.share <= 1:
            raise UsageError(f"The share cannot be {self.share}.", hint="Give 0 to 1.")


@dataclass(frozen=True)
class Base:
    """The model that a run starts from."""

    name: str
    shape: ModelShape
    towers: MiniTowers
    card: dict[str, Any]


def open_model(request: Request) -> Base:
    """The model a run starts from: an installed one, or a folder that a run wrote.

    Raises:
        ModelError: no such model, or not of atri-mini's architecture.
    """
    folder = Path(request.model).expanduser()
    inner = folder / MODEL if (folder / MODEL / "model.json").is_file() else folder
    if (inner / "model.json").is_file():
        return _own(inner, request)
    if folder.is_dir() and not (folder / CARD_FILE).is_file():
        raise ModelError(
            f"`{folder}` holds no model that can be trained.",
            why=f"It has neither `model.json` nor `{CARD_FILE}`.",
            hint="Take `atri-mini`, or a folder that `atri train` wrote.",
        )
    card = find_model(request.model, request.settings)
    shape, audio, text, tokenizer = load_embedded(load_card(card.folder))
    towers = _towers(audio, text, tokenizer, request)
    return Base(card.name, shape, towers, _card_facts(card))


def _own(folder: Path, request: Request) -> Base:
    try:
        shape, audio, text = load_model(folder)
        tokenizer = (folder / "tokenizer.model").read_bytes()
        SentencePieceProcessor(model_proto=tokenizer)  # captions may be cached, and not need it yet
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except Exception as error:  # whatever damaged files lead their readers to
        raise ModelError(
            f"The model in `{folder}` cannot be read.",
            why=f"{str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            hint="Train it again, or take `atri-mini`.",
        ) from error
    towers = _towers(audio, text, tokenizer, request)
    return Base(card["name"], shape, towers, card)


def _towers(audio: AudioTower, text: TextTower, tokenizer: bytes, request: Request) -> MiniTowers:
    towers = MiniTowers(audio, text, tokenizer, request.cache, freezing=request.freezing)
    if request.recompute:
        checkpoint_blocks(audio.net)
        checkpoint_blocks(text)
    return towers


def _card_facts(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "revision": card.revision,
        "languages": list(card.text.languages),
        "licences": card.licences,
        "quality": {},
    }
