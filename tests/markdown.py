"""Just enough Markdown for the tests of the documentation."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ROOT / "docs" / "commands.md"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
WRITTEN = [page for page in PAGES if page != GENERATED]

_FENCE = re.compile(r"^```(?P<kind>[a-z]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_OPERATORS = frozenset({"|", "||", "&&", ";", ">", "<"})


def page_id(page: Path) -> str:
    """Name of a page for a test's id."""
    return page.relative_to(ROOT).as_posix()


def blocks(text: str, kind: str) -> list[str]:
    """Bodies of the fenced blocks of a kind (`sh`, `python`)."""
    return [match["body"] for match in _FENCE.finditer(text) if match["kind"] == kind]


def code(text: str) -> list[str]:
    """What a reader might type: lines of `sh` blocks and inline code."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [*lines, *_SPAN.findall(_FENCE.sub("", text))]


def links(text: str) -> list[str]:
    """Targets of the links outside code."""
    return [match["target"] for match in _LINK.finditer(_FENCE.sub("", text))]


def calls(text: str, program: str) -> Iterator[list[str]]:
    """Arguments of each call of a program in a page's code."""
    for line in code(text):
        if re.search(rf"\b{program} ", line):
            for words in _simple_commands(line):
                if words[:1] == [program]:
                    yield words[1:]


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            words.append(word)
            continue
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        yield words
        words = []
