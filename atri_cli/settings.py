"""Settings: options > `ATRI_*` environment > config.toml > defaults.

`ATRI_HOME` puts configuration, libraries and models under one folder; without it they are where
the system keeps such things (platformdirs). config.toml holds the same names as the options:

    library = "field"        # a name, or the path of a folder
    model = "atri-mini"      # a name, or the path of a folder
    device = "cpu"           # cpu, cuda or auto
    jobs = 4                 # files read at the same time
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atri_cli.errors import UsageError

DEVICES = ("cpu", "cuda", "auto")
DEFAULTS: dict[str, Any] = {
    "library": "default",
    "model": "atri-mini",
    "device": "cpu",
    "jobs": None,
}
CONFIG_FILE = "config.toml"
OPTION, DEFAULT, OF_MODEL = "option", "default", "model"


@dataclass(frozen=True)
class Settings:
    """What holds for this run, and where each value came from.

    Args:
        library_name: name of the library, or of its folder.
        library_dir: folder of the library; it need not exist.
        models_dir: the user's models, a folder each.
        cache_dir: what can be made again; it may be deleted at any time.
        config_file: where config.toml is looked for.
        model: name or folder of a model.
        device: `cpu`, `cuda` or `auto`.
        jobs: files read at the same time; None is one for each core.
        origin: for each setting `option`, the name of an `ATRI_*` variable, the path of
            config.toml, or `default`; for the library also `model`: it is named after that.
    """

    library_name: str
    library_dir: Path
    models_dir: Path
    cache_dir: Path
    config_file: Path
    model: str
    device: str
    jobs: int | None
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def chosen_model(self) -> str | None:
        """The model, when asked for by option or environment; None leaves it to the library."""
        asked = self.origin["model"] in (OPTION, "ATRI_MODEL")
        return self.model if asked else None


def load_settings(
    *,
    library: str | None = None,
    model: str | None = None,
    device: str | None = None,
    jobs: int | None = None,
    side_by_side: bool = True,
) -> Settings:
    """Settings from the options given (None is "not given"), environment, config.toml, defaults.

    When `model` is given, it is not atri-mini, and nothing names a library, then the library is
    that of this model: `default@NAME`. Not so when `side_by_side` is False.

    Raises:
        UsageError: a value is wrong; it names the option, variable or file and what is allowed.
    """
    data, config_dir, cache, home = _folders()
    config_file = config_dir / CONFIG_FILE
    options = {"library": library, "model": model, "device": device, "jobs": jobs}
    values, origin = _resolve(options, os.environ, read_config(config_file), str(config_file))
    origin["folders"] = home
    if side_by_side and origin["model"] == OPTION and origin["library"] == DEFAULT:
        of_model = library_of_model(values["library"], values["model"])
        if of_model != values["library"]:
            values["library"], origin["library"] = of_model, OF_MODEL
    name, folder = _library(values["library"], data / "libraries")
    return Settings(
        library_name=name,
        library_dir=folder,
        models_dir=data / "models",
        cache_dir=cache,
        config_file=config_file,
        model=values["model"],
        device=values["device"],
        jobs=values["jobs"],
        origin=origin,
    )


def library_of_model(library: str, model: str) -> str:
    """Name of the library that holds the sounds of `library` in a model, a name or a folder."""
    name = Path(os.path.abspath(os.path.expanduser(model))).name
    return library if name in ("", DEFAULTS["model"]) else beside(library, name)


def beside(library: str, model: str) -> str:
    """Name of the library that stands beside another one and has its sounds in a model."""
    return f"{library}@{model}"


def read_config(path: Path) -> dict[str, Any]:
    """The contents of config.toml; empty when there is none.

    Raises:
        UsageError: it cannot be read, is not TOML, or has a key that does not exist.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"Cannot read `{path}`.", why=f"{error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"`{path}` is not valid TOML.", why=f"{error}.") from error
    for key in data:
        if key not in DEFAULTS:
            near = difflib.get_close_matches(key, DEFAULTS, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(DEFAULTS)}."
            raise UsageError(f"`{path}` has an unknown setting `{key}`.", hint=hint)
    return data


def _resolve(
    options: Mapping[str, Any], environ: Mapping[str, str], config: Mapping[str, Any], file: str
) -> tuple[dict[str, Any], dict[str, str]]:
    values, origin = {}, {}
    for key, default in DEFAULTS.items():
        variable = f"ATRI_{key.upper()}"
        if options[key] is not None:
            values[key] = _checked(key, options[key], f"the option `--{key}`")
            origin[key] = OPTION
        elif environ.get(variable):
            values[key] = _checked(key, environ[variable], f"the variable `{variable}`")
            origin[key] = variable
        elif key in config:
            values[key] = _checked(key, config[key], f"`{key}` in `{file}`", typed=True)
            origin[key] = file
        else:
            values[key], origin[key] = default, DEFAULT
    return values, origin


def _checked(key: str, value: Any, where: str, typed: bool = False) -> Any:
    if key == "jobs":
        return _jobs(value, where, typed)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _wrong(where, value, "a text that is not empty")
    if key == "device" and value not in DEVICES:
        raise _wrong(where, value, "one of " + ", ".join(f"`{name}`" for name in DEVICES))
    return value


def _jobs(value: Any, where: str, typed: bool) -> int:
    try:
        number = value if typed else int(value)
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise _wrong(where, value, "a whole number from 1")
    return number


def _wrong(where: str, value: Any, allowed: str) -> UsageError:
    return UsageError(f"{where[0].upper()}{where[1:]} is {value!r}.", hint=f"It must be {allowed}.")


def _library(value: str, libraries: Path) -> tuple[str, Path]:
    """Name and folder: a value with a separator, `~` or only dots is a path."""
    is_path = os.sep in value or "/" in value or value.startswith("~") or not value.strip(".")
    if not is_path:
        return value, libraries / value
    folder = Path(os.path.abspath(os.path.expanduser(value)))
    return folder.name or str(folder), folder


def _folders() -> tuple[Path, Path, Path, str]:
    """Folders of data, of configuration and of caches, and where they come from."""
    home = os.environ.get("ATRI_HOME")
    if home:
        folder = Path(os.path.abspath(os.path.expanduser(home)))
        return folder, folder, folder / "cache", "ATRI_HOME"
    import platformdirs

    data = platformdirs.user_data_path("atri", appauthor=False)
    config = platformdirs.user_config_path("atri", appauthor=False)
    return data, config, platformdirs.user_cache_path("atri", appauthor=False), DEFAULT
