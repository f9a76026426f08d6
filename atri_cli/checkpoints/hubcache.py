"""Files that other programs fetched from the Hugging Face hub already, in its cache's layout.

HUB/models--OWNER--NAME/refs/main              the commit that `main` meant
HUB/models--OWNER--NAME/snapshots/COMMIT/FILE  usually a link to blobs/DIGEST
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")
_YES = {"1", "ON", "YES", "TRUE"}


def offline() -> str:
    """The variable that forbids requests, or nothing."""
    for name in ("ATRI_OFFLINE", "HF_HUB_OFFLINE"):
        if os.environ.get(name, "").upper() in _YES:
            return name
    return ""


def hub_folder() -> Path:
    """The hub's cache, where its own library looks for it too."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(caches).expanduser() / "huggingface" / "hub"


def find_cached(repository: str, revision: str, path: str) -> Path | None:
    """A file of a repository in the cache, or None."""
    folder = hub_folder() / f"models--{repository.replace('/', '--')}"
    try:
        commit = (folder / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        commit = revision
    if not re.fullmatch(r"[\w.-]+", commit):
        return None
    found = folder / "snapshots" / commit / path
    return found if found.is_file() else None


def blob_digest(cached: Path) -> str:
    """SHA-256 that a cached file should have: the name of a large file's blob; else empty."""
    name = cached.resolve().name
    return name if _SHA256.fullmatch(name) else ""
