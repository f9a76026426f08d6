"""Dasheng against a direct computation in numpy, float64, and its ONNX graph against torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from export.checks import Feed
from export.convert import compare, export_audio, vectors
from tests.patch_tools import DASHENG_PATCH, Weights, noise, official, slow_mel, slow_tower
from train.towers.ced import CED_SHAPES, Ced
from train.towers.dasheng import DASHENG_SHAPES, Dasheng
from train.towers.freezing import blocks_of, count_parameters
from train.towers.layouts import fill
from train.towers.patches import UNUSED, WINDOW, TowerShape, window_starts

torch.set_num_threads(1)

SHAPE = TowerShape(width=12, heads=3, layers=2)
SHORTEST, LONGEST = 480, 161_279


def checkpoint() -> Weights:
    weights = official(SHAPE.width, SHAPE.layers, DASHENG_PATCH)
    return {key: value for key, value in weights.items() if not key.startswith(UNUSED)}


@pytest.fixture(scope="module")
def net() -> Dasheng:
    return fill(Dasheng(SHAPE), checkpoint(), Path("dasheng.pt")).eval().requires_grad_(False)


@pytest.mark.parametrize("samples", [SHORTEST, 5000, 8000])
def test_a_checkpoint_gives_what_numpy_computes(net: Dasheng, samples: int) -> None:
    waveform = noise(samples)
    expected = slow_tower(waveform.double().numpy(), checkpoint(), SHAPE.heads)
    np.testing.assert_allclose(net(waveform[None])[0].numpy(), expected, atol=2e-4)


def test_the_network_in_float64_is_exact() -> None:
    """From the mel on, so that what is left is not the float32 of the front end."""
    net = fill(Dasheng(SHAPE), checkpoint(), Path("dasheng.pt")).eval().double()
    waveform = noise(4000).double()
    net.mel.forward = lambda _: torch.from_numpy(slow_mel(waveform.numpy()))[None]  # type: ignore[method-assign]
    found = net(waveform[None])[0].detach().numpy()
    expected = slow_tower(waveform.numpy(), checkpoint(), SHAPE.heads)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_the_published_size() -> None:
    """A patch is 40 ms of all bands; but for that the keys are those of CED."""
    with torch.device("meta"):
        net = Dasheng(DASHENG_SHAPES["base"])
        ced = Ced(CED_SHAPES["base"])
    assert round(count_parameters(net).trained / 1e6, 1) == 85.4
    assert net.time_pos_embed.shape == (1, 768, 1, 252)
    assert net.freq_pos_embed.shape == (1, 768, 1, 1)
    assert net.patch_embed["proj"].weight.shape == (768, 1, 64, 4)
    assert net.state_dict().keys() == ced.state_dict().keys()
    assert len(blocks_of(net)) == 12


def test_a_clip_does_not_depend_on_its_batch(net: Dasheng) -> None:
    """A quiet clip keeps its own 120 dB beside a loud one."""
    clips = torch.stack([noise(16_000, seed) * 100.0 ** (1 - seed) for seed in range(4)])
    for clip, row in zip(clips, net(clips), strict=True):
        torch.testing.assert_close(net(clip[None])[0], row, rtol=0, atol=1e-5)


@pytest.mark.parametrize("samples", [1, SHORTEST - 1])
def test_a_short_clip_is_filled_with_zeros(net: Dasheng, samples: int) -> None:
    clip = noise(samples)[None]
    filled = torch.cat([clip, torch.zeros(1, SHORTEST - samples)], dim=1)
    assert torch.equal(net(clip), net(filled))


def test_a_clip_of_ten_seconds_and_a_bit_is_heard_in_one_go(net: Dasheng) -> None:
    clip = noise(LONGEST)[None]
    assert net.spectrogram(clip).shape[-1] == 1008
    assert torch.equal(net(clip), net.pool(net.spectrogram(clip)))


@pytest.mark.parametrize("samples", [LONGEST + 1, 400_000])
def test_a_long_clip_is_the_mean_of_its_windows(net: Dasheng, samples: int) -> None:
    clip = noise(samples)[None]
    parts = [net(clip[:, at : at + WINDOW]) for at in window_starts(samples)]
    torch.testing.assert_close(net(clip), torch.stack(parts).mean(0), rtol=0, atol=1e-6)


def test_training_reaches_every_weight() -> None:
    torch.manual_seed(0)
    net = Dasheng(SHAPE).train()
    net(noise(LONGEST)[None]).square().sum().backward()
    still = {name for name, value in net.named_parameters() if not value.grad.abs().sum() > 0}
    assert not still


def test_the_onnx_graph_gives_what_torch_gives(tmp_path: Path, net: Dasheng) -> None:
    path = tmp_path / "audio.onnx"
    export_audio(net, path, SHORTEST, LONGEST)
    lengths: list[tuple[int, int]] = [(1, LONGEST), (3, SHORTEST), (2, 80_000)]
    feeds = [
        Feed("", {"waveform": torch.stack([noise(samples, seed) for seed in range(rows)])})
        for rows, samples in lengths
    ]
    assert compare(path, vectors(net, feeds), feeds).difference < 2e-5
