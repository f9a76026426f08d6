"""`Library`: a folder of sounds, indexed and searchable. The Python API; it never prints.

What only indexing needs is imported where it is used: a search waits for every import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from atri_cli.errors import NothingIndexedError, UsageError
from atri_cli.library.model import LibraryModel, as_it_is
from atri_cli.library.store import Store
from atri_cli.library.types import (
    Filters,
    IndexReport,
    LibraryStatus,
    ProgressCallback,
    QueryPart,
    Root,
    SearchResult,
)

if TYPE_CHECKING:
    from atri_cli.encoders.card import ModelCard
    from atri_cli.encoders.types import Encoder
    from atri_cli.library.catalog import Catalog
    from atri_cli.library.hnsw import Tell

    AnyPath = str | os.PathLike[str]


class Library:
    """Sounds that can be found by what they sound like.

    Open it with `Library.open`, use it from one thread at a time, and close it or use it as a
    context manager. Nothing is written before the first `index`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        model: str | None = None,
        device: str = "auto",
        threads: int | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.folder = folder
        self._model = LibraryModel(folder, model, device, encoder)
        self._threads = threads
        self._opened: Store | None = None

    @classmethod
    def open(
        cls,
        folder: AnyPath | None = None,
        *,
        model: str | None = None,
        device: str = "auto",
        threads: int | None = None,
        encoder: Encoder | None = None,
    ) -> Library:
        """A library by its folder; it need not exist yet.

        Args:
            folder: where its database lies; None is the library of the settings, whatever the
                model; `atri --model NAME` takes `default@NAME`.
            model: name or folder of a model; None is `ATRI_MODEL`, else the one the library was
                made with, and for a new library that of the settings.
            device: "cpu", "cuda" or "auto".
            threads: of each run of the model; None lets searching use the runtime's default and
                indexing one for each of its jobs.
            encoder: used instead of loading a model.

        Raises:
            ModelError: the settings are wrong. Models and databases are opened when needed.
        """
        if folder is None:
            from atri_cli.settings import load_settings

            folder = load_settings().library_dir
        path = Path(folder).expanduser()
        return cls(path, model=model, device=device, threads=threads, encoder=encoder)

    def close(self) -> None:
        """Close the database. The library opens it again when it is used again."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def exists(self) -> bool:
        """Whether anything has been indexed into it."""
        with as_it_is(self.folder) as store:
            return store is not None

    @property
    def card(self) -> ModelCard:
        """The model's card.

        Raises:
            ModelError: no such model.
        """
        return self._model.card

    def encoder(self, threads: int | None = None) -> Encoder:
        """The model, loaded when first asked for.

        Raises:
            ModelError: it is missing or damaged.
            RuntimeMissingError: the ONNX runtime or the device is not there.
        """
        return self._model.encoder(threads)

    @property
    def store(self) -> Store:
        """The database, open for reading.

        Raises:
            NothingIndexedError: there is none yet.
            PipelineMismatchError: another model made it.
            LibraryError: it cannot be opened.
        """
        if self._opened is None:
            card = self.card
            self._opened = Store.open(
                self.folder, pipeline_id=card.pipeline_id, dim=None, read_only=True, model=card.name
            )
        return self._opened

    # Writing

    def index(
        self,
        roots: Sequence[AnyPath] = (),
        *,
        jobs: int | None = None,
        dry_run: bool = False,
        reindex: bool = False,
        progress: ProgressCallback | None = None,
    ) -> IndexReport:
        """Bring the library up to date with folders, which it remembers.

        Ctrl-C ends it early: what is finished is saved, and the report says `interrupted`.

        Args:
            roots: folders; none means all that the library remembers.
            jobs: files read at the same time; None is one for each core.
            dry_run: only count what would be done.
            reindex: embed everything again, with this library's model from now on.
            progress: called on this thread after each file and each batch, and while the search
                graph of a large library is built.

        Raises:
            UsageError: a folder is not there, or none is known.
            LibraryBusyError: another process is indexing into this library.
            PipelineMismatchError: another model made the library, and `reindex` is not asked for.
            LibraryError: the database cannot be written, for example because the disk is full.
        """
        if jobs is not None and jobs < 1:
            raise UsageError("Indexing needs at least one job.", hint="Try `--jobs 1`.")
        if isinstance(roots, str | os.PathLike):
            roots = [roots]
        with self._indexing_store(dry_run, reindex) as store:
            from atri_cli.library.catalog import Catalog
            from atri_cli.library.indexer import Indexer

            catalog = Catalog(store)
            indexer = Indexer(catalog, self._index_encoder, jobs or cores(), progress)
            if dry_run:
                with store.rehearsal():
                    chosen = self._prepare(catalog, roots, reindex)
                    return indexer.run(chosen, catalog.roots(), dry_run=True)
            with store.transaction():
                chosen = self._prepare(catalog, roots, reindex)
            report = indexer.run(chosen, catalog.roots())
            if not report.interrupted:
                _refresh_cache(store, report, indexer.tell_graph)
            return report

    def _index_encoder(self) -> Encoder:
        return self.encoder(self._threads or 1)

    def _prepare(self, catalog: Catalog, roots: Sequence[AnyPath], reindex: bool) -> list[Root]:
        if reindex:
            card = self.card
            catalog.mark_all_pending()
            catalog.store.set_model(card.pipeline_id, card.dim, card.name)
            roots = [*(root.path for root in catalog.roots()), *roots]
        if self._model.given is None:
            catalog.store.model_folder = self.card.folder
        from atri_cli.library.roots import choose_roots

        return choose_roots(catalog, roots)

    @contextmanager
    def _indexing_store(self, dry_run: bool, reindex: bool) -> Iterator[Store]:
        card = self.card
        if dry_run and not self.exists:
            with Store.in_memory(card.pipeline_id, card.dim, card.name) as store:
                yield store
            return
        wanted = None if reindex and self.exists else card.pipeline_id
        with self._writer(wanted, card.dim, card.name) as store:
            yield store

    @contextmanager
    def _writer(self, pipeline_id: str | None, dim: int | None, model: str) -> Iterator[Store]:
        from atri_cli.library.lock import writing

        self.close()
        if pipeline_id is None and not self.exists:
            # Says so before a lock file is made in a folder that is not there.
            Store.open(self.folder, pipeline_id=None, dim=None)
        with (
            writing(self.folder),
            Store.open(self.folder, pipeline_id=pipeline_id, dim=dim, model=model) as store,
        ):
            yield store

    def forget(self, path: AnyPath) -> int:
        """Forget a root; the sounds themselves stay. Returns how many files it had.

        Raises:
            UsageError: the library has no such root.
        """
        from atri_cli.library.catalog import Catalog
        from atri_cli.library.roots import find_root

        with self._writer(None, None, "") as store, store.transaction():
            catalog = Catalog(store)
            return catalog.remove_root(find_root(catalog, path).id)

    def relocate(self, old: AnyPath, new: AnyPath) -> Root:
        """Say that a root has moved; its files are not embedded again.

        Raises:
            UsageError: no such root, or the new folder is not there or belongs to another root.
        """
        from atri_cli.library.catalog import Catalog
        from atri_cli.library.roots import relocate_root

        with self._writer(None, None, "") as store, store.transaction():
            return relocate_root(Catalog(store), old, new)

    def rebuild_cache(self) -> None:
        """Build those search caches anew that are not up to date: the vectors' file, the graph."""
        from atri_cli.library import flat, hnsw

        for cache in (flat, hnsw):
            if cache.state(self.store) not in ("fresh", "unused"):
                cache.rebuild(self.store)

    # Reading

    def search(
        self,
        query: str | QueryPart | Sequence[QueryPart],
        *,
        limit: int = 10,
        filters: Filters | None = None,
        segments_per_file: int = 1,
        expand: bool = True,
        csls: bool = True,
    ) -> SearchResult:
        """Find the sounds that answer a query best.

        Args:
            query: a text in any of the model's languages, or parts with weights.
            limit: at most so many files.
            filters: which files take part.
            segments_per_file: at most so many places in each file.
            expand: ask a text that the vocabulary knows in all core languages at once.
            csls: hold back sounds that lie near every name, where the model keeps names.

        Raises:
            NothingIndexedError: the library holds no segment.
            UsageError: the query is empty.
        """
        store = self.store
        if not store.rows("SELECT 1 FROM segments LIMIT 1"):
            raise NothingIndexedError(
                "The library holds no sound yet.", hint="Type `atri index DIR`."
            )
        encoder, parts = self.encoder(self._threads), _parts(query)
        from atri_cli.library.query import expanded, kept_vector

        if expand:
            parts = expanded(parts, self.card.text.languages)
        if any(part.like is None and kept_vector(encoder, part) is None for part in parts):
            encoder.expect_text()
        from atri_cli.library.search import search  # loads while the text tower does

        return search(
            store,
            encoder,
            parts,
            limit=limit,
            filters=filters or Filters(),
            segments_per_file=segments_per_file,
            csls=csls,
        )

    def roots(self) -> list[Root]:
        """The folders it remembers, and whether each is there now."""
        from atri_cli.library.catalog import Catalog

        with as_it_is(self.folder) as store:
            return Catalog(store).roots() if store else []

    def files(self) -> list[Path]:
        """Absolute paths of the sounds that can be found, whether they are there now or not."""
        from atri_cli.library.catalog import Catalog

        with as_it_is(self.folder) as store:
            return Catalog(store).paths() if store else []

    def status(self) -> LibraryStatus:
        """Counts, model and state, whichever model made it; zeros before the first `index`."""
        from atri_cli.library.status import library_status

        with as_it_is(self.folder) as store:
            return library_status(self.folder, store)


def _parts(query: str | QueryPart | Sequence[QueryPart]) -> Sequence[QueryPart]:
    if isinstance(query, str):
        return (QueryPart(text=query),)
    return (query,) if isinstance(query, QueryPart) else query


def _refresh_cache(store: Store, report: IndexReport, tell: Tell) -> None:
    from atri_cli.library import flat, hnsw

    try:
        hnsw.refresh(store, tell)
        flat.refresh(store)
    except KeyboardInterrupt:  # searches scan the database until the next run
        report.interrupted = True


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
