"""What `atri doctor` looks at: each function is one question, its answers are `Check`s."""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from atri_cli import __version__
from atri_cli.errors import AtriError, LibraryError, NothingIndexedError
from atri_cli.settings import DEFAULTS, Settings
from atri_cli.wording import counted

if TYPE_CHECKING:
    from atri_cli.encoders.card import ModelCard
    from atri_cli.library.library import Library

State = Literal["ok", "note", "broken"]
RUNTIME = "onnxruntime"
PACKAGES = ("numpy", "soundfile", "soxr", "sentencepiece", "hnswlib")
REINSTALL = "pip install --force-reinstall"


@dataclass(frozen=True)
class Check:
    """One answer: `note` is worth knowing, `broken` keeps something from working."""

    name: str
    state: State
    detail: str
    hint: str = ""


def run_checks(settings: Settings, fix: bool, note: Callable[[str], None]) -> list[Check]:
    """All checks, in the order in which they are shown; `note` announces what takes long."""
    questions: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("atri", check_versions),
        ("packages", check_packages),
        ("runtime", check_runtime),
        ("formats", check_formats),
        ("folders", lambda: check_folders(settings)),
        ("settings", lambda: check_settings(settings)),
        ("model", lambda: check_model(settings)),
        ("library", lambda: check_library(settings, fix, note)),
    )
    return [check for name, question in questions for check in _answers(name, question)]


