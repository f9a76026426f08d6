"""Checkpoints of a run: tensors in safetensors, facts in JSON; the last one is always whole.

`checkpoint.json` names the file of tensors and its SHA-256, and is renamed into place last. So a
kill or a full disk at any moment leaves the checkpoint before it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from atri_cli.errors import ModelError
from train.disk import RESUME, saving

FACTS = "checkpoint.json"
Facts = dict[str, Any]


def save_checkpoint(folder: Path, tensors: Mapping[str, Tensor], facts: Facts) -> None:
    """Replace the checkpoint in `folder`, which is made.

    Args:
        folder: of the run.
        tensors: by name, on any device.
        facts: what JSON can hold; `file` and `sha256` are added.

    Raises:
        AtriError: it cannot be written; the one before is still there.
    """
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    file = f"checkpoint-{digest[:16]}.safetensors"
    with saving("the checkpoint", folder, f"The checkpoint before it is whole. {RESUME}"):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / file, data)
        _write(folder / FACTS, json.dumps({**facts, "file": file, "sha256": digest}).encode())
    for old in folder.glob("checkpoint-*"):
        if old.name != file:
            with suppress(OSError):  # nothing names it
                old.unlink()


def load_checkpoint(folder: Path) -> tuple[dict[str, Tensor], Facts] | None:
    """Tensors and facts of the checkpoint in `folder`; None when there is none.

    Raises:
        ModelError: it is damaged, or something else lies in its place.
    """
    path = folder / FACTS
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        data = (folder / Path(facts["file"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise ValueError("its tensors are not those that it was saved with")
        return load(data), facts
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise damaged(folder, f"{error}.") from error


def damaged(folder: Path, why: str) -> ModelError:
    """The error of a checkpoint that cannot be used."""
    return ModelError(
        f"The checkpoint in `{folder}` is damaged.",
        why=why,
        hint="Delete it to begin anew, or give another folder with `--out`.",
    )


def fill(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Load a module's trained parameters and buffers (`state_of`) into it.

    Raises:
        ModelError: a tensor is missing, has another shape, or belongs to nothing; names it.
    """
    wanted = state_of(module)
    for name in (*wanted, *tensors):
        if name not in tensors:
            problem = f"lacks `{name}`"
        elif name not in wanted:
            problem = f"holds `{name}`, which this model does not have"
        elif wanted[name].shape != tensors[name].shape:
            shapes = (tuple(tensors[name].shape), tuple(wanted[name].shape))
            problem = f"has `{name}` with shape {shapes[0]}, and this model {shapes[1]}"
        else:
            continue
        raise ModelError(
            f"The checkpoint in `{folder}` is of another architecture: it {problem}.",
            hint="Continue it with the model it began with, or give another folder with `--out`.",
        )
    for name, tensor in wanted.items():
        tensor.data.copy_(tensors[name])


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Trained parameters and saved buffers: what a run changes."""
    frozen = {name for name, one in module.named_parameters() if not one.requires_grad}
    state = module.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if name not in frozen}


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
