"""Which folders a library remembers. A file belongs to one root: the outermost it lies in."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from atri_cli.errors import UsageError
from atri_cli.library.catalog import Catalog
from atri_cli.library.types import Root


def absolute(path: str | os.PathLike[str]) -> Path:
    """A path as the library keeps it: absolute, `~` expanded, links left as they are."""
    return Path(os.path.abspath(os.path.expanduser(path)))


def choose_roots(catalog: Catalog, folders: Sequence[str | os.PathLike[str]]) -> list[Root]:
    """The roots to index for the folders asked for; new ones are remembered.

    A folder inside a root means that root. A root inside a new one becomes part of it, files,
    segments and all. Without folders, all roots. Needs a transaction.

    Raises:
        UsageError: no folder is given or remembered, or one is not there or no folder.
    """
    chosen = {_root_of(catalog, absolute(folder)) for folder in folders}
    _join_nested(catalog)
    roots = catalog.roots()
    if not roots:
        raise UsageError(
            "No folder to index.", hint="Name one: `atri index DIR`. It is remembered from then on."
        )
    # One that is no longer listed was joined with another of the folders asked for.
    return [root for root in roots if not folders or root.id in chosen]


def _root_of(catalog: Catalog, folder: Path) -> int:
    roots = catalog.roots()
    for root in roots:
        if folder == root.path:  # also one that is away
            return root.id
    if not folder.exists():
        raise UsageError(f"There is no folder `{folder}`.")
    if not folder.is_dir():
        raise UsageError(
            f"`{folder}` is not a folder.", hint=f"Index the folder it is in: `{folder.parent}`."
        )
    real = os.path.realpath(folder)
    for root in roots:
        if _relative(real, os.path.realpath(root.path)) is not None:
            return root.id
    return catalog.add_root(folder)


def _join_nested(catalog: Catalog) -> None:
    for inner in catalog.roots():
        real = os.path.realpath(inner.path)
        for outer in catalog.roots():
            below = _relative(real, os.path.realpath(outer.path))
            # A root that is away keeps its own entry, lest its files seem deleted.
            if below and inner.online and outer.online:
                catalog.absorb_root(inner.id, outer.id, os.fsencode(below))
                break


def _relative(inner: str, outer: str) -> str | None:
    """The path of `inner` from `outer`, '/' separated, empty for itself; None when outside."""
    if inner == outer:
        return ""
    start = outer.rstrip(os.sep) + os.sep
    return inner[len(start) :].replace(os.sep, "/") if inner.startswith(start) else None


def find_root(catalog: Catalog, folder: str | os.PathLike[str]) -> Root:
    """The root of exactly this path.

    Raises:
        UsageError: the library has no such root.
    """
    path, roots = absolute(folder), catalog.roots()
    for root in roots:
        if root.path == path:
            return root
    names = [str(root.path) for root in roots]
    near = difflib.get_close_matches(str(path), names, n=1, cutoff=0.8)
    hint = f"Did you mean `{near[0]}`?" if near else "`atri roots` lists the folders."
    raise UsageError(f"The library has no folder `{path}`.", hint=hint)


def relocate_root(
    catalog: Catalog, old: str | os.PathLike[str], new: str | os.PathLike[str]
) -> Root:
    """Say that a root's files lie in another folder now. Needs a transaction.

    Raises:
        UsageError: no such root, or the new folder is not there, belongs to another root, or holds
            none of the files.
    """
    root, path = find_root(catalog, old), absolute(new)
    if not path.is_dir():
        raise UsageError(f"There is no folder `{path}`.")
    real = os.path.realpath(path)
    for other in catalog.roots():
        taken = os.path.realpath(other.path)
        if other.id != root.id and (_relative(real, taken), _relative(taken, real)) != (None, None):
            raise UsageError(
                f"`{path}` overlaps with `{other.path}`, which the library has too.",
                hint=f"Forget one of them first: `atri roots forget {other.path}`.",
            )
    names = [row.path for row in catalog.files([root.id]) if row.status == "ok"]
    # The next `index` would take what is not there for deleted.
    if names and not any(os.path.lexists(os.path.join(os.fsencode(path), name)) for name in names):
        raise UsageError(
            f"`{path}` holds none of the {len(names):,} sounds of `{root.path}`.",
            hint="Name the folder that holds them in the same subfolders, or index the new folder: "
            "a file that has moved is known by its content.",
        )
    catalog.set_root_path(root.id, path)
    return find_root(catalog, path)
