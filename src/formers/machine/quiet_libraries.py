"""Libraries that are kept from printing over a study, and from sending telemetry."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partialmethod

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TRANSFORMERS_VERBOSITY": "error",  # transformers sets its logger's level when it is imported
    "GIT_PYTHON_REFRESH": "quiet",
    "TOKENIZERS_PARALLELISM": "false",
}
_LOUD = ("mlflow", "alembic", "transformers", "accelerate", "git", "torch.distributed")


def quiet_libraries() -> None:
    """Turn off telemetry, progress bars and warnings of MLflow, Hugging Face and others.

    Call it before they are imported. What a user has set in the environment stays.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(mlflow|transformers|accelerate|torch\.utils\.data)\b.*")


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep transformers from drawing a bar while it reads or writes a model; bars of downloads come back.

    Also kept away are the bars under which a GGUF file's weights are made into numbers, which transformers does not
    turn off, and its reports of weights that are missing or not used: callers ask for these, and say so themselves.
    """
    from transformers.utils import logging as transformers_logging

    shown, level = transformers_logging.is_progress_bar_enabled(), transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        with no_bars():
            yield
    finally:
        transformers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep every library that draws its bars by tqdm from drawing any."""
    from tqdm import tqdm

    begin = tqdm.__init__
    tqdm.__init__ = partialmethod(begin, disable=True)
    try:
        yield
    finally:
        tqdm.__init__ = begin
