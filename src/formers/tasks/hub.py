"""Labelled texts from the Hugging Face hub."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def hub_rows(repo: str, file: str) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file in a data set of the hub, downloaded once and kept in its cache.

    Raises:
        ImportError: without pyarrow, which reads the file.
        OSError: where the hub cannot be reached; with a user's copy it need not be.
    """
    if find_spec("pyarrow") is None:
        raise ImportError(f"reading {repo} from the hub needs pyarrow: pip install pyarrow; or give path= of a copy")
    from huggingface_hub import hf_hub_download
    from pyarrow import parquet

    rows: list[dict[str, Any]] = parquet.read_table(hf_hub_download(repo, file, repo_type="dataset")).to_pylist()
    return rows
