"""Language tags in, canonical tags and NLLB codes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atri_cli.encoders.languages import LANGUAGES, Language, canonical, guess_from_script, nllb_code
from atri_cli.errors import UsageError

CODES = [code for row in LANGUAGES for code in row.codes]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("fr", "fr"),
        (" FR ", "fr"),
        ("fra", "fr"),
        ("fra_Latn", "fr"),
        ("fr_ca", "fr-CA"),
        ("zh", "zh"),
        ("ZH-HANS", "zh-Hans"),
        ("zho_Hant", "zh-Hant"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("arb_Arab", "ar"),
        ("sr-Latn", "sr-Latn"),
        ("es-419", "es-419"),
        ("en-x-2", "en-x-2"),
        ("ca-valencia", "ca-valencia"),
        ("de-1996", "de-1996"),
        ("acm_Arab", "acm-Arab"),
        ("nob", "nb"),
    ],
)
def test_canonical(tag: str, expected: str) -> None:
    assert canonical(tag) == expected


@given(st.sampled_from(LANGUAGES), st.sampled_from(["", "-CH", "-x-2", "-ch-x-long-3"]))
def test_canonical_changes_nothing_twice(row: Language, suffix: str) -> None:
    tag = row.tag + suffix
    assert canonical(canonical(tag)) == canonical(tag)


@pytest.mark.parametrize("tag", ["", "f", "french", "fr-", "fr--CA", "fr CA", "é", "en-x", "日本"])
def test_what_is_no_tag_is_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="Unknown language"):
        canonical(tag)


@pytest.mark.parametrize(
    ("tag", "near"), [("french", "`fr`"), ("Japanes", "`ja`"), ("deut", "`de`")]
)
def test_the_nearest_language_is_named(tag: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        canonical(tag)
    assert near in caught.value.hint


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("fr", "fra_Latn"),
        ("fr-CA", "fra_Latn"),
        ("fra_Latn", "fra_Latn"),
        ("zh", "zho_Hans"),
        ("zh-Hans", "zho_Hans"),
        ("zh-TW", "zho_Hant"),
        ("zho_Hant", "zho_Hant"),
        ("ja", "jpn_Jpan"),
        ("en-x-2", "eng_Latn"),
        ("ar", "arb_Arab"),
        ("fa", "pes_Arab"),
        ("no", "nob_Latn"),
        ("nn", "nno_Latn"),
    ],
)
def test_nllb_codes(tag: str, code: str) -> None:
    assert nllb_code(tag, CODES) == code


@pytest.mark.parametrize("row", LANGUAGES, ids=lambda row: row.tag)
def test_every_tag_and_code_of_the_table_leads_to_its_code(row: Language) -> None:
    assert nllb_code(row.tag, CODES) == row.codes[0]
    assert [nllb_code(code, CODES) for code in row.codes] == list(row.codes)


def test_a_code_outside_the_table_is_found_on_the_card() -> None:
    assert nllb_code("acm_Arab", ["eng_Latn", "acm_Arab"]) == "acm_Arab"
    assert nllb_code("acm", ["eng_Latn", "acm_Arab"]) == "acm_Arab"


@pytest.mark.parametrize("tag", ["it", "fr-Cyrl", "tlh"])
def test_a_language_that_the_model_lacks(tag: str) -> None:
    with pytest.raises(UsageError, match="has no such language"):
        nllb_code(tag, ["fra_Latn", "eng_Latn"])


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("dog", "en"),
        ("", "en"),
        ("🐶 123", "en"),
        ("狗叫声", "zh-Hans"),
        ("犬の鳴き声", "ja"),
        ("собака лает", "ru"),
        ("개가 짖는다", "ko"),
        ("نباح كلب", "ar"),
    ],
)
def test_guess_from_script(text: str, tag: str) -> None:
    assert guess_from_script(text) == tag
