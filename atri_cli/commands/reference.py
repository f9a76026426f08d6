"""Writes docs/commands.md from the program: `python -m atri_cli.commands.reference`.

It reads the declarations of the commands, not their printed help, so that the result depends
neither on the terminal nor on the version of Typer. A test compares it with the file.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer

from atri_cli.app import COMMANDS, declared

TARGET = Path(__file__).resolve().parents[2] / "docs" / "commands.md"

INTRODUCTION = """\
# Commands

This file is generated: `python -m atri_cli.commands.reference` writes it from the program.

Every command takes `-h` or `--help`. `atri --version` shows the version. `python -m atri_cli` is
the same as `atri`.
"""

CLOSING = """\
## Exit codes

| code | meaning |
|---|---|
| 0 | done, also when a search finds nothing |
| 1 | it could not be done; `atri doctor`, `atri models verify`: something is broken |
| 2 | the command line, a variable or config.toml is wrong |
| 3 | `atri search --fail-if-empty` found nothing |
| 4 | `atri consistency`: a limit (`--max-mrv`, `--min-overlap`) is broken |
| 130 | stopped by Ctrl-C; what was finished is saved |
| 141 | the program that read the output has ended |

Data goes to stdout, everything else to stderr. An error is up to three lines: `Error:`, `Why:`,
`Hint:`. With `ATRI_DEBUG=1` it is a traceback instead.

## Settings

An option beats the environment, the environment beats config.toml, and that beats the default.
An empty variable counts as not set.

| option | variable | in config.toml | default |
|---|---|---|---|
| `--library` | `ATRI_LIBRARY` | `library = "default"` | `default`, of a model `default@NAME` |
| `--model` | `ATRI_MODEL` | `model = "atri-mini"` | that of the library, or `atri-mini` |
| `--device` | `ATRI_DEVICE` | `device = "cpu"` | `cpu` |
| `--jobs` | `ATRI_JOBS` | `jobs = 4` | one for each core |

A library is a name, or the path of a folder (anything with a `/`, such as `./lib`). `ATRI_HOME`
puts config.toml, `libraries/` and `models/` under one folder; without it they are where the
system keeps such things. `atri doctor` shows every setting and where it came from. With
`ATRI_OFFLINE=1` or `HF_HUB_OFFLINE=1` atri asks no server for anything; only `atri models pull`
ever does.

## Output for other programs

All of it is UTF-8, whatever the terminal. A path that is not valid UTF-8 has U+FFFD in place of
the odd bytes, and beside it `path_bytes` (`root_bytes`, `like_bytes`, `folder_bytes` …) with the
exact bytes in base64; `--paths` and `--print0` write the exact bytes. CSV has no such column.
Times are seconds. New keys may appear within a schema number; none changes its meaning.

`atri search --json`: one object, best hit first, one hit a file.

| key | value |
|---|---|
| `schema` | 2: since 2026-11-26 `score` has `cosine` beside it |
| `query` | a list of `{"text", "weight", "lang"}` and `{"like", "start", "end", "weight"}` |
| `library`, `model` | names |
| `hits` | a list of objects, as below |

| key of a hit | value |
|---|---|
| `path`, `root` | absolute path of the file, and of the remembered folder it is in |
| `start`, `end` | its best place |
| `score` | what hits are ordered by: `cosine`, less what a sound loses that resembles every name |
| `z` | standard deviations of `cosine` above the mean of the places searched |
| `cosine` | of query and place, -1 to 1 |
| `segments` | up to `--segments` places `{"start", "end", "score", "z", "cosine"}`, best first |

The weight of `--not` is negative. `--jsonl` prints the hits, one a line. `--csv` prints
`path,root,start,end,score,z,cosine`, one line a place. `--paths` prints one path a line, `-0` ends
each with a zero byte.

`atri index --json`: `schema`, `library`, numbers of files `added`, `updated`, `moved`, `removed`,
`unchanged`, `skipped` (by reason), `skipped_files` (`path`, `reason`, `detail`), `segments`,
`audio_seconds`, `wall_seconds`, `offline_roots`, `interrupted`, `dry_run`.

`atri status --json`: `schema`, `library`, `folder`, `model`, `pipeline_id`, `files`, `segments`,
`seconds`, `skipped`, `roots` (`path`, `online`, `files`, `seconds`), `database_bytes`, `cache`
(`fresh`, `stale`, `missing`, `damaged`, `unused`), `last_indexed` (seconds of the epoch or null).

`atri roots --json`: `schema`, `roots` as above. `atri models --json`: `schema`, `models`,
`checkpoints` (`name`, `folder`). `atri models pull NAME --json`: `schema`, `name`, `licence`,
`commercial`, `folder`, `files` (`name`, `how`: `kept`, `copied`, `cached`, `downloaded`, `resumed`,
`bytes`, `sha256`, `sha256_published`); without a name `schema`, `known`. `atri models add --json`:
`schema`, `name`, `pipeline_id`, `linked`, `folder`. `atri models remove --json`: `schema`,
`removed`, `kind` (`model` or `checkpoint`), `linked`, `bytes`. `atri models verify --json`:
`schema`, `ok`, `models` (`name`, `kind`, `ok`, `problems`, `folder`).

`atri doctor --json`: `schema`, `ok`, `checks` (`name`, `state`: `ok`, `note` or `broken`,
`detail`, `hint`).
"""

Command = tuple[str, Callable[..., Any]]


def reference() -> str:
    """The whole of docs/commands.md."""
    sections = [_section(name, function) for name, function in commands()]
    return "\n".join([INTRODUCTION, *sections, CLOSING])


def commands() -> Iterator[Command]:
    """Full name and function of every command, groups before their members."""
    for name in COMMANDS:
        group = declared(name)
        if group.registered_callback is not None and group.registered_callback.callback:
            yield f"atri {name}", group.registered_callback.callback
            yield from _members(group, f"atri {name}")
        else:
            yield from _members(group, "atri")


def _members(group: typer.Typer, prefix: str) -> Iterator[Command]:
    for command in group.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield f"{prefix} {name}", command.callback


def _section(name: str, function: Callable[..., Any]) -> str:
    text = inspect.getdoc(function) or ""
    prose, _, examples = text.partition("\b\nExamples:\n")
    lines = [f"## {name}", "", prose.strip(), ""]
    lines += ["```sh", inspect.cleandoc(examples), "```", ""]
    rows = [_row(*parameter) for parameter in _parameters(function)]
    lines += ["| argument or option | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[Any, Any, Any]]:
    """What is declared for each parameter of a command: its type, Typer's facts, its default."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if typing.get_origin(hints[name]) is typing.Annotated:
            kind, facts = typing.get_args(hints[name])
            yield kind, facts, parameter.default


def _row(kind: Any, facts: Any, default: Any) -> str:
    # Inside Annotated, Typer keeps the first name where the default would be.
    declared = [facts.default, *(facts.param_decls or ())]
    names = ", ".join(f"`{name}`" for name in declared if str(name).startswith("-"))
    value = f" `{facts.metavar}`" if facts.metavar else ""
    hidden = kind is bool or facts.show_default is False
    words = facts.help if hidden else f"{facts.help} Default: {default}."
    cells = [text.strip().replace("|", "\\|") for text in (names + value, words)]
    return f"| {cells[0]} | {cells[1]} |"


def main() -> None:
    """Write the file."""
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(reference(), encoding="utf-8")
    print(f"Wrote {TARGET}", file=sys.stderr)


if __name__ == "__main__":
    main()
