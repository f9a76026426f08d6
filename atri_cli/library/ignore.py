"""`.atriignore`: which files and folders a user does not want indexed.

A subset of gitignore's language. One pattern a line; empty lines and lines that begin with `#`
say nothing. A pattern without `/` matches a name anywhere below the file's folder; one with `/`
in it matches the path from that folder. A `/` at the end matches folders only. `*` and `?` stop
at `/`, `**` does not. `!` at the start takes back what an earlier line said; the last line that
matches decides. A folder that is ignored is not entered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

IGNORE_FILE = ".atriignore"


@dataclass(frozen=True)
class Rule:
    """One line of an ignore file."""

    pattern: re.Pattern[str]
    anchored: bool
    folders_only: bool
    ignore: bool


@dataclass(frozen=True)
class Rules:
    """The lines of one ignore file, and of those above it.

    Args:
        base: the file's folder, relative to the root; empty for the root itself.
        rules: its lines in order.
        above: what the folders above say.
    """

    base: str = ""
    rules: tuple[Rule, ...] = ()
    above: Rules | None = None

    def ignores(self, path: str, is_folder: bool) -> bool:
        """Whether `path`, relative to the root, is to be left out."""
        verdict = self._verdict(path, is_folder)
        return bool(verdict)

    def _verdict(self, path: str, is_folder: bool) -> bool | None:
        below = path[len(self.base) + 1 :] if self.base else path
        name = path.rpartition("/")[2]
        for rule in reversed(self.rules):
            if rule.folders_only and not is_folder:
                continue
            if rule.pattern.fullmatch(below if rule.anchored else name):
                return rule.ignore
        return self.above._verdict(path, is_folder) if self.above else None


def parse_rules(text: str, base: str = "", above: Rules | None = None) -> Rules:
    """Read the lines of an ignore file. A line that is no pattern matches nothing."""
    rules = (_rule(line.strip()) for line in text.splitlines())
    return Rules(base, tuple(rule for rule in rules if rule), above)


def _rule(line: str) -> Rule | None:
    if not line or line.startswith("#"):
        return None
    ignore = not line.startswith("!")
    body = line.removeprefix("!").removeprefix("\\")
    folders_only = body.endswith("/")
    body = body.rstrip("/")
    anchored = "/" in body
    try:
        pattern = re.compile(_translate(body.lstrip("/")))
    except re.error:
        return None
    return Rule(pattern, anchored, folders_only, ignore) if body else None


_TOKENS = re.compile(r"(?P<any>\*\*/)|(?P<deep>\*\*)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[!?[^]]+])")
_RANGE = re.compile(r"(?<=[^\W_])\\-(?=[^\W_])")  # an escaped hyphen between letters or digits
_MEANINGS = {"any": "(?:.*/)?", "deep": ".*", "star": "[^/]*", "one": "[^/]"}


@cache
def _translate(glob: str) -> str:
    pieces, end = [], 0
    for token in _TOKENS.finditer(glob):
        pieces.append(re.escape(glob[end : token.start()]))
        kind = token.lastgroup or ""
        pieces.append(_set(token.group()) if kind == "set" else _MEANINGS[kind])
        end = token.end()
    return "(?s:" + "".join(pieces) + re.escape(glob[end:]) + ")"


def _set(token: str) -> str:
    """`[a-c]` or `[!a-c]` as a regular expression; nothing else has a meaning inside."""
    inside = token[1:-1]
    sign = "^" if inside.startswith("!") else ""
    literal = re.escape(inside.removeprefix("!"))
    return f"[{sign}{_RANGE.sub('-', literal)}]"
