"""The model card: `card.toml` beside the ONNX files says all that atri needs to know."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from atri_cli.errors import ModelError

CARD_FILE = "card.toml"


@dataclass(frozen=True)
class AudioTower:
    """Facts of audio.onnx. Lengths in seconds, rates in Hz."""

    file: str
    sha256: str
    sample_rate: int
    segment_seconds: float
    hop_seconds: float
    min_seconds: float


@dataclass(frozen=True)
class TextTower:
    """Facts of text.onnx and its tokenizer."""

    file: str
    sha256: str
    tokenizer: str
    tokenizer_sha256: str
    tokenizer_rule: str
    max_tokens: int
    lowercase: bool = False
    prefix: str = ""
    languages: tuple[str, ...] = ()
    language_codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """One model: its towers, licences and measured quality."""

    name: str
    revision: str
    dim: int
    audio: AudioTower
    text: TextTower
    precision: str = "fp32"
    licences: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def pipeline_id(self) -> str:
        """16 hex digits: a hash of everything that changes an audio or text vector."""
        facts = {
            "dim": self.dim,
            "precision": self.precision,
            "audio": asdict(self.audio),
            "text": asdict(self.text),
        }
        canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def audio_path(self) -> Path:
        return self.folder / self.audio.file

    @property
    def text_path(self) -> Path:
        return self.folder / self.text.file

    @property
    def tokenizer_path(self) -> Path:
        return self.folder / self.text.tokenizer


def load_card(folder: Path) -> ModelCard:
    """Read the card of a model folder.

    Raises:
        ModelError: no card, not TOML, or a fact missing or of the wrong type.
    """
    path = folder / CARD_FILE
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"No model in `{folder}`: it has no `{CARD_FILE}`.",
            hint="List the models that are installed with `atri models`.",
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ModelError(f"Cannot read the model card `{path}`.", why=str(error)) from error
    try:
        text = dict(data["text"])
        for name in ("languages", "language_codes"):
            text[name] = tuple(text.get(name, ()))
        return ModelCard(
            name=data["name"],
            revision=str(data["revision"]),
            dim=int(data["dim"]),
            audio=AudioTower(**data["audio"]),
            text=TextTower(**text),
            precision=data.get("precision", "fp32"),
            licences=data.get("licences", {}),
            quality=data.get("quality", {}),
            folder=folder,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"The model card `{path}` lacks or misspells a fact.", why=str(error)
        ) from error
