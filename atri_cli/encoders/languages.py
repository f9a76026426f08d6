"""Language tags: BCP 47 at the surface, NLLB codes inside the SONAR tower.

`fr`, `FR`, `fra` and `fra_Latn` are one language, written `fr`; `zh_hans`, `zh-Hans` and
`zho_Hans` are `zh-Hans`. A private suffix (`en-x-2`, a second phrasing) is kept.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from atri_cli.encoders.language_table import TABLE
from atri_cli.errors import UsageError

_TAG = re.compile(
    r"(?P<language>[a-z]{2,3})"
    r"(?:-(?P<script>[a-z]{4}))?"
    r"(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
    r"(?P<private>(?:-x(?:-[a-z0-9]{1,8})+)?)",
    re.ASCII,
)


class Language(NamedTuple):
    """One row of the table: `tag` is what BCP 47 prefers, `codes` what NLLB calls it."""

    tag: str
    iso3: tuple[str, ...]
    scripts: tuple[str, ...]
    name: str

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(f"{self.iso3[0]}_{script}" for script in self.scripts)


def _rows() -> tuple[Language, ...]:
    cells = (line.split(maxsplit=3) for line in TABLE.strip().splitlines())
    return tuple(
        Language(tag, tuple(iso3.split(",")), tuple(scripts.split(",")), name)
        for tag, iso3, scripts, name in cells
    )


LANGUAGES = _rows()
_BY_CODE = {code: row for row in reversed(LANGUAGES) for code in (*row.iso3, row.tag)}

# Enough of a text's script to choose a language tag; where a script serves many, the most spoken.
_SCRIPT_LANGUAGES = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh-Hans",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
    "TAMIL": "ta",
    "TELUGU": "te",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
}


def canonical(tag: str) -> str:
    """The canonical form of a language tag.

    Raises:
        UsageError: not a language tag, with the nearest known ones.
    """
    match = _TAG.fullmatch(tag.strip().replace("_", "-").lower())
    if match is None:
        raise _unknown(tag)
    row = _BY_CODE.get(match["language"])
    language = row.tag if row else match["language"]
    script = (match["script"] or "").title()
    if row and row.scripts == (script,):
        script = ""
    parts = [language, script, (match["region"] or "").upper()]
    return "-".join(part for part in parts if part) + match["variants"] + match["private"]


def known(tag: str) -> str:
    """The canonical form of a tag of a language that the table has.

    Raises:
        UsageError: not a language tag, or of an unknown language, with the nearest known ones.
    """
    found = canonical(tag)
    if found.split("-")[0] not in _BY_CODE:
        raise _unknown(tag)
    return found


def nllb_code(tag: str, codes: Sequence[str]) -> str:
    """The code among `codes` (such as `fra_Latn`) that a tag names.

    Without a script the language's usual one is taken: `zh` is `zho_Hans`, `zh-TW` is `zho_Hant`.

    Raises:
        UsageError: none of `codes` is this language, with the nearest ones.
    """
    match = _TAG.fullmatch(canonical(tag).lower())
    assert match is not None, "canonical() gave no tag"
    row = _BY_CODE.get(match["language"])
    names = row.iso3 if row else (match["language"],)
    script = (match["script"] or "").title()
    if not script and match["region"] in ("tw", "hk", "mo"):
        script = "Hant"
    wanted = [script] if script else [*(row.scripts if row else ())]
    found = [code for code in codes if code.split("_")[0] in names]
    best = [code for name in wanted for code in found if code.endswith(f"_{name}")]
    if best or (found and not script):
        return (best or found)[0]
    raise _unknown(tag, [code.split("_")[0] for code in codes])


def guess_from_script(text: str) -> str:
    """A language tag from the script of a text alone; `en` for Latin and everything unknown."""
    seen = {unicodedata.name(char, "").split(" ")[0] for char in text if char.isalpha()}
    scripts = {name.split("-")[0] for name in seen}
    return next((tag for name, tag in _SCRIPT_LANGUAGES.items() if name in scripts), "en")


def _unknown(tag: str, codes: Sequence[str] = ()) -> UsageError:
    rows = [row for row in LANGUAGES if not codes or set(row.iso3) & set(codes)]
    names = {name: row.tag for row in rows for name in (row.name.lower(), row.tag, *row.iso3)}
    near = difflib.get_close_matches(tag.strip().lower(), names, n=3, cutoff=0.5)
    near = near[:1] if near and near[0] == tag.strip().lower() else near
    tags = list(dict.fromkeys(names[name] for name in near))
    hint = f"Did you mean {' or '.join(f'`{name}`' for name in tags)}?" if tags else ""
    why = "The model has no such language." if codes else "It is not a BCP 47 language tag."
    hint = hint or "Write for example `fr`, `zh-Hans` or `pt-BR`."
    return UsageError(f"Unknown language `{tag}`.", why=why, hint=hint)
