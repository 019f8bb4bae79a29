"""Where a study is kept, and the locks that its processes share.

SQLite or a journal: files in the sweep folder, the locks too. PostgreSQL: the locks are the server's, so that machines
without a shared disk can work on one study. A lock ends with the process that holds it, however that ends: so a trial
whose process died is recognised.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from filelock import FileLock, Timeout
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import NullPool, create_engine, event

from fer_lightning.errors import InputError
from fer_lightning.settings import SearchSettings

ASKING, RESULTS = "study", "results"
"""Locks of the study: to ask for a trial or tell how one ended; to write the results."""

OWNER_LOCK, JOB_LOCK = "trial-{:04}", "job-{:04}"
"""Locks of a trial: of the process that asked for it, and of the one that trains its folds, maybe a launcher's."""

POSTGRES = ("postgres://", "postgresql://", "postgresql+psycopg://")

Release: TypeAlias = Callable[[], object]


class Locks:
    """Locks by name, of this process among all that work on a study.

    take: takes a lock, waiting for it or not; returns what releases it, None where another process holds it. end: ends
    what all locks hang on.
    """

    def __init__(self, take: Callable[[str, bool], Release | None], end: Release | None = None) -> None:
        self.held: dict[str, Release] = {}
        self._take, self._end = take, end

    def acquire(self, name: str) -> None:
        """Wait for a lock and hold it until `release`, or until this process ends."""
        release = self._take(name, True)
        assert release
        self.held[name] = release

    def release(self, name: str) -> None:
        """Release a lock that this process holds."""
        self.held.pop(name)()

    def is_free(self, name: str) -> bool:
        """Whether nobody, in this process or another, holds the lock."""
        release = None if name in self.held else self._take(name, False)
        if release:
            release()
        return release is not None

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock inside the block."""
        self.acquire(name)
        try:
            yield
        finally:
            self.release(name)

    def close(self) -> None:
        """Release all."""
        if self._end:
            self._end()
            self.held.clear()
        for name in list(self.held):
            self.release(name)


def file_locks(folder: Path) -> Locks:
    """Locks of the operating system on files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)

    def take(name: str, wait: bool) -> Release | None:
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(blocking=wait, poll_interval=0.01)
        except Timeout:
            return None
        return lock.release

    return Locks(take)


def server_locks(url: str, study: str) -> Locks:
    """PostgreSQL's advisory locks, held by one connection: the server drops them when the connection ends.

    Where a machine vanishes without closing its connections, the server notices after a minute without an answer.
    """
    keepalive = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
    options = {"options": keepalive, "connect_timeout": 10}
    engine = create_engine(with_driver(url), isolation_level="AUTOCOMMIT", connect_args=options, poolclass=NullPool)
    connection = engine.connect()

    def call(function: str, name: str) -> Any:
        key = f"fer_lightning/{study}/{name}"
        return connection.exec_driver_sql(f"select {function}(hashtextextended(%s, 0))", (key,)).scalar()

    def take(name: str, wait: bool) -> Release | None:
        taken = call("pg_advisory_lock" if wait else "pg_try_advisory_lock", name)
        return partial(call, "pg_advisory_unlock", name) if wait or taken else None

    return Locks(take, connection.close)


def open_storage(settings: SearchSettings, folder: Path) -> tuple[BaseStorage, Locks]:
    """The study's storage in a sweep folder, or in a database by URL, and its locks, which the caller closes.

    Raises InputError where the storage cannot be opened.
    """
    locks: Locks | None = None
    try:
        server = settings.storage.startswith(POSTGRES)
        locks = server_locks(settings.storage, str(settings.study_name)) if server else file_locks(folder / "locks")
        with locks.locked(ASKING):
            return _storage(settings.storage, folder), locks
    except Exception as error:
        if locks:
            locks.close()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"hydra.sweeper.storage={settings.storage}: cannot be opened ({reason[:200]}). Valid: sqlite, journal, or "
            "the URL of a database that is running, as postgresql://user@host/name (pip install "
            "'fer_lightning[postgres]')"
        ) from error


@lru_cache(maxsize=4)
def _storage(name: str, folder: Path) -> BaseStorage:
    with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
        if name == "journal":
            file = str(folder / "study.journal")
            lock: Any = FileLock(f"{file}.lock")  # ends with its process; Optuna's own ones stay for 30 s after a kill
            return JournalStorage(JournalFileBackend(file, lock))
        url = sqlite_url(folder / "study.db") if name == "sqlite" else with_driver(name)
        url = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it as a template
        if not url.startswith("sqlite"):
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
        event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()
        return storage


def _write_ahead(connection: Any, _: Any) -> None:
    """WAL: a power cut may lose the last commits, a kill loses none, and no commit waits for the disk."""
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=normal")


def sqlite_url(file: Path) -> str:
    """The URL of a SQLite file; what its name holds that means something in a URL is quoted."""
    return f"sqlite:///{quote(str(file)) if {'?', '%'} & set(str(file)) else file}"


def with_driver(url: str) -> str:
    """The URL of a database for SQLAlchemy, PostgreSQL by the driver of the extra `postgres`."""
    return "postgresql+psycopg://" + url.partition("://")[2] if url.startswith(POSTGRES) else url
