"""The model card: reading, writing, and what its pipeline id depends on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders.card import CARD_FILE, ModelCard, load_card, write_card
from atri_cli.errors import ModelError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
SCALARS = TEXT | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def test_a_card_survives_writing_and_reading(fake_model: Path, tmp_path: Path) -> None:
    card = load_card(fake_model)
    assert write_card(card, tmp_path) == tmp_path / CARD_FILE
    again = load_card(tmp_path)
    assert again == replace(card, folder=tmp_path)
    assert again.pipeline_id == card.pipeline_id


@given(quality=st.dictionaries(TEXT, VALUES, max_size=4), name=TEXT, codes=st.lists(TEXT))
def test_any_fact_survives(
    fake_model: Path, tmp_path: Path, quality: dict[str, Any], name: str, codes: list[str]
) -> None:
    card = load_card(fake_model)
    text = replace(card.text, prefix=name, language_codes=tuple(codes))
    card = replace(card, name=name, quality=quality, text=text, folder=tmp_path)
    write_card(card, tmp_path)
    assert load_card(tmp_path) == card


def test_toml_has_no_null(fake_model: Path, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="TOML cannot hold None"):
        write_card(replace(load_card(fake_model), quality={"r1": None}), tmp_path)


def test_whole_seconds_may_be_written_without_a_point(fake_model: Path, tmp_path: Path) -> None:
    card = (fake_model / CARD_FILE).read_text()
    (tmp_path / CARD_FILE).write_text(card.replace("= 2.0", "= 2"))
    assert load_card(tmp_path).pipeline_id == load_card(fake_model).pipeline_id


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("dim = 16", "", "'dim'"),
        ("sample_rate = 16000", 'sample_rate = "16000"', "`sample_rate` must be int, not str"),
        ("sample_rate = 16000", "", "sample_rate"),
        ("max_tokens", "max_token", "`max_token` is not a known fact"),
        ("lowercase = true", "lowercase = 1", "`lowercase` must be bool"),
        ("[audio]", "audio = 3\n[other]", "object"),
        ("dim = 16", "dim = ", "Invalid value"),
    ],
)
def test_a_wrong_card_says_what_is_wrong(
    fake_model: Path, tmp_path: Path, old: str, new: str, why: str
) -> None:
    card = (fake_model / CARD_FILE).read_text()
    assert old in card
    (tmp_path / CARD_FILE).write_text(card.replace(old, new))
    with pytest.raises(ModelError) as caught:
        load_card(tmp_path)
    assert why in caught.value.why


def test_a_folder_without_card(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"it has no `card\.toml`"):
        load_card(tmp_path)


def changed(card: ModelCard, **audio: Any) -> ModelCard:
    return replace(card, audio=replace(card.audio, **audio))


def test_the_pipeline_id_follows_what_changes_a_vector(fake_model: Path) -> None:
    card = load_card(fake_model)
    variants = [
        card,
        changed(card, sha256="0" * 64),
        changed(card, hop_seconds=0.5),
        replace(card, precision="int8"),
        replace(card, text=replace(card.text, lowercase=False)),
    ]
    assert len({variant.pipeline_id for variant in variants}) == len(variants)


def test_the_pipeline_id_ignores_name_place_and_quality(fake_model: Path, tmp_path: Path) -> None:
    card = load_card(fake_model)
    other = replace(card, name="b", folder=tmp_path, quality={"r1": 0.5}, licences={})
    assert other.pipeline_id == card.pipeline_id
