"""The file of a trained index beside its datastore."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from formers.machine.files import flush_to_disk, write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.retrieval.datastore import Datastore
from formers.retrieval.faiss_library import faiss_library


def load_or_build(name: str, store: Datastore, build: Callable[[], Any]) -> Any:
    """Return an index of FAISS over the datastore from its file, or built and written to one.

    A build that was broken off begins again: the file is whole or not there.

    Args:
        name: what it is, with every option that its file depends on.
        build: makes it.

    Raise ValueError where the file is damaged, or another datastore's.
    """
    faiss = faiss_library()
    short = hashlib.sha256(name.encode()).hexdigest()[:8]
    path = store.folder / f"{name.partition('(')[0]}-{short}.faiss"
    note = path.with_suffix(".json")
    if note.is_file():
        _check(path, note, store)
        return faiss.read_index(str(path))
    index = build()
    part_file = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        faiss.write_index(index, str(part_file))
        flush_to_disk(part_file)
        os.replace(part_file, path)
    finally:
        part_file.unlink(missing_ok=True)
    about = {"index": name, "datastore": store.header.content, "file": _digest(path)}
    write_atomically(note, json.dumps(sealed(about), indent=1) + "\n", flush=True)
    return index


def _check(path: Path, note: Path, store: Datastore) -> None:
    """Raise ValueError unless the file is whole, and the index of this datastore."""
    remedy = f"remove {path} and {note}, and the index is built again"
    try:
        about = unsealed(json_from_text(note.read_text(encoding="utf-8", errors="replace")))
    except ValueError as error:
        raise ValueError(f"{note} is damaged: {error}; {remedy}") from None
    if about.get("datastore") != store.header.content:
        raise ValueError(f"{path} is the index of another datastore; {remedy}")
    if not path.is_file() or about.get("file") != _digest(path):
        raise ValueError(f"{path} is missing, damaged or cut short; {remedy}")


def _digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
