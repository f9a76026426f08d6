"""`atri` and `python -m atri_cli`: the one place where errors become messages."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from atri_cli.errors import AtriError
from atri_cli.output import hang_up, say

INTERRUPTED = 130


def program() -> NoReturn:
    """The process `atri`: `main`, and an end without tearing the interpreter down.

    That is 25 ms of a search, most of it for memory that the system takes back anyway.
    """
    try:
        main()
    except SystemExit as end:
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 1)


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 3 nothing found,
    4 a limit of `atri consistency` is broken, 130 Ctrl-C.

    With `ATRI_DEBUG=1` errors keep their traceback.
    """
    _open_missing_streams()
    try:
        sys.exit(_run())
    except BrokenPipeError:
        hang_up()


def _run() -> int:
    from atri_cli.app import app

    try:
        code = _exit_code(app)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except AtriError as error:
        if _debugging():
            raise
        show_error(error)
        return error.exit_code
    except Exception as error:
        if _debugging():
            raise
        _apologise(error)
        return 1


def _exit_code(app: object) -> int:
    """Run the app, which always exits."""
    assert callable(app)
    try:
        app(prog_name="atri")
    except SystemExit as end:
        if isinstance(end.code, str):
            say(end.code)
            return 1
        return end.code or 0
    return 0


def show_error(error: AtriError) -> None:
    """What happened, why, and what to type next, on stderr."""
    say(f"Error: {error.what}")
    if error.why:
        say(f"Why: {error.why}")
    if error.hint:
        say(f"Hint: {error.hint}")


def _apologise(error: Exception) -> None:
    say(f"Error: atri stopped at something unforeseen: {type(error).__name__}: {error}")
    say("Hint: Type the same command with `ATRI_DEBUG=1` before it for details to report.")


def _debugging() -> bool:
    return os.environ.get("ATRI_DEBUG", "") not in ("", "0")


def _open_missing_streams() -> None:
    """A closed stdout or stderr (`>&-`) is None in Python; and no text may fail to be printed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    program()
