"""MLflow's tables in a file: made once for each version of MLflow, and copied into every study from then on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from formers.machine.files import flush_to_disk


def address(path: Path) -> str:
    """A database file as MLflow wants it named."""
    return f"sqlite:///{path.resolve()}"


def problem(path: Path) -> str | None:
    """What is wrong with a database and best seen without opening it: MLflow tries a folder for minutes, and SQLite takes an
    empty file for a new database, with every row gone."""
    if not path.is_file():
        return "it is not a file"
    return None if path.stat().st_size else "it is empty"


def make_database(path: Path) -> None:
    """Puts MLflow's tables, without a row, at `path`: whole, or not at all.

    MLflow makes them in a second, by going through the history of its schema. They are kept in the user's cache; where that
    is missing, damaged or cannot be written, they are made again, and nothing else is different.
    """
    part, cached = path.with_name(f".{path.name}.part"), cache()
    part.unlink(missing_ok=True)
    if not taken(cached, part):
        migrate(part)
        with suppress(OSError):  # the next study takes a second more
            put(part, cached)
    os.replace(part, path)


def cache() -> Path:
    """Where empty tables are kept: `formers/` in `$XDG_CACHE_HOME`, which is `~/.cache` where it is not set."""
    from mlflow.version import VERSION

    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "formers" / f"mlflow-{VERSION}.db"


def taken(cached: Path, part: Path) -> bool:
    """Whether there was a whole database in the cache; `part` is a copy of it then."""
    try:
        shutil.copyfile(cached, part)
        with closing(sqlite3.connect(part)) as database:
            [whole] = database.execute("PRAGMA quick_check").fetchone()
            return whole == "ok" and bool(database.execute("SELECT version_num FROM alembic_version").fetchone())
    except (OSError, sqlite3.Error):
        part.unlink(missing_ok=True)
        return False


def migrate(part: Path) -> None:
    """Lets MLflow make its tables. The experiment that it adds goes again: it points to the present working directory."""
    from mlflow.tracking import MlflowClient

    MlflowClient(tracking_uri=address(part)).search_experiments(max_results=1)
    with closing(sqlite3.connect(part)) as database, database:
        database.execute("DELETE FROM experiments")


def put(part: Path, cached: Path) -> None:
    """Keeps a copy in the cache, whole at every moment, whoever else does the same. Raises `OSError` where it cannot."""
    if not cached.is_absolute():
        raise FileNotFoundError(f"{cached}: a user without a home has no cache")
    cached.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=cached.parent, prefix=f".{cached.name}.")
    os.close(number)
    try:
        shutil.copyfile(part, name)
        flush_to_disk(Path(name))
        os.replace(name, cached)
    finally:
        Path(name).unlink(missing_ok=True)
