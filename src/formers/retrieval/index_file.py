"""The file of a trained index beside its datastore."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from formers.machine.files import write_atomically
from formers.machine.sealed_json import json_from_text, sealed, unsealed
from formers.part.faiss_library import faiss_library
from formers.retrieval.datastore import Datastore, Progress
from formers.retrieval.index_checkpoint import IndexCheckpoint, digest_of, write_index

_ADDED = 1 << 16
"""Keys that are added at a time."""


def load_or_build(name: str, store: Datastore, train: Callable[[], Any], progress: Progress) -> Any:
    """Return an index of FAISS over the datastore from its file, or built and written to one.

    A build that was stopped, or killed, goes on from where it was last saved: after the training, and then every few
    seconds or minutes, and on Ctrl-C. The result is the same to the bit.

    Args:
        name: what it is, with every option that its file depends on.
        train: makes it, trained and without keys.
        progress: is told how many keys are added.

    Raise ValueError where the file is damaged, or another datastore's.
    """
    short = hashlib.sha256(name.encode()).hexdigest()[:8]
    path = store.folder / f"{name.partition('(')[0]}-{short}.faiss"
    note = path.with_suffix(".json")
    if note.is_file():
        _check(path, note, store)
        return faiss_library().read_index(str(path))
    about = {"index": name, "datastore": store.header.content}
    checkpoint = IndexCheckpoint(path, about)
    index = checkpoint.load()
    if index is None:
        progress(0, len(store))
        index = train()
        checkpoint.save(index)
    _add_saving(index, store, checkpoint, progress)
    write_index(index, path)
    write_atomically(note, json.dumps(sealed(about | {"file": digest_of(path)}), indent=1) + "\n", flush=True)
    checkpoint.remove()
    return index


def _add_saving(index: Any, store: Datastore, checkpoint: IndexCheckpoint, progress: Progress) -> None:
    """Add the keys that are not in the index yet, and save it now and then."""
    try:
        for _ in add_keys(index, store, progress):
            checkpoint.save_if_due(index)
    except KeyboardInterrupt:
        if index.ntotal % _ADDED == 0:  # and not in the middle of a block
            checkpoint.save(index)
        raise


def add_keys(index: Any, store: Datastore, progress: Progress) -> Iterator[int]:
    """Add the keys that follow those in an index of FAISS, block by block, and yield how many there are then."""
    for start, keys in store.blocks(_ADDED, index.ntotal):
        progress(start, len(store))
        index.add(keys.float().numpy())
        yield index.ntotal
    progress(len(store), len(store))


def _check(path: Path, note: Path, store: Datastore) -> None:
    """Raise ValueError unless the file is whole, and the index of this datastore."""
    remedy = f"remove {path} and {note}, and the index is built again"
    try:
        about = unsealed(json_from_text(note.read_text(encoding="utf-8", errors="replace")))
    except ValueError as error:
        raise ValueError(f"{note} is damaged: {error}; {remedy}") from None
    if about.get("datastore") != store.header.content:
        raise ValueError(f"{path} is the index of another datastore; {remedy}")
    if not path.is_file() or about.get("file") != digest_of(path):
        raise ValueError(f"{path} is missing, damaged or cut short; {remedy}")
