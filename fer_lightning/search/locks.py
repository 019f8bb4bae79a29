"""Locks by name that end with the process that holds them, however it ends: so a trial whose process died is seen.

Files in the sweep folder for SQLite and the journal, which need a shared disk themselves; sessions of the server for
PostgreSQL, so that machines without a shared disk can work on one study.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from optuna.exceptions import StorageInternalError

from fer_lightning.errors import InputError


class Locks(ABC):
    """Locks by name. `hold` waits for a lock and keeps it until `drop`, or until this process ends."""

    def __init__(self) -> None:
        self.held: set[str] = set()

    def hold(self, name: str) -> None:
        self._take(name, wait=True)
        self.held.add(name)

    def drop(self, name: str) -> None:
        self.held.remove(name)
        self._give_back(name)

    def free(self, name: str) -> bool:
        """Whether nobody, in this process or another, holds the lock."""
        if name in self.held or not self._take(name, wait=False):
            return False
        self._give_back(name)
        return True

    @contextmanager
    def alone(self, name: str) -> Iterator[None]:
        self.hold(name)
        try:
            yield
        finally:
            self.drop(name)

    @abstractmethod
    def _take(self, name: str, wait: bool) -> bool: ...

    @abstractmethod
    def _give_back(self, name: str) -> None: ...

    def close(self) -> None:
        """Drop all."""
        for name in list(self.held):
            self.drop(name)


class FileLocks(Locks):
    """Locks of the operating system on files in a folder."""

    def __init__(self, folder: Path):
        super().__init__()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.files: dict[str, FileLock] = {}

    def _take(self, name: str, wait: bool) -> bool:
        lock = FileLock(self.folder / f"{name}.lock")
        try:
            lock.acquire(timeout=-1 if wait else 0, poll_interval=0.01)
        except Timeout:
            return False
        self.files[name] = lock
        return True

    def _give_back(self, name: str) -> None:
        self.files.pop(name).release()


class ServerLocks(Locks):
    """PostgreSQL's advisory locks, held by one connection: the server drops them when the connection ends.

    Where a machine vanishes without closing its connections, the server notices after a minute without an answer.
    """

    KEEPALIVE = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"

    def __init__(self, url: str, study: str):
        super().__init__()
        self.study = study
        try:
            import psycopg
        except ImportError as error:
            raise InputError(
                f"hydra.sweeper.storage={url}: PostgreSQL needs a package that is not installed: "
                "pip install 'fer_lightning[postgres]'"
            ) from error
        address = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self.connection: Any = psycopg.connect(address, autocommit=True, connect_timeout=10, options=self.KEEPALIVE)

    def _call(self, function: str, name: str) -> Any:
        import psycopg

        key = f"fer_lightning/{self.study}/{name}"
        try:
            return self.connection.execute(f"select {function}(hashtextextended(%s, 0))", (key,)).fetchone()[0]
        except psycopg.Error as error:
            raise StorageInternalError(f"the connection to PostgreSQL is lost: {error}") from error

    def _take(self, name: str, wait: bool) -> bool:
        taken = self._call("pg_advisory_lock" if wait else "pg_try_advisory_lock", name)
        return wait or bool(taken)

    def _give_back(self, name: str) -> None:
        self._call("pg_advisory_unlock", name)

    def close(self) -> None:
        self.connection.close()
        self.held.clear()
