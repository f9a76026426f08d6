"""Freezing and gradient checkpointing over every tower there is."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from train.towers.audio import AudioNet
from train.towers.ced import Ced, CedShape
from train.towers.freezing import (
    Counts,
    blocks_of,
    checkpoint_blocks,
    count_parameters,
    freeze,
    train_mode,
)
from train.towers.heads import ProjectionHead
from train.towers.sonar import SonarShape, SonarText
from train.towers.text import TextNet, TextShape

torch.set_num_threads(1)

IDS = torch.arange(10).reshape(2, 5)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
Make = Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


def ced() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return Ced(CedShape(12, 3, 3)), (0.1 * torch.randn(2, 4000),)


def sonar() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return SonarText(SonarShape(40, 12, 3, 3, 20, 30)), (IDS, MASK)


def text() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    shape = TextShape(40, width=12, layers=3, heads=3, inner=20, positions=30, dim=8)
    return TextNet(shape), (IDS, MASK)


def audio() -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return AudioNet().eval(), (torch.randn(2, 1, 128, 64),)


TRANSFORMERS = [ced, sonar, text]
TOWERS = [*TRANSFORMERS, audio]
LAST = {
    ced: "norm.",
    sonar: "layer_norm.",
    text: "project.",
    audio: ("last.", "hidden.", "classes."),
}


def loss_of(tower: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    found = tower(*inputs)
    return (found[-1] if isinstance(found, tuple) else found).square().sum()


def gradients(tower: nn.Module, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    tower.zero_grad(set_to_none=True)
    loss_of(tower, inputs).backward()
    named = tower.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("make", TOWERS)
def test_all_and_none(make: Make) -> None:
    tower, _ = make()
    total = sum(parameter.numel() for parameter in tower.parameters())
    assert freeze(tower, "all") == Counts(0, total)
    assert freeze(tower, "none") == Counts(total, 0)
    assert count_parameters(tower) == Counts(total, 0)


@pytest.mark.parametrize("make", TOWERS)
@pytest.mark.parametrize("last", [0, 1, 3])
def test_the_last_blocks_and_what_follows_are_trained(make: Make, last: int) -> None:
    tower, _ = make()
    freeze(tower, last)
    blocks = blocks_of(tower)
    kept = {id(p) for block in blocks[len(blocks) - last :] for p in block.parameters()}
    for name, parameter in tower.named_parameters():
        expected = id(parameter) in kept or name.startswith(LAST[make])
        assert parameter.requires_grad == expected, name


@pytest.mark.parametrize("make", TOWERS)
def test_trained_parameters_get_the_gradient_they_get_unfrozen(make: Make) -> None:
    tower, inputs = make()
    whole = gradients(tower, inputs)
    freeze(tower, 1)
    part = gradients(tower, inputs)
    assert set(part) < set(whole)
    for name, gradient in part.items():
        torch.testing.assert_close(gradient, whole[name], msg=name)


def test_freezing_again_forgets_the_last_time() -> None:
    tower, _ = ced()
    freeze(tower, 3)
    assert freeze(tower, 1) == freeze(deepcopy(tower), 1)
    assert freeze(tower, 1).trained < freeze(tower, 2).trained


@pytest.mark.parametrize("how", [-1, 4])
def test_blocks_that_are_not_there(how: int) -> None:
    with pytest.raises(ValueError, match=f"{how} blocks of 3"):
        freeze(ced()[0], how)


def test_a_module_without_blocks() -> None:
    head = ProjectionHead(4, 3)
    with pytest.raises(ValueError, match="ProjectionHead has 0 lists of blocks"):
        freeze(head, 1)
    assert freeze(head, "none") == Counts(4 * 3 + 3 + 3 * 3 + 3, 0)


def test_shared_parameters_count_once() -> None:
    layer = nn.Linear(3, 3)
    assert count_parameters(nn.Sequential(layer, layer)) == Counts(12, 0)


def test_frozen_norms_keep_their_statistics() -> None:
    tower, inputs = audio()
    freeze(tower, 1)
    before = {name: value.clone() for name, value in tower.named_buffers()}
    train_mode(tower)
    tower(*inputs)
    moved = {n for n, v in tower.named_buffers() if not torch.equal(v, before[n])}
    assert moved
    assert all(name.startswith(("blocks.14.", "last.")) for name in moved)


@pytest.mark.parametrize("make", TOWERS)
@pytest.mark.parametrize("how", ["none", 1])
def test_checkpointing_gives_the_same_gradient(make: Make, how: int) -> None:
    tower, inputs = make()
    freeze(tower, how)
    plain = gradients(tower, inputs)
    names = set(tower.state_dict())
    checkpoint_blocks(tower)
    checkpoint_blocks(tower)
    assert set(tower.state_dict()) == names
    found = gradients(tower, inputs)
    assert found.keys() == plain.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, plain[name], rtol=0, atol=1e-6, msg=name)


def kept_bytes(tower: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Bytes that the graph keeps for the backward pass."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_of(tower, inputs)
    return sum(sizes.values())


@pytest.mark.parametrize("make", TRANSFORMERS)
def test_checkpointing_keeps_less(make: Make) -> None:
    tower, inputs = make()
    plain = kept_bytes(tower, inputs)
    checkpoint_blocks(tower)
    assert kept_bytes(tower, inputs) < 0.6 * plain


def test_each_block_runs_again_in_the_backward_pass() -> None:
    tower, inputs = sonar()
    runs: list[int] = []
    for number, block in enumerate(blocks_of(tower)):
        block.self_attn.register_forward_hook(lambda *_, at=number: runs.append(at))
    checkpoint_blocks(tower)
    with torch.no_grad():
        tower(*inputs)
    assert runs == [0, 1, 2]
    loss_of(tower, inputs).backward()
    assert runs == [0, 1, 2, 0, 1, 2, 2, 1, 0]


def test_a_head_gives_unit_vectors_of_the_two_layers() -> None:
    torch.manual_seed(0)
    head, pooled = ProjectionHead(6, 4).double(), torch.randn(3, 6, dtype=torch.float64)
    first, second = head.first, head.second
    hidden = (pooled @ first.weight.T + first.bias).clamp(min=0)
    plain = hidden @ second.weight.T + second.bias
    expected = plain / plain.square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(head(pooled), expected)
    assert ProjectionHead(768)(torch.randn(2, 768)).shape == (2, 1024)
