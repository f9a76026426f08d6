"""The model card: `card.toml` beside the ONNX files says all that atri needs to know."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from atri_cli.errors import ModelError

CARD_FILE = "card.toml"


@dataclass(frozen=True)
class AudioTower:
    """Facts of audio.onnx, and of the file with its weights if they are not inside.

    Lengths in seconds, rates in Hz.
    """

    file: str
    sha256: str
    sample_rate: int
    segment_seconds: float
    hop_seconds: float
    min_seconds: float
    data: str = ""
    data_sha256: str = ""


@dataclass(frozen=True)
class TextTower:
    """Facts of text.onnx, of the file with its weights if they are not inside, and tokenizer."""

    file: str
    sha256: str
    tokenizer: str
    tokenizer_sha256: str
    tokenizer_rule: str
    max_tokens: int
    lowercase: bool = False
    strip: str = ""
    tag: str = ""
    prefix: str = ""
    languages: tuple[str, ...] = ()
    language_codes: tuple[str, ...] = ()
    data: str = ""
    data_sha256: str = ""


@dataclass(frozen=True)
class ModelCard:
    """One model: its towers, licences and measured quality.

    `names` is the file of `atri_cli.encoders.names`, which not every model has.
    """

    name: str
    revision: str
    dim: int
    audio: AudioTower
    text: TextTower
    precision: str = "fp32"
    licences: dict[str, str] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    names: str = ""
    names_sha256: str = ""

    @property
    def pipeline_id(self) -> str:
        """16 hex digits: a hash of everything that changes an audio or text vector."""
        text = asdict(self.text)
        for name in ("strip", "tag"):
            if not text[name]:
                del text[name]  # cards are older than these facts, and libraries keep their id
        facts = {
            "dim": self.dim,
            "precision": self.precision,
            "audio": asdict(self.audio),
            "text": text,
        }
        canonical = json.dumps(facts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def files(self) -> tuple[tuple[Path, str], ...]:
        """Every file of the model but the card, and its SHA-256."""
        named = (
            (self.audio.file, self.audio.sha256),
            (self.audio.data, self.audio.data_sha256),
            (self.text.file, self.text.sha256),
            (self.text.data, self.text.data_sha256),
            (self.text.tokenizer, self.text.tokenizer_sha256),
            (self.names, self.names_sha256),
        )
        return tuple((self.folder / name, digest) for name, digest in named if name)

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
            audio=AudioTower(**_typed(AudioTower, data["audio"])),
            text=TextTower(**_typed(TextTower, text)),
            precision=data.get("precision", "fp32"),
            licences=data.get("licences", {}),
            quality=data.get("quality", {}),
            folder=folder,
            names=str(data.get("names", "")),
            names_sha256=str(data.get("names_sha256", "")),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"There is no {error}." if isinstance(error, KeyError) else str(error)
        raise ModelError(f"The model card `{path}` lacks or misspells a fact.", why=why) from error


def write_card(card: ModelCard, folder: Path) -> Path:
    """Write the card into a model folder; `load_card` gives an equal card back.

    Returns:
        The path of the card.

    Raises:
        TypeError: a value of `licences` or `quality` that TOML cannot hold, such as None.
    """
    facts = asdict(card)
    for name in ("folder", *(() if card.names else ("names", "names_sha256"))):
        del facts[name]
    path = folder / CARD_FILE
    path.write_text("\n".join(_toml_lines(facts)).lstrip() + "\n", encoding="utf-8")
    return path


def _typed(tower: type[AudioTower] | type[TextTower], facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of the declared types; `10` is taken as 10.0, as both must give one pipeline id."""
    kinds = {
        name: getattr(hint, "__origin__", hint) for name, hint in get_type_hints(tower).items()
    }
    typed = {}
    for name, value in facts.items():
        kind = kinds.get(name)
        if kind is None:
            raise ValueError(f"`{name}` is not a known fact.")
        right = float(value) if kind is float and type(value) is int else value
        if type(right) is not kind:
            raise TypeError(f"`{name}` must be {kind.__name__}, not {type(value).__name__}.")
        typed[name] = right
    return typed


def _toml_lines(table: dict[str, Any], place: str = "") -> list[str]:
    """A table as TOML: its own values first, then its subtables, because order matters there."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = ["", f"[{place}]"] if place else []
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _toml_lines(value, ".".join(filter(None, (place, _toml_key(key)))))
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's too, but JSON lets DEL through and TOML does not.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return f"[{', '.join(map(_toml_value, value))}]"
        case dict():
            inner = ", ".join(f"{_toml_key(key)} = {_toml_value(v)}" for key, v in value.items())
            return f"{{{inner}}}"
    raise TypeError(f"TOML cannot hold {value!r}.")
