"""The MLflow experiment that holds the runs of a study, in the study's own database or on a server."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from formers.lab.store.database import (
    database_problem,
    insertion_order,
    is_write_failure,
    make_database,
    sqlite_uri,
)
from formers.lab.store.order_number import order_number
from formers.lab.store.tracking_uri import TRACKING_URI_VARIABLE, check_server, limit_waiting, without_secrets
from formers.lab.store.write_error import WriteError, one_line, reporting_write_errors
from formers.machine.garbage import no_garbage
from formers.machine.quiet_libraries import quiet_libraries

_DATABASE = "mlflow.db"
_WITHOUT_IT = (
    "without it, every arm trains again; its rows are also in artifacts/*/artifacts/row.json and in report.json"
)
SEQUENCE = "formers.sequence"
"""The tag of a run that holds its number: each run of a study has a larger one than those before it."""
_PAGE = 1000


def experiment_name(folder: Path) -> str:
    """Return the name of the experiment that holds the rows of the study in `folder`, however the folder is written."""
    return f"formers/{folder.resolve().name}"


def check_place(folder: Path) -> None:
    """Raise ValueError where the rows of the study in `folder` would be in a file that no address can name."""
    if not os.environ.get(TRACKING_URI_VARIABLE):
        sqlite_uri(folder / _DATABASE)


class Experiment:
    """The runs of one study in MLflow: in a SQLite file in the study's folder, or at `MLFLOW_TRACKING_URI`.

    Attributes:
        client: MLflow's client.
        place: the tracking URI without passwords, or the path of the study's own database.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Open the experiment `name`, and make the database in `folder` where there is none.

        Raises:
            ValueError: when MLflow cannot use what is in the folder, or what `MLFLOW_TRACKING_URI` names.
            WriteError: when the folder cannot be written.
        """
        check_place(folder)
        quiet_libraries()
        with no_garbage():
            from mlflow.tracking import MlflowClient  # takes a second; only a study needs it

        quiet_libraries()  # importing MLflow sets its own log level
        uri = os.environ.get(TRACKING_URI_VARIABLE)
        self._folder, self._name, self._is_own = folder.resolve(), name, not uri
        self._last_sequence: int | None = None
        self.place = without_secrets(uri) if uri else str(folder / _DATABASE)
        # A server decides itself where artifacts go; a file in the folder must not put them into the working directory.
        self._artifacts = None if uri and not uri.startswith("sqlite:") else (self._folder / "artifacts").as_uri()
        with self._reporting_mlflow_errors():
            if self._is_own:
                self._check_own_database(folder / _DATABASE)
            if uri:
                limit_waiting()
                check_server(uri)
            self.client = MlflowClient(tracking_uri=uri or sqlite_uri(folder / _DATABASE))

    @cached_property
    def experiment_id(self) -> str:
        """The id of the experiment that new runs go to; made where there is none. Raise ValueError where MLflow fails.

        MLflow keeps an experiment's artifacts where it was made. A folder that was moved gets another experiment, so
        that nothing is written to its old place.
        """
        with self._reporting_mlflow_errors():
            known = self._experiments()
            for found in known:
                if not self._is_own or found.artifact_location == self._artifacts:
                    return str(found.experiment_id)
            is_taken = any(found.name == self._name for found in known)
            name = f"{self._name} at {self._folder}" if is_taken else self._name
            return self.client.create_experiment(name, self._artifacts)

    def runs(self) -> list[Any]:
        """Return every run of the study, the oldest first. Raise ValueError where MLflow cannot read them.

        A run's place is the number in its tag `SEQUENCE`: MLflow's own times are those of a clock, which may be wrong.
        Runs of versions without that tag come before all others, in the order in which SQLite holds them.
        """
        runs: list[Any] = []
        token = None
        with self._reporting_mlflow_errors():
            ids = [found.experiment_id for found in self._experiments()]
            while ids:
                page = self.client.search_runs(ids, max_results=_PAGE, page_token=token)
                runs += page
                token = page.token
                if not token:
                    break
            place = insertion_order(self._folder / _DATABASE) if self._is_own else {}
        self._last_sequence = max(map(sequence_of, runs), default=0)
        return sorted(runs, key=lambda run: (sequence_of(run), place.get(run.info.run_id, 0), run.info.run_id))

    def next_sequence(self) -> int:
        """Return a number that is larger than those of all runs so far, and that no other call returns."""
        if self._last_sequence is None:
            self.runs()
        self._last_sequence = (self._last_sequence or 0) + 1
        return self._last_sequence

    def _experiments(self) -> list[Any]:
        """Return the experiments that may hold runs: all in the study's own database, elsewhere that of its name."""
        if self._is_own:
            return list(self.client.search_experiments())
        found = self.client.get_experiment_by_name(self._name)
        return [found] if found else []

    def _check_own_database(self, database: Path) -> None:
        """Make the study's own database where there is none. Raise ValueError for one that cannot be used."""
        with reporting_write_errors("rows", database.parent):
            if not database.exists():
                database.parent.mkdir(parents=True, exist_ok=True)
                make_database(database)
        if problem := database_problem(database):
            raise ValueError(self._unusable(problem))

    @contextmanager
    def _reporting_mlflow_errors(self) -> Iterator[None]:
        """Turn an error of MLflow, inside the block, into one that names the place and what to do.

        Raises:
            WriteError: where there was no room, or the database cannot be written now: nothing is wrong with it.
            ValueError: for any other error.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError, sqlite3.Error, ConnectionError) as error:
            text = mlflow_error_text(error)
            cause = error if self._is_own else None  # MLflow's own error names the whole address
            if is_write_failure(error):
                raise WriteError(f"cannot keep rows in MLflow at {self.place}: {text}") from cause
            raise ValueError(self._unusable(text)) from cause

    def _unusable(self, cause: str) -> str:
        hint = f". It is left as it is; if it is damaged, move it away or restore a copy: {_WITHOUT_IT}"
        return f"cannot keep rows in MLflow at {self.place}: {cause}{hint if self.place.endswith(_DATABASE) else ''}"


def sequence_of(run: Any) -> int:
    """Return the number that orders the runs of a study; 0 for a run that has none."""
    return order_number(run.data.tags.get(SEQUENCE, ""))


def mlflow_error_text(error: Exception) -> str:
    """Return an error of MLflow in one line, without SQLAlchemy's query and link, and without passwords."""
    return without_secrets(one_line(error).partition(" [SQL:")[0].partition(" (Background")[0])
