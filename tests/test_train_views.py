"""Training views: reproducible, and sound as mel power can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.train_tools import clips
from train.data.augment import crop
from train.views import SILENCE, Views, draw, to_log, to_power


@given(st.lists(st.floats(-1.0, 3.0), min_size=1, max_size=20))
def test_power_and_log_undo_each_other(values: list[float]) -> None:
    mel = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(to_log(to_power(mel)), mel, atol=1e-6, rtol=1e-6)


def test_silence_has_no_power() -> None:
    silent = torch.full((2, 3), SILENCE, dtype=torch.float64)
    torch.testing.assert_close(to_power(silent), torch.zeros_like(silent), atol=1e-12, rtol=0)
    torch.testing.assert_close(to_log(torch.zeros_like(silent)), silent)


@pytest.mark.parametrize(("length", "wanted"), [(10, 4), (10, 10), (3, 10)])
def test_a_crop_has_the_length_and_loops(length: int, wanted: int) -> None:
    mel = np.arange(length, dtype=np.float16)[:, None].repeat(2, axis=1)
    start = crop(mel, wanted, None)
    assert start[:, 0].tolist() == [n % length for n in range(wanted)]
    places = {int(crop(mel, wanted, np.random.default_rng(seed))[0, 0]) for seed in range(60)}
    last = (length if wanted <= length else -(-wanted // length) * length) - wanted
    assert places == {n % length for n in range(last + 1)}


def test_a_batch_follows_from_seed_and_step() -> None:
    made = clips(5)
    views, same, other = Views(made, 3), Views(made, 3), Views(made, 4)
    views.batch(1, 4, 100)  # what was drawn before does not matter
    torch.testing.assert_close(views.batch(7, 4, 100), same.batch(7, 4, 100), atol=0, rtol=0)
    assert not torch.equal(views.batch(7, 4, 100), views.batch(8, 4, 100))
    assert not torch.equal(views.batch(7, 4, 100), other.batch(7, 4, 100))


def test_views_are_log_mels() -> None:
    batch = Views(clips(5), 0).batch(0, 16, 150)
    assert batch.shape == (16, 1, 128, 150)
    assert batch.dtype == torch.float32
    assert torch.isfinite(batch).all()
    assert float(batch.min()) >= SILENCE - 1e-5


def test_each_gives_one_view_of_every_clip_in_order() -> None:
    made = clips(4)
    found = Views(made, 0, mix=0.0).each(0, 200)[:, 0]
    for view, clip in zip(found, made, strict=True):
        loudest = torch.from_numpy(clip.mel.astype(np.float32)).mean(0)
        heard = torch.corrcoef(torch.stack([view.mean(1), loudest]))[0, 1]
        assert float(heard) > 0.6


def test_without_mixing_no_second_sound_is_heard() -> None:
    quiet, loud = clips(1), clips(2)[1:]
    quiet[0].mel[:] = SILENCE
    views = Views([*quiet, *loud], 0, mix=0.0)
    assert float(views.each(0, 100)[0].max()) == pytest.approx(SILENCE, abs=1e-2)
    assert float(Views([*quiet, *loud], 0, mix=1.0).each(3, 100)[0].max()) > SILENCE + 0.1


def test_long_clips_are_drawn_more_often_but_not_in_proportion() -> None:
    short, long = clips(1, 100)[0], clips(1, 1600)[0]
    drawn = draw(np.random.default_rng(0), Views([short, long], 0).chance, 4000)
    assert 0.75 < float(np.mean(drawn)) < 0.85  # 4 : 1, not 16 : 1
