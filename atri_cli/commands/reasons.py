"""Why files are skipped, in words, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping

MEANINGS = {
    "broken-link": "links that lead nowhere",
    "changed-while-reading": "changed while they were read; index again when they are complete",
    "damaged": "damaged sound files",
    "empty": "without any sound in them",
    "failed": "failed in an unforeseen way; `atri index --verbose` says how",
    "missing": "went away meanwhile",
    "needs-formats-extra": 'm4a, video and the like: `pip install "atri-cli[formats]"` reads them',
    "not-a-file": "folders, pipes or devices with the name of a sound",
    "not-audio": "not a sound, whatever their names say",
    "not-finite": "hold no numbers that are sound (NaN or infinity)",
    "pending": "not heard yet with the model chosen last; `atri index` goes on with them",
    "silent": "nothing but silence",
    "too-short": "too short to say anything about",
    "unsupported": "coded in a way that libsndfile does not read",
    "unreadable": "may not be read by you; change their permissions",
}


def skipped_facts(skipped: Mapping[str, int], label: str = "skipped") -> list[tuple[str, str]]:
    """Lines for `Output.facts`: one a reason, most files first."""
    facts = []
    for reason, count in sorted(skipped.items(), key=lambda item: (-item[1], item[0])):
        meaning = MEANINGS.get(reason)
        facts.append((label, f"{count:,} {reason}" + (f": {meaning}" if meaning else "")))
        label = ""
    return facts
