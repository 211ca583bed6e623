"""The Hugging Face hub, which may be out of reach."""

from __future__ import annotations

from typing import Any

_SECONDS = 5.0
"""How long the hub may take to answer: its own library asks six times within half a minute."""


def hub_trouble() -> str | None:
    """Return why the hub cannot be reached, after one short question; None where it can."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception as error:  # of whatever HTTP library this version has
        return f"{constants.ENDPOINT} does not answer: {str(error) or type(error).__name__}"
    return None


def only_cached(trouble: str | None) -> dict[str, Any]:
    """Return the options that keep a loader from asking a hub in trouble again: what it has in its cache is used."""
    return {} if trouble is None else {"local_files_only": True}
