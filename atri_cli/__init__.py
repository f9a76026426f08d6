"""atri: find recordings in your own sound folders from a description in any language.

The Python API, imported when first used:

    from atri_cli import Library

    with Library.open() as library:
        library.index(["~/sounds"])
        for hit in library.search("chien qui aboie").hits:
            print(hit.path, hit.start, hit.score)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atri_cli.errors import AtriError as AtriError
    from atri_cli.library.library import Library as Library
    from atri_cli.library.types import Filters as Filters
    from atri_cli.library.types import IndexReport as IndexReport
    from atri_cli.library.types import QueryPart as QueryPart
    from atri_cli.library.types import SearchHit as SearchHit
    from atri_cli.library.types import SearchResult as SearchResult

__version__ = "0.1.0"

# ONNX Runtime from 1.29 on reports its use to its maker, from the moment it is imported. What is
# done with atri stays on the machine, so the runtime must find this before anything imports it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_HOMES = {
    "AtriError": "atri_cli.errors",
    "Library": "atri_cli.library.library",
    "Filters": "atri_cli.library.types",
    "IndexReport": "atri_cli.library.types",
    "QueryPart": "atri_cli.library.types",
    "SearchHit": "atri_cli.library.types",
    "SearchResult": "atri_cli.library.types",
}
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'atri_cli' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
