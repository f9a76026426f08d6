"""Finding models by name and path, and comparing them with their cards."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from atri_cli.encoders import registry
from atri_cli.encoders.card import load_card
from atri_cli.errors import ModelError
from tests.fake_model import make_fake_model


@dataclass(frozen=True)
class Folders:
    models_dir: Path


@pytest.fixture
def folders(tmp_path: Path, fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Two models of the user, one embedded, of which the user replaces one."""
    for place in ("mine/own", "mine/both", "package/both", "package/atri-mini"):
        shutil.copytree(fake_model, tmp_path / place)
    (tmp_path / "mine" / "junk").mkdir()
    monkeypatch.setattr(registry, "embedded_dir", lambda: tmp_path / "package")
    return Folders(tmp_path / "mine")


def test_by_name(folders: Folders, tmp_path: Path) -> None:
    assert registry.find_model("own", folders).folder == tmp_path / "mine" / "own"
    assert registry.find_model("both", folders).folder == tmp_path / "mine" / "both"


def test_the_default_is_the_embedded_model(folders: Folders, tmp_path: Path) -> None:
    assert registry.find_model(None, folders).folder == tmp_path / "package" / "atri-mini"


def test_by_path(folders: Folders, fake_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.find_model(str(fake_model), folders).folder == fake_model
    monkeypatch.chdir(fake_model.parent)
    assert registry.find_model("./fake", folders).name == "fake"
    assert registry.find_model("fake", folders).name == "fake"


def test_an_unknown_name_gets_the_nearest_ones(folders: Folders) -> None:
    with pytest.raises(ModelError, match="no model `atri-mimi`") as caught:
        registry.find_model("atri-mimi", folders)
    assert "Did you mean `atri-mini`?" in caught.value.hint


def test_no_models_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "embedded_dir", lambda: tmp_path / "package")
    with pytest.raises(ModelError, match="none"):
        registry.find_model(None, Folders(tmp_path / "nowhere"))
    assert registry.survey_models(Folders(tmp_path / "nowhere")) == ([], [])


def test_a_survey_tells_good_cards_from_broken_ones(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "mine" / "own" / "card.toml").write_text("name = 3")
    cards, errors = registry.survey_models(folders)
    found = [card.folder.relative_to(tmp_path) for card in cards]
    assert found == [Path("mine/both"), Path("package/atri-mini")]
    assert ["mine/own/card.toml` lacks" in error.what for error in errors] == [True]


def test_a_recorded_model_is_known_by_its_pipeline(folders: Folders, tmp_path: Path) -> None:
    other = make_fake_model(tmp_path / "other", 8)
    wanted = load_card(other)
    find = partial(registry.find_recorded_model, "fake", settings=folders)
    assert find(folder=other, pipeline_id=wanted.pipeline_id).folder == other
    shutil.copytree(other, tmp_path / "mine" / "renamed")
    gone = tmp_path / "gone"
    assert find(folder=gone, pipeline_id=wanted.pipeline_id).folder.name == "renamed"
    assert find(folder=None, pipeline_id="of a model that was updated").name == "fake"
    with pytest.raises(ModelError, match="no model `lost`"):
        registry.find_recorded_model("lost", gone, "of nobody", folders)


def test_verify(folders: Folders) -> None:
    card = registry.find_model("own", folders)
    assert registry.verify_model(card) == []
    with card.text_path.open("ab") as file:
        file.write(b"!")
    card.audio_path.unlink()
    missing, differs = registry.verify_model(card)
    assert "audio.onnx` cannot be read: No such file" in missing
    assert "text.onnx` differs" in differs


def test_the_folder_of_embedded_models_is_inside_the_package() -> None:
    assert registry.embedded_dir().parent.name == "atri_cli"
