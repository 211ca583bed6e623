"""The files by which an arm on a node and the process that waits for it speak: a ticket, messages, and an outcome.

They lie in the folder `slurm` of the study, which all machines see. None of them holds code.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from formers.lab.executors.remote_progress import Message, deliver
from formers.lab.store.records import Row
from formers.lab.store.write_error import WriteError, reporting_write_errors
from formers.lab.train.progress import Progress
from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.machine.typed_json import WrongJson, record_from_json

_TOLD = ("step", "measured", "note")
_OF_TRAINING = ("begin", "step", "measured")


@dataclass(frozen=True)
class ArmFiles:
    """The files of one arm.

    The ticket names the one job of the cluster that may train the arm: it is written once the job is in the queue, and
    a job that finds another number in it, or none, does nothing. So no arm is trained by two jobs, whatever becomes of
    the process that submitted them.
    """

    folder: Path
    slug: str

    @property
    def messages(self) -> Path:
        """The file that an arm tells its progress in, a message a line."""
        return self.folder / f"{self.slug}.messages"

    @property
    def _ticket(self) -> Path:
        return self.folder / f"{self.slug}.ticket.json"

    @property
    def _outcome(self) -> Path:
        return self.folder / f"{self.slug}.outcome.json"

    def prepare(self) -> None:
        """Remove what an earlier job of the arm has left. Raise WriteError where that is not possible."""
        with reporting_write_errors("jobs of the cluster", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in (self._ticket, self._outcome, self.messages):
                path.unlink(missing_ok=True)

    def name_job(self, job_id: str, fingerprint: str) -> None:
        """Write the ticket: the job that trains the arm, and the fingerprint of what it trains."""
        with reporting_write_errors("jobs of the cluster", self._ticket):
            text = json.dumps(sealed({"job": job_id, "fingerprint": fingerprint}))
            write_atomically(self._ticket, text, flush=True)

    def named_job(self, fingerprint: str = "") -> str:
        """Return the job that trains the arm; empty where none does, or where it trains another `fingerprint`."""
        try:
            ticket = unsealed(json_from_text(self._ticket.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return ""
        same = not fingerprint or ticket.get("fingerprint") == fingerprint
        return str(ticket.get("job", "")) if same else ""

    def tell(self, message: Message) -> None:
        """Add a message about the arm's progress. One that cannot be written is left out: nothing depends on it."""
        with suppress(OSError), self.messages.open("a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")

    def write_row(self, job_id: str, row: Row) -> None:
        """Write the row that a job ended with."""
        self._write({"job": job_id, "row": asdict(row)})

    def write_error(self, job_id: str, error: WriteError) -> None:
        """Write what a job could not write; where not even that is possible, its log has it."""
        with suppress(OSError):
            self._write({"job": job_id, "write_error": str(error)})

    def outcome(self, job_id: str) -> Row | None:
        """Return the row that a job has ended with; None where it has not yet.

        Raises:
            WriteError: where the job could not write.
            ValueError: where what is there cannot be read.
        """
        try:
            outcome = unsealed(json_from_text(self._outcome.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        if outcome.get("job") != job_id:
            return None
        if "write_error" in outcome:
            raise WriteError(str(outcome["write_error"]))
        try:
            return record_from_json(Row, outcome.get("row"))
        except WrongJson as error:
            raise ValueError(
                f"{self._outcome} cannot be read ({error}): do all machines have the same formers?"
            ) from None

    def forget(self) -> None:
        """Remove the files of an arm whose row is kept."""
        for path in (self._ticket, self._outcome, self.messages):
            path.unlink(missing_ok=True)

    def _write(self, outcome: dict[str, object]) -> None:
        with reporting_write_errors("a row", self._outcome):
            write_atomically(self._outcome, json.dumps(sealed(outcome)), flush=True)


class Inbox:
    """Reads the messages of an arm as they arrive: with `skip_old`, those from its first look on.

    That the arm has begun is always told before its steps are: of an arm that an earlier start has left running, and
    where the message is lost. `has_begun` is to be set back where the arm is told to wait.
    """

    def __init__(self, path: Path, label: str, steps: int, skip_old: bool = False) -> None:
        self.path, self.label, self.steps, self.has_begun = path, label, steps, False
        self._position, self._skips = 0, skip_old

    def deliver(self, progress: Progress) -> None:
        """Tell a progress what has arrived since the last time."""
        messages, skips, self._skips = self._read(), self._skips, False
        if skips:
            messages = [("begin", ())] if any(method in _OF_TRAINING for method, _ in messages) else []
        for method, arguments in messages:
            if method == "begin" or (method in _OF_TRAINING and not self.has_begun):
                self.has_begun = True
                progress.begin(self.label, self.steps)
            if method in _TOLD:
                deliver((method, tuple(arguments)), progress)

    def _read(self) -> list[Message]:
        """Return the messages in whole lines that were not read before."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._position)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self._position += len(lines) + len(newline)
        with suppress(ValueError, TypeError):
            return [(method, tuple(arguments)) for method, arguments in map(json.loads, lines.splitlines())]
        return []  # damaged: the row does not depend on it
