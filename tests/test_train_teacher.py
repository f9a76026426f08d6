"""The published checkpoint's names, on weights of our own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train_tools import publish, random_net
from train.teacher import load_teacher
from train.towers.audio import BLOCKS, AudioNet

# Names as published, one of each kind: a change of `publish` alone would not be noticed.
PUBLISHED = (
    "features.0.0.weight",
    "features.0.1.running_mean",
    "features.1.block.0.0.weight",
    "features.1.block.1.1.bias",
    "features.4.block.2.conc_se_layers.0.fc1.weight",
    "features.4.block.3.0.weight",
    "features.15.block.2.conc_se_layers.0.fc2.bias",
    "features.16.0.weight",
    "classifier.2.weight",
    "classifier.5.bias",
)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return publish(random_net(0))


def save(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "teacher.pt")
    return folder / "teacher.pt"


def test_names_are_the_published_ones(state: dict[str, Tensor]) -> None:
    assert set(PUBLISHED) <= set(state)
    assert len(state) == len(AudioNet().state_dict())
    assert len(BLOCKS) == 15


def test_the_loaded_teacher_is_the_network_that_was_saved(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    net, mel = random_net(0), torch.randn(2, 1, 128, 96)
    found = load_teacher(save(state, tmp_path))
    for ours, theirs in zip(found(mel), net(mel), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not found.training
    assert not any(weight.requires_grad for weight in found.parameters())


def test_a_missing_key_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    del state["features.4.block.2.conc_se_layers.0.fc1.weight"]
    with pytest.raises(RuntimeError, match="Missing key"):
        load_teacher(save(state, tmp_path))


def test_another_shape_is_refused(state: dict[str, Tensor], tmp_path: Path) -> None:
    state["classifier.5.weight"] = torch.zeros(10, 512)
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_teacher(save(state, tmp_path))


def test_an_absent_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_teacher(tmp_path / "none.pt")
