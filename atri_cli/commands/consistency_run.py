"""Asking libraries for `atri consistency`: this one, and the one it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atri_cli.commands.opening import opened
from atri_cli.commands.progress import StepBar, progress_bar
from atri_cli.consistency import Remedies, consistency
from atri_cli.errors import ModelError, UsageError
from atri_cli.output import Output
from atri_cli.settings import OPTION, Settings, beside, load_settings
from atri_cli.wording import counted

if TYPE_CHECKING:
    from atri_cli.consistency.report import Report
    from atri_cli.library.library import Library


@dataclass(frozen=True)
class Ask:
    """One query file, to be put to one library after another."""

    out: Output
    query_file: Path
    languages: Sequence[str]
    split: str
    k: int
    skip_missing: bool
    remedies: Remedies

    def library(self, settings: Settings) -> Report:
        """The report of the library of the settings."""
        with opened(settings) as library:
            return self._ask(library, settings)

    def other(self, settings: Settings, name: str) -> Report:
        """The report of another library, or of this library's sounds in another model.

        The latter are indexed into a library of their own, which is kept for the next time.

        Raises:
            UsageError: there is no such library and no such model.
        """
        there = _own_model(load_settings(library=name, device=settings.device))
        if there is not None:
            return self.library(there)
        try:
            in_model = _in_model(settings, name)
        except ModelError as error:
            raise UsageError(
                f"`--compare {name}` is neither a library nor a model.",
                why=error.why,
                hint="`atri models` lists models; `atri status --library NAME` shows a library.",
            ) from error
        with opened(settings) as library:
            roots = [root.path for root in library.roots()]
        with opened(in_model) as library:
            self.out.note(f"Listening to {counted(len(roots), 'folder')} with the model `{name}`.")
            with progress_bar(self.out) as progress:
                library.index(roots, jobs=settings.jobs, progress=progress)
            return self._ask(library, in_model)

    def _ask(self, library: Library, settings: Settings) -> Report:
        with StepBar(self.out) as tell:
            return consistency(
                library,
                self.query_file,
                languages=self.languages,
                split=self.split,
                k=self.k,
                skip_missing=self.skip_missing,
                remedies=self.remedies,
                cache=settings.cache_dir,
                tell=tell,
            )


def _own_model(settings: Settings) -> Settings | None:
    """Settings that open a library with the model that made it; None where there is no library.

    Raises:
        ModelError: the model is gone.
    """
    from atri_cli.encoders.registry import find_recorded_model
    from atri_cli.library.model import as_it_is

    with as_it_is(settings.library_dir) as store:
        if store is None:
            return None
        card = find_recorded_model(store.model, store.model_folder, store.pipeline_id, settings)
    return _with_model(settings, str(card.folder))


def _with_model(settings: Settings, model: str) -> Settings:
    """As if the model had been asked for by option, which goes before any variable."""
    return replace(settings, model=model, origin={**settings.origin, "model": OPTION})


def _in_model(settings: Settings, name: str) -> Settings:
    """Settings of the library that holds the same sounds in another model.

    Raises:
        ModelError: there is no such model.
    """
    from atri_cli.encoders.registry import find_model

    card = find_model(name, settings)
    folder = settings.library_dir.with_name(beside(settings.library_dir.name, card.name))
    named = replace(settings, library_name=folder.name, library_dir=folder)
    return _with_model(named, str(card.folder))
