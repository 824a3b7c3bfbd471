"""One grader at a time: a lock that the system itself frees when its owner dies, however it dies.

SQLite: a record lock on a file beside the database (a child that is forked doesn't inherit it, so that none can keep
it). PostgreSQL: an advisory lock of a connection. Both say who holds it.
"""

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

ADVISORY = 0x6C656374757265  # "lecture": the lock's number in a PostgreSQL database
_held: set[Path] = set()  # a record lock doesn't stop another thread of this process


def user() -> str:
    """Who runs this, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"user {os.getuid()}"


def myself() -> str:
    """This process, in words."""
    return f"process {os.getpid()} of {user()} on {socket.gethostname()}, since {datetime.now():%H:%M:%S}"


def busy(db_url: str, owner: str) -> ValueError:
    place = make_url(db_url).render_as_string(hide_password=True)
    return ValueError(f"another grader works on {place} ({owner or 'unknown'}): wait for it, or end it")


@contextlib.contextmanager
def locked(db_url: str) -> Iterator[None]:
    """Hold the lock of a gradebook.

    Raises:
        ValueError: another grader holds it; the message names it.
    """
    url = make_url(db_url)
    if url.get_backend_name() == "postgresql":
        with in_postgresql(db_url):
            yield
    elif url.get_backend_name() == "sqlite" and url.database and fcntl:
        with beside(Path(url.database).resolve(), db_url):
            yield
    else:
        yield


@contextlib.contextmanager
def beside(database: Path, db_url: str) -> Iterator[None]:
    """Lock `<database>.lock`; the file stays, since removing it would let two in."""
    path = database.with_name(f"{database.name}.lock")
    if path in _held:
        raise busy(db_url, myself())
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise busy(db_url, file.read(500).strip()) from None
        _held.add(path)
        try:
            file.truncate(0)
            file.write(myself() + "\n")
            file.flush()
            yield
        finally:
            _held.discard(path)


@contextlib.contextmanager
def in_postgresql(db_url: str) -> Iterator[None]:
    """Hold an advisory lock; the connection's own name says who."""
    engine = create_engine(db_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    asking = text("SELECT pg_try_advisory_lock(:key)")
    naming = text("SELECT set_config('application_name', :name, false)")
    holder = text(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory'"
        " AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND ((l.classid::bigint << 32) | l.objid::bigint) = :key"
    )
    with engine.connect() as connection:
        connection.execute(naming, {"name": myself()[:63]})
        if not connection.scalar(asking, {"key": ADVISORY}):
            raise busy(db_url, connection.scalar(holder, {"key": ADVISORY}) or "")
        yield
