"""Joint training on made-up clips: what moves, what stays, and going on after a cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.test_train_align import made_up, three_languages
from tests.train_tools import clips, random_net
from train.align import Align, AlignPlan
from train.clipfeatures import clean_features
from train.joint import Joint, JointPlan
from train.towers.audio import CLASSES, AudioNet

__all__ = ["three_languages"]  # a fixture that every test here takes

PLAN = JointPlan(steps=6, named=6, others=2, lr=1e-2)
CLIPS = clips(6)
OWN = [[0], [1], [2], [0, 3], [4], []]


def prepared() -> tuple[Align, AudioNet, AudioNet]:
    """An alignment of the clips' own features, the network that made them, and a teacher."""
    net, teacher = random_net(1), random_net(2)
    found = clean_features(net, teacher, CLIPS)
    data = replace(
        made_up(),
        rows=found.rows,
        scores=found.scores,
        row_concepts=[OWN[clip] for clip in found.clip],
        classes=np.arange(CLASSES) % 6,
    )
    align = Align(data, AlignPlan(steps=3, batch=8, hidden=8, dropout=0.0))
    align.run()
    return align, net.requires_grad_(requires_grad=True), teacher


def joint(out: Path, plan: JointPlan = PLAN) -> Joint:
    return Joint(*prepared(), list(zip(CLIPS, OWN, strict=True)), plan=plan, out=out)


def test_network_and_head_learn_and_texts_stay(tmp_path: Path) -> None:
    run = joint(tmp_path)
    before = {key: value.clone() for key, value in run.learnt.state_dict().items()}
    texts = run.align.text([0, 1, 2])
    net = run.run()
    assert not run.align.head.training
    after = run.learnt.state_dict()
    moved = {key for key in after if not torch.equal(after[key], before[key])}
    assert {name for name, _ in run.learnt.named_parameters()} <= moved
    assert torch.equal(run.align.text([0, 1, 2]), texts)
    norms = {key for key in after if key.endswith(("running_mean", "running_var"))}
    assert norms
    assert not norms & moved
    assert net is run.net


def test_the_loss_falls(tmp_path: Path) -> None:
    run = joint(tmp_path, replace(PLAN, steps=40))
    losses = [run.train_step() for _ in range(40)]
    assert np.mean(losses[-8:]) < np.mean(losses[:8])


@pytest.mark.parametrize("cut", [1, 4])
def test_a_run_that_was_cut_goes_on_to_the_same_weights(tmp_path: Path, cut: int) -> None:
    whole = joint(tmp_path / "whole")
    whole.run(save_every=1)
    first = joint(tmp_path / "cut")
    first.align.head.train()
    for _ in range(cut):
        first.train_step()
    first.save()
    second = joint(tmp_path / "cut")
    assert second.step == cut
    second.run()
    ours, theirs = whole.learnt.state_dict(), second.learnt.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_without_the_teacher_it_is_forgotten_sooner(tmp_path: Path) -> None:
    apart = []
    for weight in (0.0, 3.0):
        run = joint(tmp_path / str(weight), replace(PLAN, steps=20, teacher_weight=weight))
        net = run.run()
        found = clean_features(net, run.teacher, CLIPS)
        wanted = clean_features(run.teacher, run.teacher, CLIPS)
        apart.append(float(np.abs(found.rows - wanted.rows).mean()))
    assert apart[1] < apart[0]


def test_any_clip_can_be_the_unnamed_one(tmp_path: Path) -> None:
    run = joint(tmp_path)
    mel, concepts = run._views(np.random.default_rng(0))
    assert mel.shape[:3] == (8, 1, 128)
    assert len(concepts) == 6
    assert all(own in OWN[:5] for own in concepts)
