"""MLflow's tables in a file: made once for each version of MLflow, and copied into every study from then on."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from formers.machine.files import flush_to_disk
from formers.machine.quiet_libraries import quiet_libraries

_WRITE_FAILURES = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
)


def sqlite_uri(path: Path) -> str:
    """Return a database file's address for MLflow.

    Raises:
        ValueError: for a path that an address cannot hold as it is: another file would be opened.
    """
    from sqlalchemy.engine import make_url  # takes a while to load

    place = str(path.resolve())
    uri = f"sqlite:///{place}"
    escape = re.search("%[0-9A-Fa-f]{2}", place)
    if place != place.encode(errors="replace").decode():
        wrong = "is not in UTF-8"
    elif make_url(uri).database == place:
        return uri
    else:
        wrong = f"has {'?' if '?' in place or escape is None else escape[0]} in it"
    raise ValueError(
        f"{place!r} {wrong}, which MLflow reads as something else in the address of a study's rows; choose another "
        "folder, or rename this one"
    )


def database_problem(path: Path) -> str | None:
    """Return why a database cannot be used, where that shows without opening it; None where nothing shows.

    MLflow tries to open a folder for minutes, and SQLite takes an empty file for a new database, with every row gone.
    """
    if not path.is_file():
        return "it is not a file"
    return None if path.stat().st_size else "it is empty"


def is_write_failure(error: BaseException) -> bool:
    """Return whether SQLite failed for want of room, of permission or of the lock, and not because of damage."""
    cause: BaseException | None = error
    while cause is not None:
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None:
            return code & 0xFF in _WRITE_FAILURES
        cause = getattr(cause, "orig", None) or cause.__cause__
    return False


def insertion_order(path: Path) -> dict[str, int]:
    """Return the id of every run → its place among them, in the order in which they were added to the database."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT run_uuid, rowid FROM runs")
        return {str(run): int(place) for run, place in rows}


def make_database(path: Path) -> None:
    """Write MLflow's tables, without a row, to `path`: whole, or not at all.

    MLflow makes them in a second, by going through the history of its schema. They are kept in the user's cache; where
    that is missing, damaged or cannot be written, they are made again, and nothing else is different.
    """
    part, cached = path.with_name(f".{path.name}.part"), cache_path()
    part.unlink(missing_ok=True)
    try:
        if not copy_from_cache(cached, part):
            create_tables(part)
            with suppress(OSError):  # the next study takes a second more
                copy_to_cache(part, cached)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def cache_path() -> Path:
    """Return where empty tables are kept: in `$XDG_CACHE_HOME/formers`, or `~/.cache/formers` where it is not set."""
    from mlflow.version import VERSION

    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "formers" / f"mlflow-{VERSION}.db"


def copy_from_cache(cached: Path, part: Path) -> bool:
    """Copy the database in the cache to `part`, and return whether there was a whole one; else leave nothing there."""
    try:
        shutil.copyfile(cached, part)
        with closing(sqlite3.connect(part)) as database:
            [check] = database.execute("PRAGMA quick_check").fetchone()
            if check == "ok" and database.execute("SELECT version_num FROM alembic_version").fetchone():
                return True
    except (OSError, sqlite3.Error):
        pass
    part.unlink(missing_ok=True)
    return False


def copy_to_cache(part: Path, cached: Path) -> None:
    """Copy a database into the cache; it is whole at every moment, whoever else does so. Raise OSError if it fails."""
    if not cached.is_absolute():
        raise FileNotFoundError(f"{cached}: a user without a home has no cache")
    cached.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=cached.parent, prefix=f".{cached.name}.")
    os.close(descriptor)
    try:
        shutil.copyfile(part, name)
        flush_to_disk(Path(name))
        os.replace(name, cached)
    finally:
        Path(name).unlink(missing_ok=True)


def create_tables(part: Path) -> None:
    """Let MLflow make its tables. Remove the experiment that it adds: it points to the present working directory."""
    from mlflow.tracking import MlflowClient

    quiet_libraries()  # importing MLflow sets its own log level
    MlflowClient(tracking_uri=sqlite_uri(part)).search_experiments(max_results=1)
    with closing(sqlite3.connect(part)) as database, database:
        database.execute("DELETE FROM experiments")
