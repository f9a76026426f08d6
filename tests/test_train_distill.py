"""Distillation: a few steps of every phase on made-up clips."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.train_tools import clips, random_net
from train.distill import TAIL_STAGES, Distiller, DistillPlan
from train.hints import FIRST, agreement, head_loss, relative_error
from train.norms import restore_statistics
from train.towers.audio import AudioNet

PLAN = DistillPlan(block_steps=2, tail_steps=2, whole_steps=2, batch=4, tail_pool=5, widen=1.0,
                   widen_tail=1.5)  # fmt: skip
CLIPS = clips(6)


class Cut(Exception):
    """The power is gone."""


def distiller(out: Path, plan: DistillPlan = PLAN) -> Distiller:
    return Distiller(random_net(1), CLIPS[:4], CLIPS[4:], plan, out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[AudioNet, Path]:
    """An uninterrupted run and its folder."""
    out = tmp_path_factory.mktemp("whole")
    return distiller(out).run(save_every=1), out


def difference(a: AudioNet, b: AudioNet) -> float:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    return max(float((ours[key].double() - theirs[key].double()).abs().max()) for key in ours)


def test_a_run_passes_through_all_phases(whole: tuple[AudioNet, Path]) -> None:
    net, out = whole
    steps = [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 2 + TAIL_STAGES + 1, 2 + TAIL_STAGES + 2]
    assert PLAN.steps == steps[-1]
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_every_weight_has_moved(whole: tuple[AudioNet, Path], tmp_path: Path) -> None:
    before = dict(distiller(tmp_path).student.named_parameters())
    for name, after in whole[0].named_parameters():
        assert not torch.equal(after, before[name]), name


def folded(net: AudioNet) -> AudioNet:
    """As export leaves it: each norm a scale and an offset, with statistics of no meaning."""
    with torch.no_grad():
        for norm in (
            module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)
        ):
            mean, variance = norm.running_mean, norm.running_var
            assert mean is not None
            assert variance is not None
            scale = norm.weight / (variance + norm.eps).sqrt()
            norm.bias.sub_(scale * mean)
            norm.weight.copy_(scale)
            mean.zero_()
            variance.fill_(1 - norm.eps)
    return net.eval().requires_grad_(True)


def test_norms_get_statistics_and_the_network_stays_the_same() -> None:
    net = folded(random_net(3))
    mel = torch.randn(8, 1, 128, 120, generator=torch.Generator().manual_seed(0))
    before = net(mel)
    restore_statistics(net, [mel])
    for ours, theirs in zip(net(mel), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    for trained, kept in zip(net.train()(mel), before, strict=True):
        assert float(relative_error(trained, kept).detach()) < 0.05, (
            "training mode sees the same statistics"
        )


def test_a_start_goes_through_the_last_phase_alone(tmp_path: Path) -> None:
    plan = replace(PLAN, widen_tail=1.0)
    run = Distiller(
        random_net(1), CLIPS[:4], CLIPS[4:], plan, tmp_path, start=folded(random_net(2))
    )
    first = plan.block_steps + TAIL_STAGES
    assert run.step == first
    run.run(save_every=1)
    again = Distiller(
        random_net(1), CLIPS[:4], CLIPS[4:], plan, tmp_path, start=folded(random_net(2))
    )
    assert again.step == plan.steps
    assert difference(again.student, run.student) == 0.0


def test_the_teacher_is_left_alone(tmp_path: Path) -> None:
    run = distiller(tmp_path)
    run.run()
    assert difference(run.teacher, random_net(1)) == 0.0
    assert not run.teacher.training


def cut_at(run: Distiller, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run until something was saved at `step`, and no further."""
    save = run.save

    def save_and_fall() -> None:
        save()
        if run.step >= step:
            raise Cut

    monkeypatch.setattr(run, "save", save_and_fall)
    with pytest.raises(Cut):
        run.run(save_every=1)


@pytest.mark.parametrize("step", [1, 2, 4, 2 + TAIL_STAGES, PLAN.steps - 1])
def test_a_cut_run_ends_as_an_uncut_one(
    step: int, whole: tuple[AudioNet, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at(distiller(tmp_path), step, monkeypatch)
    again = distiller(tmp_path)
    assert again.step == step
    assert difference(again.run(save_every=1), whole[0]) < 1e-6


def test_a_finished_run_is_not_repeated(whole: tuple[AudioNet, Path]) -> None:
    net, out = whole
    again = distiller(out)
    assert again.step == PLAN.steps
    assert difference(again.run(), net) == 0.0


def test_what_is_saved_is_what_was_trained(whole: tuple[AudioNet, Path]) -> None:
    from safetensors.torch import load_file

    net, out = whole
    stored = load_file(out / "audio.safetensors")
    assert stored.keys() == net.state_dict().keys()
    assert all(torch.equal(stored[key], value) for key, value in net.state_dict().items())
    assert json.loads((out / "plan.json").read_text())["tail_pool"] == PLAN.tail_pool


def test_another_seed_is_another_network(whole: tuple[AudioNet, Path], tmp_path: Path) -> None:
    plan = DistillPlan(**{**json.loads((whole[1] / "plan.json").read_text()), "seed": 1})
    assert difference(distiller(tmp_path, plan).student, distiller(tmp_path).student) > 0.01


def test_training_brings_the_blocks_closer_to_the_teacher(tmp_path: Path) -> None:
    plan = DistillPlan(block_steps=12, tail_steps=1, whole_steps=1, batch=4, widen=1.0)
    run = distiller(tmp_path, plan)
    run.student.train()
    losses = [run.train_step() for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


def test_relative_error_counts_in_variances_of_the_teacher() -> None:
    teacher = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    teacher *= torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    assert float(relative_error(teacher, teacher)) == 0.0
    mean = teacher.mean((0, 2, 3), keepdim=True).expand_as(teacher)
    assert float(relative_error(mean, teacher)) == pytest.approx(1.0, abs=1e-3)


def test_a_student_that_is_the_teacher_agrees() -> None:
    net = random_net(1)
    found = agreement(net, random_net(1), CLIPS)
    assert found == {"pooled": 0.0, "logits": 0.0, "top1": 1.0, "top1_in_5": 1.0}


def test_a_student_that_is_not_the_teacher_does_not() -> None:
    found = agreement(random_net(2), random_net(1), CLIPS)
    assert found["pooled"] > 0.1


def test_the_head_costs_least_where_it_agrees() -> None:
    random = torch.Generator().manual_seed(0)
    wanted = tuple(torch.randn(4, n, generator=random) for n in (384, 512, 527))
    worse: tuple[Tensor, ...] = tuple(part + 0.5 for part in wanted)
    assert float(head_loss(wanted, wanted)) < float(head_loss(worse, wanted))


def test_the_tail_begins_behind_the_first_stages() -> None:
    stages = AudioNet().stages()
    assert len(stages) == FIRST + TAIL_STAGES - 1  # the head is the last tail stage
