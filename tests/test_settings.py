"""Settings: who wins, what is refused, and where folders are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.errors import UsageError
from atri_cli.settings import DEFAULT, OPTION, Settings, load_settings


def configure(home: Path, text: str) -> Path:
    home.mkdir(exist_ok=True)
    path = home / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_lie_under_atri_home(atri_home: Path) -> None:
    settings = load_settings()
    assert settings == Settings(
        library_name="default",
        library_dir=atri_home / "libraries" / "default",
        models_dir=atri_home / "models",
        cache_dir=atri_home / "cache",
        config_file=atri_home / "config.toml",
        model="atri-mini",
        device="cpu",
        jobs=None,
        origin={**dict.fromkeys(("library", "model", "device", "jobs"), DEFAULT)}
        | {"folders": "ATRI_HOME"},
    )
    assert settings.chosen_model is None


def test_without_atri_home_the_systems_folders_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATRI_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = load_settings()
    assert settings.origin["folders"] == DEFAULT
    for path in (settings.library_dir, settings.models_dir, settings.config_file):
        assert tmp_path in path.parents
        assert "atri" in path.parts


def test_option_beats_environment_beats_file(
    atri_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configure(atri_home, 'library = "filed"\nmodel = "m1"\ndevice = "auto"\njobs = 3\n')
    assert load_settings().origin["jobs"] == str(path)
    assert (load_settings().library_name, load_settings().jobs) == ("filed", 3)
    monkeypatch.setenv("ATRI_JOBS", "5")
    monkeypatch.setenv("ATRI_MODEL", "m2")
    monkeypatch.setenv("ATRI_DEVICE", "cuda")
    monkeypatch.setenv("ATRI_LIBRARY", "environ")
    settings = load_settings()
    assert (settings.library_name, settings.model, settings.device, settings.jobs) == (
        "environ",
        "m2",
        "cuda",
        5,
    )
    assert settings.origin["library"] == "ATRI_LIBRARY"
    settings = load_settings(library="typed", model="m3", device="cpu", jobs=7)
    assert (settings.library_name, settings.model, settings.device, settings.jobs) == (
        "typed",
        "m3",
        "cpu",
        7,
    )
    assert settings.origin["jobs"] == OPTION


def test_a_model_of_the_file_is_not_forced_on_a_library(
    atri_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(atri_home, 'model = "m1"')
    assert (load_settings().model, load_settings().chosen_model) == ("m1", None)
    assert load_settings(model="m3").chosen_model == "m3"
    monkeypatch.setenv("ATRI_MODEL", "m2")
    assert load_settings().chosen_model == "m2"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATRI_JOBS", "")
    assert load_settings().jobs is None


@pytest.mark.parametrize("value", ["./field", "/srv/field", "~/field", "."])
def test_a_library_with_a_separator_is_a_folder(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    folder = load_settings(library=value).library_dir
    assert folder.is_absolute()
    assert "libraries" not in folder.parts
    assert "~" not in folder.parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("jobs = 0", ("`jobs`", "whole number from 1")),
        ("jobs = true", ("`jobs`", "whole number")),
        ('jobs = "2"', ("`jobs`", "whole number")),
        ('device = "gpu"', ("`device`", "`cpu`, `cuda`, `auto`")),
        ("device = 1", ("`device`", "text")),
        ('library = ""', ("`library`", "not empty")),
        ('modle = "x"', ("`modle`", "Did you mean `model`?")),
        ("nonsense = 1", ("`nonsense`", "library, model, device, jobs")),
        ("jobs = ", ("not valid TOML",)),
    ],
)
def test_a_wrong_file_is_named_with_key_and_allowed_values(
    atri_home: Path, text: str, words: tuple[str, ...]
) -> None:
    path = configure(atri_home, text)
    with pytest.raises(UsageError) as caught:
        load_settings()
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_a_file_that_is_no_text_is_refused(atri_home: Path) -> None:
    configure(atri_home, "").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not valid TOML"):
        load_settings()


def test_a_folder_in_place_of_the_file_is_refused(atri_home: Path) -> None:
    (atri_home / "config.toml").mkdir(parents=True)
    with pytest.raises(UsageError, match="Cannot read"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"), [("ATRI_JOBS", "many"), ("ATRI_JOBS", "-1"), ("ATRI_DEVICE", "tpu")]
)
def test_a_wrong_variable_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable):
        load_settings()


@given(st.text(min_size=1, max_size=20))
def test_any_library_text_gives_a_folder_or_a_clear_error(text: str) -> None:
    try:
        settings = load_settings(library=text)
    except UsageError:
        return
    assert settings.library_dir.is_absolute()
    assert settings.library_name
