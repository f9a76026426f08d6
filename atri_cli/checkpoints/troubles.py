"""What can go wrong between a server and the disk, in the user's words."""

from __future__ import annotations

import http
import socket
import ssl
import urllib.error
from urllib.parse import urlsplit

from atri_cli.disk import AGAIN
from atri_cli.errors import AtriError
from atri_cli.wording import size

ELSEWHERE = "`--from DIR` takes the files from a folder, `--from URL` from a mirror."
_LATER = (408, 425, 429, 500, 502, 503, 504)  # answers that another try may change


class Passing(Exception):
    """A trouble that may be over at the next try; else `error` is what the user is told."""

    def __init__(self, error: AtriError) -> None:
        super().__init__(str(error))
        self.error = error


def refused(url: str, code: int, reason: str) -> AtriError | Passing:
    """The server answered, but not with the file."""
    why = f"The server answered {code} {reason}.".replace("..", ".")
    if code in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        return AtriError(
            f"`{url}` does not exist (any more).",
            why=why,
            hint=f"A newer atri may know where it went. {ELSEWHERE}",
        )
    if code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return AtriError(
            f"You may not have `{url}`.",
            why=why,
            hint=f"Download it with a browser, where you may have to sign in; then {ELSEWHERE}",
        )
    error = AtriError(f"Cannot fetch `{url}`.", why=why, hint=f"Later perhaps. {AGAIN}")
    again = (http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, http.HTTPStatus.PARTIAL_CONTENT)
    return Passing(error) if code in (*_LATER, *again) else error


def no_answer(url: str, error: Exception) -> AtriError | Passing:
    """The server was not reached, or broke off before it answered."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    host = urlsplit(url).netloc
    if isinstance(cause, socket.gaierror):
        why, passing = f"The name `{host}` is not known here: {cause.strerror}.", False
    elif isinstance(cause, ConnectionRefusedError):
        why, passing = f"Nothing listens at `{host}`.", False
    elif isinstance(cause, TimeoutError):
        why, passing = f"`{host}` did not answer in time.", True
    elif isinstance(cause, ssl.SSLCertVerificationError):
        why, passing = f"The certificate of `{host}` is not trusted: {cause.verify_message}.", False
    else:
        why, passing = f"{type(cause).__name__}: {cause}".rstrip(".: ") + ".", True
    told = AtriError(
        f"Cannot reach `{url}`.", why=why, hint=f"Look at the network. {AGAIN} {ELSEWHERE}"
    )
    return Passing(told) if passing else told


def cut_off(url: str, done: int, total: int, error: Exception | None) -> Passing:
    """The connection broke in the middle, or no byte came for long."""
    slow = isinstance(error, TimeoutError)
    cause = "No more came for too long" if slow else "The connection broke"
    much = f"{size(done)} of {size(total)}" if total else size(done)
    return Passing(
        AtriError(f"`{url}` came only in part.", why=f"{cause} after {much}.", hint=AGAIN)
    )


def not_a_file(url: str) -> AtriError:
    """A web page came, such as the sign-in page of a hotel's network."""
    return AtriError(
        f"`{url}` gave a web page instead of the file.",
        why="A network that wants you to sign in does that, or a server that asks for consent.",
        hint=f"Open the address in a browser. {ELSEWHERE}",
    )


def bad_redirect(url: str, target: str) -> AtriError:
    """From an encrypted connection to one that anybody on the way can change."""
    return AtriError(
        f"`{url}` leads to `{target}`.",
        why="That is not encrypted, and is not followed.",
        hint=ELSEWHERE,
    )
