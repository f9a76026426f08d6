"""Tiny towers to ONNX: they compute the same, whatever the batch and length."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.checks import Feed
from export.compact import PackedTable, pack_embedding
from export.convert import (
    Agreement,
    Agreements,
    DisagreementError,
    compare,
    export_audio,
    export_text,
    open_session,
    require_agreement,
    vectors,
)
from export.precision import lower
from tests.train_tools import four_bit
from train.model import AudioTower, ModelShape, TextTower
from train.phrasetokens import pad
from train.towers import audio as audio_module
from train.towers.mel import SAMPLE_RATE
from train.towers.text import TextShape

TEXT = TextShape(vocabulary=40, width=64, layers=2, heads=4, inner=128, positions=32, dim=8)
SHAPE = ModelShape(1.0, 1.0, 384 + 512 + 527, head_hidden=8, text=TEXT, dim=8)
MAX_TOKENS = 32
TOKENS = [[0, 5, 9, 2], [0, 2], [0, *range(4, 30), 2], [0, 7, 2]]


@pytest.fixture(scope="module")
def audio_tower() -> AudioTower:
    """Three stages in place of sixteen."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audio_module, "BLOCKS", audio_module.BLOCKS[3:4])
        patch.setattr(audio_module, "TAIL", 1)
        patch.setattr(audio_module, "STEM", audio_module.BLOCKS[0].outer)
        tower = AudioTower(SHAPE)
    for weight in tower.net.parameters():
        weight.data.mul_(2.0)
    return tower.eval()


def new_text_tower() -> TextTower:
    torch.manual_seed(1)
    tower = TextTower(TEXT)
    table = four_bit(np.random.default_rng(0), TEXT.vocabulary, TEXT.width)
    tower.tokens.weight.data = torch.from_numpy(table)
    return tower.eval()


@pytest.fixture
def text_tower() -> TextTower:
    return new_text_tower()


