"""Alignment on two kinds of sound that are easy to tell apart, in three languages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.train_tools import clips, random_net
from train import align as align_module
from train import validation
from train.align import Align, AlignData, AlignPlan, phrase_table, principal_map
from train.clipfeatures import ClipFeatures, clean_features, windows
from train.melcache import frames
from train.phrasetokens import Phrases
from train.towers.heads import AudioHead

LANGUAGES = ("en", "fr", "de")
CONCEPTS = 6
PHRASES = 20  # of each concept in each language
INPUTS = 24
WIDTH = 300
PLAN = AlignPlan(steps=60, batch=32, hidden=16, dropout=0.1, lr=1e-2, text_lr=1e-3)


@pytest.fixture(autouse=True)
def three_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_module, "CORE", LANGUAGES)
    monkeypatch.setattr(validation, "CORE", LANGUAGES)


def made_up(seed: int = 0) -> AlignData:
    """Concepts 0 to 2 and 3 to 5 share a kind of sound; phrases lie around their concept."""
    random = np.random.default_rng(seed)
    kinds = random.standard_normal((2, INPUTS)) * 3
    own = random.standard_normal((CONCEPTS, INPUTS))
    owners = np.repeat(np.arange(CONCEPTS), 20)
    rows = kinds[owners // 3] + own[owners] + 0.3 * random.standard_normal((len(owners), INPUTS))
    meanings = random.standard_normal((CONCEPTS, WIDTH))
    concept = np.repeat(np.arange(CONCEPTS), PHRASES * len(LANGUAGES))
    lang = np.tile(np.repeat(np.arange(len(LANGUAGES)), PHRASES), CONCEPTS)
    pooled = meanings[concept] + 0.5 * random.standard_normal((len(concept), WIDTH))
    numbers = [str(number) for number in range(len(concept))]
    phrases = Phrases(numbers, concept, lang, list(LANGUAGES), [[0, 2]] * len(concept))
    scores = np.eye(CONCEPTS)[owners] * 0.8
    labels = [[int(owner)] if place % 4 else [] for place, owner in enumerate(owners)]
    return AlignData(
        rows=rows.astype(np.float32),
        row_concepts=labels,
        scores=scores.astype(np.float16),
        phrases=phrases,
        pooled=pooled.astype(np.float32),
        classes=np.arange(CONCEPTS),
        held_out={5},
    )


@pytest.fixture(scope="module")
def data() -> AlignData:
    return made_up()


def report(align: Align) -> dict[str, Any]:
    """One clip of one window for each row."""
    count = len(align.data.rows)
    found = ClipFeatures(align.data.rows, np.arange(count), align.data.scores)
    owners = align.data.scores.argmax(1)
    return validation.report(align, found, [[int(owner)] for owner in owners])


def test_alignment_learns_to_rank(data: AlignData) -> None:
    align = Align(data, PLAN)
    align.head.eval()
    before = report(align)
    align.run()
    after = report(align)
    assert not align.head.training
    for lang in LANGUAGES:
        assert after["languages"][lang]["r1"] == 1.0
        assert after["languages"][lang]["map10"] >= before["languages"][lang]["map10"]
    assert after["mrv"]["variance"] <= before["mrv"]["variance"]
    assert (after["queries"], after["clips"]) == (CONCEPTS, len(data.rows))


def test_each_term_falls(data: AlignData) -> None:
    align = Align(data, PLAN)
    terms = np.array([align.train_step(step) for step in range(40)])
    assert (terms[-8:].mean(0) < terms[:8].mean(0)).all()


def trained(data: AlignData, plan: AlignPlan) -> Tensor:
    """All weights of the head after a run."""
    run = Align(data, plan)
    run.run()
    return torch.cat([value.flatten() for value in run.head.state_dict().values()])


def test_a_seed_gives_one_result(data: AlignData) -> None:
    short = AlignPlan(steps=5, batch=16, hidden=8)
    other_seed = replace(short, seed=1)
    first, same, other = (trained(data, plan) for plan in (short, short, other_seed))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_vectors_have_unit_length(data: AlignData) -> None:
    align = Align(data, PLAN)
    align.head.eval()
    with torch.no_grad():
        audio, text = align.audio(align.rows[:7]), align.text([3, 1, 2])
    assert (audio.shape, text.shape) == ((7, 256), (3, 256))
    torch.testing.assert_close(audio.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(text.norm(dim=1), torch.ones(3))


def test_rows_that_share_a_concept_clash(data: AlignData) -> None:
    found = Align(data, PLAN)._clash([[0, 1], [1], [2], [0, 2]])
    assert found.int().tolist() == [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 1]]


def test_frequent_concepts_are_drawn_less_than_they_are() -> None:
    data = made_up()
    rare = [i for i, owner in enumerate(data.scores.argmax(1)) if owner == 0][:16]
    for place in rare:
        data.row_concepts[place] = []
    align = Align(data, PLAN)
    chance = np.diff(align.chance, prepend=0.0)
    owners = np.array([data.row_concepts[i][0] for i in align.labelled])
    shares = {c: chance[owners == c].sum() for c in (0, 1)}
    counts = {c: (owners == c).sum() for c in (0, 1)}
    assert align.chance[-1] == pytest.approx(1.0)
    assert shares[0] / shares[1] == pytest.approx((counts[0] / counts[1]) ** 0.4)


def test_a_missing_language_is_taken_from_the_first() -> None:
    table, counts = phrase_table([{0: [4, 5], 1: [6]}, {0: [7]}], [0, 1])
    assert table.tolist() == [[[4, 5], [6, 0]], [[7, 0], [7, 0]]]
    assert counts.tolist() == [[2, 1], [1, 1]]


def test_held_out_concepts_are_no_phrases_to_learn_from(
    data: AlignData, monkeypatch: pytest.MonkeyPatch
) -> None:
    align = Align(data, PLAN)
    drawn: list[int] = []
    draw = align._draw

    def watched(rng: Any, concepts: Any, lang: int) -> Any:
        drawn.extend(concepts)
        return draw(rng, concepts, lang)

    monkeypatch.setattr(align, "_draw", watched)
    align._phrases(np.random.default_rng(0))
    assert set(drawn) == set(range(CONCEPTS)) - {5}


def test_the_principal_map_centres_and_keeps_what_varies_most() -> None:
    random = np.random.default_rng(0)
    vectors = (random.standard_normal((400, 8)) * [9, 5, 1, 1, 1, 1, 1, 1] + 3).astype(np.float32)
    linear = principal_map(vectors, dim=2)
    with torch.no_grad():
        found = linear(torch.from_numpy(vectors)).numpy()
    assert found.shape == (400, 2)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)
    spread = found.std(0)
    assert spread[0] / spread[1] == pytest.approx((9 / 5) ** 0.5, rel=0.1)


def test_the_head_standardises_its_inputs() -> None:
    torch.manual_seed(0)
    head = AudioHead(4, 8, 0.0, dim=3).eval()
    rows = torch.randn(200, 4) * torch.tensor([1.0, 10.0, 100.0, 0.0]) + 5
    head.standardise(rows)
    torch.testing.assert_close(head.mean, rows.mean(0))
    with torch.no_grad():
        assert torch.isfinite(head(rows)).all()
        far = rows * 1e6
        torch.testing.assert_close(head(far), head(far * 10))  # clipped at six deviations


def test_the_best_window_of_a_clip_counts(data: AlignData) -> None:
    align = Align(data, PLAN)
    align.head.eval()
    found = ClipFeatures(data.rows[[0, 40, 80]], np.array([0, 0, 1]), data.scores[:3])
    with torch.no_grad():
        text, windows = align.text([0, 90]), align.audio(torch.from_numpy(found.rows))
    cosines = validation.similarity(text, windows, found.clip, 2)
    direct = (text @ windows.T).numpy()
    np.testing.assert_allclose(cosines[:, 0], direct[:, :2].max(1), atol=1e-6)
    np.testing.assert_allclose(cosines[:, 1], direct[:, 2], atol=1e-6)


def test_the_report_as_text_names_every_language(data: AlignData) -> None:
    lines = validation.table(report(Align(data, PLAN))).splitlines()
    assert lines[0] == f"{CONCEPTS} queries a language, {len(data.rows)} clips"
    assert [line[:2] for line in lines[1:4]] == list(LANGUAGES)
    assert lines[-1].startswith("MRV ")


# Features


def test_windows_are_those_of_the_search() -> None:
    for seconds, wanted in (
        (1.0, 1),
        (5.0, 1),
        (5.1, 2),
        (9.0, 2),
        (13.0, 3),
        (13.5, 4),
        (60.0, 4),
    ):
        mel = np.arange(frames(seconds), dtype=np.float16)[:, None].repeat(128, axis=1)
        found = windows(mel)
        assert len(found) == wanted, seconds
        assert [int(window[0, 0]) for window in found] == [400 * n for n in range(wanted)]
        assert all(len(window) <= frames(5.0) for window in found)


def test_features_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    net, teacher = random_net(1), random_net(2)
    made = clips(4, frames=430)[::-1]  # not in the order of their lengths
    together = clean_features(net, teacher, made)
    assert together.clip.tolist() == [0, 1, 2, 3]
    for place, clip in enumerate(made):
        alone = clean_features(net, teacher, [clip])
        np.testing.assert_allclose(together.rows[place], alone.rows[0], atol=1e-4)
        np.testing.assert_allclose(together.scores[place], alone.scores[0], atol=1e-3)
    together.save(tmp_path / "features.npz")
    again = ClipFeatures.load(tmp_path / "features.npz")
    assert np.array_equal(again.rows, together.rows)
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def test_names_and_agreement_are_added_to_the_loss(data: AlignData) -> None:
    terms = {}
    for name in ("jsd_weight", "names_weight", "tau"):
        none = {"jsd_weight": 0.0, "names_weight": 0.0}
        plan = replace(PLAN, dropout=0.0, **({**none, name: 1.0} if name != "tau" else none))
        terms[name] = Align(data, plan).train_step(0)[0]
    assert terms["jsd_weight"] > terms["tau"]
    assert terms["names_weight"] > terms["tau"]


def test_a_recordings_other_names_are_no_negatives(data: AlignData) -> None:
    align = Align(data, replace(PLAN, dropout=0.0))
    audio, chosen = align.audio(align.rows[:2]), np.array([0, 0])
    alone = align._names(audio, [[0], [0]], chosen)
    both = align._names(audio, [[0, 1], [0, 1]], chosen)
    assert bool(both < alone)
