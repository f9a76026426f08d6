"""Real sounds for the demonstration: small Debian packages, got with the system's own client."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from atri_cli.audio.formats import is_sound

# About 60 MB to download, 750 sounds: animals, instruments, doors, footsteps, weapons, ambiences.
# None of them holds a recording that is kept for evaluation.
PACKAGES = (
    "scorched3d-data",
    "minetest-data",
    "minetest-mod-homedecor",
    "micropolis-data",
    "lmms-common",
    "etw-data",
    "sound-icons",
    "triplea",
)
NEEDED = ("apt-get", "dpkg-deb")


class NoSoundsError(Exception):
    """There are no sounds to show, and why."""


def fetch_sounds(folder: Path) -> Iterator[str]:
    """Bring what is missing below `folder`, a folder for each package; yields what to tell.

    Raises:
        NoSoundsError: the system has no apt, or none of the packages can be had.
    """
    missing = [name for name in PACKAGES if not (folder / name).is_dir()]
    if not missing:
        return
    for program in NEEDED:
        if shutil.which(program) is None:
            raise NoSoundsError(f"`{program}` is not on this system.")
    folder.mkdir(parents=True, exist_ok=True)
    yield f"Fetching sounds from {len(missing)} Debian packages …"
    failed = {name: _fetch(name, folder) for name in missing}
    failed = {name: why for name, why in failed.items() if why}
    if failed and os.geteuid() == 0:  # a new system has no list of packages yet
        _run(["apt-get", "update"], folder)
        failed = {name: why for name in failed if (why := _fetch(name, folder))}
    for name, why in failed.items():
        yield f"Without {name}: {why}"
    if len(failed) == len(PACKAGES):
        raise NoSoundsError("apt-get gave none of the packages; try `sudo apt-get update`.")


def _fetch(package: str, folder: Path) -> str:
    """Put a package's sounds and its copyright file into a folder of its name.

    Returns:
        Why it failed; empty when it is there.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
        there = Path(scratch)
        if why := _run(["apt-get", "download", package], there):
            return why
        (archive,) = there.glob("*.deb")
        if why := _run(["dpkg-deb", "-x", str(archive), "unpacked"], there):
            return why
        _keep(there / "unpacked" / "usr" / "share", package, there / "kept")
        (there / "kept").rename(folder / package)
    return ""


def _keep(share: Path, package: str, target: Path) -> None:
    wanted = [path for path in share.rglob("*") if path.is_file() and is_sound(path)]
    for path in [*wanted, share / "doc" / package / "copyright"]:
        if path.is_file():
            kept = target / path.relative_to(share)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)


def _run(command: list[str], folder: Path) -> str:
    """The last line of complaint of a command that failed; empty when it did not."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"`{command[0]}` failed"])[-1]
