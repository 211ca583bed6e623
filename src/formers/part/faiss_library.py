"""FAISS, which an extra installs."""

from __future__ import annotations

from typing import Any


def faiss_library() -> Any:
    """Return the module `faiss`. Raise ImportError that names the extra where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "this needs FAISS: pip install 'formers[retrieval]', or search exactly, which needs nothing but torch"
        ) from error
    return faiss
