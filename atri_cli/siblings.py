"""The packages that are installed beside atri_cli: `train` and `export`.

Their names are common. `python -m atri_cli train` puts the current folder first on the module
path, so a plain `import train` there could run somebody's own train.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from atri_cli.errors import RuntimeMissingError

BESIDE = Path(__file__).resolve().parent.parent


def load_sibling(name: str) -> ModuleType:
    """Import the package `name` (or its module: `train.command`) from beside atri_cli.

    Afterwards `import train` anywhere in this process means this package. A module of that name
    from elsewhere is set aside first.

    Raises:
        RuntimeMissingError: it is not installed.
        ImportError: it needs a package that is missing.
    """
    package, _, module = name.partition(".")
    loaded = _load_package(package)
    return importlib.import_module(name) if module else loaded


def _load_package(name: str) -> ModuleType:
    source = BESIDE / name / "__init__.py"
    known = sys.modules.get(name)
    if known is not None and _is_from(known, source):
        return known
    spec = importlib.util.spec_from_file_location(
        name, source, submodule_search_locations=[str(source.parent)]
    )
    if not source.is_file() or spec is None or spec.loader is None:
        raise RuntimeMissingError(
            f"The package `{name}` is not installed beside atri.",
            why=f"There is no `{source.parent}`.",
            hint="Install atri again: `pip install --force-reinstall --no-deps atri-cli`.",
        )
    for other in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[other]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[name]
        raise
    return package


def _is_from(module: ModuleType, source: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == source