@pytest.fixture(scope="module")
def audio_file(audio_tower: AudioTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "audio.onnx"
    export_audio(audio_tower, path, SAMPLE_RATE)
    return path


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text tower with its table packed."""
    tower, path = new_text_tower(), tmp_path_factory.mktemp("text") / "text.onnx"
    pack_embedding(tower)
    export_text(tower, path, MAX_TOKENS)
    return path


def run_onnx(path: Path, feeds: dict[str, Tensor]) -> NDArray[np.float32]:
    given = {name: value.numpy() for name, value in feeds.items()}
    found: NDArray[np.float32] = open_session(path).run(["embedding"], given)[0]
    return found


def against(path: Path, tower: nn.Module, feeds: list[dict[str, Tensor]]) -> tuple[float, float]:
    """Largest difference and smallest cosine."""
    named = [Feed(str(number), feed) for number, feed in enumerate(feeds)]
    found = compare(path, vectors(tower, named), named)
    assert len(found.items) == len(feeds)
    return found.difference, found.cosine


def size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))


def waveforms(*shapes: tuple[int, float]) -> list[dict[str, Tensor]]:
    """Noise of these batch sizes and seconds."""
    random = torch.Generator().manual_seed(2)
    sizes = [(batch, int(seconds * SAMPLE_RATE)) for batch, seconds in shapes]
    return [{"waveform": 0.1 * torch.randn(size, generator=random)} for size in sizes]


def text_feeds() -> list[dict[str, Tensor]]:
    """Each text alone, then all of them padded."""
    names = ("input_ids", "attention_mask")
    batches = [*([row] for row in TOKENS), TOKENS]
    return [dict(zip(names, pad(batch), strict=True)) for batch in batches]


def test_audio_agrees_whatever_batch_and_length(audio_tower: AudioTower, audio_file: Path) -> None:
    feeds = waveforms((1, 1.0), (2, 2.43), (3, 1.00003), (1, 5.0), (5, 1.7))
    worst, cosine = against(audio_file, audio_tower, feeds)
    assert worst <= 1e-4
    assert cosine > 1 - 1e-6


def test_audio_rows_do_not_depend_on_their_batch(audio_file: Path) -> None:
    (feed,) = waveforms((4, 1.5))
    batch = feed["waveform"]
    together = run_onnx(audio_file, {"waveform": batch})
    for place, row in enumerate(batch):
        alone = run_onnx(audio_file, {"waveform": row[None]})
        np.testing.assert_allclose(together[place], alone[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-4


def test_text_agrees_whatever_batch_and_length(text_tower: TextTower, text_file: Path) -> None:
    worst, cosine = against(text_file, text_tower, text_feeds())
    assert worst <= 1e-4
    assert cosine > 1 - 1e-6


def test_a_padded_batch_is_its_texts_alone(text_file: Path) -> None:
    *alone, together = [run_onnx(text_file, feed) for feed in text_feeds()]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-2


def test_inputs_and_output_are_those_of_the_contract(audio_file: Path, text_file: Path) -> None:
    for path, wanted in ((audio_file, ["waveform"]), (text_file, ["input_ids", "attention_mask"])):
        graph = onnx.load(path).graph
        assert [value.name for value in graph.input] == wanted
        assert [value.name for value in graph.output] == ["embedding"]


# The token table in 4 bits


def test_a_four_bit_table_is_packed_exactly() -> None:
    table = four_bit(np.random.default_rng(3), 10, 96)
    table[4] = 0.0
    packed = PackedTable(torch.from_numpy(table))
    ids = torch.tensor([[3, 4, 9], [0, 0, 1]])
    np.testing.assert_allclose(packed(ids).numpy(), table[ids.numpy()], atol=1e-6)
    assert packed.packed.shape == (10, 48)
    assert packed.packed.dtype == torch.uint8


def test_packing_a_tower_changes_no_vector(text_tower: TextTower) -> None:
    ids, mask = pad(TOKENS)
    with torch.no_grad():
        before = text_tower(ids, mask)
        pack_embedding(text_tower)
        torch.testing.assert_close(text_tower(ids, mask), before, atol=1e-5, rtol=0)


def test_a_table_that_was_trained_is_refused(text_tower: TextTower) -> None:
    text_tower.tokens.weight.data += 0.05 * torch.randn_like(text_tower.tokens.weight)
    embed = text_tower.embed
    with pytest.raises(ValueError, match="not 4-bit"):
        pack_embedding(text_tower)
    assert text_tower.embed == embed


def test_the_packed_table_is_what_the_file_holds(text_file: Path) -> None:
    tensors = onnx.load(text_file).graph.initializer
    sizes = {tensor.data_type: 0 for tensor in tensors}
    for tensor in tensors:
        sizes[tensor.data_type] += math.prod(tensor.dims)
    assert sizes[onnx.TensorProto.UINT8] == TEXT.vocabulary * TEXT.width // 2
    floats = [t for t in tensors if t.data_type == onnx.TensorProto.FLOAT]
    assert not [t.name for t in floats if list(t.dims) == [TEXT.vocabulary, TEXT.width]]


# Precision


def test_large_weights_become_float16_but_those_of_the_front_end(
    audio_tower: AudioTower, audio_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "audio.onnx"
    lower(audio_file, path, "fp16")
    graph = onnx.load(path, load_external_data=False).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    halved = {name for name, kind in kinds.items() if kind == onnx.TensorProto.FLOAT16}
    front = {name for name in kinds if "mel." in name}
    assert halved
    assert front
    assert not halved & front
    assert size(path) < 0.7 * size(audio_file)
    worst, cosine = against(path, audio_tower, waveforms((2, 1.3)))
    assert worst <= 5e-3
    assert cosine >= 0.9999


def test_eight_bits_stay_near(text_tower: TextTower, text_file: Path, tmp_path: Path) -> None:
    lower(text_file, tmp_path / "text.onnx", "int8")
    worst, cosine = against(tmp_path / "text.onnx", text_tower, text_feeds())
    assert 1e-5 < worst <= 0.1
    assert cosine >= 0.98
    assert size(tmp_path / "text.onnx") < size(text_file)


# Agreement


def agreement(difference: float, cosine: float) -> Agreements:
    good = Agreement("good", 0.0, 1.0)
    return Agreements((good, Agreement("input", difference, cosine)))


def test_another_tower_is_found_out(audio_file: Path) -> None:
    class Other(nn.Module):
        def forward(self, waveform: Tensor) -> Tensor:
            return torch.eye(8)[torch.arange(len(waveform))]

    found = agreement(*against(audio_file, Other(), waveforms((2, 1.0))))
    with pytest.raises(DisagreementError, match=r"audio\.onnx: ONNX differs from torch"):
        require_agreement("audio.onnx", found, 5e-3, 0.9999)


@pytest.mark.parametrize("found", [(1e-2, 1.0), (0.0, 0.99), (math.nan, 1.0), (0.0, math.nan)])
def test_either_measure_is_enough_to_refuse(found: tuple[float, float]) -> None:
    require_agreement("x", agreement(1e-3, 0.9999), 1e-3, 0.999)
    with pytest.raises(DisagreementError, match="worst on `input`"):
        require_agreement("x", agreement(*found), 1e-3, 0.999)
