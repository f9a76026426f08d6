"""Reports of `atri consistency` about nothing: random vectors, and names that are hard to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atri_cli.consistency.gallery import Place
from atri_cli.consistency.questions import Questions
from atri_cli.consistency.ranking import Rankings, rank_gallery
from atri_cli.consistency.report import SCHEMA, Hits, Report, build, for_json
from atri_cli.encoders.languages import LANGUAGES
from atri_cli.queryfile import QueryRow

ROOT = Path("/sounds")
DIM = 24
FIRST = ("en", "fr", "de", "es", "nl", "ca", "ja", "zh", "ar", "he", "fa", "ko", "ru", "hi", "th")
TEXTS = {
    "ar": "نباح كلب",
    "fa": "پارس سگ",
    "he": "נביחת כלב",
    "hi": "कुत्ते का भौंकना",
    "ja": "犬の鳴き声",
    "ko": "개 짖는 소리",
    "ru": "лай собаки",
    "th": "หมาเห่า",
    "zh": "狗叫声",
}
HOSTILE = (
    'it\'s "quoted" & <b>bold</b>.wav',
    "</script><script>document.title='broken'</script>.wav",
    "100 % #1?.wav",
    "new\nline.wav",
    "caf\udce9.wav",
    "犬の鳴き声.wav",
    "gnp.\u202evaw.wav",
)


@dataclass(frozen=True)
class MadeUpGallery:
    """What `rank_gallery` asks of a gallery: float32 [files, dim], unit length."""

    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def order(self) -> NDArray[np.int64]:
        return np.arange(len(self.vectors))

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = vectors @ self.vectors.T
        return found


def made_up(
    concepts: int = 12,
    languages: int = 4,
    *,
    files: int = 50,
    truth: bool = True,
    with_hits: int = 100,
    names: Sequence[str] = HOSTILE,
    root: Path = ROOT,
) -> Report:
    """A report whose languages disagree somewhat, some concepts more than others.

    The second row is asked in its first two languages only.

    Args:
        concepts: how many.
        languages: how many, of the tool's own table.
        files: how many are ranked.
        truth: whether right answers are known; the first of several rows has none even then.
        with_hits: concepts that have hits.
        names: of the first files.
        root: the folder that they are in.
    """
    random = np.random.default_rng(concepts)
    tags = tuple(dict.fromkeys([*FIRST, *(row.tag for row in LANGUAGES)]))[:languages]
    gallery = MadeUpGallery(_unit(random.standard_normal((files, DIM))))
    right = [[row % files] if truth and (row or concepts == 1) else [] for row in range(concepts)]
    noise = random.gamma(1.0, 0.12, (concepts, 1, 1)) * random.uniform(0.5, 1.5, (1, languages, 1))
    centres = gallery.vectors[np.arange(concepts) % files][:, None]
    vectors = _unit(centres + noise * random.standard_normal((concepts, languages, DIM)))
    asked = np.ones((concepts, languages), bool)
    asked[1:2, 2:] = False
    place = np.where(asked, np.cumsum(asked).reshape(asked.shape) - 1, -1)[:, :, None]
    rows = tuple(
        QueryRow(_id(row), _texts(row, [tags[n] for n in np.flatnonzero(asked[row])]), line=row + 2)
        for row in range(concepts)
    )
    questions = Questions(rows, tags, place, vectors[asked])
    k = min(10, files)
    rankings = rank_gallery(gallery, questions, right, depth=100)  # type: ignore[arg-type]
    document = {
        "schema": SCHEMA,
        "query_file": "made-up/</script>q.tsv",
        "library": "default",
        "model": "made-up",
        "pipeline": "0123456789abcdef",
        "segments": 3 * files,
        "remedies": [],
        "missing": [{"line": 9, "audio": "<gone>*.wav", "why": ""}] if truth else [],
        **build(questions, rankings, right, files, k),
    }
    report = Report(for_json(document))
    paths = [root / (names[n] if n < len(names) else f"sound {n}.wav") for n in range(files)]
    worst = [query["id"] for query in report.worst[:with_hits]]
    return Report(report.document, _hits(worst, questions, rankings, paths, root))


def _hits(
    ids: Sequence[str], questions: Questions, rankings: Rankings, paths: Sequence[Path], root: Path
) -> dict[str, Hits]:
    numbers = {row.id: number for number, row in enumerate(questions.rows)}
    found: dict[str, Hits] = {}
    for one in ids:
        asked = questions.first[numbers[one]].tolist()
        found[one] = {
            tag: [
                Place(paths[column], root, 0.5, 1.25, round(float(score), 6))
                for column, score in zip(
                    rankings.top[at][:3].tolist(), rankings.scores[at][:3], strict=True
                )
            ]
            for tag, at in zip(questions.languages, asked, strict=True)
            if at >= 0
        }
    return found


def _id(row: int) -> str:
    return f"concept {row}" if row % 7 else f"<i>概念</i> & {row}"


def _texts(row: int, tags: Sequence[str]) -> dict[str, tuple[str, ...]]:
    return {tag: (f"{TEXTS.get(tag, f'dog barking in {tag}')} {row}",) for tag in tags}


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[np.float32] = (vectors / length).astype(np.float32)
    return found
