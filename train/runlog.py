"""The log of a run: one JSON object a line, and TensorBoard's files when asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atri_cli.errors import RuntimeMissingError
from train.disk import RESUME, saving

METRICS = "metrics.jsonl"


class RunLog:
    """Appends to `metrics.jsonl` in a folder.

    Args:
        folder: of the run; made by the first entry.
        step: a run goes on after this step: what the log has of later ones is taken out.
        tensorboard: whether to write the same numbers for TensorBoard, in `tensorboard/`.

    Raises:
        RuntimeMissingError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        self.path = folder / METRICS
        self._board = _board(folder / "tensorboard", step) if tensorboard else None
        if self.path.exists():
            self._keep(step)

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """One entry, on disk when this returns.

        Raises:
            AtriError: the disk is full.
        """
        with saving("the log", self.path.parent, RESUME):
            self._add({"step": step, **numbers})
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)

    def _add(self, entry: Mapping[str, float]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _keep(self, step: int) -> None:
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        part = self.path.with_suffix(".part")
        part.write_text("".join(f"{one}\n" for one in lines if _until(one, step)), encoding="utf-8")
        os.replace(part, self.path)


def _until(line: str, step: int) -> bool:
    """Whether a line is whole and not of a later step."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RuntimeMissingError(
            "TensorBoard is not installed.",
            why=f"{error}.",
            hint="Type `pip install tensorboard`, or do without: `metrics.jsonl` has the same.",
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