def _answers(name: str, question: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """The answers; what a question stumbles over is an answer too."""
    try:
        yield from question()
    except AtriError as error:
        yield Check(name, "broken", f"{error.what} {error.why}".strip(), error.hint)
    except Exception as error:
        yield Check(name, "broken", f"{type(error).__name__}: {error}")


def check_versions() -> Iterator[Check]:
    """Which atri, which Python, which system."""
    system = f"{platform.system()} {platform.machine()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Check("atri", "ok", f"atri {__version__}, {python}, {system}")


def check_packages() -> Iterator[Check]:
    """Whether the compiled packages load."""
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except Exception as error:
            hint = f"`{REINSTALL} {name}`"
            yield Check("packages", "broken", f"`{name}` does not load: {error}", hint)
            continue
        yield Check("packages", "ok", f"{name} {_version(name)}")


def check_runtime() -> Iterator[Check]:
    """The ONNX runtime: one, not two, and whether it loads."""
    from atri_cli.encoders.runtime import INSTALL_CPU, INSTALL_GPU, import_runtime

    installed = installed_runtimes()
    if len(installed) > 1:
        yield Check(
            "runtime",
            "broken",
            f"{' and '.join(installed)} are both installed and overwrite each other.",
            f"`pip uninstall {' '.join(installed)}`, then `{INSTALL_CPU}` or `{INSTALL_GPU}`.",
        )
    runtime = import_runtime()
    listed = ", ".join(runtime.get_available_providers())
    yield Check("runtime", "ok", f"{RUNTIME} {runtime.__version__}, built with {listed}")


def installed_runtimes() -> list[str]:
    """Distributions that provide the module `onnxruntime`, by name."""
    names = {(dist.metadata["Name"] or "").lower() for dist in metadata.distributions()}
    return sorted(name for name in names if name == RUNTIME or name.startswith(f"{RUNTIME}-"))


def check_formats() -> Iterator[Check]:
    """Which kinds of sound can be read."""
    import soundfile

    from atri_cli.audio.formats import INSTALL_FORMATS, has_optional

    version = soundfile.__libsndfile_version__
    yield Check("formats", "ok", f"wav, flac, ogg, opus, mp3, aiff, caf … (libsndfile {version})")
    if has_optional():
        yield Check("formats", "ok", f"m4a, aac, wma, video … (av {_version('av')})")
    else:
        yield Check("formats", "note", "m4a, aac, wma, video: not read", f"`{INSTALL_FORMATS}`")


def check_folders(settings: Settings) -> Iterator[Check]:
    """Whether atri may write where it keeps things."""
    folders = {"library": settings.library_dir, "models": settings.models_dir}
    for name, folder in folders.items():
        nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        refusal = _refusal(nearest)
        if refusal:
            yield Check("folders", "broken", f"{name}: {folder}: {refusal}", _ELSEWHERE)
        else:
            there = "" if nearest == folder else ", not made yet"
            yield Check("folders", "ok", f"{name}: {folder}{there}")


_ELSEWHERE = "Change its permissions, or choose another place with `ATRI_HOME`."


def _refusal(folder: Path) -> str:
    """Why no file can be written in a folder; empty when one can. Permissions alone can mislead."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"`{folder}` is not a folder" if not folder.is_dir() else f"{error.strerror}"


def check_settings(settings: Settings) -> Iterator[Check]:
    """Every setting and where it comes from."""
    values = {
        "library": settings.library_name,
        "model": settings.model,
        "device": settings.device,
        "jobs": settings.jobs or "one for each core",
    }
    for name in DEFAULTS:
        yield Check("settings", "ok", f"{name} = {values[name]} ({settings.origin[name]})")
    there = "" if settings.config_file.is_file() else ", not there"
    yield Check("settings", "ok", f"file: {settings.config_file}{there}")


def check_model(settings: Settings) -> Iterator[Check]:
    """Whether the files of the model in use are those of its card, and what runs it."""
    from atri_cli.encoders.registry import load_encoder, survey_models, verify_model

    for error in survey_models(settings)[1]:
        yield Check("model", "note", f"{error.what} {error.why}".strip())
    card = card_in_use(settings)
    problems = verify_model(card)
    for problem in problems:
        yield Check("model", "broken", problem, "Install the model again.")
    if problems:
        return
    yield Check("model", "ok", f"{_title(card)}, files as on its card")
    encoder = load_encoder(card, settings.device)
    encoder.embed_text(["sound"])
    yield Check("model", "ok", f"runs with {', '.join(encoder.providers)}")


def card_in_use(settings: Settings) -> ModelCard:
    """The model that is asked for, else the one that made the library."""
    from atri_cli.encoders.registry import find_model
    from atri_cli.library.library import Library

    try:
        with Library.open(settings.library_dir, model=settings.chosen_model) as library:
            return library.card
    except LibraryError:  # the question about the library says so
        return find_model(settings.model, settings)


def check_library(settings: Settings, fix: bool, note: Callable[[str], None]) -> Iterator[Check]:
    """The database, the model that made it, and the search cache."""
    from atri_cli.library.library import Library

    with Library.open(settings.library_dir, model=settings.chosen_model) as library:
        if not library.exists:
            yield Check("library", "note", "nothing is indexed yet", "`atri index ~/sounds`")
            return
        try:
            yield from _check_database(library)
            yield from _check_cache(library, fix, note)
        except NothingIndexedError as error:
            yield Check("library", "note", error.what, "`atri index ~/sounds`")


def _check_database(library: Library) -> Iterator[Check]:
    problems = library.store.problems()
    for problem in problems:
        hint = "Move the database away and type `atri index DIR`: your sounds are untouched."
        yield Check("library", "broken", f"`{library.store.path}`: {problem}", hint)
    if problems:
        return
    now = library.status()
    counts = f"{counted(now.files, 'file')}, {counted(now.segments, 'segment')}"
    yield Check("library", "ok", f"{counts}, made by {now.model} ({now.pipeline_id})")
    for root in now.roots:
        if not root.online:
            hint = f"`atri roots relocate {root.path} NEW` if it has moved."
            yield Check("library", "note", f"`{root.path}` is not there now", hint)


def _check_cache(library: Library, fix: bool, note: Callable[[str], None]) -> Iterator[Check]:
    state = library.status().cache_state
    if state in ("fresh", "unused"):
        words = "up to date" if state == "fresh" else "not needed for so few sounds"
        yield Check("search cache", "ok", words)
    elif fix:
        note("Building the search graph: this may take minutes.")
        library.rebuild_cache()
        yield Check("search cache", "ok", f"was {state}, rebuilt")
    else:
        damaged: State = "broken" if state == "damaged" else "note"
        hint = "`atri doctor --fix` rebuilds it; until then searches are slower, not wrong."
        yield Check("search cache", damaged, state, hint)


def _title(card: ModelCard) -> str:
    return f"{card.name} {card.revision} ({card.pipeline_id})"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def broken(checks: list[Check]) -> list[Check]:
    """Those that keep something from working."""
    return [check for check in checks if check.state == "broken"]
