"""The report as one page that needs nothing else: no network, no other file, no server.

The page's words, style and script lie in the folder `page`; the report goes in as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote_from_bytes

from atri_cli.consistency.report import Hits, Report
from atri_cli.consistency.writing import write_whole
from atri_cli.wording import clean, printable

PAGE = Path(__file__).with_name("page")
SCRIPTS = (
    "base.js",
    "tables.js",
    "figures.js",
    "extras.js",
    "languages.js",
    "spread.js",
    "panel.js",
    "concepts.js",
)
SIGN = "_"  # any name, to have the slash before it
# Inside <script>, where HTML's own escapes mean nothing.
ESCAPES = str.maketrans({sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"})


def write_html(report: Report, path: Path) -> None:
    """Write the page.

    Raises:
        AtriError: it cannot be written.
    """
    write_whole(path, page(report).encode())


def page(report: Report) -> str:
    """The page as text. Its policy forbids it to load anything but sounds of this computer."""
    style = _part("page.css")
    script = "\n".join(map(_part, SCRIPTS))
    return Template(_part("page.html")).substitute(
        title=html.escape(f"{printable(Path(report.document['query_file']).name)}: consistency"),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_json(page_data(report)),
    )


def page_data(report: Report) -> dict[str, Any]:
    """What the script reads.

    `report` is the document, names of files as people read them; `worst` the ids of its queries,
    the most divided first; `roots` are pairs of a folder's name and its URL, each with the slash
    at its end; `files` hold the number of the root, the name below it, and the same for a URL;
    `hits` hold, by id and language, the number of the file, start, end, score, and 1 where the
    file is right.
    """
    document = report.document
    roots: dict[Path, int] = {}
    files: dict[tuple[int, Path], int] = {}
    hits = {one: _rows(found, roots, files) for one, found in report.hits.items()}
    shown = {name: printable(document[name]) for name in ("query_file", "library", "model")}
    return {
        "report": {**document, **shown},
        "worst": [query["id"] for query in report.worst],
        "roots": [
            [printable(f"{root / SIGN}"[:-1]), (root / SIGN).as_uri()[:-1]] for root in roots
        ],
        "files": [
            [root, printable(name), quote_from_bytes(os.fsencode(name.as_posix()))]
            for root, name in files
        ],
        "hits": hits,
    }


def _rows(
    hits: Hits, roots: dict[Path, int], files: dict[tuple[int, Path], int]
) -> Mapping[str, list[list[float]]]:
    """Hits of one concept; roots and files that were not met before are numbered."""
    found: dict[str, list[list[float]]] = {}
    for tag, places in hits.items():
        found[tag] = []
        for place in places:
            root = roots.setdefault(place.root, len(roots))
            file = files.setdefault((root, place.path.relative_to(place.root)), len(files))
            found[tag].append([file, place.start, place.end, place.score, int(place.right)])
    return found


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return clean(text).translate(ESCAPES)


def _part(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
