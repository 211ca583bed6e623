"""Where rows are kept: MLflow runs, in a SQLite file in the study's folder or where `MLFLOW_TRACKING_URI` says."""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from formers.lab.keeping import CannotKeep, keeping, reason
from formers.lab.quiet import quiet
from formers.lab.row import Point, Row

DATABASE = "mlflow.db"
REMAINS = "without it, every arm trains again; its rows are also in artifacts/*/artifacts/row.json and in report.json"
FINGERPRINT, ROW = "formers.fingerprint", "row.json"
ENDED = {"finished": "FINISHED", "stopped": "KILLED"}
CHUNK = 500  # MLflow takes at most a thousand metrics, and a hundred parameters, in one call
PAGE = 1000


class Store:
    """The rows of a study. A row is one MLflow run: its choices are parameters, its curve is metrics, all of it an artifact."""

    def __init__(self, folder: Path, name: str) -> None:
        """Opens the store for the experiment `name`, and makes it where there is none.

        Raises:
            ValueError: when MLflow cannot use what is in the folder, or what `MLFLOW_TRACKING_URI` says.
            CannotKeep: when the folder cannot be written.
        """
        quiet()
        from mlflow.exceptions import MlflowException  # takes a second; only a study needs it
        from mlflow.tracking import MlflowClient
        from sqlalchemy.exc import SQLAlchemyError

        quiet()  # importing MLflow sets its own log level
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        database = folder / DATABASE
        self.place = uri or str(database)
        # A server decides itself where artifacts go; a file in the folder must not put them into the working directory.
        artifacts = None if uri and not uri.startswith("sqlite:") else (folder.resolve() / "artifacts").as_uri()
        try:
            with keeping("rows", folder):
                folder.mkdir(parents=True, exist_ok=True)
                if not uri and not database.exists():
                    make_database(database)
            if not uri and (wrong := problem(database)):
                raise ValueError(self.unusable(wrong))
            self.client = MlflowClient(tracking_uri=uri or address(database))
            found = self.client.get_experiment_by_name(name)
            self.experiment = found.experiment_id if found else self.client.create_experiment(name, artifacts)
        except (MlflowException, SQLAlchemyError) as error:
            raise ValueError(self.unusable(brief(error))) from error

    def unusable(self, cause: str) -> str:
        """What there is to say where MLflow cannot use what is there."""
        hint = f". It is left as it is; if it is damaged, move it away or restore a copy: {REMAINS}"
        return f"cannot keep rows in MLflow at {self.place}: {cause}{hint if self.place.endswith(DATABASE) else ''}"

    def save(self, row: Row) -> None:
        """Keeps a row: whole, or not at all. Raises `CannotKeep` where it cannot."""
        from mlflow.exceptions import MlflowException

        try:
            with keeping(f"the row of {row.arm!r}", self.place):
                self.write(row)
        except MlflowException as error:
            raise CannotKeep(f"cannot keep the row of {row.arm!r} in MLflow at {self.place}: {brief(error)}") from error

    def write(self, row: Row) -> None:
        from mlflow.entities import Metric, Param

        run = self.client.create_run(self.experiment, run_name=row.arm, tags=tags(row))
        now = int(time.time() * 1000)
        measured = [Metric(name, value, now, point.step) for point in row.curve for name, value in point.values.items()]
        params = [Param(name, text[:6000]) for name, text in {**row.choices, "seed": str(row.seed)}.items()]
        self.client.log_batch(run.info.run_id, params=params)
        for start in range(0, len(measured), CHUNK):
            self.client.log_batch(run.info.run_id, metrics=measured[start : start + CHUNK])
        self.client.log_text(run.info.run_id, json.dumps(asdict(row)), ROW)
        self.client.set_terminated(run.info.run_id, ENDED.get(row.status, "FAILED"))

    def rows(self) -> dict[str, Row]:
        """Fingerprint → the newest row that was kept for it. Raises `ValueError` where what is kept cannot be read."""
        newest = {run.data.tags[FINGERPRINT]: run for run in self.runs() if ended(run)}
        return {fingerprint: self.read(run) for fingerprint, run in newest.items()}

    def runs(self) -> list[Any]:
        """Every run of the experiment, the oldest first."""
        from mlflow.exceptions import MlflowException

        runs: list[Any] = []
        token = None
        while True:
            try:
                page = self.client.search_runs(
                    [self.experiment], max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
                )
            except MlflowException as error:
                raise ValueError(self.unusable(brief(error))) from error
            runs += page
            token = page.token
            if not token:
                return runs

    def read(self, run: Any) -> Row:
        """The row that a run holds."""
        from mlflow.exceptions import MlflowException

        try:
            with tempfile.TemporaryDirectory() as folder:
                path = self.client.download_artifacts(run.info.run_id, ROW, folder)
                return row_from(json.loads(Path(path).read_text(encoding="utf-8")))
        except (MlflowException, OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"the row of {run.info.run_name!r} cannot be read from {run.info.artifact_uri}/{ROW}: {brief(error)}. A study "
                f"reads its rows where it was run: if it was moved, move the folder back, or leave only its report.json in it; "
                "if the file is damaged, restore a copy, or keep the study in another folder with --folder. Nothing was changed"
            ) from error


def brief(error: Exception) -> str:
    """An error in a line, without SQLAlchemy's query and link."""
    return reason(error).partition(" [SQL:")[0].partition(" (Background")[0]


def address(path: Path) -> str:
    return f"sqlite:///{path.resolve()}"


def problem(path: Path) -> str | None:
    """What is wrong with a database and best seen without opening it: MLflow tries a folder for minutes, and SQLite takes an
    empty file for a new database, with every row gone."""
    if not path.is_file():
        return "it is not a file"
    return None if path.stat().st_size else "it is empty"


def make_database(path: Path) -> None:
    """Makes MLflow's tables, which takes seconds, beside their place: a database that is there is a whole one."""
    from mlflow.tracking import MlflowClient

    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    MlflowClient(tracking_uri=address(part)).search_experiments(max_results=1)
    os.replace(part, path)


def ended(run: Any) -> bool:
    """Whether a run holds a whole row: one still marked as running was broken off while it was being saved."""
    return FINGERPRINT in run.data.tags and run.info.status != "RUNNING"


def tags(row: Row) -> dict[str, str]:
    texts = {FINGERPRINT: row.fingerprint, "formers.status": row.status, "formers.cause": row.cause}
    texts |= {"formers.command": row.command, "formers.data_hash": row.data_hash}
    texts |= {f"formers.{name}": value for name, value in row.environment.items()}
    return {name: value[:4000] for name, value in texts.items() if value}


def row_from(data: Any) -> Row:
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
