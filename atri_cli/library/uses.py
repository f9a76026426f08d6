"""Which libraries were made with a model."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from atri_cli.errors import AtriError
from atri_cli.library.model import as_it_is


def libraries_using(model: Path, pipeline_id: str, libraries: list[Path]) -> list[Path]:
    """Those of some libraries that need the model in a folder.

    Args:
        model: its folder.
        pipeline_id: of the model; empty if its card cannot be read.
        libraries: folders. One that cannot be read is passed over.
    """
    found = []
    for folder in libraries:
        with suppress(AtriError), as_it_is(folder) as store:
            if store is not None and (
                store.model_folder == model or store.pipeline_id == pipeline_id != ""
            ):
                found.append(folder)
    return found
