"""The loop: learns, resumes to the same result, stops by validation, keeps its checkpoints."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from atri_cli.errors import AtriError, ModelError, UsageError
from tests.trainer_tools import LANGUAGES, PLAN, Tiny, make_clips
from train import checkpoints
from train.batches import Batches
from train.checkpoints import FACTS, load_checkpoint, save_checkpoint
from train.plan import TrainPlan
from train.runlog import METRICS
from train.trainer import BEST, Progress, Trainer


def train(out: Path, plan: TrainPlan = PLAN, **options: object) -> Tiny:
    model = Tiny()
    Trainer(model, make_clips(), plan, out, **options).run()  # type: ignore[arg-type]
    return model


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([one.detach().flatten() for one in model.parameters()])


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / METRICS).read_text().splitlines()]


@pytest.mark.parametrize("loss", ["kcl", "cacl", "random", "kcl+0.5*jsd", "sigmoid+kcl"])
def test_it_learns(tmp_path: Path, loss: str) -> None:
    train(tmp_path, replace(PLAN, loss=loss, epochs=12))
    losses = [entry["loss"] for entry in log(tmp_path) if "loss" in entry]
    assert len(losses) == 12 * 5
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path) -> None:
    first, second = train(tmp_path / "a"), train(tmp_path / "b")
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(train(tmp_path / "c", replace(PLAN, seed=1))))


def test_chunks_and_whole_batches_give_the_same(tmp_path: Path) -> None:
    def quiet(plan: TrainPlan, out: Path) -> torch.Tensor:
        model = Tiny()
        model.drop.p = 0.0
        Trainer(model, make_clips(), plan, out).run()
        return weights(model)

    chunked = quiet(PLAN, tmp_path / "a")
    whole = quiet(replace(PLAN, chunk=None), tmp_path / "b")
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stop", [1, 4, 5, 13])
def test_resumed_after_ctrl_c_it_ends_the_same(tmp_path: Path, stop: int) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.step == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a", tell=interrupt)
    resumed = train(tmp_path / "a")
    assert torch.equal(weights(resumed), weights(train(tmp_path / "b")))


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_in_the_middle_it_ends_the_same(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.trainer_tools", str(tmp_path / "a")]
    root = Path(__file__).parents[1]
    process = subprocess.Popen([*command, "0.05"], cwd=root)
    metrics = tmp_path / "a" / METRICS
    deadline = time.monotonic() + 60
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 8:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = load_checkpoint(tmp_path / "a")
    assert found is not None
    assert 0 < found[1]["progress"]["step"] < 20
    subprocess.run([*command, "0"], cwd=root, check=True)
    subprocess.run([*command[:-1], str(tmp_path / "b"), "0"], cwd=root, check=True)
    ends = [load_checkpoint(tmp_path / name) for name in "ab"]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0][1]["progress"]["finished"]
    for name, tensor in ends[1][0].items():
        torch.testing.assert_close(ends[0][0][name], tensor, atol=1e-6, rtol=0)


def test_validation_stops_it_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    plan = replace(PLAN, epochs=9, patience=2)
    model = Tiny()
    seen = {}

    def score(_: object) -> dict[str, float]:
        seen[len(seen) + 1] = weights(model)
        return {"score": [0.1, 0.5, 0.4, 0.5][len(seen) - 1]}

    end = Trainer(model, make_clips(), plan, tmp_path, score=score).run()
    assert (end.epoch, end.best, end.finished) == (4, 0.5, True)
    best = load_checkpoint(tmp_path / BEST)
    assert best is not None
    assert best[1]["epoch"] == 2
    kept = Tiny()
    checkpoints.fill(kept, best[0], tmp_path)
    assert torch.equal(weights(kept), seen[2])


def test_another_plan_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(UsageError, match=r"lr 0\.02 → 0\.5, seed 0 → 3"):
        train(tmp_path, replace(PLAN, lr=0.5, seed=3))


def test_a_loss_that_is_not_finite_names_its_clips(tmp_path: Path) -> None:
    class Broken(Tiny):
        def encode_audio(self, *inputs: torch.Tensor) -> torch.Tensor:
            return super().encode_audio(*inputs) * math.nan

    with pytest.raises(AtriError, match="step 1 is not a finite") as error:
        Trainer(Broken(), make_clips(), PLAN, tmp_path).run()
    assert "`kind" in error.value.why


def test_nothing_to_train(tmp_path: Path) -> None:
    model = Tiny().requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        Trainer(model, make_clips(), PLAN, tmp_path)
    with pytest.raises(UsageError, match="No clip has a caption in it"):
        Trainer(Tiny(), make_clips(), replace(PLAN, languages=("it",)), tmp_path)


def test_frozen_parts_stay_and_are_not_saved(tmp_path: Path) -> None:
    model = Tiny()
    model.text.requires_grad_(False)
    before = model.text.weight.clone()
    Trainer(model, make_clips(), PLAN, tmp_path).run()
    assert torch.equal(model.text.weight, before)
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert "model.text.weight" not in found[0]
    assert "model.audio.weight" in found[0]


def test_checkpoint_of_another_architecture(tmp_path: Path) -> None:
    train(tmp_path)
    with pytest.raises(ModelError, match=r"`audio.weight` with shape \(4, 6\)"):
        Trainer(Tiny(width=7), make_clips(), PLAN, tmp_path)


@pytest.mark.parametrize("kind", ["pickle", "truncated", "changed", "no json"])
def test_damaged_checkpoints(tmp_path: Path, kind: str) -> None:
    train(tmp_path)
    facts = json.loads((tmp_path / FACTS).read_text())
    tensors = tmp_path / facts["file"]
    data = tensors.read_bytes()
    if kind == "pickle":
        tensors.write_bytes(pickle.dumps({"model.audio.weight": 1}))
    elif kind == "truncated":
        tensors.write_bytes(data[:-5])
    elif kind == "changed":
        tensors.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        (tmp_path / FACTS).write_text("{")
    with pytest.raises(ModelError, match="damaged"):
        train(tmp_path)


def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"a": torch.ones(3)}, {"step": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", full)
    with pytest.raises(AtriError, match="Cannot save"):
        save_checkpoint(tmp_path, {"a": torch.zeros(3)}, {"step": 2})
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert (found[1]["step"], found[0]["a"].tolist()) == (1, [1, 1, 1])
    assert len(list(tmp_path.iterdir())) == 2


def test_batches_follow_from_seed_epoch_and_clip() -> None:
    clips = make_clips()
    whole = Batches(clips, LANGUAGES, 8, 0)
    assert len(whole) == 5
    batches = list(whole.epoch(2))
    assert sorted(clip.id for batch in batches for clip in batch.clips) == sorted(
        clip.id for clip in clips
    )
    later = list(whole.epoch(2, first=3))
    assert [batch.clips for batch in later] == [batch.clips for batch in batches[3:]]
    assert torch.equal(later[0].uniform, batches[3].uniform)
    assert [batch.clips for batch in whole.epoch(3)] != [batch.clips for batch in batches]
    sizes = {batch.uniform.shape for batch in batches}
    assert sizes == {(4, 8)}


def test_batches_mask_what_is_missing_and_know_shared_captions() -> None:
    for batch in Batches(make_clips(), LANGUAGES, 8, 0).epoch(0):
        for n, clip in enumerate(batch.clips):
            for k, tag in enumerate(LANGUAGES):
                assert bool(batch.present[k, n]) == (tag in clip.captions)
                assert batch.texts[k][n] in (*clip.captions.get(tag, ("",)),)
            for m, other in enumerate(batch.clips):
                same = clip.id.split("-")[0] == other.id.split("-")[0]
                assert bool(batch.clash[n, m]) == same


def test_few_clips_make_one_small_batch() -> None:
    batches = Batches(make_clips(3), LANGUAGES, 8, 0)
    assert [len(batch.clips) for batch in batches.epoch(0)] == [3]
