"""Playing a place in a sound with whatever player the system has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from atri_cli.errors import RuntimeMissingError
from atri_cli.library.types import SearchHit

Arguments = Callable[[str, float, float], list[str]]

# Name, and its arguments for a file, a start and a length in seconds. The last three cannot start
# in the middle and play from the beginning.
PLAYERS: dict[str, Arguments] = {
    "ffplay": lambda file, start, length: [
        *("-nodisp", "-autoexit", "-loglevel", "error"),
        *("-ss", f"{start:.3f}", "-t", f"{length:.3f}", file),
    ],
    "mpv": lambda file, start, length: [
        *("--no-video", "--really-quiet", f"--start={start:.3f}", f"--length={length:.3f}", file),
    ],
    "play": lambda file, start, length: ["-q", file, "trim", f"{start:.3f}", f"{length:.3f}"],
    "afplay": lambda file, start, length: ["-t", f"{start + length:.3f}", file],
    "paplay": lambda file, _start, _length: [file],
    "aplay": lambda file, _start, _length: ["-q", file],
}


@dataclass(frozen=True)
class Player:
    """A program that plays sounds."""

    name: str
    program: str

    def play(self, hit: SearchHit) -> None:
        """Play the best place of a hit and wait for its end.

        Raises:
            RuntimeMissingError: the player fails, for example because there is no sound card.
        """
        words = PLAYERS[self.name](str(hit.path), hit.start, hit.end - hit.start)
        try:
            done = subprocess.run(
                [self.program, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
            )
            code, why = done.returncode, done.stderr.decode("utf-8", "replace").strip()
        except OSError as error:
            code, why = 1, str(error)
        if code:
            raise RuntimeMissingError(
                f"`{self.name}` could not play `{hit.path}`.",
                why=why[-500:],
                hint="Take the path from `atri search --paths` and open it with another player.",
            )


def find_player() -> Player:
    """The first player that is installed.

    Raises:
        RuntimeMissingError: there is none.
    """
    for name in PLAYERS:
        program = shutil.which(name)
        if program:
            return Player(name, program)
    raise RuntimeMissingError(
        "No player was found.",
        why=f"Looked for {', '.join(PLAYERS)}.",
        hint="Install FFmpeg or mpv, or search without `--play`.",
    )
