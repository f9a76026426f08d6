"""Labels that their sound contradicts are found by a head that never read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.test_train_align import LANGUAGES, PLAN, made_up
from train import align as align_module
from train.cleaning import cleaned, deal, fit_of_names


@pytest.fixture(autouse=True)
def three_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_module, "CORE", LANGUAGES)


def test_packages_are_dealt_whole_and_evenly() -> None:
    packages = ["big"] * 6 + ["a", "b", "c"] * 2 + ["d"]
    folds = deal(packages, 2)
    for package in set(packages):
        assert len({f for f, p in zip(folds, packages, strict=True) if p == package}) == 1
    assert sorted(np.bincount(folds).tolist()) == [6, 7]


def test_a_wrong_label_is_lost_and_right_ones_are_kept() -> None:
    data = made_up()
    concepts = [list(own) for own in data.row_concepts]
    wrong = [i for i in range(0, len(concepts), 15) if concepts[i]]
    for i in wrong:
        concepts[i] = [(concepts[i][0] + 3) % 6]  # the other kind of sound
    data = replace(data, row_concepts=concepts)
    packages = [str(i % 5) for i in range(len(concepts))]
    behind = fit_of_names(data, deal(packages), PLAN)
    right = [i for i, own in enumerate(concepts) if own and i not in wrong]
    assert behind[wrong].min() >= 0.5
    assert behind[right].mean() < 0.2
    clips = [str(i) for i in range(len(concepts))]
    found = cleaned(data, clips, packages, PLAN).row_concepts
    assert all(found[i] == [] for i in wrong)
    assert np.mean([found[i] == concepts[i] for i in right]) > 0.9


def test_one_row_of_a_clip_that_bears_its_label_out_is_enough() -> None:
    data = made_up()
    packages = [str(i % 5) for i in range(len(data.rows))]
    clips = ["the same"] * len(data.rows)
    assert cleaned(data, clips, packages, PLAN).row_concepts == data.row_concepts


def test_of_few_packages_nothing_can_be_said() -> None:
    data = made_up()
    assert cleaned(data, ["clip"] * len(data.rows), ["package"] * len(data.rows), PLAN) is data
