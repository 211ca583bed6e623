"""The verdict on one case: read, refused, or one of three faults."""

from __future__ import annotations

import dis
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

import transformers

import formers
from formers.lab.train.stop import Stopped

HOUSE = str(Path(formers.__file__).parent)
_SPEAKING = (HOUSE, str(Path(transformers.__file__).parent))
"""Code whose own errors are clear: this library's, and that of the one whose contract it keeps."""
DECLARED = (ValueError, TypeError, OSError, Stopped)
"""Types of error that the library declares for what a user can get wrong."""
LONGEST_MESSAGE = 4000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls of a terminal, controls of the writing direction, and halves of characters."""


class Verdict(StrEnum):
    """What came of a case; the last three are faults."""

    READ = "read"
    REFUSED = "clear error"
    TRACEBACK = "other traceback"
    HANG = "hang"
    NONSENSE = "silent nonsense"


FAULTS = (Verdict.TRACEBACK, Verdict.HANG, Verdict.NONSENSE)


@dataclass(frozen=True)
class Outcome:
    """The verdict on the case that a way in makes of a seed, and what there is to say about it."""

    way: str
    seed: int
    verdict: Verdict
    detail: str = ""


class Refused(Exception):
    """A refusal that is no exception of the library's: a non-zero exit with a message, or a row with its cause."""


class Unclear(Exception):
    """Something printed that its reader cannot use: nothing, controls of the terminal, a message that names no file."""


class Nonsense(Exception):
    """Something was accepted that cannot be right."""


def must_equal(what: str, read: object, written: object) -> None:
    """Raise `Nonsense` unless what was read back is what was written."""
    if read != written:
        raise Nonsense(f"{what}: {written!r} is read back as {read!r}")


def judge(error: BaseException) -> tuple[Verdict, str]:
    """Return the verdict on a case that ended with an error."""
    detail = f"{type(error).__name__}: {error}"
    if isinstance(error, Nonsense):
        return Verdict.NONSENSE, str(error)
    if isinstance(error, Refused):
        return Verdict.REFUSED, str(error)
    if not isinstance(error, DECLARED) or not is_deliberate(error):
        return Verdict.TRACEBACK, f"{detail} {place_of(error)}"
    if problem := unusable(str(error)):
        return Verdict.TRACEBACK, f"{problem}: {detail[:200]!r} {place_of(error)}"
    return Verdict.REFUSED, detail


def is_deliberate(error: BaseException) -> bool:
    """Return whether an error comes from a `raise` of the library, or of the system about a file that it names.

    A `TypeError` of Python's about the library's own code has the type of a clear error, and none of its clarity.
    """
    last = last_frame(error.__traceback__)
    if last is None or (isinstance(error, OSError) and error.filename is not None):
        return True
    code = last.tb_frame.f_code
    return code.co_filename.startswith(_SPEAKING) and dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def unusable(message: str) -> str:
    """Return why nobody can use a message; empty for one that is of use."""
    if not message.strip():
        return "the message is empty"
    return f"the message has {len(message)} characters" if len(message) > LONGEST_MESSAGE else ""


def unprintable(said: str) -> str:
    """Return what must not reach a terminal, of what a command printed; empty where nothing is."""
    found = _UNPRINTABLE.search(said)
    return f"{found[0]!r} was printed" if found else ""


def last_frame(traceback: TracebackType | None) -> TracebackType | None:
    """Return the innermost entry of a traceback."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def place_of(error: BaseException) -> str:
    """Return file and line of the innermost frame within the library, or of the innermost one."""
    entry, found = error.__traceback__, last_frame(error.__traceback__)
    while entry is not None:
        if entry.tb_frame.f_code.co_filename.startswith(HOUSE):
            found = entry
        entry = entry.tb_next
    if found is None:
        return ""
    return f"({found.tb_frame.f_code.co_filename.removeprefix(HOUSE + '/')}:{found.tb_lineno})"
