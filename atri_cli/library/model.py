"""Which model a library uses, and the encoders made of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from atri_cli.errors import ModelError, NothingIndexedError
from atri_cli.library.store import Store

if TYPE_CHECKING:
    from atri_cli.encoders.card import ModelCard
    from atri_cli.encoders.types import Encoder
    from atri_cli.settings import Settings


@contextmanager
def as_it_is(folder: Path) -> Iterator[Store | None]:
    """The database in a folder, whichever model made it; None before the first `index`."""
    try:
        store = Store.open(folder, pipeline_id=None, dim=None, read_only=True)
    except NothingIndexedError:
        yield None
        return
    with store:
        yield store


class LibraryModel:
    """The model of one library: what is asked for, else what made it, else what the settings say.

    Nothing is loaded before it is asked for.
    """

    def __init__(self, folder: Path, asked: str | None, device: str, given: Encoder | None) -> None:
        """
        Args:
            folder: of the library.
            asked: name or folder of a model, or None.
            device: "cpu", "cuda" or "auto".
            given: an encoder to be used instead of loading a model.
        """
        self.given = given
        self._folder = folder
        self._asked = asked
        self._device = device
        self._card = given.card if given else None
        self._encoders: dict[int | None, Encoder] = {}

    @property
    def card(self) -> ModelCard:
        """The model's card.

        Raises:
            ModelError: no such model.
        """
        if self._card is None:
            from atri_cli.encoders.registry import find_model
            from atri_cli.settings import load_settings

            settings = load_settings()
            asked = self._asked or settings.chosen_model
            recorded = None if asked else self._recorded(settings)
            self._card = recorded or find_model(asked or settings.model, settings)
        return self._card

    def encoder(self, threads: int | None) -> Encoder:
        """The encoder with so many threads a run.

        Raises:
            ModelError: it is missing or damaged.
            RuntimeMissingError: the ONNX runtime or the device is not there.
        """
        if self.given is not None:
            return self.given
        if threads not in self._encoders:
            from atri_cli.encoders.registry import load_encoder

            self._encoders[threads] = load_encoder(self.card, self._device, threads)
        return self._encoders[threads]

    def _recorded(self, settings: Settings) -> ModelCard | None:
        """The card of the model that made the library; None before the first `index`."""
        from atri_cli.encoders.registry import find_recorded_model

        with as_it_is(self._folder) as store:
            if store is None:
                return None
            name, folder, pipeline_id = store.model, store.model_folder, store.pipeline_id
        try:
            return find_recorded_model(name, folder, pipeline_id, settings)
        except ModelError:
            raise _model_gone(name, folder) from None


def _model_gone(name: str, folder: Path | None) -> ModelError:
    return ModelError(
        f"The library was made with the model `{name}`, which is not to be found.",
        why=f"It was in `{folder}`." if folder else "",
        hint="Name the model's folder with `--model DIR`, or choose another model and type "
        "`atri index --reindex --model NAME`.",
    )
