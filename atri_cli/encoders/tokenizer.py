"""Text to token ids: one deterministic preparation, then sentencepiece and the card's rule.

Rules (`card.text.tokenizer_rule`):

- `xlmr`: `<s>` pieces `</s>`; all ids are sentencepiece's own.
- `nllb` (SONAR): language tag, pieces + 1, `</s>` = 3; padding is 0. The tag's id is
  `piece count + 1 +` its place in `card.text.language_codes`. With `card.text.tag` it is always
  that one: so GLAP was trained.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from atri_cli.encoders import languages
from atri_cli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from atri_cli.encoders.card import ModelCard

RULES = ("xlmr", "nllb")
_NLLB_PAD, _NLLB_END, _NLLB_SHIFT = 0, 3, 1

# Cc: control characters; Cs: lone surrogates, which come from undecodable command line bytes.
_NOT_TEXT = ("Cc", "Cs")


def prepare(text: str, *, lowercase: bool = False, strip: str = "", prefix: str = "") -> str:
    """The text a tokenizer sees.

    In this order: Unicode NFKC; lower case if `lowercase`; control characters, lone surrogates and
    the characters of `strip` become spaces; runs of white space become one space, none at the ends;
    `prefix` in front.
    """
    text = unicodedata.normalize("NFKC", text)
    if lowercase:
        text = unicodedata.normalize("NFKC", text.lower())
    text = "".join(
        " " if char in strip or unicodedata.category(char) in _NOT_TEXT else char for char in text
    )
    return prefix + " ".join(text.split())


class Tokenizer:
    """The tokenizer of one model. The sentencepiece model is read at the first use."""

    def __init__(self, card: ModelCard) -> None:
        if card.text.tokenizer_rule not in RULES:
            raise ModelError(
                f"The model `{card.name}` asks for the unknown tokenizer rule "
                f"`{card.text.tokenizer_rule}`.",
                why=f"This version of atri knows {', '.join(RULES)}.",
            )
        self._card = card
        self._rule = card.text.tokenizer_rule

    @property
    def pad_id(self) -> int:
        """The id that fills the right of shorter texts in a batch."""
        return _NLLB_PAD if self._rule == "nllb" else max(0, int(self._pieces.pad_id()))

    def encode(self, text: str, lang: str | None = None) -> list[int]:
        """Token ids of one text, at most `max_tokens`; the end token is always kept.

        Args:
            text: any text.
            lang: language tag; the `xlmr` rule has no use for it. Without one, the `nllb` rule
                takes the language that `languages.guess_from_script` names.

        Raises:
            UsageError: the tag is not a language tag, or names no language of an `nllb` model.
            ModelError: the tokenizer file is missing or damaged.
        """
        facts = self._card.text
        tag = languages.canonical(lang) if lang else None
        ready = prepare(text, lowercase=facts.lowercase, strip=facts.strip, prefix=facts.prefix)
        room = facts.max_tokens - 2
        pieces: list[int] = self._pieces.encode(ready)[:room]
        if self._rule == "xlmr":
            return [self._pieces.bos_id(), *pieces, self._pieces.eos_id()]
        code = facts.tag or self._nllb_code(tag, ready)
        first = len(self._pieces) + _NLLB_SHIFT + facts.language_codes.index(code)
        return [first, *(piece + _NLLB_SHIFT for piece in pieces), _NLLB_END]

    def _nllb_code(self, tag: str | None, text: str) -> str:
        codes = self._card.text.language_codes
        if tag:
            return languages.nllb_code(tag, codes)
        # A guess must never fail: a model without the guessed language takes English, or its first.
        for guess in (languages.guess_from_script(text), "en"):
            with suppress(UsageError):
                return languages.nllb_code(guess, codes)
        return codes[0]

    def check(self) -> None:
        """Read the tokenizer file now.

        Raises:
            ModelError: it is missing or damaged.
        """
        len(self._pieces)

    def batch(
        self, texts: Sequence[str], lang: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids of several texts, padded on the right, and their attention mask.

        Returns:
            int64 [n, tokens] twice; the mask is 1 for tokens and 0 for padding.
        """
        return self.pad([self.encode(text, lang) for text in texts])

    def pad(self, rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of ids padded on the right, and their mask: int64 [n, longest] twice."""
        width = max(map(len, rows), default=0)
        ids = np.full((len(rows), width), self.pad_id, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return ids, mask

    @cached_property
    def _pieces(self) -> Any:
        import sentencepiece

        path = self._card.tokenizer_path
        try:
            # By content, not by name: sentencepiece takes only names that are UTF-8.
            pieces = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
            pieces.encode("")  # an empty file loads without complaint and fails here
            return pieces
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"Cannot read the tokenizer of the model `{self._card.name}`.",
                why=str(error),
                hint="Compare its files with its card: `atri doctor`.",
            ) from error
