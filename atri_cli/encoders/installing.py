"""Putting models into the user's folder of models, and taking them out."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as changed
from pathlib import Path, PurePath

from atri_cli.disk import copy_file, writing_to
from atri_cli.encoders.card import CARD_FILE, ModelCard, load_card
from atri_cli.encoders.registry import ModelFolders, embedded_dir, no_model, verify_model
from atri_cli.errors import ModelError

Report = Callable[[str, int, int], None]
RESERVED = ("checkpoints",)
_COMPANIONS = re.compile(r"(licen[cs]e|notice|readme|copying)\b.*", re.IGNORECASE)


def add_model(
    folder: Path, settings: ModelFolders, *, link: bool, replace: bool, report: Report
) -> ModelCard:
    """Copy or link a model into the user's folder of models, under the name on its card.

    Its files are compared with the card; the card, its files, and texts such as LICENSE come along.

    Args:
        folder: holds card.toml.
        settings: says where the user's models are.
        link: make a symbolic link instead of a copy.
        replace: over a model of that name.
        report: called with a file's name, bytes copied, and bytes in all.

    Returns:
        The card of what is installed now.

    Raises:
        ModelError: it is damaged, or there is one of that name.
        AtriError: the folder of models cannot be written.
    """
    folder = Path(os.path.abspath(folder))
    card = load_card(folder)
    target = settings.models_dir / _checked_name(card)
    _check_files(card)
    if folder.resolve() == target.resolve():
        raise ModelError(f"The model `{card.name}` is in the folder of models already.")
    if not replace:
        _see_that_it_is_free(card.name, target)
    with _workshop(settings.models_dir, card.name) as workshop, writing_to(target, ""):
        fresh = workshop / "new"
        if link:
            _refuse(card, verify_model(card))
            fresh.symlink_to(folder, target_is_directory=True)
        else:
            _copy(card, fresh, report)
        if os.path.lexists(target):
            target.rename(workshop / "old")
        fresh.rename(target)
    return changed(card, folder=target)


def remove_model(name: str, settings: ModelFolders) -> int | None:
    """Remove one of the user's own models; of a linked one, the link.

    Returns:
        Bytes that were freed; None when the user has no model of this name.

    Raises:
        AtriError: it may not be removed.
    """
    folder = own_model(name, settings)
    if folder is None:
        return None
    if folder.is_symlink():
        with writing_to(folder, ""):
            folder.unlink()
        return 0
    count = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    with _workshop(settings.models_dir, name) as workshop, writing_to(folder, ""):
        folder.rename(workshop / "old")
    return count


def own_model(name: str, settings: ModelFolders) -> Path | None:
    """The folder of a model in the user's folder of models, whatever its state."""
    folder = settings.models_dir / name
    if not _is_plain(name) or not (folder.is_symlink() or (folder / CARD_FILE).is_file()):
        return None
    return folder


def nothing_to_remove(name: str, settings: ModelFolders) -> ModelError:
    """The error for a name that is not one of the user's own models."""
    if _is_plain(name) and (embedded_dir() / name / CARD_FILE).is_file():
        return ModelError(
            f"`{name}` comes with atri and stays.",
            why="Only models that you added, exported or pulled can be removed.",
        )
    if PurePath(name).name != name:
        return ModelError(
            f"`{name}` is not the name of a model.",
            why="What lies elsewhere is not atri's to remove.",
            hint="`atri models` shows the names.",
        )
    return no_model(name, settings)


def _is_plain(name: str) -> bool:
    """Whether a name is one of a folder directly below another, and not hidden."""
    return bool(re.fullmatch(r"\w[^/\\\x00-\x1f]*", name))


def _checked_name(card: ModelCard) -> str:
    if not isinstance(card.name, str) or not _is_plain(card.name) or card.name in RESERVED:
        raise ModelError(
            f"A model cannot be called {card.name!r}.",
            why="The name becomes that of a folder.",
            hint=f"Change `name` in `{card.folder / CARD_FILE}`.",
        )
    return card.name


def _check_files(card: ModelCard) -> None:
    """Every file lies in the model's folder: a card must not make atri copy, or write, others."""
    for path, _ in card.files:
        inside = path.relative_to(card.folder) if path.is_relative_to(card.folder) else None
        if inside is None or ".." in inside.parts:
            raise ModelError(
                f"The card of `{card.name}` names a file outside its folder: `{path}`.",
                hint="A model's files must lie beside its card.",
            )


def _see_that_it_is_free(name: str, target: Path) -> None:
    for place in (target, embedded_dir() / name):
        if os.path.lexists(place):
            raise ModelError(
                f"There is a model `{name}` already.",
                why=f"It is `{place}`.",
                hint="`--replace` puts the new one in its place, or change `name` on the new card.",
            )


def _copy(card: ModelCard, target: Path, report: Report) -> None:
    target.mkdir()
    problems = []
    for path, digest in card.files:
        inside = path.relative_to(card.folder)
        (target / inside).parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            problems.append(f"`{path}` is missing.")
        elif copy_file(path, target / inside, lambda *n, p=path: report(p.name, *n)) != digest:
            problems.append(f"`{path}` differs from the file its card describes.")
    _refuse(card, problems)
    for path in card.folder.iterdir():
        if _COMPANIONS.fullmatch(path.name) and path.is_file():
            copy_file(path, target / path.name, lambda *_: None)
    copy_file(card.folder / CARD_FILE, target / CARD_FILE, lambda *_: None)


def _refuse(card: ModelCard, problems: list[str]) -> None:
    if problems:
        raise ModelError(
            f"The model `{card.name}` is damaged and was not added.",
            why=" ".join(problems),
            hint="Get the folder once more from where it came.",
        )


@contextmanager
def _workshop(models: Path, name: str) -> Iterator[Path]:
    """A folder beside the models for what is half done; it and what is left in it go at the end."""
    folder = models / ".atri" / f"{name}-{os.getpid()}"
    with writing_to(folder, ""):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
