"""The store of a study: its rows, each as one MLflow run."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from formers.lab.store.experiment import SEQUENCE, Experiment, mlflow_error_text
from formers.lab.store.records import FINAL, Row
from formers.lab.store.tracking_uri import is_without_answer, without_secrets
from formers.lab.store.write_error import NoAnswer, WriteError, reporting_write_errors
from formers.machine.sealed_json import DamagedJson, json_from_text
from formers.machine.typed_json import WrongJson, record_from_json
from formers.plot.visible_text import visible_line

_FINGERPRINT, _STATUS, _DIGEST, _ROW = "formers.fingerprint", "formers.status", "formers.row_sha256", "row.json"
_RUN_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "pruned": "KILLED"}
_ALWAYS = ("curve", "samples", "fingerprint")  # in the rows of every version
_SHOWN = 80  # characters of a name in a message
_CHUNK = 500  # MLflow takes at most a thousand metrics, and a hundred parameters, in one call


class Store:
    """The rows of a study, each one MLflow run: choices are parameters, the curve is metrics, all of it an artifact.

    Attributes:
        experiment: the MLflow experiment that the runs are in.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Open the store of the study in `folder`, for the MLflow experiment `name`; make it where there is none.

        Raises:
            ValueError: when MLflow cannot use what is in the folder, or what `MLFLOW_TRACKING_URI` names.
            WriteError: when the folder cannot be written.
        """
        self.experiment = Experiment(folder, name)
        self._artifacts = folder.resolve() / "artifacts"

    def check_writable(self) -> None:
        """Raise ValueError where no row could be kept: better before anything trains."""
        assert self.experiment.experiment_id

    def save(self, row: Row) -> None:
        """Keep a row: whole, or not at all. Raise WriteError where that is not possible.

        Raise NoAnswer where a server gives none; nothing is kept then, and it may be tried again.
        """
        from mlflow.exceptions import MlflowException

        place = self.experiment.place
        try:
            with reporting_write_errors(f"the row of {row.arm!r}", place):
                self._write_run(row)
        except MlflowException as error:
            kind = NoAnswer if is_without_answer(error) else WriteError
            raise kind(
                f"cannot keep the row of {row.arm!r} in MLflow at {place}: {mlflow_error_text(error)}"
            ) from None  # MLflow's own error names the whole address

    def rows(self) -> dict[str, Row]:
        """Return fingerprint → the newest row that was kept for it, the oldest first.

        A row with a final status is newer than any other of its fingerprint: nothing trains after it.

        Raises:
            ValueError: where a row cannot be read.
        """
        newest: dict[str, Any] = {}
        for run in filter(_is_complete, self.experiment.runs()):
            fingerprint = run.data.tags[_FINGERPRINT]
            if fingerprint not in newest or _is_final(run) or not _is_final(newest[fingerprint]):
                newest.pop(fingerprint, None)
                newest[fingerprint] = run
        return {fingerprint: self._read_row(run) for fingerprint, run in newest.items()}

    def _write_run(self, row: Row) -> None:
        from mlflow.entities import Metric, Param

        client = self.experiment.client
        written = json.dumps(asdict(row))
        tags = _tags(row) | {SEQUENCE: str(self.experiment.next_sequence()), _DIGEST: _sha256(written)}
        run_id = client.create_run(self.experiment.experiment_id, run_name=visible_line(row.arm), tags=tags).info.run_id
        now = int(time.time() * 1000)  # for MLflow's page; nothing is decided by it
        metrics = [Metric(name, value, now, point.step) for point in row.curve for name, value in point.values.items()]
        params = [Param(name, text[:6000]) for name, text in {**row.choices, "seed": str(row.seed)}.items()]
        client.log_batch(run_id, params=params, metrics=metrics[:_CHUNK])
        for start in range(_CHUNK, len(metrics), _CHUNK):
            client.log_batch(run_id, metrics=metrics[start : start + _CHUNK])
        client.log_text(run_id, written, _ROW)
        client.set_terminated(run_id, _RUN_STATUS.get(row.status, "FAILED"))

    def _read_row(self, run: Any) -> Row:
        """Return the row of a run: from the study's folder, wherever that is now; else from where MLflow keeps it."""
        from mlflow.exceptions import MlflowException

        tags = run.data.tags
        own = self._artifacts / run.info.run_id / "artifacts" / _ROW
        place = own.as_uri() if own.is_file() else without_secrets(f"{run.info.artifact_uri}/{_ROW}")
        try:
            if own.is_file():
                return _row_from_json(own.read_text(encoding="utf-8"), tags, place)
            with tempfile.TemporaryDirectory() as folder:
                path = self.experiment.client.download_artifacts(run.info.run_id, _ROW, folder)
                return _row_from_json(Path(path).read_text(encoding="utf-8"), tags, place)
        except (MlflowException, OSError, DamagedJson, UnicodeDecodeError) as error:
            raise ValueError(
                f"the row of {run.info.run_name!r} cannot be read from {place}: {mlflow_error_text(error)}. If the "
                "file is damaged or gone, restore a copy, leave only report.json in the folder, or keep the study in "
                "another folder with --folder. Nothing was changed"
            ) from error


def _is_complete(run: Any) -> bool:
    """Return whether a run holds a whole row: one still marked as running was broken off while it was being saved."""
    return _FINGERPRINT in run.data.tags and run.info.status != "RUNNING"


def _is_final(run: Any) -> bool:
    return run.data.tags.get(_STATUS) in FINAL


def _tags(row: Row) -> dict[str, str]:
    """Return the facts of a row that MLflow can search for."""
    texts = {_FINGERPRINT: row.fingerprint, _STATUS: row.status, "formers.cause": row.cause}
    texts |= {"formers.command": row.command, "formers.data_hash": row.data_hash}
    texts |= {f"formers.{name}": value for name, value in row.environment.items()}
    return {name: value[:4000] for name, value in texts.items() if value}


def _row_from_json(text: str, tags: Mapping[str, str], place: str) -> Row:
    """Return the row that the artifact at `place`, of a run with these tags, holds.

    Raises:
        ValueError: for a text that is not what was written, and for a row whose fields are not those of this version.
    """
    if tags.get(_DIGEST, _sha256(text)) != _sha256(text):
        raise DamagedJson("it is not what was written")
    data = json_from_text(text)
    if not isinstance(data, dict):
        raise ValueError(f"a {type(data).__name__} is not a row of formers; {place} is damaged. Nothing was changed")
    try:
        if missing := [name for name in _ALWAYS if name not in data]:
            raise WrongJson(f"it holds no {missing[0]!r}")
        row = record_from_json(Row, data)
    except WrongJson as error:
        environment = data.get("environment")
        version = environment.get("formers") if isinstance(environment, dict) else None
        raise ValueError(
            f"the row of {str(data.get('arm'))[:_SHOWN]!r} was written by formers {str(version)[:_SHOWN]}, and this "
            f"version cannot read it ({error}); if {place} is damaged, restore a copy, else use that version, or keep "
            "this study in another folder with --folder. Nothing was changed"
        ) from error
    if row.fingerprint != tags[_FINGERPRINT]:
        raise DamagedJson("it is the row of another run")
    return row


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
