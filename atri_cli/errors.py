"""Typed errors: what happened, why, and what to type next.

Raised deep in the library, shown once by `atri_cli.__main__`.
"""

from __future__ import annotations

from typing import ClassVar


class AtriError(Exception):
    """An error a user can act on.

    Args:
        what: one sentence: what happened.
        why: the cause, when it is not already plain from `what`.
        hint: what to do or type next; commands and paths in backticks.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.hint) if part)


class UsageError(AtriError):
    """The command line asks for something impossible or contradictory."""

    exit_code = 2


class NothingIndexedError(AtriError):
    """The library holds no searchable segment yet."""


class AudioError(AtriError):
    """A sound file cannot be read; `reason` is the short key used in summaries."""

    def __init__(self, what: str, *, reason: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why=why, hint=hint)
        self.reason = reason


class ModelError(AtriError):
    """A model folder is missing, damaged or unusable."""


class PipelineMismatchError(ModelError):
    """The library was made with another model than the one asked for."""


class RuntimeMissingError(AtriError):
    """A package or device that the command needs is not there."""


class LibraryError(AtriError):
    """The library's database cannot be opened, read or written."""


class LibraryBusyError(LibraryError):
    """Another process is writing to this library."""


class LibraryTooNewError(LibraryError):
    """The library was written by a newer version of atri."""
