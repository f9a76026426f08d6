"""From a query file and a library to a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atri_cli.consistency import DEPTH, HITS, ROWS_WITH_HITS, remedies
from atri_cli.consistency.bank import bank
from atri_cli.consistency.gallery import Gallery
from atri_cli.consistency.questions import Questions, Tell, ask
from atri_cli.consistency.ranking import Rankings, rank_gallery
from atri_cli.consistency.report import SCHEMA, Hits, Report, build, for_json
from atri_cli.consistency.truth import Answers, find_answers, refuse_missing
from atri_cli.encoders.names import load_names
from atri_cli.errors import UsageError
from atri_cli.queryfile import QueryFile, read_queries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atri_cli.consistency.ranking import Adjust
    from atri_cli.encoders.types import Encoder
    from atri_cli.library.library import Library
    from atri_cli.library.store import Store


@dataclass(frozen=True)
class Plan:
    """The arguments of `atri_cli.consistency.consistency`."""

    languages: Sequence[str]
    split: str
    k: int
    skip_missing: bool
    remedies: remedies.Remedies
    cache: Path | None


def run(library: Library, path: Path, plan: Plan, tell: Tell) -> Report:
    """See `atri_cli.consistency.consistency`."""
    if plan.k < 1:
        raise UsageError("Consistency compares the first file at least.", hint="Try `k=10`.")
    queries = read_queries(path)
    with library.store.snapshot():  # another process may be indexing
        return _run(library, path, queries, plan, tell)


def _run(library: Library, path: Path, queries: QueryFile, plan: Plan, tell: Tell) -> Report:
    store, encoder = library.store, library.encoder(1)
    encoder.expect_text()
    rows = [row for row in queries.rows if plan.split in ("", row.split)]
    answers = _answers(store, path, replace(queries, rows=tuple(rows)), plan)
    gallery = Gallery(store)
    questions = ask(
        path,
        queries,
        encoder,
        languages=plan.languages,
        split=plan.split,
        translate=remedies.known_names(encoder) if plan.remedies.expand else None,
        tell=tell,
    )
    rows_files = dict(zip((row.id for row in rows), answers.files, strict=True))
    right = [
        [gallery.columns[one] for one in rows_files[row.id] if one in gallery.columns]
        for row in questions.rows
    ]
    questions, adjust, held = _remedied(questions, gallery, encoder, plan, tell)
    k = min(plan.k, len(gallery))
    rankings = rank_gallery(
        gallery, questions, right, depth=max(DEPTH, k), adjust=adjust, tell=tell
    )
    document = {
        "schema": SCHEMA,
        "query_file": str(path),
        "library": library.folder.name,
        "model": encoder.card.name,
        "pipeline": encoder.card.pipeline_id,
        "segments": gallery.segments,
        "remedies": [*plan.remedies.names, *(() if held is None else ("csls",))],
        "queries_asked": len(questions.vectors),
        "queries_expanded": questions.expanded,
        "missing": [
            {"line": line, "audio": pattern, "why": why} for line, pattern, why in answers.missing
        ],
        **build(questions, rankings, right, len(gallery), k),
    }
    report = Report(for_json(document))
    return Report(
        report.document,
        _hits(store, gallery, questions, rankings, right=right, worst=report.worst, held=held),
    )


def _answers(store: Store, path: Path, queries: QueryFile, plan: Plan) -> Answers:
    if not queries.has_audio:
        return Answers(((),) * len(queries.rows))
    answers = find_answers(store, queries.rows)
    if not plan.skip_missing:
        refuse_missing(path, answers, queries.audio_column)
    return answers


def _remedied(
    questions: Questions, gallery: Gallery, encoder: Encoder, plan: Plan, tell: Tell
) -> tuple[Questions, Adjust | None, NDArray[np.float32] | None]:
    """The questions as they are put, what is done to scores, and the penalties in that."""
    asked = plan.remedies
    steps: list[Adjust] = []
    known = bank(encoder, questions.languages, plan.cache, tell) if asked.need_bank else {}
    if asked.need_bank and not known:
        raise UsageError(
            "`--mean-shift` and `--qb-norm` learn from the vocabulary's names.",
            why=f"It has none in {', '.join(f'`{tag}`' for tag in questions.languages)}.",
        )
    if asked.mean_shift:
        questions = remedies.shift(questions, known)
    if asked.fuse == "mean":
        questions = remedies.fuse_means(questions)
    names = load_names(encoder.card) if asked.holds_back else None
    held = gallery.penalties(names.vectors) if names else None
    if held is not None:
        steps.append(remedies.hold_back(held))
    if asked.qb_norm:
        moves = remedies.shifts(known) if asked.mean_shift else {}
        moved = {
            tag: remedies.unit(vectors + moves.get(tag, 0.0)) for tag, vectors in known.items()
        }
        steps.append(remedies.hold_back(remedies.bank_bias(gallery, moved)))
    if asked.fuse == "ranks":
        steps.append(remedies.fuse_ranks(questions))
    return questions, remedies.chain(steps), held


def _hits(
    store: Store,
    gallery: Gallery,
    questions: Questions,
    rankings: Rankings,
    *,
    right: Sequence[Sequence[int]],
    worst: Sequence[Mapping[str, Any]],
    held: NDArray[np.float32] | None,
) -> dict[str, Hits]:
    """The first files, and where in them, of the rows whose languages disagree most."""
    rows: dict[str, int] = {row.id: number for number, row in enumerate(questions.rows)}
    found: dict[str, Hits] = {}
    for query in worst[:ROWS_WITH_HITS]:
        row = rows[query["id"]]
        places: Any = questions.first[row]
        found[query["id"]] = {
            tag: [
                replace(
                    gallery.place(
                        store,
                        column,
                        questions.vectors[place],
                        held=0.0 if held is None else float(held[column]),
                    ),
                    right=column in right[row],
                )
                for column in rankings.top[place][:HITS].tolist()
            ]
            for tag, place in zip(questions.languages, places, strict=True)
            if place >= 0
        }
    return found
