"""From settings to an open library, with hints that repeat the user's own options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atri_cli.errors import NothingIndexedError, PipelineMismatchError
from atri_cli.settings import OF_MODEL, OPTION, Settings, load_settings
from atri_cli.wording import command

if TYPE_CHECKING:
    from atri_cli.library.library import Library
    from atri_cli.library.types import Root


@contextmanager
def opened(settings: Settings) -> Iterator[Library]:
    """The library of the settings, with what C libraries say about odd files kept off stderr.

    Raises:
        NothingIndexedError: the block needs sounds and there are none; the hint says what to type.
        PipelineMismatchError: another model made the library; so does its hint.
    """
    from atri_cli.audio.quiet import native_stderr_silenced
    from atri_cli.library.library import Library

    model, device = settings.chosen_model, settings.device
    with (
        native_stderr_silenced(),
        Library.open(settings.library_dir, model=model, device=device) as library,
    ):
        try:
            yield library
        except NothingIndexedError as error:
            raise nothing_indexed(settings) from error
        except PipelineMismatchError as error:
            again = command(["index", "--reindex", *flags(settings)])
            error.hint = (
                f"Embed everything again with {again}, "
                "or keep both models side by side with `--library NAME`."
            )
            raise


def nothing_indexed(settings: Settings) -> NothingIndexedError:
    """The error of a library without sounds."""
    where = "" if settings.library_name == "default" else f" in `{settings.library_name}`"
    hint = f"Type {index_command(settings)} with your own folder of sounds, then try again."
    if any(root.online for root in roots_to_take(settings)):
        again = command(["reindex", *flags(settings)])
        hint = f"{again} takes the folders of your library `default`. {hint}"
    return NothingIndexedError(f"Nothing is indexed{where} yet.", hint=hint)


def roots_to_take(settings: Settings) -> list[Root]:
    """What a library named after a model can begin with: the roots of the one it stands beside.

    Empty for any other library.
    """
    if settings.origin["library"] != OF_MODEL:
        return []
    from atri_cli.library.library import Library

    with Library.open(load_settings().library_dir) as beside:
        return beside.roots()


def index_command(settings: Settings) -> str:
    """`atri index ~/sounds` with the options the user gave."""
    # The tilde is for the shell: not quoted.
    return command(["index", "SOUNDS", *flags(settings)]).replace("SOUNDS", "~/sounds")


def flags(settings: Settings) -> list[str]:
    """The options of this run that choose library, model and device."""
    folder = settings.library_dir
    named = folder.parent == settings.models_dir.parent / "libraries"
    values = {
        "library": settings.library_name if named else str(folder),
        "model": settings.model,
        "device": settings.device,
    }
    given = [key for key in values if settings.origin[key] == OPTION]
    return [word for key in given for word in (f"--{key}", values[key])]
