"""Where rows are kept: MLflow runs, in a SQLite file in the study's folder or where `MLFLOW_TRACKING_URI` says."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from formers.lab.store.database import address, make_database, problem
from formers.lab.store.quiet_libraries import quiet
from formers.lab.store.records import Point, Row
from formers.lab.store.write_error import WriteError, reason, writing

_DATABASE = "mlflow.db"
_REMAINS = "without it, every arm trains again; its rows are also in artifacts/*/artifacts/row.json and in report.json"
FINGERPRINT, ROW = "formers.fingerprint", "row.json"
_ENDED = {"finished": "FINISHED", "stopped": "KILLED"}
_CHUNK = 500  # MLflow takes at most a thousand metrics, and a hundred parameters, in one call
_PAGE = 1000


class Store:
    """The rows of a study. A row is one MLflow run: its choices are parameters, its curve is metrics, all of it an artifact."""

    def __init__(self, folder: Path, name: str) -> None:
        """Opens the store for the experiment `name`, and makes the database where there is none.

        Raises:
            ValueError: when MLflow cannot use what is in the folder, or what `MLFLOW_TRACKING_URI` says.
            WriteError: when the folder cannot be written.
        """
        quiet()
        from mlflow.tracking import MlflowClient  # takes a second; only a study needs it

        quiet()  # importing MLflow sets its own log level
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        self.folder, self.name, self.own = folder.resolve(), name, not uri
        self.place = uri or str(folder / _DATABASE)
        # A server decides itself where artifacts go; a file in the folder must not put them into the working directory.
        self.artifacts = None if uri and not uri.startswith("sqlite:") else (self.folder / "artifacts").as_uri()
        with self.usable():
            if self.own:
                self.check(folder / _DATABASE)
            self.client = MlflowClient(tracking_uri=uri or address(folder / _DATABASE))

    def check(self, database: Path) -> None:
        """Makes the study's own database where there is none. Raises `ValueError` for one that cannot be used."""
        with writing("rows", database.parent):
            if not database.exists():
                database.parent.mkdir(parents=True, exist_ok=True)
                make_database(database)
        if wrong := problem(database):
            raise ValueError(self.unusable(wrong))

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Says what there is to say where MLflow cannot use what is there."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            raise ValueError(self.unusable(_brief(error))) from error

    def experiments(self) -> list[Any]:
        """Where rows of the study may be: all of its own database, elsewhere what has its name."""
        if self.own:
            return list(self.client.search_experiments())
        found = self.client.get_experiment_by_name(self.name)
        return [found] if found else []

    @cached_property
    def experiment(self) -> str:
        """Where new rows go; made where there is none yet.

        MLflow keeps an experiment's artifacts where it was made. A folder that was moved gets another experiment, so that
        nothing is written to its old place.
        """
        with self.usable():
            known = self.experiments()
            for found in known:
                if not self.own or found.artifact_location == self.artifacts:
                    return str(found.experiment_id)
            taken = any(found.name == self.name for found in known)
            return self.client.create_experiment(
                f"{self.name} at {self.folder}" if taken else self.name, self.artifacts
            )

    def ready(self) -> None:
        """Raises `ValueError` where no row could be kept: better before anything trains."""
        assert self.experiment

    def unusable(self, cause: str) -> str:
        """What there is to say where MLflow cannot use what is there."""
        hint = f". It is left as it is; if it is damaged, move it away or restore a copy: {_REMAINS}"
        return f"cannot keep rows in MLflow at {self.place}: {cause}{hint if self.place.endswith(_DATABASE) else ''}"

    def save(self, row: Row) -> None:
        """Keeps a row: whole, or not at all. Raises `WriteError` where it cannot."""
        from mlflow.exceptions import MlflowException

        try:
            with writing(f"the row of {row.arm!r}", self.place):
                self.write(row)
        except MlflowException as error:
            raise WriteError(
                f"cannot keep the row of {row.arm!r} in MLflow at {self.place}: {_brief(error)}"
            ) from error

    def write(self, row: Row) -> None:
        from mlflow.entities import Metric, Param

        run = self.client.create_run(self.experiment, run_name=row.arm, tags=_tags(row))
        now = int(time.time() * 1000)
        measured = [Metric(name, value, now, point.step) for point in row.curve for name, value in point.values.items()]
        params = [Param(name, text[:6000]) for name, text in {**row.choices, "seed": str(row.seed)}.items()]
        self.client.log_batch(run.info.run_id, params=params, metrics=measured[:_CHUNK])
        for start in range(_CHUNK, len(measured), _CHUNK):
            self.client.log_batch(run.info.run_id, metrics=measured[start : start + _CHUNK])
        self.client.log_text(run.info.run_id, json.dumps(asdict(row)), ROW)
        self.client.set_terminated(run.info.run_id, _ENDED.get(row.status, "FAILED"))

    def rows(self) -> dict[str, Row]:
        """Fingerprint → the newest row that was kept for it. Raises `ValueError` where what is kept cannot be read."""
        newest = {run.data.tags[FINGERPRINT]: run for run in self.runs() if _ended(run)}
        return {fingerprint: self.read(run) for fingerprint, run in newest.items()}

    def runs(self) -> list[Any]:
        """Every run of the study, the oldest first."""
        runs: list[Any] = []
        token = None
        with self.usable():
            ids = [found.experiment_id for found in self.experiments()]
            while ids:
                page = self.client.search_runs(
                    ids, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
                )
                runs += page
                token = page.token
                if not token:
                    break
        return runs

    def read(self, run: Any) -> Row:
        """The row that a run holds: from the study's folder, wherever that is now; else from where MLflow says it is."""
        from mlflow.exceptions import MlflowException

        own = self.folder / "artifacts" / run.info.run_id / "artifacts" / ROW
        try:
            if own.is_file():
                return _row_from(json.loads(own.read_text(encoding="utf-8")))
            with tempfile.TemporaryDirectory() as folder:
                path = self.client.download_artifacts(run.info.run_id, ROW, folder)
                return _row_from(json.loads(Path(path).read_text(encoding="utf-8")))
        except (MlflowException, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            place = own.as_uri() if own.is_file() else f"{run.info.artifact_uri}/{ROW}"
            raise ValueError(
                f"the row of {run.info.run_name!r} cannot be read from {place}: {_brief(error)}. If the file is damaged or "
                "gone, restore a copy, leave only report.json in the folder, or keep the study in another folder with "
                "--folder. Nothing was changed"
            ) from error


def _brief(error: Exception) -> str:
    """An error in a line, without SQLAlchemy's query and link."""
    return reason(error).partition(" [SQL:")[0].partition(" (Background")[0]


def _ended(run: Any) -> bool:
    """Whether a run holds a whole row: one still marked as running was broken off while it was being saved."""
    return FINGERPRINT in run.data.tags and run.info.status != "RUNNING"


def _tags(row: Row) -> dict[str, str]:
    texts = {FINGERPRINT: row.fingerprint, "formers.status": row.status, "formers.cause": row.cause}
    texts |= {"formers.command": row.command, "formers.data_hash": row.data_hash}
    texts |= {f"formers.{name}": value for name, value in row.environment.items()}
    return {name: value[:4000] for name, value in texts.items() if value}


def _row_from(data: Any) -> Row:
    """The row that `dataclasses.asdict` wrote as JSON. Raises `ValueError` for what this version of a row does not have."""
    if not isinstance(data, dict):
        raise ValueError(f"a {type(data).__name__} is not a row of formers; {ROW} is damaged. Nothing was changed")
    try:
        curve = tuple(Point(**point) for point in data["curve"])
        return Row(**{**data, "curve": curve, "samples": tuple(data["samples"]), "items": tuple(data.get("items", ()))})
    except (KeyError, TypeError) as error:
        version = data.get("environment", {}).get("formers", "of another version")
        raise ValueError(
            f"the row of {data.get('arm')!r} was written by formers {version}, and this version cannot read it ({error}); "
            "use that version, or keep this study in another folder with --folder. Nothing was changed"
        ) from error
