"""Text preparation and token ids, against the real SONAR tokenizer where its fixtures are."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders.card import ModelCard, load_card
from atri_cli.encoders.tokenizer import Tokenizer, prepare
from atri_cli.errors import ModelError, UsageError

SHARED = Path(os.environ.get("ATRI_SHARED", Path(__file__).parents[2] / "shared"))
SONAR = SHARED / "data" / "sonar_fixtures"


@pytest.fixture
def card(fake_model: Path) -> ModelCard:
    return load_card(fake_model)


def nllb(card: ModelCard, **facts: object) -> ModelCard:
    codes = ("eng_Latn", "zho_Hans", "fra_Latn")
    text = replace(card.text, tokenizer_rule="nllb", language_codes=codes, lowercase=False)
    return replace(card, text=replace(text, **facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "ready"),
    [
        ("  a\t\nb  ", "a b"),
        ("\x00a\x1bb\x7f", "a b"),
        ("ﬁre Ａ", "fire A"),
        ("e\u0301", "é"),
        ("a\u3000b\u00a0c", "a b c"),
        ("\udcff!", "!"),
        ("🐶", "🐶"),
        ("", ""),
    ],
)
def test_prepare(raw: str, ready: str) -> None:
    assert prepare(raw) == ready


def test_prepare_with_the_facts_of_a_card() -> None:
    assert prepare(" STRASSE  Straße", lowercase=True, prefix="query: ") == "query: strasse straße"


@given(st.text(), st.booleans())
def test_preparing_twice_changes_nothing(text: str, lowercase: bool) -> None:
    once = prepare(text, lowercase=lowercase)
    assert prepare(once, lowercase=lowercase) == once
    once.encode("utf-8")


def test_xlmr_ids_are_those_of_sentencepiece(card: ModelCard) -> None:
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(card.tokenizer_path))
    expected = [pieces.bos_id(), *pieces.encode("un son grave"), pieces.eos_id()]
    assert Tokenizer(card).encode("Un  Son GRAVE") == expected
    assert Tokenizer(card).encode("") == [pieces.bos_id(), pieces.eos_id()]


@pytest.mark.parametrize("lang", ["fr", "zh-Hans", None])
def test_xlmr_has_no_use_for_a_language(card: ModelCard, lang: str | None) -> None:
    assert Tokenizer(card).encode("bruit", lang) == Tokenizer(card).encode("bruit")


def test_a_wrong_language_tag_is_refused_by_every_rule(card: ModelCard) -> None:
    for tokenizer in (Tokenizer(card), Tokenizer(nllb(card))):
        with pytest.raises(UsageError, match="`french`"):
            tokenizer.encode("bruit", "french")


@pytest.mark.parametrize("rule", ["xlmr", "nllb"])
def test_long_texts_are_cut_and_keep_the_end(card: ModelCard, rule: str) -> None:
    tokenizer = Tokenizer(nllb(card) if rule == "nllb" else card)
    ids = tokenizer.encode("noise " * 2000)
    assert len(ids) == card.text.max_tokens
    assert ids[-1] == 3
    assert ids[:-1] == tokenizer.encode("noise " * 3000)[:-1]


@given(text=st.text(max_size=60))
def test_any_text_has_ids(fake_model: Path, text: str) -> None:
    for card in (load_card(fake_model), nllb(load_card(fake_model))):
        ids = Tokenizer(card).encode(text)
        assert 2 <= len(ids) <= card.text.max_tokens
        assert min(ids) >= 0


def test_batches_are_padded_on_the_right(card: ModelCard) -> None:
    tokenizer = Tokenizer(card)
    short, long = tokenizer.encode("low"), tokenizer.encode("a low tone")
    ids, mask = tokenizer.batch(["low", "a low tone"])
    gap = len(long) - len(short)
    assert ids.tolist() == [short + [tokenizer.pad_id] * gap, long]
    assert mask.tolist() == [[1] * len(short) + [0] * gap, [1] * len(long)]


def test_nllb_takes_the_language_from_the_script_when_none_is_given(card: ModelCard) -> None:
    tokenizer = Tokenizer(nllb(card))
    assert tokenizer.encode("low") == tokenizer.encode("low", "en")
    assert tokenizer.encode("低音") == tokenizer.encode("低音", "zh")
    assert tokenizer.encode("low", "fr")[0] == tokenizer.encode("low", "en")[0] + 2


def test_nllb_takes_english_when_it_lacks_the_language_of_the_script(card: ModelCard) -> None:
    tokenizer = Tokenizer(nllb(card))
    assert tokenizer.encode("шум") == tokenizer.encode("шум", "en")
    without_english = Tokenizer(nllb(card, language_codes=("zho_Hans", "fra_Latn")))
    assert without_english.encode("шум") == without_english.encode("шум", "zh")


def test_nllb_refuses_a_language_it_lacks(card: ModelCard) -> None:
    with pytest.raises(UsageError, match="has no such language"):
        Tokenizer(nllb(card)).encode("rumore", "it")


def test_an_unknown_rule_is_refused(card: ModelCard) -> None:
    with pytest.raises(ModelError, match="`bytes`"):
        Tokenizer(nllb(card, tokenizer_rule="bytes"))


@pytest.mark.parametrize("content", [None, b"", b"not a model" * 50])
def test_a_damaged_tokenizer_file(card: ModelCard, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / card.text.tokenizer).write_bytes(content)
    with pytest.raises(ModelError, match="Cannot read the tokenizer"):
        Tokenizer(replace(card, folder=tmp_path)).encode("low")


@pytest.mark.skipif(not SONAR.is_dir(), reason="the fixtures of the real SONAR are not here")
def test_nllb_ids_are_those_of_sonar(card: ModelCard) -> None:
    texts, expected = json.loads((SONAR / "tok.json").read_text(encoding="utf-8"))
    # The fixtures name two languages of a longer list; their ids say that two others precede them.
    codes = ("ace_Arab", "ace_Latn", *expected)
    facts = {"tokenizer": "s.model", "max_tokens": 514, "language_codes": codes}
    tokenizer = Tokenizer(replace(nllb(card, **facts), folder=SONAR))
    for lang, rows in expected.items():
        assert [tokenizer.encode(text, lang) for text in texts] == rows
