"""`atri search`: find sounds by what they sound like."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atri_cli.commands import parsing
from atri_cli.commands.opening import flags, nothing_indexed, opened
from atri_cli.commands.options import (
    DeviceOption,
    JsonOption,
    LibraryOption,
    ModelOption,
    QuietOption,
)
from atri_cli.errors import UsageError
from atri_cli.output import Mode, Output
from atri_cli.settings import Settings, load_settings
from atri_cli.wording import command

if TYPE_CHECKING:
    from atri_cli.encoders.types import Encoder
    from atri_cli.library.types import Filters, QueryPart

NOTHING_FOUND = 3
STDIN = "-"


def search(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="What to find, in any language. `rain^2` counts twice; `-` reads stdin.",
            show_default=False,
        ),
    ] = None,
    *,
    unwanted: Annotated[
        list[str] | None,
        typer.Option(
            "--not", metavar="TEXT", help="What it should not sound like.", show_default=False
        ),
    ] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="FILE[@START-END]",
            help="A sound it should resemble, or a part of one: `dog.wav@1:05-1:08`.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many files.")
    ] = 10,
    segments: Annotated[
        int, typer.Option("--segments", min=1, metavar="N", help="So many places in each file.")
    ] = 1,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            "--path", metavar="GLOB", help="Only files whose path matches.", show_default=False
        ),
    ] = None,
    ext: Annotated[
        list[str] | None,
        typer.Option(
            "--ext", metavar="EXT", help="Only these kinds, as `wav,flac`.", show_default=False
        ),
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            "--root", metavar="DIR", help="Only files in this folder.", show_default=False
        ),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(
            "--duration",
            metavar="A..B",
            help="Only files of this length: `1..10`, `..5`, `2m..1h`.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="WHEN",
            help="Only files changed since: `7d`, `2h`, `2026-01-31`.",
            show_default=False,
        ),
    ] = None,
    lang: Annotated[
        str | None,
        typer.Option(
            "--lang", metavar="TAG", help="Language of the texts, as `fr`.", show_default=False
        ),
    ] = None,
    expand: Annotated[
        bool | None,
        typer.Option(
            "--expand/--no-expand",
            help="Ask in eight languages at once what the vocabulary knows (the default).",
            show_default=False,
        ),
    ] = None,
    csls: Annotated[
        bool,
        typer.Option(
            "--csls/--no-csls", help="Hold back sounds that resemble every name (the default)."
        ),
    ] = True,
    json: JsonOption = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one JSON object a file.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for each place.")] = False,
    paths_only: Annotated[bool, typer.Option("--paths", help="Print only paths.")] = False,
    null: Annotated[
        bool, typer.Option("--print0", "-0", help="Print only paths, each ended by a zero byte.")
    ] = False,
    play: Annotated[bool, typer.Option("--play", help="Play the best place found.")] = False,
    fail_if_empty: Annotated[
        bool, typer.Option("--fail-if-empty", help="Exit with 3 when nothing is found.")
    ] = False,
    device: DeviceOption = None,
    library: LibraryOption = None,
    model: ModelOption = None,
    quiet: QuietOption = False,
) -> None:
    """Find sounds from a description in any language.

    Several TEXTs, sounds and `--not` are added up by weight; write the weight behind a caret
    (`rain^2`, `--not wind^0.5`, `--like a.wav^2`), and a caret that belongs to the text as `\\^`.
    The best place of each file is shown with its score, the cosine of query and sound less what a
    sound loses that resembles every name, and z: how far the cosine stands out from the rest of the
    library, in standard deviations.

    \b
    Examples:
      atri search "chien qui aboie"
      atri search rain^2 "city street" --not thunder
      atri search --like ~/dog.wav@1:05-1:08 --duration 1..10
      atri search "heavy rain" --expand
      atri search 雨 --ext wav,flac --since 7d --json
      atri search footsteps -0 | xargs -0 ls -l
    """
    settings = load_settings(library=library, model=model, device=device)
    mode = _mode(json, jsonl, csv, paths_only or null)
    out = Output(mode, quiet=quiet, null=null)
    parts = _parts(texts or [], unwanted or [], like or [], lang)
    filters = _filters(paths or [], ext or [], root or [], duration, since)
    if play:
        from atri_cli.commands.play import find_player

        player = find_player()
    with opened(settings) as sounds:
        if not sounds.exists:
            raise nothing_indexed(settings)
        result = sounds.search(
            parts,
            limit=limit,
            filters=filters,
            segments_per_file=segments,
            expand=expand is not False,
            csls=csls,
        )
        if expand:
            _say_how_it_is_asked(out, result.parts, sounds.encoder())
    from atri_cli.commands.hits import print_hits

    print_hits(out, result)
    if not result.hits:
        _say_nothing_found(out, filters, texts or [], settings)
        raise typer.Exit(NOTHING_FOUND if fail_if_empty else 0)
    if play:
        player.play(result.hits[0])


def _mode(json: bool, jsonl: bool, csv: bool, paths: bool) -> Mode:
    asked: dict[Mode, bool] = {"json": json, "jsonl": jsonl, "csv": csv, "paths": paths}
    modes = [mode for mode, on in asked.items() if on]
    if len(modes) > 1:
        options = " and ".join(f"`--{mode}`" for mode in modes)
        raise UsageError(f"{options} exclude each other.", hint="Keep one of them.")
    return modes[0] if modes else "table"


def _parts(
    texts: list[str], unwanted: list[str], like: list[str], lang: str | None
) -> list[QueryPart]:
    if [*texts, *unwanted].count(STDIN) > 1:
        raise UsageError("Only one text can be read from stdin.", hint="Write `-` once.")
    parts = [_text_part(text, lang, 1.0) for text in texts]
    parts += [_text_part(text, lang, -1.0) for text in unwanted]
    parts += [parsing.like_part(value) for value in like]
    if not parts:
        raise UsageError("Nothing to search for.", hint='For example: `atri search "dog barking"`.')
    return parts


def _text_part(text: str, lang: str | None, sign: float) -> QueryPart:
    if text != STDIN:
        return parsing.text_part(text, lang, sign)
    from atri_cli.library.types import QueryPart

    data = sys.stdin.buffer.read() if sys.stdin is not None else b""
    words = data.decode("utf-8-sig", "replace").strip()
    if not words:
        raise UsageError("No text came from stdin.", hint="`echo rain | atri search -`")
    return QueryPart(text=words, weight=sign, lang=lang)


def _say_how_it_is_asked(out: Output, parts: tuple[QueryPart, ...], encoder: Encoder) -> None:
    from atri_cli.library.leaning import near_names

    for part in parts:
        if part.also:
            names = ", ".join(f"{name} ({tag})" for tag, name in part.also)
            out.note(f"`{part.text}` is asked as {names}.")
        elif part.text is not None:
            near = ", ".join(f"{name} {share:.2f}" for name, share in near_names(encoder, part))
            how = f"It leans towards {near}." if near else "It is asked as it stands."
            out.note(f"The vocabulary does not know `{part.text}` as a sound. {how}")


def _filters(
    paths: list[str], ext: list[str], roots: list[Path], duration: str | None, since: str | None
) -> Filters:
    from atri_cli.library.types import Filters

    shortest, longest = parsing.duration_range(duration) if duration is not None else (None, None)
    return Filters(
        paths=tuple(paths),
        extensions=parsing.extensions(ext),
        roots=tuple(Path(os.path.abspath(os.path.expanduser(root))) for root in roots),
        min_seconds=shortest,
        max_seconds=longest,
        since=parsing.since(since) if since is not None else None,
    )


def _say_nothing_found(out: Output, filters: Filters, texts: list[str], settings: Settings) -> None:
    out.note("No sound passes the filters." if filters else "Nothing was found.")
    plain = [path for path in filters.paths if not any(sign in path for sign in "*?[")]
    if plain:
        out.hint(f"`--path` must match the whole path: `--path '*{plain[0]}*'`")
    elif filters and texts:
        out.hint(f"Without filters: {command(['search', *texts, *flags(settings)])}")
