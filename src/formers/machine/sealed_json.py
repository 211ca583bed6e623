"""JSON objects that hold a digest of their own content, so that damage is noticed when they are read back."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_DIGEST = "sha256"


class DamagedJson(ValueError):
    """A text that is no JSON, or whose content is not what was written."""


def json_from_text(text: str) -> Any:
    """Return the value that a JSON text holds. Raise DamagedJson for any text that cannot be read, however deep."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedJson(f"this is no JSON: {' '.join(str(error).split())[:200]}") from None


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the digest of its content added."""
    return {**data, _DIGEST: _digest(data)}


def unsealed(data: Any) -> dict[str, Any]:
    """Return what `sealed` was given. An object without a digest, as earlier versions wrote it, is returned as it is.

    Raises:
        DamagedJson: for anything that is no object, and where the content does not fit the digest.
    """
    if not isinstance(data, dict):
        raise DamagedJson(f"an object is expected, and this is a {type(data).__name__}")
    content = {name: value for name, value in data.items() if name != _DIGEST}
    if _DIGEST in data and data[_DIGEST] != _digest(content):
        raise DamagedJson(f"its content does not fit its {_DIGEST}: it was changed, or damaged, after it was written")
    return content


def _digest(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
