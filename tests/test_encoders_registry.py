"""Finding models by name and path, and comparing them with their cards."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from atri_cli.encoders import registry
from atri_cli.errors import ModelError


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
    assert registry.list_models(Folders(tmp_path / "nowhere")) == []


def test_the_list_leaves_out_what_is_broken(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "mine" / "own" / "card.toml").write_text("name = 3")
    found = [card.folder.relative_to(tmp_path) for card in registry.list_models(folders)]
    assert found == [Path("mine/both"), Path("package/atri-mini")]


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
