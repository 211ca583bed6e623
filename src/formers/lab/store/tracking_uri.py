"""The address of a tracking server: shown without passwords, and asked for an answer before anything waits for it."""

from __future__ import annotations

import os
import re
import socket
from urllib.parse import urlsplit

from formers.lab.store.write_error import one_line

TRACKING_URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""The environment variable that names a team's server or database."""
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""How long MLflow waits for an answer, in seconds, and how often it asks again. By itself it waits for minutes."""
_SECONDS = 5.0
"""How long a server has for its first answer."""
_NO_ANSWER = (" failed with exception ", " failed with timeout exception ")
"""Words of MLflow for a request that was never answered."""
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mssql": 1433}
_SHOWN = 300  # characters of a cause
_USER = re.compile(r"://[^\s'\"]*@")
_IN_QUERY = re.compile(r"([?&][^=&\s]*(?:pass|pwd|token|secret|key)[^=&\s]*=)[^&\s'\"]*", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """Return a text in which users, passwords and tokens in addresses are replaced by `***`."""
    return _IN_QUERY.sub(r"\1***", _USER.sub("://***@", text))


def limit_waiting() -> None:
    """Let MLflow wait for seconds, not minutes, by its environment variables; those that are set already stay."""
    for name, value in _PATIENCE.items():
        os.environ.setdefault(name, value)


def check_server(uri: str) -> None:
    """Raise ConnectionError where no server answers at a tracking URI within seconds. Files are no servers."""
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    try:
        if scheme in ("http", "https"):
            _ask(uri)
        elif scheme in _PORTS and parts.hostname:
            socket.create_connection((parts.hostname, parts.port or _PORTS[scheme]), _SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no server answers there within {_SECONDS:.0f} seconds ({without_secrets(one_line(error))}). Start it, "
            f"correct {TRACKING_URI_VARIABLE}, or unset it to keep rows in the study's own folder"
        ) from None  # the cause names the whole address


def is_without_answer(error: Exception) -> bool:
    """Return whether an error of MLflow means that a server gave no answer, and may give one later."""
    from mlflow.exceptions import RestException

    return not isinstance(error, RestException) and any(words in str(error) for words in _NO_ANSWER)


def _ask(uri: str) -> None:
    """Ask a server how it is, as MLflow asks it everything else. Raise OSError without an answer; any one will do."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        http_request(
            get_default_host_creds(uri), "/health", "GET", max_retries=0, timeout=_SECONDS, raise_on_status=False
        )
    except MlflowException as error:
        raise OSError(" ".join(str(error).rpartition(" exception ")[2].split())[:_SHOWN]) from None
