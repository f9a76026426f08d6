"""Which models there are: inside the package, in the user's folder of models, or at a path."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from atri_cli.encoders.card import CARD_FILE, ModelCard, load_card
from atri_cli.errors import ModelError

if TYPE_CHECKING:
    from atri_cli.encoders.onnx_encoder import OnnxEncoder

DEFAULT_MODEL = "atri-mini"


class ModelFolders(Protocol):
    """The part of `atri_cli.settings.Settings` that is needed here."""

    @property
    def models_dir(self) -> Path:
        """The user's folder of models."""


def embedded_dir() -> Path:
    """The folder of the models that come with the package."""
    return Path(__file__).parents[1] / "models"


def find_model(name_or_path: str | None, settings: ModelFolders) -> ModelCard:
    """The card of a model: by name (the user's folder first), else by the path of its folder.

    Args:
        name_or_path: None means `atri-mini`.
        settings: says where the user's models are.

    Raises:
        ModelError: no such model, with the nearest names; or its card is unusable.
    """
    name = name_or_path or DEFAULT_MODEL
    if os.sep not in name:
        for folder in model_folders(settings):
            if folder.name == name:
                return load_card(folder)
    path = Path(name).expanduser()
    if path.is_dir():
        return load_card(path)
    raise no_model(name, settings)


def find_recorded_model(
    name: str, folder: Path | None, pipeline_id: str, settings: ModelFolders
) -> ModelCard:
    """The card of the model that made a library: in its folder, else among the installed ones.

    Args:
        name: of the model.
        folder: where it was.
        pipeline_id: a model with this one is taken before one that only has the name.
        settings: says where the user's models are.

    Raises:
        ModelError: none has the pipeline id or the name.
    """
    cards, _ = survey_models(settings)
    if folder is not None:
        with suppress(ModelError):
            cards.insert(0, load_card(folder))
    for card in cards:
        if card.pipeline_id == pipeline_id:
            return card
    for card in cards:
        if card.name == name:
            return card
    raise no_model(name, settings)


def survey_models(settings: ModelFolders) -> tuple[list[ModelCard], list[ModelError]]:
    """Cards of all installed models, the user's first, and what is wrong with those not listed."""
    cards: list[ModelCard] = []
    errors: list[ModelError] = []
    for folder in model_folders(settings):
        try:
            cards.append(load_card(folder))
        except ModelError as error:
            errors.append(error)
    return cards, errors


def load_encoder(card: ModelCard, device: str = "auto", threads: int | None = None) -> OnnxEncoder:
    """The encoder of a model. Its towers are loaded when first used.

    Args:
        card: from `find_model`.
        device: `cpu`, `cuda` or `auto`.
        threads: of one run of a tower; None leaves it to the runtime (all cores).

    Raises:
        RuntimeMissingError: ONNX Runtime is not installed, or `cuda` is asked for in vain.
    """
    from atri_cli.encoders.onnx_encoder import OnnxEncoder

    return OnnxEncoder(card, device, threads)


def verify_model(card: ModelCard) -> list[str]:
    """Compare the model's files with the SHA-256 on its card.

    Returns:
        One sentence for each file that is missing or differs; empty when all is well.
    """
    return compare_files(card.files, "its card describes")


def compare_files(files: Iterable[tuple[Path, str]], known: str) -> list[str]:
    """One sentence for each file that is missing or has not the SHA-256 beside it.

    Args:
        files: paths and digests.
        known: ends the sentence "… differs from the file ".
    """
    problems = []
    for path, digest in files:
        try:
            if file_sha256(path) != digest:
                problems.append(f"`{path}` differs from the file {known}.")
        except OSError as error:
            problems.append(f"`{path}` cannot be read: {error.strerror}.")
    return problems


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_folders(settings: ModelFolders) -> Iterator[Path]:
    """Folders that hold a card: the user's, then the embedded ones that he does not replace."""
    seen: set[str] = set()
    for parent in (settings.models_dir, embedded_dir()):
        for path in sorted(parent.glob(f"*/{CARD_FILE}")):
            if path.parent.name not in seen:
                seen.add(path.parent.name)
                yield path.parent


def no_model(name: str, settings: ModelFolders) -> ModelError:
    """The error for a name that no model has."""
    names = [folder.name for folder in model_folders(settings)]
    installed = ", ".join(names) or "none"
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.4)
    hint = f"Did you mean {' or '.join(f'`{n}`' for n in near)}? " if near else ""
    return ModelError(
        f"There is no model `{name}`.",
        why=f"It is neither a folder nor one of the installed models: {installed}.",
        hint=hint + "List them with `atri models`.",
    )
