"""Checkpoints of others: read without running code, checked key by key, put into a module."""

from __future__ import annotations

import difflib
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from atri_cli.errors import ModelError

Module = TypeVar("Module", bound=nn.Module)
WRAPPERS = ("model", "state_dict")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by key of a `.safetensors` file or of a torch file, on the CPU.

    A torch file is read with `weights_only=True`: code in it is refused, not run. A dictionary
    under `model` or `state_dict` is unwrapped.

    Raises:
        ModelError: no such file, a damaged one, or one that holds anything but tensors.
    """
    if not path.is_file():
        raise ModelError(f"There is no checkpoint `{path}`.", hint="Check the path.")
    found = _load(path)
    for wrapper in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not found or not all(map(_is_weight, found.items())):
        raise ModelError(
            f"`{path}` is not a checkpoint.", why="It holds something else than named tensors."
        )
    return found


def _load(path: Path) -> object:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Mapped, so that the system may drop what is not in use; old files are no archives.
            return torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    # Both readers raise whatever the damaged bytes lead them to.
    except Exception as error:
        coded = isinstance(error, pickle.UnpicklingError)
        # torch's own words advise to run the code.
        why = "It is damaged, or holds more than tensors." if coded else _first_line(error)
        hint = "Download it again, from its official source."
        raise ModelError(f"`{path}` cannot be read as a checkpoint.", why=why, hint=hint) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def fill(module: Module, weights: Mapping[str, Tensor], path: Path) -> Module:
    """Give a module, which may be on the meta device, these weights in its own dtypes.

    The tensors themselves become its parameters where their dtype is right; nothing is copied.

    Raises:
        ModelError: a missing or extra key, a wrong shape, integers for floats; it names the key
            and, of a key under another name, the nearest. `path` is for the message.
    """
    expected = module.state_dict()
    name = type(module).__name__
    extra = [key for key in weights if key not in expected]
    if missing := [key for key in expected if key not in weights]:
        raise _wrong(f"`{path}` lacks {_named(missing)}.", name, _nearest(missing[0], extra))
    if extra:
        why = _nearest(extra[0], expected)
        raise _wrong(f"`{path}` has {_named(extra)}, unknown to {name}.", name, why)
    for key, own in expected.items():
        if weights[key].shape != own.shape or _kind(weights[key]) != _kind(own):
            what = f"`{key}` in `{path}` is {_kind(weights[key])}, not {_kind(own)}."
            raise _wrong(what, name)
    found = {key: weights[key].to(own.dtype) for key, own in expected.items()}
    module.load_state_dict(found, assign=True)
    return module


def _wrong(what: str, name: str, why: str = "") -> ModelError:
    return ModelError(what, why=why, hint=f"Give an official checkpoint of {name} of this size.")


def _named(keys: list[str]) -> str:
    return f"`{keys[0]}`" + (f" and {len(keys) - 1} other keys" if len(keys) > 1 else "")


def _nearest(key: str, valid: Iterable[str]) -> str:
    found = difflib.get_close_matches(key, valid, 1)
    return f"The nearest is `{found[0]}`." if found else ""


def _kind(tensor: Tensor) -> str:
    return f"{'float' if tensor.is_floating_point() else 'integer'} {list(tensor.shape)}"
