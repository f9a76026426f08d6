"""Fitting a tiny text tower, end to end."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.train_tools import concepts, pieces_for, write_packed
from train.e5 import read_packed
from train.lower import LowerLayers, start_from
from train.phrases import Concept
from train.phrasetokens import MAX_TOKENS, Phrases, pad, tokenise
from train.textfit import TextFit, TextPlan, supervised_contrastive
from train.tokens import sentencepiece_model
from train.towers.text import TextNet

LANGUAGES = ("en", "fr", "de", "it")
PLAN = TextPlan(steps=6, concepts=5, extra_languages=1, frozen=1, lr=3e-3)
HELD_OUT = {2, 7}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Phrases]:
    """A packed model of two layers, and the phrases of twelve concepts under its vocabulary."""
    known = concepts(12, LANGUAGES)
    pieces = pieces_for([text for one in known for found in one.phrases.values() for text in found])
    path = tmp_path_factory.mktemp("e5") / "packed.bin"
    write_packed(path, pieces, layers=2)
    scores = [-float(place) for place in range(len(pieces))]
    return path, tokenise(known, sentencepiece_model(pieces, scores))


def new_net(path: Path) -> TextNet:
    torch.manual_seed(0)
    packed = read_packed(path)
    return start_from(packed, range(len(packed.pieces)))


def fit(made: tuple[Path, Phrases], out: Path, plan: TextPlan = PLAN) -> TextFit:
    net = new_net(made[0])
    lower = LowerLayers(net, made[1], plan.frozen, out / "lower.npy")
    return TextFit(net, made[1], HELD_OUT, lower, plan, out=out)


def test_phrases_know_concept_and_language() -> None:
    texts = ["a", "b", "un a", "c"]
    first, second = Concept("first"), Concept("second")
    for lang, text in (("en", "a"), ("en", "b"), ("fr", "un a")):
        first.add(lang, text)
    second.add("en", "c")
    pieces = pieces_for(texts)
    found = tokenise([first, second], sentencepiece_model(pieces, [-1.0] * len(pieces)))
    assert found.texts == texts
    assert found.languages == ["en", "fr"]
    assert found.concept.tolist() == [0, 0, 0, 1]
    assert found.groups() == [{0: [0, 1], 1: [2]}, {0: [3]}]
    assert all(row[0] == 0 and row[-1] == 2 for row in found.tokens)
    assert found.tokens[0][1:-1] == [pieces.index("\u2581a")]


def test_long_phrases_are_cut_and_still_closed() -> None:
    long = Concept("long")
    long.add("en", "dog " * 80)
    pieces = pieces_for(["dog"])
    (row,) = tokenise([long], sentencepiece_model(pieces, [-1.0] * len(pieces))).tokens
    assert len(row) == MAX_TOKENS
    assert (row[0], row[-1]) == (0, 2)


def test_padding_is_masked_on_the_right() -> None:
    ids, mask = pad([[0, 5, 2], [0, 2], [0, 7, 8, 2]])
    assert ids.tolist() == [[0, 5, 2, 1], [0, 2, 1, 1], [0, 7, 8, 2]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert ids.dtype == mask.dtype == torch.int64


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_lower_layers_and_upper_ones_are_the_whole_tower(
    made: tuple[Path, Phrases], tmp_path: Path, frozen: int
) -> None:
    net, phrases = new_net(made[0]).eval(), made[1]
    lower = LowerLayers(net, phrases, frozen, tmp_path / "lower.npy")
    picks = [5, 0, 17, 30]
    x, mask = lower.take(picks)
    ids, wanted_mask = pad([phrases.tokens[pick] for pick in picks])
    assert torch.equal(mask, wanted_mask)
    with torch.no_grad():
        direct = net.encode(net.embed(ids), wanted_mask)
        torch.testing.assert_close(net.encode(x, mask, frozen), direct, atol=4e-3, rtol=0)


def test_lower_layers_are_computed_once(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    path = tmp_path / "lower.npy"
    first = LowerLayers(new_net(made[0]), made[1], 1, path)
    written = path.stat().st_mtime_ns
    again = LowerLayers(new_net(made[0]), made[1], 1, path)
    assert path.stat().st_mtime_ns == written
    assert np.array_equal(first.store, again.store)


def test_lower_layers_of_other_phrases_are_refused(
    made: tuple[Path, Phrases], tmp_path: Path
) -> None:
    np.save(tmp_path / "lower.npy", np.zeros((3, 32), np.float16))
    with pytest.raises(ValueError, match="other phrases"):
        LowerLayers(new_net(made[0]), made[1], 1, tmp_path / "lower.npy")


@given(st.integers(0, 1000), st.lists(st.integers(0, 3), min_size=2, max_size=8))
def test_supervised_contrastive_is_what_loops_give(seed: int, owners: list[int]) -> None:
    random = torch.Generator().manual_seed(seed)
    n, tau = len(owners), 0.3
    vectors = F.normalize(torch.randn(n, 4, generator=random, dtype=torch.float64), dim=-1)
    allowed = torch.rand(n, n, generator=random) > 0.3
    total = 0.0
    for i in range(n):
        positives = [j for j in range(n) if j != i and owners[j] == owners[i]]
        fair = [j for j in range(n) if j != i and (bool(allowed[i, j]) or owners[j] == owners[i])]
        if positives:
            mass = sum(math.exp(float(vectors[i] @ vectors[j]) / tau) for j in fair)
            logs = [float(vectors[i] @ vectors[j]) / tau - math.log(mass) for j in positives]
            total -= sum(logs) / len(positives)
    found = supervised_contrastive(vectors, torch.tensor(owners), allowed, tau)
    assert float(found) == pytest.approx(total / n, abs=1e-8)


def test_a_few_steps_lower_the_loss(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    plan = TextPlan(steps=400, concepts=10, extra_languages=1, frozen=1, lr=3e-2)
    run = fit(made, tmp_path, plan)
    losses = [run.train_step() for _ in range(20)]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_only_upper_layers_are_trained(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    run = fit(made, tmp_path)
    before = {key: value.clone() for key, value in run.net.state_dict().items()}
    run.run()
    after = run.net.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved
    assert all(key.startswith("layers.1.") for key in moved)


def test_held_out_concepts_are_never_drawn(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    run = fit(made, tmp_path)
    drawn = {concept for seed in range(40) for concept in run._draw(np.random.default_rng(seed))[1]}
    assert drawn == set(range(12)) - HELD_OUT


def test_each_concept_comes_in_all_core_languages_and_one_more(
    made: tuple[Path, Phrases], tmp_path: Path
) -> None:
    picks, owners = fit(made, tmp_path)._draw(np.random.default_rng(0))
    langs = [made[1].languages[made[1].lang[pick]] for pick in picks]
    for concept in set(owners):
        found = [lang for lang, owner in zip(langs, owners, strict=True) if owner == concept]
        assert sorted(found) == ["de", "en", "fr", "it"]


def test_concepts_that_share_a_phrase_are_no_negatives(tmp_path: Path) -> None:
    known = concepts(3)
    known[2].add("fr", known[0].phrases["fr"][0].upper())
    texts = [text for one in known for found in one.phrases.values() for text in found]
    pieces = pieces_for(texts)
    write_packed(tmp_path / "e5.bin", pieces, layers=2)
    phrases = tokenise(known, sentencepiece_model(pieces, [-1.0] * len(pieces)))
    run = fit((tmp_path / "e5.bin", phrases), tmp_path)
    found = run._allowed([0, 1, 2])
    assert found.tolist() == [[False, True, False], [True, False, True], [False, True, False]]


def test_a_cut_run_ends_as_an_uncut_one(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = fit(made, tmp_path / "whole").run().state_dict()
    begun = fit(made, tmp_path / "cut")
    for _ in range(3):
        begun.train_step()
    begun.save()
    again = fit(made, tmp_path / "cut")
    assert again.step == 3
    cut = again.run().state_dict()
    for key, value in whole.items():
        if not key.startswith("project."):
            torch.testing.assert_close(cut[key], value, atol=1e-6, rtol=0)


def test_the_log_says_loss_and_translation(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    fit(made, tmp_path).run(report_every=4)
    lines = (tmp_path / "text-log.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [4, 6]
    assert all(0 <= row[lang] <= 1 for row in rows for lang in ("fr", "de"))
    assert all(row["loss"] > 0 for row in rows)


def test_a_perfect_translation_scores_one(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    run = fit(made, tmp_path)
    vectors = torch.eye(len(made[1].texts))
    for group in run.groups:
        for numbers in group.values():
            vectors[numbers[0]] = torch.eye(len(vectors))[group[0][0]]
    run.pooled = lambda picks: vectors[list(picks)]  # type: ignore[method-assign]
    assert run.translation() == {"fr": 1.0, "de": 1.0}


def test_pooled_vectors_keep_their_order(made: tuple[Path, Phrases], tmp_path: Path) -> None:
    run = fit(made, tmp_path)
    picks = [9, 2, 40, 3, 17]
    with torch.no_grad():
        together = run.pooled(picks)
        alone = torch.cat([run.pooled([pick]) for pick in picks])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(5))


def test_a_step_draws_concepts_beside_their_neighbours(
    made: tuple[Path, Phrases], tmp_path: Path
) -> None:
    plan = TextPlan(steps=1, concepts=6, seeds=2, neighbours=2, extra_languages=1, frozen=1)
    net = new_net(made[0])
    lower = LowerLayers(net, made[1], 1, tmp_path / "lower.npy")
    distinct = [place for place in range(12) if place != 2]
    found = TextFit(net, made[1], {2}, lower, plan, out=tmp_path, distinct=distinct)
    assert set(found.near) == set(distinct)
    assert all(concept not in row for concept, row in found.near.items())
    for step in range(20):
        drawn = found._concepts(np.random.default_rng(step))
        assert len(drawn) == len(set(drawn)) == plan.concepts
        assert 2 not in drawn
        assert set(drawn[2:6]) & {int(one) for seed in drawn[:2] for one in found.near[seed]}
