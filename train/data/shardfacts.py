"""What the JSON of a shard's sample says: captions by language, and other facts of a clip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from atri_cli.encoders.languages import known
from atri_cli.errors import UsageError

FORM = 'Write `{"captions": {"en": ["a dog barks"]}}`.'
TEXTS = ("id", "recording", "split", "note")


def parse(where: str, data: bytes) -> dict[str, Any]:
    """The facts of a JSON, with captions by canonical tag; `where` names it in errors.

    Raises:
        UsageError: it is no JSON, or says too little.
    """
    try:
        facts = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise wrong(where, f"It is no JSON: {error}.", FORM) from error
    if not isinstance(facts, dict):
        raise wrong(where, "Its JSON is not an object.", FORM)
    found: dict[str, Any] = {"captions": captions_by_tag(where, facts.get("captions", {}))}
    for name in TEXTS:
        value = facts.get(name, "")
        if not is_text(value):
            raise wrong(where, f"Its `{name}` is not a text.", f'Write `"{name}": "…"`.')
        found[name] = value
    return found


def captions_by_tag(where: str, languages: object) -> dict[str, tuple[str, ...]]:
    """Phrasings by canonical tag; `en` and `en-x-2` are one language, as in the query file."""
    if not isinstance(languages, Mapping):
        raise wrong(where, "Its `captions` are not an object of languages.", FORM)
    found: dict[str, tuple[str, ...]] = {}
    for tag, value in languages.items():
        try:
            language = known(tag).split("-x-")[0]
        except UsageError as error:
            raise wrong(where, error.what, error.hint) from None
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(map(is_text, texts)):
            what = f"Its captions in `{tag}` are neither a text nor a list of texts."
            raise wrong(where, what, FORM)
        kept = tuple(text.strip() for text in texts if text.strip())
        if kept:
            found[language] = (*found.get(language, ()), *kept)
    if not found:
        raise wrong(where, "It has no caption.", FORM)
    return found


def is_text(value: object) -> bool:
    """A string of whole characters: JSON can hold halves."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def plain(text: str) -> str:
    """The text with halves of characters written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def wrong(where: str, what: str, hint: str) -> UsageError:
    """What is wrong, and in which member of a shard."""
    return UsageError(f"{where}: {what}", hint=hint)
