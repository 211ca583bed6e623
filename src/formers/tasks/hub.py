"""Labelled texts from the Hugging Face hub."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from formers.machine.hub import hub_trouble, only_cached


def hub_rows(repo: str, file: str) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file in a data set of the hub, downloaded once and kept in its cache.

    Raises:
        ImportError: without pyarrow, which reads the file.
        OSError: where the hub cannot be reached, and its cache has no such file; with a user's copy it need not be.
    """
    if find_spec("pyarrow") is None:
        raise ImportError(f"reading {repo} from the hub needs pyarrow: pip install pyarrow; or give path= of a copy")
    from huggingface_hub import hf_hub_download
    from pyarrow import parquet

    trouble = hub_trouble()
    try:
        path = hf_hub_download(repo, file, repo_type="dataset", **only_cached(trouble))
    except OSError as error:
        if trouble is None:
            raise
        raise OSError(f"{repo} cannot be had from the hub ({trouble}); give path= of a copy") from error
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows
