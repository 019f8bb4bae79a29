"""A real PostgreSQL server on loopback for the length of a test session, with a data folder of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path:
    """The folder of initdb and pg_ctl; the test is skipped, with the reason, where there is none."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(DEBIAN.glob("*/bin"), key=lambda folder: -float(folder.parent.name))
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")


def unprivileged() -> str | None:
    """Whom to run the server as: it refuses root."""
    return "postgres" if os.getuid() == 0 else None


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """Start a server; yields its URL without the name of a database, as `postgresql://fer@127.0.0.1:5439/`."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'fer_lightning[postgres]'")
    folder, user = programs(), unprivileged()
    place = Path(tempfile.mkdtemp(prefix="fer_postgres_"))
    if user:
        shutil.chown(place, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(*words: str) -> None:
        ran = subprocess.run(words, user=user, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert ran.returncode == 0, ran.stderr

    data, control = str(place / "data"), str(folder / "pg_ctl")
    try:
        call(str(folder / "initdb"), "-D", data, "-U", "fer", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {place} -c fsync=off"
        call(control, "-D", data, "-w", "-t", "60", "-l", str(place / "log"), "-o", options, "start")
        yield f"postgresql://fer@127.0.0.1:{port}/"
        call(control, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def new_database(server: str, name: str) -> str:
    """Create an empty database; returns its URL."""
    import psycopg

    with psycopg.connect(f"{server}postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return server + name
